// The calls of the operations of running signatures.
#include <algorithm>
#include <tuple>

#include "call_parts.h"
#include "calls.h"
#include "dispatch.h"
#include "half.h"
#include "sig_stream.h"

namespace jax_siglib {
namespace {

template <class T>
void RunStream(const SigStreamJob<T>& job, void (StreamSweep<T>::*sweep)(), int64_t order,
               Threads threads) {
  const int64_t n = job.batch.size(), together = StreamSweep<T>::Elements(job);
  const int64_t steps = std::min<int64_t>(job.steps, 1 << 20);
  const Kernels<T>& kernels = KernelsFor<T>(ChosenKernels());
  Run<T>(threads, (n + together - 1) / together,
         together * job.plan.algebra().length() * steps,
         StreamSweep<T>::ScratchEntries(job, together, order),
         [&](int64_t begin, int64_t end, T* scratch) {
           for (int64_t i = begin; i < end; ++i) {
             const int64_t first = i * together, count = std::min(together, n - first);
             (StreamSweep<T>(job, kernels, first, count, order, scratch).*sweep)();
           }
         });
}

// sig_stream_backprop without the rows, which are worked out again; as in
// SigBackpropOfPath, those given are rounded ones.
std::string SigStreamBackpropOfPath(const Array& ct_out, const Array& initial,
                                    const Array& path, const Array& ct_initial,
                                    const Array& ct_path, int64_t degree, bool prepend,
                                    Threads threads) {
  const int64_t lower = std::max<int64_t>(degree - 1, 0);
  const int64_t length = TensorAlgebra(Reader::Last(path), lower).length();
  const int64_t elements = ct_path.shape[0], rows = ct_path.shape[1] - 1;
  Scratch<float> scratch(elements * rows * length);
  Array stream = ct_path;
  stream.data = scratch.data();
  stream.shape[1] = rows;
  stream.shape[2] = length;
  stream.stride[1] = length;
  stream.stride[0] = rows * length;
  const std::string error = SigStream(initial, path, stream, lower, prepend, threads);
  if (!error.empty()) return error;
  return SigStreamBackprop(ct_out, initial, path, stream, ct_initial, ct_path, degree,
                           prepend, threads);
}

}  // namespace

std::string SigStream(const Array& initial, const Array& path, const Array& out,
                      int64_t degree, bool prepend, Threads threads) {
  const int64_t dimension = Reader::Last(path), points = Reader::Last(path, 1);
  if (!Addressable(dimension, degree)) return "sig_stream: cannot address such a signature";
  if (IsHalf(out))
    return InFloats<1, 2>(SigStream, std::tie(initial, path, out), threads, degree,
                          prepend);
  return WithType(out.dtype, [&](auto zero) -> std::string {
    using T = decltype(zero);
    const JoinPlan<T>& plan = PlanFor<T>(dimension, degree, prepend, false);
    Reader reader("sig_stream", 2, out);
    const int64_t scalar = reader.ScalarTerm("the result", out, plan.algebra());
    const int64_t skip = reader.ScalarTerm("initial", initial, plan.algebra());
    if (points < 1) reader.Complain("path has no points");
    reader.Expect("out", out, 1, points - 1);
    Batch batch(reader.batch());
    SigStreamJob<T> job(plan, batch, scalar == 1, points);
    reader.Read("initial", initial, 1, job.initial, skip);
    reader.Read("path", path, 2, job.path);
    reader.Read("out", out, 2, job.out, scalar);
    if (!reader.error().empty()) return reader.error();
    job.point_stride = BetweenRows(path);
    job.out_stride = Reader::Last(out);
    batch.Collapse({&job.initial.stride, &job.path.stride, &job.out.stride});
    if (degree == 0) {
      FillScalarTerm(job, job.out, job.steps, T(1));
      return "";
    }
    RunStream(job, &StreamSweep<T>::Forward, 1, threads);
    return "";
  });
}

std::string SigStreamJvp(const Array& initial, const Array& path, const Array& t_initial,
                         const Array& t_path, const Array& t_out, int64_t degree,
                         bool prepend, Threads threads) {
  const int64_t dimension = Reader::Last(path), points = Reader::Last(path, 1);
  if (!Addressable(dimension, degree))
    return "sig_stream_jvp: cannot address such a signature";
  if (IsHalf(t_out)) {
    const Array lower = LowerOf(initial, dimension, degree);
    return InFloats<1, 2>(SigStreamJvp, std::tie(lower, path, t_initial, t_path, t_out),
                          threads, degree, prepend);
  }
  return WithType(t_out.dtype, [&](auto zero) -> std::string {
    using T = decltype(zero);
    const JoinPlan<T>& plan = PlanFor<T>(dimension, degree, prepend, false);
    const TensorAlgebra& algebra = plan.algebra();
    Reader reader("sig_stream_jvp", 2, t_out);
    const int64_t scalar = reader.ScalarTerm("the result", t_out, algebra);
    const int64_t skip = reader.ScalarTermOfLower("initial", initial, algebra);
    const int64_t t_skip = reader.ScalarTerm("t_initial", t_initial, algebra);
    if (points < 1) reader.Complain("path has no points");
    reader.Expect("t_path", t_path, 0, dimension);
    reader.Expect("t_path", t_path, 1, points);
    reader.Expect("t_out", t_out, 1, points - 1);
    Batch batch(reader.batch());
    SigStreamJob<T> job(plan, batch, scalar == 1, points);
    reader.Read("initial", initial, 1, job.initial, skip);
    reader.Read("path", path, 2, job.path);
    reader.Read("t_initial", t_initial, 1, job.t_initial, t_skip);
    reader.Read("t_path", t_path, 2, job.t_path);
    reader.Read("t_out", t_out, 2, job.t_out, scalar);
    if (!reader.error().empty()) return reader.error();
    job.point_stride = BetweenRows(path);
    job.t_point_stride = BetweenRows(t_path);
    job.out_stride = Reader::Last(t_out);
    batch.Collapse({&job.initial.stride, &job.path.stride, &job.t_initial.stride,
                    &job.t_path.stride, &job.t_out.stride});
    if (degree == 0) {
      FillScalarTerm(job, job.t_out, job.steps, T(0));
      return "";
    }
    RunStream(job, &StreamSweep<T>::Tangent, 1, threads);
    return "";
  });
}

std::string SigStreamBackprop(const Array& ct_out, const Array& initial, const Array& path,
                              const Array& stream, const Array& ct_initial,
                              const Array& ct_path, int64_t degree, bool prepend,
                              Threads threads) {
  const int64_t dimension = Reader::Last(path), points = Reader::Last(path, 1);
  if (!Addressable(dimension, degree))
    return "sig_stream_backprop: cannot address such a signature";
  if (IsHalf(ct_path)) {
    const Array lower = LowerOf(initial, dimension, degree);
    return InFloats<2, 2>(SigStreamBackpropOfPath,
                          std::tie(ct_out, lower, path, ct_initial, ct_path), threads,
                          degree, prepend);
  }
  return WithType(ct_path.dtype, [&](auto zero) -> std::string {
    using T = decltype(zero);
    const JoinPlan<T>& plan = PlanFor<T>(dimension, degree, prepend, false);
    const TensorAlgebra& algebra = plan.algebra();
    Reader reader("sig_stream_backprop", 2, ct_path);
    const int64_t g_skip = reader.ScalarTerm("stream_derivs", ct_out, algebra);
    const int64_t scalar = reader.ScalarTerm("d_initial", ct_initial, algebra);
    const int64_t skip = reader.ScalarTermOfLower("initial", initial, algebra);
    const int64_t row_skip = reader.ScalarTermOfLower("stream", stream, algebra);
    if (points < 1) reader.Complain("path has no points");
    reader.Expect("stream_derivs", ct_out, 1, points - 1);
    reader.Expect("stream", stream, 1, points - 1);
    reader.Expect("d_path", ct_path, 0, dimension);
    reader.Expect("d_path", ct_path, 1, points);
    Batch batch(reader.batch());
    SigStreamJob<T> job(plan, batch, scalar == 1, points);
    reader.Read("stream_derivs", ct_out, 2, job.ct_out, g_skip);
    reader.Read("initial", initial, 1, job.initial, skip);
    reader.Read("path", path, 2, job.path);
    reader.Read("stream", stream, 2, job.stream, row_skip);
    reader.Read("d_initial", ct_initial, 1, job.ct_initial, scalar);
    reader.Read("d_path", ct_path, 2, job.ct_path);
    if (!reader.error().empty()) return reader.error();
    job.point_stride = BetweenRows(path);
    job.stream_stride = BetweenRows(stream);
    job.ct_out_stride = BetweenRows(ct_out);
    batch.Collapse({&job.ct_out.stride, &job.initial.stride, &job.path.stride,
                    &job.stream.stride, &job.ct_initial.stride, &job.ct_path.stride});
    if (degree == 0) {
      Fill(batch, job.ct_path, points * dimension, T(0));
      FillScalarTerm(job, job.ct_initial, 1, T(0));
      return "";
    }
    RunStream(job, &StreamSweep<T>::Adjoint, 1, threads);
    return "";
  });
}

std::string SigStreamHvp(const Array& ct_out, const Array& initial, const Array& path,
                         const Array& t_initial, const Array& t_path,
                         const Array& ct_initial, const Array& ct_path, int64_t degree,
                         bool prepend, Threads threads) {
  const int64_t dimension = Reader::Last(path), points = Reader::Last(path, 1);
  if (!Addressable(dimension, degree))
    return "sig_stream_hvp: cannot address such a signature";
  if (IsHalf(ct_path)) {
    const Array lower = LowerOf(initial, dimension, degree);
    const Array t_lower = LowerOf(t_initial, dimension, degree);
    return InFloats<2, 2>(
        SigStreamHvp, std::tie(ct_out, lower, path, t_lower, t_path, ct_initial, ct_path),
        threads, degree, prepend);
  }
  return WithType(ct_path.dtype, [&](auto zero) -> std::string {
    using T = decltype(zero);
    const JoinPlan<T>& plan = PlanFor<T>(dimension, degree, prepend, false);
    const TensorAlgebra& algebra = plan.algebra();
    Reader reader("sig_stream_hvp", 2, ct_path);
    const int64_t g_skip = reader.ScalarTerm("stream_derivs", ct_out, algebra);
    const int64_t skip = reader.ScalarTermOfLower("initial", initial, algebra);
    const int64_t t_skip = reader.ScalarTermOfLower("t_initial", t_initial, algebra);
    if (points < 1) reader.Complain("path has no points");
    reader.Expect("stream_derivs", ct_out, 1, points - 1);
    reader.Expect("t_path", t_path, 0, dimension);
    reader.Expect("t_path", t_path, 1, points);
    reader.Expect("d_initial", ct_initial, 0, std::max<int64_t>(algebra.offset(degree), 0));
    reader.Expect("d_path", ct_path, 0, dimension);
    reader.Expect("d_path", ct_path, 1, points);
    Batch batch(reader.batch());
    SigStreamJob<T> job(plan, batch, false, points);
    reader.Read("stream_derivs", ct_out, 2, job.ct_out, g_skip);
    reader.Read("initial", initial, 1, job.initial, skip);
    reader.Read("path", path, 2, job.path);
    reader.Read("t_initial", t_initial, 1, job.t_initial, t_skip);
    reader.Read("t_path", t_path, 2, job.t_path);
    reader.Read("d_initial", ct_initial, 1, job.ct_initial);
    reader.Read("d_path", ct_path, 2, job.ct_path);
    if (!reader.error().empty()) return reader.error();
    job.point_stride = BetweenRows(path);
    job.t_point_stride = BetweenRows(t_path);
    job.ct_out_stride = BetweenRows(ct_out);
    batch.Collapse({&job.ct_out.stride, &job.initial.stride, &job.path.stride,
                    &job.t_initial.stride, &job.t_path.stride, &job.ct_initial.stride,
                    &job.ct_path.stride});
    if (degree == 0) {
      Fill(batch, job.ct_path, points * dimension, T(0));
      return "";
    }
    RunStream(job, &StreamSweep<T>::AdjointTangent, 2, threads);
    return "";
  });
}

}  // namespace jax_siglib
