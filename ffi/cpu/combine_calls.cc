// The calls of the operations of products, and of the inverse.
#include <algorithm>
#include <tuple>

#include "call_parts.h"
#include "calls.h"
#include "combine_job.h"
#include "dispatch.h"
#include "half.h"
#include "inverse_job.h"

namespace jax_siglib {
namespace {

template <class T>
void RunCombine(CombineJob<T>& job, Threads threads) {
  const CombinePlan<T>& plan = job.plan;
  const Kernels<T>& kernels = KernelsFor<T>(ChosenKernels());
  const bool adjoint = job.out.data == nullptr;
  const auto kernel = adjoint ? kernels.sig_combine_backprop : kernels.sig_combine;
  const int64_t n = job.batch.size(), length = plan.algebra().length();
  const int64_t own = adjoint ? plan.adjoint_worker_scratch() : plan.worker_scratch();
  auto run = [&](JoinPhase phase, int64_t items, int64_t entries) {
    Run<T>(threads, items, entries, own, [&](int64_t begin, int64_t end, T* scratch) {
      kernel(job, phase, begin, end, scratch);
    });
  };
  if (!plan.is_split()) return run(JoinPhase::kWhole, n, length);
  Scratch<T> shared(adjoint ? n * plan.shared_scratch() : 0);
  job.shared = shared.data();
  const int64_t lower = plan.algebra().offset(plan.algebra().degree());
  if (adjoint) run(JoinPhase::kHead, n, lower);
  run(JoinPhase::kTile, n * plan.tiles(), length / plan.tiles());
  run(JoinPhase::kTail, n, lower);
}

}  // namespace

std::string SigCombine(const Array& sig1, const Array& sig2, const Array& out,
                       int64_t dimension, int64_t degree, Threads threads) {
  if (!Addressable(dimension, degree))
    return "sig_combine: cannot address such a signature";
  if (IsHalf(out))
    return InFloats<1, 1, 0>(SigCombine, std::tie(sig1, sig2, out), threads, dimension,
                             degree);
  return WithType(out.dtype, [&](auto zero) -> std::string {
    using T = decltype(zero);
    const auto& plan =
        Remembered<CombinePlan<T>>(dimension, degree, MaySplit(out, threads.n_jobs != 1));
    Reader reader("sig_combine", 1, out);
    const int64_t scalar = reader.ScalarTerm("the result", out, plan.algebra());
    reader.Expect("sig1", sig1, 0, Reader::Last(out));
    reader.Expect("sig2", sig2, 0, Reader::Last(out));
    Batch batch(reader.batch());
    CombineJob<T> job(plan, batch, scalar == 1);
    job.products = 1;
    job.scalar = T(1);
    reader.Read("sig1", sig1, 1, job.term[0], scalar);
    reader.Read("sig2", sig2, 1, job.term[1], scalar);
    reader.Read("out", out, 1, job.out, scalar);
    if (!reader.error().empty()) return reader.error();
    batch.Collapse({&job.term[0].stride, &job.term[1].stride, &job.out.stride});
    job.left[0] = job.term[0];
    job.right[0] = job.term[1];
    if (degree == 0) {
      FillScalarTerm(job, job.out, 1, T(1));
      return "";
    }
    RunCombine(job, threads);
    return "";
  });
}

std::string SigCombineJvp(const Array& sig1, const Array& sig2, const Array& t_sig1,
                          const Array& t_sig2, const Array& t_out, int64_t dimension,
                          int64_t degree, Threads threads) {
  if (!Addressable(dimension, degree))
    return "sig_combine_jvp: cannot address such a signature";
  if (IsHalf(t_out)) {
    const Array lower1 = LowerOf(sig1, dimension, degree);
    const Array lower2 = LowerOf(sig2, dimension, degree);
    return InFloats<1, 1, 2>(SigCombineJvp, std::tie(lower1, lower2, t_sig1, t_sig2, t_out),
                             threads, dimension, degree);
  }
  return WithType(t_out.dtype, [&](auto zero) -> std::string {
    using T = decltype(zero);
    const auto& plan =
        Remembered<CombinePlan<T>>(dimension, degree, MaySplit(t_out, threads.n_jobs != 1));
    const TensorAlgebra& algebra = plan.algebra();
    Reader reader("sig_combine_jvp", 1, t_out);
    const int64_t scalar = reader.ScalarTerm("the result", t_out, algebra);
    const int64_t skip1 = reader.ScalarTermOfLower("sig1", sig1, algebra);
    const int64_t skip2 = reader.ScalarTermOfLower("sig2", sig2, algebra);
    reader.Expect("t_sig1", t_sig1, 0, Reader::Last(t_out));
    reader.Expect("t_sig2", t_sig2, 0, Reader::Last(t_out));
    Batch batch(reader.batch());
    CombineJob<T> job(plan, batch, scalar == 1);
    job.products = 2;
    reader.Read("sig1", sig1, 1, job.left[0], skip1);
    reader.Read("sig2", sig2, 1, job.right[1], skip2);
    reader.Read("t_sig1", t_sig1, 1, job.term[0], scalar);
    reader.Read("t_sig2", t_sig2, 1, job.term[1], scalar);
    reader.Read("t_out", t_out, 1, job.out, scalar);
    if (!reader.error().empty()) return reader.error();
    batch.Collapse({&job.left[0].stride, &job.right[1].stride, &job.term[0].stride,
                    &job.term[1].stride, &job.out.stride});
    job.left[1] = job.term[0];
    job.right[0] = job.term[1];
    if (degree == 0) {
      FillScalarTerm(job, job.out, 1, T(0));
      return "";
    }
    RunCombine(job, threads);
    return "";
  });
}

std::string SigCombineBackprop(const Array& ct_out, const Array& sig1, const Array& sig2,
                               const Array& ct_sig1, const Array& ct_sig2,
                               int64_t dimension, int64_t degree, Threads threads) {
  if (!Addressable(dimension, degree))
    return "sig_combine_backprop: cannot address such a signature";
  if (IsHalf(ct_sig2)) {
    const Array lower1 = LowerOf(sig1, dimension, degree);
    const Array lower2 = LowerOf(sig2, dimension, degree);
    return InFloats<2, 1, 0>(SigCombineBackprop,
                             std::tie(ct_out, lower1, lower2, ct_sig1, ct_sig2), threads,
                             dimension, degree);
  }
  return WithType(ct_sig2.dtype, [&](auto zero) -> std::string {
    using T = decltype(zero);
    const auto& plan =
        Remembered<CombinePlan<T>>(dimension, degree, MaySplit(ct_sig2, true));
    const TensorAlgebra& algebra = plan.algebra();
    Reader reader("sig_combine_backprop", 1, ct_sig2);
    const int64_t scalar = reader.ScalarTerm("the result", ct_sig2, algebra);
    const int64_t skip1 = reader.ScalarTermOfLower("sig1", sig1, algebra);
    const int64_t skip2 = reader.ScalarTermOfLower("sig2", sig2, algebra);
    reader.Expect("deriv", ct_out, 0, Reader::Last(ct_sig2));
    reader.Expect("d_sig1", ct_sig1, 0, Reader::Last(ct_sig2));
    Batch batch(reader.batch());
    CombineJob<T> job(plan, batch, scalar == 1);
    reader.Read("deriv", ct_out, 1, job.ct_out, scalar);
    reader.Read("sig1", sig1, 1, job.left[0], skip1);
    reader.Read("sig2", sig2, 1, job.right[0], skip2);
    reader.Read("d_sig1", ct_sig1, 1, job.ct_left, scalar);
    reader.Read("d_sig2", ct_sig2, 1, job.ct_right, scalar);
    if (!reader.error().empty()) return reader.error();
    batch.Collapse({&job.ct_out.stride, &job.left[0].stride, &job.right[0].stride,
                    &job.ct_left.stride, &job.ct_right.stride});
    if (degree == 0) {
      FillScalarTerm(job, job.ct_left, 1, T(0));
      FillScalarTerm(job, job.ct_right, 1, T(0));
      return "";
    }
    RunCombine(job, threads);
    return "";
  });
}

// The product is bilinear: the derivative of its adjoint is the adjoint with tangents in
// the places of both signatures, which themselves are not read.
std::string SigCombineHvp(const Array& ct_out, const Array& sig1, const Array& sig2,
                          const Array& t_sig1, const Array& t_sig2, const Array& ct_sig1,
                          const Array& ct_sig2, int64_t dimension, int64_t degree,
                          Threads threads) {
  if (!Addressable(dimension, degree))
    return "sig_combine_hvp: cannot address such a signature";
  if (IsHalf(ct_sig2)) {
    const Array lower1 = LowerOf(t_sig1, dimension, degree);
    const Array lower2 = LowerOf(t_sig2, dimension, degree);
    return InFloats<2, 1>(
        SigCombineHvp, std::tie(ct_out, lower1, lower2, lower1, lower2, ct_sig1, ct_sig2),
        threads, dimension, degree);
  }
  return WithType(ct_sig2.dtype, [&](auto zero) -> std::string {
    using T = decltype(zero);
    const auto& plan =
        Remembered<CombinePlan<T>>(dimension, degree, MaySplit(ct_sig2, true));
    const TensorAlgebra& algebra = plan.algebra();
    Reader reader("sig_combine_hvp", 1, ct_sig2);
    const int64_t scalar = reader.ScalarTermOfLower("the result", ct_sig2, algebra);
    const int64_t g_skip = reader.ScalarTerm("deriv", ct_out, algebra);
    const int64_t skip1 = reader.ScalarTermOfLower("t_sig1", t_sig1, algebra);
    const int64_t skip2 = reader.ScalarTermOfLower("t_sig2", t_sig2, algebra);
    reader.Expect("d_sig1", ct_sig1, 0, Reader::Last(ct_sig2));
    Batch batch(reader.batch());
    CombineJob<T> job(plan, batch, scalar == 1);
    job.has_terms = false;
    job.top_level = Reader::Last(ct_sig2) >= algebra.length();
    Operand<const T> unread1, unread2;
    reader.Read("deriv", ct_out, 1, job.ct_out, g_skip);
    reader.Read("sig1", sig1, 1, unread1);
    reader.Read("sig2", sig2, 1, unread2);
    reader.Read("t_sig1", t_sig1, 1, job.left[0], skip1);
    reader.Read("t_sig2", t_sig2, 1, job.right[0], skip2);
    reader.Read("d_sig1", ct_sig1, 1, job.ct_left, scalar);
    reader.Read("d_sig2", ct_sig2, 1, job.ct_right, scalar);
    if (!reader.error().empty()) return reader.error();
    batch.Collapse({&job.ct_out.stride, &job.left[0].stride, &job.right[0].stride,
                    &job.ct_left.stride, &job.ct_right.stride});
    if (degree == 0) {
      FillScalarTerm(job, job.ct_left, 1, T(0));
      FillScalarTerm(job, job.ct_right, 1, T(0));
      return "";
    }
    RunCombine(job, threads);
    return "";
  });
}

std::string SigInverse(const Array& sig, const Array& out, int64_t dimension,
                       int64_t degree, bool linear, Threads threads) {
  if (!Addressable(dimension, degree))
    return "sig_inverse: cannot address such a signature";
  if (IsHalf(out))
    return InFloats<1, 1>(SigInverse, std::tie(sig, out), threads, dimension, degree,
                          linear);
  return WithType(out.dtype, [&](auto zero) -> std::string {
    using T = decltype(zero);
    const auto& algebra = Remembered<TensorAlgebra>(dimension, degree);
    Reader reader("sig_inverse", 1, out);
    const int64_t scalar = reader.ScalarTerm("the result", out, algebra);
    reader.Expect("sig", sig, 0, Reader::Last(out));
    Batch batch(reader.batch());
    const bool splits = MaySplit(out, threads.n_jobs != 1);
    InverseJob<T> job{algebra,         batch, scalar == 1, linear ? T(0) : T(1),
                      splits ? 16 : 1, {},    {}};
    reader.Read("sig", sig, 1, job.sig, scalar);
    reader.Read("out", out, 1, job.out, scalar);
    if (!reader.error().empty()) return reader.error();
    batch.Collapse({&job.sig.stride, &job.out.stride});
    Run<T>(threads, batch.size() * job.parts, algebra.length() / job.parts, 0,
           [&](int64_t begin, int64_t end, T*) {
             KernelsFor<T>(ChosenKernels()).sig_inverse(job, begin, end);
           });
    return "";
  });
}

}  // namespace jax_siglib
