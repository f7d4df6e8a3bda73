// The calls of the operations of whole paths.
#include <algorithm>
#include <tuple>

#include "bundle_plan.h"
#include "call_parts.h"
#include "calls.h"
#include "dispatch.h"
#include "half.h"
#include "long_path.h"
#include "pieces.h"
#include "pieces_derivatives.h"

namespace jax_siglib {
namespace {

// Paths of a batch side by side, if there is a kernel for that, and there are enough of
// them, and enough of each: in vectors of type U.
template <class U, class T>
bool RunBundles(const SigJob<T>& job, typename Kernels<T>::Path kernel, int64_t lanes,
                Threads threads) {
  const TensorAlgebra& algebra = job.plan.algebra();
  const int64_t points = std::min<int64_t>(job.points, 1 << 20), n = job.batch.size();
  const BundlePlan bundles(algebra, job.order, job.adjoint());
  if (!bundles.Pays<U>(n, points, lanes)) return false;
  Run<T>(threads, (n + lanes - 1) / lanes, algebra.length() * points * lanes,
         bundles.scratch<U>(lanes) * static_cast<int64_t>(sizeof(U) / sizeof(T)),
         [&](int64_t begin, int64_t end, T* scratch) { kernel(job, begin, end, scratch); });
  return true;
}

// So, or else one after another.
template <class T>
void RunPath(SigJob<T> job, typename Kernels<T>::Path kernel,
             typename Kernels<T>::Path bundle_kernel, Threads threads) {
  const Kernels<T>& kernels = KernelsFor<T>(ChosenKernels());
  job.bundles_in_double = BundlesInDouble<T>(job.points);
  if (job.bundles_in_double
          ? RunBundles<double>(job, bundle_kernel, kernels.double_lanes, threads)
          : RunBundles<T>(job, bundle_kernel, kernels.lanes, threads))
    return;
  const int64_t points = std::min<int64_t>(job.points, 1 << 20);
  Run<T>(threads, job.batch.size(), job.plan.algebra().length() * points,
         LongPathScratch(job.plan, job.points, job.order),
         [&](int64_t begin, int64_t end, T* scratch) { kernel(job, begin, end, scratch); });
}

// Few but long paths in pieces instead, if that pays. Derivatives of those so long that
// step by step they are done in double are not: gradients would be off by a hundred times
// as much.
template <class T, class InPieces>
bool DoInPieces(const SigJob<T>& job, InPieces&& in_pieces, Threads threads) {
  const Kernels<T>& kernels = KernelsFor<T>(ChosenKernels());
  const bool derivative = job.out.data == nullptr;
  if (derivative && (job.plan.algebra().degree() < 2 || InDouble<T>(job.points)))
    return false;
  if (!Pieces<T>::MayPay(job, kernels.lanes)) return false;
  const Pieces<T> cut(job, kernels.lanes);
  if (!cut.Pays()) return false;
  in_pieces(job, cut, kernels, threads);
  return true;
}

// sig_backprop without a signature: the levels it takes are worked out from the path. In
// half precision that given is a rounded one, and the error that leaves in its levels
// would stay there while they shrink to nothing as the steps are undone.
std::string SigBackpropOfPath(const Array& path, const Array& ct_out, const Array& ct_path,
                              int64_t degree, Threads threads) {
  const int64_t lower = std::max<int64_t>(degree - 1, 0);
  const TensorAlgebra algebra(Reader::Last(path), lower);
  const int64_t elements = path.shape[0];
  Scratch<float> scratch(elements * algebra.length());
  Array sig = path;
  sig.data = scratch.data();
  sig.shape.Truncate(1);
  sig.stride.Truncate(1);
  sig.shape.Append(algebra.length());
  sig.stride.Append(1);
  sig.stride[0] = algebra.length();
  const std::string error = Sig(path, sig, lower, threads);
  if (!error.empty()) return error;
  return SigBackprop(path, sig, ct_out, ct_path, degree, threads);
}

}  // namespace

std::string Sig(const Array& path, const Array& out, int64_t degree, Threads threads) {
  const int64_t dimension = Reader::Last(path), points = Reader::Last(path, 1);
  if (!Addressable(dimension, degree)) return "sig: cannot address such a signature";
  if (IsHalf(out)) return InFloats<1, 1>(Sig, std::tie(path, out), threads, degree);
  return WithType(out.dtype, [&](auto zero) -> std::string {
    using T = decltype(zero);
    const JoinPlan<T>& plan = PlanFor<T>(dimension, degree, false, false);
    Reader reader("sig", 1, out);
    const int64_t scalar = reader.ScalarTerm("the result", out, plan.algebra());
    if (points < 1) reader.Complain("path has no points");
    Batch batch(reader.batch());
    SigJob<T> job(plan, batch, scalar == 1, points);
    reader.Read("path", path, 2, job.path);
    reader.Read("out", out, 1, job.out, scalar);
    if (!reader.error().empty()) return reader.error();
    job.point_stride = BetweenRows(path);
    batch.Collapse({&job.path.stride, &job.out.stride});
    if (degree == 0) {
      FillScalarTerm(job, job.out, 1, T(1));
      return "";
    }
    const Kernels<T>& kernels = KernelsFor<T>(ChosenKernels());
    if (DoInPieces(job, SigOfPieces<T>, threads)) return "";
    RunPath(job, kernels.sig, kernels.sig_bundle, threads);
    return "";
  });
}

std::string SigJvp(const Array& path, const Array& t_path, const Array& t_out,
                   int64_t degree, Threads threads) {
  const int64_t dimension = Reader::Last(path), points = Reader::Last(path, 1);
  if (!Addressable(dimension, degree)) return "sig_jvp: cannot address such a signature";
  if (IsHalf(t_out))
    return InFloats<1, 1>(SigJvp, std::tie(path, t_path, t_out), threads, degree);
  return WithType(t_out.dtype, [&](auto zero) -> std::string {
    using T = decltype(zero);
    const JoinPlan<T>& plan = PlanFor<T>(dimension, degree, false, false);
    Reader reader("sig_jvp", 1, t_out);
    const int64_t scalar = reader.ScalarTerm("the result", t_out, plan.algebra());
    if (points < 1) reader.Complain("path has no points");
    reader.Expect("t_path", t_path, 0, dimension);
    reader.Expect("t_path", t_path, 1, points);
    Batch batch(reader.batch());
    SigJob<T> job(plan, batch, scalar == 1, points);
    reader.Read("path", path, 2, job.path);
    reader.Read("t_path", t_path, 2, job.t_path);
    reader.Read("t_out", t_out, 1, job.t_out, scalar);
    if (!reader.error().empty()) return reader.error();
    job.point_stride = BetweenRows(path);
    job.t_point_stride = BetweenRows(t_path);
    batch.Collapse({&job.path.stride, &job.t_path.stride, &job.t_out.stride});
    if (degree == 0) {
      FillScalarTerm(job, job.t_out, 1, T(0));
      return "";
    }
    const Kernels<T>& kernels = KernelsFor<T>(ChosenKernels());
    if (DoInPieces(job, SigJvpOfPieces<T>, threads)) return "";
    RunPath(job, kernels.sig_jvp, kernels.sig_jvp_bundle, threads);
    return "";
  });
}

std::string SigBackprop(const Array& path, const Array& sig, const Array& ct_out,
                        const Array& ct_path, int64_t degree, Threads threads) {
  const int64_t dimension = Reader::Last(path), points = Reader::Last(path, 1);
  if (!Addressable(dimension, degree))
    return "sig_backprop: cannot address such a signature";
  if (IsHalf(ct_path))
    return InFloats<1, 2>(SigBackpropOfPath, std::tie(path, ct_out, ct_path), threads,
                          degree);
  return WithType(ct_path.dtype, [&](auto zero) -> std::string {
    using T = decltype(zero);
    const JoinPlan<T>& plan = PlanFor<T>(dimension, degree, false, false);
    Reader reader("sig_backprop", 2, ct_path);
    const int64_t scalar = reader.ScalarTerm("sig_derivs", ct_out, plan.algebra());
    const int64_t skip = reader.ScalarTermOfLower("sig", sig, plan.algebra());
    if (points < 1) reader.Complain("path has no points");
    reader.Expect("d_path", ct_path, 0, dimension);
    reader.Expect("d_path", ct_path, 1, points);
    Batch batch(reader.batch());
    SigJob<T> job(plan, batch, scalar == 1, points);
    reader.Read("path", path, 2, job.path);
    reader.Read("sig", sig, 1, job.sig, skip);
    reader.Read("sig_derivs", ct_out, 1, job.ct_out, scalar);
    reader.Read("d_path", ct_path, 2, job.ct_path);
    if (!reader.error().empty()) return reader.error();
    job.point_stride = BetweenRows(path);
    batch.Collapse(
        {&job.path.stride, &job.sig.stride, &job.ct_out.stride, &job.ct_path.stride});
    if (degree == 0) {
      Fill(batch, job.ct_path, points * dimension, T(0));
      return "";
    }
    const Kernels<T>& kernels = KernelsFor<T>(ChosenKernels());
    if (DoInPieces(job, SigBackpropOfPieces<T>, threads)) return "";
    RunPath(job, kernels.sig_backprop, kernels.sig_backprop_bundle, threads);
    return "";
  });
}

std::string SigHvp(const Array& ct_out, const Array& path, const Array& t_path,
                   const Array& ct_path, int64_t degree, Threads threads) {
  const int64_t dimension = Reader::Last(path), points = Reader::Last(path, 1);
  if (!Addressable(dimension, degree)) return "sig_hvp: cannot address such a signature";
  if (IsHalf(ct_path))
    return InFloats<1, 2>(SigHvp, std::tie(ct_out, path, t_path, ct_path), threads, degree);
  return WithType(ct_path.dtype, [&](auto zero) -> std::string {
    using T = decltype(zero);
    const JoinPlan<T>& plan = PlanFor<T>(dimension, degree, false, false);
    Reader reader("sig_hvp", 2, ct_path);
    const int64_t scalar = reader.ScalarTerm("sig_derivs", ct_out, plan.algebra());
    if (points < 1) reader.Complain("path has no points");
    reader.Expect("t_path", t_path, 0, dimension);
    reader.Expect("t_path", t_path, 1, points);
    reader.Expect("d_path", ct_path, 0, dimension);
    reader.Expect("d_path", ct_path, 1, points);
    Batch batch(reader.batch());
    SigJob<T> job(plan, batch, scalar == 1, points);
    job.order = 2;
    reader.Read("sig_derivs", ct_out, 1, job.ct_out, scalar);
    reader.Read("path", path, 2, job.path);
    reader.Read("t_path", t_path, 2, job.t_path);
    reader.Read("d_path", ct_path, 2, job.ct_path);
    if (!reader.error().empty()) return reader.error();
    job.point_stride = BetweenRows(path);
    job.t_point_stride = BetweenRows(t_path);
    batch.Collapse(
        {&job.ct_out.stride, &job.path.stride, &job.t_path.stride, &job.ct_path.stride});
    // Increments that are added up have no second derivative.
    if (degree < 2) {
      Fill(batch, job.ct_path, points * dimension, T(0));
      return "";
    }
    const Kernels<T>& kernels = KernelsFor<T>(ChosenKernels());
    RunPath(job, kernels.sig_hvp, kernels.sig_hvp_bundle, threads);
    return "";
  });
}

}  // namespace jax_siglib
