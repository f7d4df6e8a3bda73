// The calls of the operations of joins.
#include <algorithm>
#include <tuple>

#include "call_parts.h"
#include "calls.h"
#include "dispatch.h"
#include "half.h"

namespace jax_siglib {
namespace {

template <class T>
void RunJoin(SigJoinJob<T>& job, typename Kernels<T>::Join kernel, Threads threads) {
  const JoinPlan<T>& plan = job.plan;
  const int64_t n = job.batch.size(), length = plan.algebra().length();
  const int64_t own = plan.worker_scratch(job.order);
  auto run = [&](JoinPhase phase, int64_t items, int64_t entries) {
    Run<T>(threads, items, entries, own, [&](int64_t begin, int64_t end, T* scratch) {
      kernel(job, phase, begin, end, scratch);
    });
  };
  if (!plan.is_split()) return run(JoinPhase::kWhole, n, length);
  Scratch<T> shared(n * plan.shared_scratch(job.order));
  job.shared = shared.data();
  const int64_t head = plan.algebra().offset(plan.split() + 1);
  run(JoinPhase::kHead, n, head);
  run(JoinPhase::kTile, n * plan.tiles(), length / plan.tiles());
  run(JoinPhase::kTail, n, head);
}

}  // namespace

std::string SigJoin(const Array& sig, const Array& displacement, const Array& out,
                    int64_t dimension, int64_t degree, bool prepend, Threads threads) {
  if (!Addressable(dimension, degree)) return "sig_join: cannot address such a signature";
  if (IsHalf(out))
    return InFloats<1, 1, 0>(SigJoin, std::tie(sig, displacement, out), threads, dimension,
                             degree, prepend);
  return WithType(out.dtype, [&](auto zero) -> std::string {
    using T = decltype(zero);
    const JoinPlan<T>& plan = PlanFor<T>(dimension, degree, prepend,
                                         MaySplit(out, !prepend || threads.n_jobs != 1));
    Reader reader("sig_join", 1, out);
    const int64_t scalar = reader.ScalarTerm("the result", out, plan.algebra());
    reader.Expect("sig", sig, 0, Reader::Last(out));
    reader.Expect("displacement", displacement, 0, dimension);
    Batch batch(reader.batch());
    SigJoinJob<T> job(plan, batch, scalar == 1);
    reader.Read("sig", sig, 1, job.sig, scalar);
    reader.Read("displacement", displacement, 1, job.displacement);
    reader.Read("out", out, 1, job.out, scalar);
    if (!reader.error().empty()) return reader.error();
    batch.Collapse({&job.sig.stride, &job.displacement.stride, &job.out.stride});
    if (degree == 0) {
      FillScalarTerm(job, job.out, 1, T(1));
      return "";
    }
    RunJoin(job, KernelsFor<T>(ChosenKernels()).sig_join, threads);
    return "";
  });
}

std::string SigJoinJvp(const Array& sig, const Array& displacement, const Array& t_sig,
                       const Array& t_displacement, const Array& t_out, int64_t dimension,
                       int64_t degree, bool prepend, Threads threads) {
  if (!Addressable(dimension, degree))
    return "sig_join_jvp: cannot address such a signature";
  if (IsHalf(t_out)) {
    const Array lower = LowerOf(sig, dimension, degree);
    return InFloats<1, 1, 2>(SigJoinJvp,
                             std::tie(lower, displacement, t_sig, t_displacement, t_out),
                             threads, dimension, degree, prepend);
  }
  return WithType(t_out.dtype, [&](auto zero) -> std::string {
    using T = decltype(zero);
    const JoinPlan<T>& plan = PlanFor<T>(dimension, degree, prepend,
                                         MaySplit(t_out, !prepend || threads.n_jobs != 1));
    Reader reader("sig_join_jvp", 1, t_out);
    const int64_t scalar = reader.ScalarTerm("the result", t_out, plan.algebra());
    const int64_t skip = reader.ScalarTermOfLower("sig", sig, plan.algebra());
    reader.Expect("t_sig", t_sig, 0, Reader::Last(t_out));
    reader.Expect("displacement", displacement, 0, dimension);
    reader.Expect("t_displacement", t_displacement, 0, dimension);
    Batch batch(reader.batch());
    SigJoinJob<T> job(plan, batch, scalar == 1);
    reader.Read("sig", sig, 1, job.sig, skip);
    reader.Read("displacement", displacement, 1, job.displacement);
    reader.Read("t_sig", t_sig, 1, job.t_sig, scalar);
    reader.Read("t_displacement", t_displacement, 1, job.t_displacement);
    reader.Read("t_out", t_out, 1, job.t_out, scalar);
    if (!reader.error().empty()) return reader.error();
    batch.Collapse({&job.sig.stride, &job.displacement.stride, &job.t_sig.stride,
                    &job.t_displacement.stride, &job.t_out.stride});
    if (degree == 0) {
      FillScalarTerm(job, job.t_out, 1, T(0));
      return "";
    }
    RunJoin(job, KernelsFor<T>(ChosenKernels()).sig_join_jvp, threads);
    return "";
  });
}

std::string SigJoinBackprop(const Array& ct_out, const Array& sig,
                            const Array& displacement, const Array& ct_sig,
                            const Array& ct_displacement, int64_t dimension, int64_t degree,
                            bool prepend, Threads threads) {
  if (!Addressable(dimension, degree))
    return "sig_join_backprop: cannot address such a signature";
  if (IsHalf(ct_sig)) {
    const Array lower = LowerOf(sig, dimension, degree);
    return InFloats<2, 1, 0>(SigJoinBackprop,
                             std::tie(ct_out, lower, displacement, ct_sig, ct_displacement),
                             threads, dimension, degree, prepend);
  }
  return WithType(ct_sig.dtype, [&](auto zero) -> std::string {
    using T = decltype(zero);
    const JoinPlan<T>& plan =
        PlanFor<T>(dimension, degree, prepend, MaySplit(ct_sig, true));
    Reader reader("sig_join_backprop", 1, ct_sig);
    const int64_t scalar = reader.ScalarTerm("the result", ct_sig, plan.algebra());
    const int64_t skip = reader.ScalarTermOfLower("sig", sig, plan.algebra());
    reader.Expect("d_out", ct_out, 0, Reader::Last(ct_sig));
    reader.Expect("displacement", displacement, 0, dimension);
    reader.Expect("d_displacement", ct_displacement, 0, dimension);
    Batch batch(reader.batch());
    SigJoinJob<T> job(plan, batch, scalar == 1);
    reader.Read("d_out", ct_out, 1, job.ct_out, scalar);
    reader.Read("sig", sig, 1, job.sig, skip);
    reader.Read("displacement", displacement, 1, job.displacement);
    reader.Read("d_sig", ct_sig, 1, job.ct_sig, scalar);
    reader.Read("d_displacement", ct_displacement, 1, job.ct_displacement);
    if (!reader.error().empty()) return reader.error();
    batch.Collapse({&job.ct_out.stride, &job.sig.stride, &job.displacement.stride,
                    &job.ct_sig.stride, &job.ct_displacement.stride});
    if (degree == 0) {
      Fill(batch, job.ct_displacement, dimension, T(0));
      FillScalarTerm(job, job.ct_sig, 1, T(0));
      return "";
    }
    RunJoin(job, KernelsFor<T>(ChosenKernels()).sig_join_backprop, threads);
    return "";
  });
}

std::string SigJoinHvp(const Array& ct_out, const Array& sig, const Array& displacement,
                       const Array& t_sig, const Array& t_displacement, const Array& ct_sig,
                       const Array& ct_displacement, int64_t dimension, int64_t degree,
                       bool prepend, Threads threads) {
  if (!Addressable(dimension, degree))
    return "sig_join_hvp: cannot address such a signature";
  if (IsHalf(ct_sig)) {
    const Array lower = LowerOf(sig, dimension, degree);
    const Array t_lower = LowerOf(t_sig, dimension, degree);
    return InFloats<2, 1>(SigJoinHvp,
                          std::tie(ct_out, lower, displacement, t_lower, t_displacement,
                                   ct_sig, ct_displacement),
                          threads, dimension, degree, prepend);
  }
  return WithType(ct_sig.dtype, [&](auto zero) -> std::string {
    using T = decltype(zero);
    const JoinPlan<T>& plan =
        PlanFor<T>(dimension, degree, prepend, MaySplit(ct_sig, true));
    const TensorAlgebra& algebra = plan.algebra();
    Reader reader("sig_join_hvp", 1, ct_sig);
    const int64_t scalar = reader.ScalarTermOfLower("the result", ct_sig, algebra);
    const int64_t g_skip = reader.ScalarTerm("d_out", ct_out, algebra);
    const int64_t skip = reader.ScalarTermOfLower("sig", sig, algebra);
    const int64_t t_skip = reader.ScalarTermOfLower("t_sig", t_sig, algebra);
    reader.Expect("displacement", displacement, 0, dimension);
    reader.Expect("t_displacement", t_displacement, 0, dimension);
    reader.Expect("d_displacement", ct_displacement, 0, dimension);
    Batch batch(reader.batch());
    SigJoinJob<T> job(plan, batch, scalar == 1);
    job.order = 2;
    job.top_level = Reader::Last(ct_sig) >= algebra.length();
    reader.Read("d_out", ct_out, 1, job.ct_out, g_skip);
    reader.Read("sig", sig, 1, job.sig, skip);
    reader.Read("displacement", displacement, 1, job.displacement);
    reader.Read("t_sig", t_sig, 1, job.t_sig, t_skip);
    reader.Read("t_displacement", t_displacement, 1, job.t_displacement);
    reader.Read("d_sig", ct_sig, 1, job.ct_sig, scalar);
    reader.Read("d_displacement", ct_displacement, 1, job.ct_displacement);
    if (!reader.error().empty()) return reader.error();
    batch.Collapse({&job.ct_out.stride, &job.sig.stride, &job.displacement.stride,
                    &job.t_sig.stride, &job.t_displacement.stride, &job.ct_sig.stride,
                    &job.ct_displacement.stride});
    if (degree == 0) {
      Fill(batch, job.ct_displacement, dimension, T(0));
      FillScalarTerm(job, job.ct_sig, 1, T(0));
      return "";
    }
    RunJoin(job, KernelsFor<T>(ChosenKernels()).sig_join_hvp, threads);
    return "";
  });
}

}  // namespace jax_siglib
