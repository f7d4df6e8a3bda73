#include "calls.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <tuple>
#include <type_traits>

#include "bundle_plan.h"
#include "combine_job.h"
#include "dispatch.h"
#include "half.h"
#include "inverse_job.h"
#include "kernels.h"
#include "run.h"

namespace jax_siglib {
namespace {

std::string Text(const Dims& dims) {
  std::string text = "(";
  for (int i = 0; i < dims.rank(); ++i) text += (i ? ", " : "") + std::to_string(dims[i]);
  return text + (dims.rank() == 1 ? ",)" : ")");
}

// One call's arguments on their way to a job. The first complaint sticks.
class Reader {
 public:
  Reader(const char* operation, int core, const Array& result)
      : operation_(operation), dtype_(result.dtype) {
    if (result.shape.rank() < core) {
      Complain("the result has shape " + Text(result.shape));
      return;
    }
    for (int i = 0; i + core < result.shape.rank(); ++i) batch_.Append(result.shape[i]);
    if (dtype_ == Dtype::kOther) Complain("expected float16, bfloat16, float32 or float64");
  }

  // The operand's data and batch strides, `skip` entries in; its last `core`
  // dimensions are the caller's business.
  template <class T>
  void Read(const char* name, const Array& array, int core, Operand<T>& operand,
            int64_t skip = 0) {
    using Entry = std::remove_const_t<T>;
    if (!error_.empty()) return;
    const int rank = batch_.rank();
    if (array.dtype != dtype_) return Complain(std::string(name) + " has another dtype");
    bool fits = array.shape.rank() == rank + core;
    for (int i = 0; fits && i < rank; ++i) {
      const bool one = !std::is_same_v<T, Entry> && array.shape[i] == 1;
      fits = array.shape[i] == batch_[i] || one;
      operand.stride.Append(array.shape[i] == 1 ? 0 : array.stride[i]);
    }
    if (!fits)
      return Complain(std::string(name) + " has shape " + Text(array.shape) +
                      ", which does not fit a batch of " + Text(batch_));
    operand.data = static_cast<T*>(array.data) + skip;
  }

  // Checks the last dimension but `from_end`.
  void Expect(const char* name, const Array& array, int from_end, int64_t size) {
    if (!error_.empty()) return;
    const int64_t found = Last(array, from_end);
    if (found != size)
      Complain(std::string(name) + " has " + std::to_string(found) + " entries along " +
               "dimension -" + std::to_string(from_end + 1) + ", expected " +
               std::to_string(size));
  }

  void Complain(const std::string& what) {
    if (error_.empty()) error_ = std::string(operation_) + ": " + what;
  }

  static int64_t Last(const Array& array, int from_end = 0) {
    const int at = array.shape.rank() - 1 - from_end;
    return at < 0 ? -1 : array.shape[at];
  }

  const Dims& batch() const { return batch_; }
  const std::string& error() const { return error_; }

 private:
  const char* operation_;
  Dtype dtype_;
  Dims batch_;
  std::string error_;
};

// Whether lengths of this degree fit 63 bits, so that the plan may be made.
bool Addressable(int64_t dimension, int64_t degree) {
  if (dimension < 1 || degree < 0) return false;
  int64_t size = 1, length = 0;
  for (int64_t k = 1; k <= degree; ++k) {
    if (__builtin_mul_overflow(size, dimension, &size) ||
        __builtin_add_overflow(length, size, &length))
      return false;
    if (length > (int64_t{1} << 59)) return false;
  }
  return true;
}

// f(T{}) for the type of a dtype that has kernels.
template <class F>
std::string WithType(Dtype dtype, F&& f) {
  switch (dtype) {
    case Dtype::kFloat32:
      return f(float{});
    case Dtype::kFloat64:
      return f(double{});
    case Dtype::kFloat16:  // done in float, see half.h
    case Dtype::kBFloat16:
    case Dtype::kOther:
      break;
  }
  return "expected float16, bfloat16, float32 or float64";
}

// Whether large signatures are worth cutting up: if there are few of them, for the sake
// of threads and of the cache. The number of threads must not matter to the adjoint, whose
// sums depend on the cuts; results of the others do not, and in front (prepend) one thread
// alone is faster without.
bool MaySplit(const Array& result, bool worthwhile) {
  int64_t batch = 1;
  for (int i = 0; i + 1 < result.shape.rank(); ++i) batch *= result.shape[i];
  return batch < 16 && worthwhile;
}

// Plans are asked for again and again with the same arguments, and for a signature of
// 155 entries making one costs more than using it.
template <class Plan, class... Key>
const Plan& Remembered(Key... key) {
  thread_local std::unique_ptr<const Plan> last;
  thread_local std::tuple<Key...> last_key;
  if (!last || last_key != std::tuple<Key...>(key...)) {
    last.reset();
    last = std::make_unique<const Plan>(key...);
    last_key = std::tuple<Key...>(key...);
  }
  return *last;
}

template <class T>
const JoinPlan<T>& PlanFor(int64_t dimension, int64_t degree, bool prepend,
                           bool may_split) {
  return Remembered<JoinPlan<T>>(dimension, degree, prepend, may_split);
}

// Where level 1 starts in a signature of this length: 1 with the scalar term, else 0;
// -1 if the length is no signature's.
int64_t ScalarTerm(int64_t found, int64_t length) {
  return found == length ? 0 : found == length + 1 ? 1 : -1;
}

// The same for an operand that may be the residual.
template <class T>
int64_t ScalarTermOfLower(int64_t found, const TensorAlgebra& algebra) {
  const int64_t full = ScalarTerm(found, algebra.length());
  if (full >= 0 || algebra.degree() == 0) return full;
  return found == algebra.offset(algebra.degree()) ? 0 : -1;
}

template <class T>
void Fill(const Batch& batch, const Operand<T>& operand, int64_t entries, T value) {
  for (int64_t b = 0; b < batch.size(); ++b)
    std::fill_n(batch.At(operand, b), entries, value);
}

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

// Paths of a batch side by side, if there is a kernel for that, and there are enough of
// them, and enough of each.
template <class T>
void RunPath(const SigJob<T>& job, typename Kernels<T>::Path kernel,
             typename Kernels<T>::Path bundle_kernel, Threads threads) {
  const TensorAlgebra& algebra = job.plan.algebra();
  const int64_t points = std::min<int64_t>(job.points, 1 << 20);
  const int64_t n = job.batch.size(), lanes = KernelsFor<T>(ChosenKernels()).lanes;
  const BundlePlan bundles(algebra);
  if (bundle_kernel != nullptr &&
      bundles.Pays<T>(n, points, lanes, job.ct_path.data != nullptr)) {
    Run<T>(threads, (n + lanes - 1) / lanes, algebra.length() * points * lanes,
           bundles.scratch<T>(lanes), [&](int64_t begin, int64_t end, T* scratch) {
             bundle_kernel(job, begin, end, scratch);
           });
    return;
  }
  Run<T>(threads, n, algebra.length() * points, job.plan.path_scratch(job.order),
         [&](int64_t begin, int64_t end, T* scratch) { kernel(job, begin, end, scratch); });
}

// The levels of an operand that derivatives read, so that no others are widened.
Array LowerOfHalf(const Array& sig, int64_t dimension, int64_t degree) {
  const TensorAlgebra algebra(dimension, degree);
  const int64_t scalar = ScalarTerm(Reader::Last(sig), algebra.length());
  Array lower = sig;
  if (scalar < 0 || degree == 0) return lower;
  lower.data = static_cast<uint16_t*>(sig.data) + scalar;
  lower.shape[sig.shape.rank() - 1] = algebra.offset(degree);
  return lower;
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
    const int64_t scalar = ScalarTerm(Reader::Last(out), plan.algebra().length());
    if (scalar < 0) reader.Complain("the result has no signature's length");
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
      if (job.scalar_term) {
        job.out.data -= 1;
        Fill(batch, job.out, 1, T(1));
      }
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
    const Array lower = LowerOfHalf(sig, dimension, degree);
    return InFloats<1, 1, 2>(SigJoinJvp,
                             std::tie(lower, displacement, t_sig, t_displacement, t_out),
                             threads, dimension, degree, prepend);
  }
  return WithType(t_out.dtype, [&](auto zero) -> std::string {
    using T = decltype(zero);
    const JoinPlan<T>& plan = PlanFor<T>(dimension, degree, prepend,
                                         MaySplit(t_out, !prepend || threads.n_jobs != 1));
    Reader reader("sig_join_jvp", 1, t_out);
    const int64_t scalar = ScalarTerm(Reader::Last(t_out), plan.algebra().length());
    if (scalar < 0) reader.Complain("the result has no signature's length");
    const int64_t skip = ScalarTermOfLower<T>(Reader::Last(sig), plan.algebra());
    if (skip < 0) reader.Complain("sig has no signature's length");
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
      if (job.scalar_term) {
        job.t_out.data -= 1;
        Fill(batch, job.t_out, 1, T(0));
      }
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
    const Array lower = LowerOfHalf(sig, dimension, degree);
    return InFloats<2, 1, 0>(SigJoinBackprop,
                             std::tie(ct_out, lower, displacement, ct_sig, ct_displacement),
                             threads, dimension, degree, prepend);
  }
  return WithType(ct_sig.dtype, [&](auto zero) -> std::string {
    using T = decltype(zero);
    const JoinPlan<T>& plan =
        PlanFor<T>(dimension, degree, prepend, MaySplit(ct_sig, true));
    Reader reader("sig_join_backprop", 1, ct_sig);
    const int64_t scalar = ScalarTerm(Reader::Last(ct_sig), plan.algebra().length());
    if (scalar < 0) reader.Complain("the result has no signature's length");
    const int64_t skip = ScalarTermOfLower<T>(Reader::Last(sig), plan.algebra());
    if (skip < 0) reader.Complain("sig has no signature's length");
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
      if (job.scalar_term) {
        job.ct_sig.data -= 1;
        Fill(batch, job.ct_sig, 1, T(0));
      }
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
    const Array lower = LowerOfHalf(sig, dimension, degree);
    const Array t_lower = LowerOfHalf(t_sig, dimension, degree);
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
    const int64_t scalar = ScalarTermOfLower<T>(Reader::Last(ct_sig), algebra);
    if (scalar < 0) reader.Complain("the result has no signature's length");
    const int64_t g_skip = ScalarTerm(Reader::Last(ct_out), algebra.length());
    if (g_skip < 0) reader.Complain("d_out has no signature's length");
    const int64_t skip = ScalarTermOfLower<T>(Reader::Last(sig), algebra);
    if (skip < 0) reader.Complain("sig has no signature's length");
    const int64_t t_skip = ScalarTermOfLower<T>(Reader::Last(t_sig), algebra);
    if (t_skip < 0) reader.Complain("t_sig has no signature's length");
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
      if (job.scalar_term) {
        job.ct_sig.data -= 1;
        Fill(batch, job.ct_sig, 1, T(0));
      }
      return "";
    }
    RunJoin(job, KernelsFor<T>(ChosenKernels()).sig_join_hvp, threads);
    return "";
  });
}

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
    const int64_t scalar = ScalarTerm(Reader::Last(out), plan.algebra().length());
    if (scalar < 0) reader.Complain("the result has no signature's length");
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
      if (job.scalar_term) {
        job.out.data -= 1;
        Fill(batch, job.out, 1, T(1));
      }
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
    const Array lower1 = LowerOfHalf(sig1, dimension, degree);
    const Array lower2 = LowerOfHalf(sig2, dimension, degree);
    return InFloats<1, 1, 2>(SigCombineJvp, std::tie(lower1, lower2, t_sig1, t_sig2, t_out),
                             threads, dimension, degree);
  }
  return WithType(t_out.dtype, [&](auto zero) -> std::string {
    using T = decltype(zero);
    const auto& plan =
        Remembered<CombinePlan<T>>(dimension, degree, MaySplit(t_out, threads.n_jobs != 1));
    const TensorAlgebra& algebra = plan.algebra();
    Reader reader("sig_combine_jvp", 1, t_out);
    const int64_t scalar = ScalarTerm(Reader::Last(t_out), algebra.length());
    if (scalar < 0) reader.Complain("the result has no signature's length");
    const int64_t skip1 = ScalarTermOfLower<T>(Reader::Last(sig1), algebra);
    if (skip1 < 0) reader.Complain("sig1 has no signature's length");
    const int64_t skip2 = ScalarTermOfLower<T>(Reader::Last(sig2), algebra);
    if (skip2 < 0) reader.Complain("sig2 has no signature's length");
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
      if (job.scalar_term) {
        job.out.data -= 1;
        Fill(batch, job.out, 1, T(0));
      }
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
    const Array lower1 = LowerOfHalf(sig1, dimension, degree);
    const Array lower2 = LowerOfHalf(sig2, dimension, degree);
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
    const int64_t scalar = ScalarTerm(Reader::Last(ct_sig2), algebra.length());
    if (scalar < 0) reader.Complain("the result has no signature's length");
    const int64_t skip1 = ScalarTermOfLower<T>(Reader::Last(sig1), algebra);
    if (skip1 < 0) reader.Complain("sig1 has no signature's length");
    const int64_t skip2 = ScalarTermOfLower<T>(Reader::Last(sig2), algebra);
    if (skip2 < 0) reader.Complain("sig2 has no signature's length");
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
      for (Operand<T>* const result : {&job.ct_left, &job.ct_right}) {
        if (!job.scalar_term) continue;
        result->data -= 1;
        Fill(batch, *result, 1, T(0));
      }
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
    const Array lower1 = LowerOfHalf(t_sig1, dimension, degree);
    const Array lower2 = LowerOfHalf(t_sig2, dimension, degree);
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
    const int64_t scalar = ScalarTermOfLower<T>(Reader::Last(ct_sig2), algebra);
    if (scalar < 0) reader.Complain("the result has no signature's length");
    const int64_t g_skip = ScalarTerm(Reader::Last(ct_out), algebra.length());
    if (g_skip < 0) reader.Complain("deriv has no signature's length");
    const int64_t skip1 = ScalarTermOfLower<T>(Reader::Last(t_sig1), algebra);
    if (skip1 < 0) reader.Complain("t_sig1 has no signature's length");
    const int64_t skip2 = ScalarTermOfLower<T>(Reader::Last(t_sig2), algebra);
    if (skip2 < 0) reader.Complain("t_sig2 has no signature's length");
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
      for (Operand<T>* const result : {&job.ct_left, &job.ct_right}) {
        if (!job.scalar_term) continue;
        result->data -= 1;
        Fill(batch, *result, 1, T(0));
      }
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
    const int64_t scalar = ScalarTerm(Reader::Last(out), algebra.length());
    if (scalar < 0) reader.Complain("the result has no signature's length");
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

std::string Sig(const Array& path, const Array& out, int64_t degree, Threads threads) {
  const int64_t dimension = Reader::Last(path), points = Reader::Last(path, 1);
  if (!Addressable(dimension, degree)) return "sig: cannot address such a signature";
  if (IsHalf(out)) return InFloats<1, 1>(Sig, std::tie(path, out), threads, degree);
  return WithType(out.dtype, [&](auto zero) -> std::string {
    using T = decltype(zero);
    const JoinPlan<T>& plan = PlanFor<T>(dimension, degree, false, false);
    Reader reader("sig", 1, out);
    const int64_t scalar = ScalarTerm(Reader::Last(out), plan.algebra().length());
    if (scalar < 0) reader.Complain("the result has no signature's length");
    if (points < 1) reader.Complain("path has no points");
    Batch batch(reader.batch());
    SigJob<T> job(plan, batch, scalar == 1, points);
    reader.Read("path", path, 2, job.path);
    reader.Read("out", out, 1, job.out, scalar);
    if (!reader.error().empty()) return reader.error();
    job.point_stride = path.stride[path.stride.rank() - 2];
    batch.Collapse({&job.path.stride, &job.out.stride});
    if (degree == 0) {
      if (job.scalar_term) {
        job.out.data -= 1;
        Fill(batch, job.out, 1, T(1));
      }
      return "";
    }
    const Kernels<T>& kernels = KernelsFor<T>(ChosenKernels());
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
    const int64_t scalar = ScalarTerm(Reader::Last(t_out), plan.algebra().length());
    if (scalar < 0) reader.Complain("the result has no signature's length");
    if (points < 1) reader.Complain("path has no points");
    reader.Expect("t_path", t_path, 0, dimension);
    reader.Expect("t_path", t_path, 1, points);
    Batch batch(reader.batch());
    SigJob<T> job(plan, batch, scalar == 1, points);
    reader.Read("path", path, 2, job.path);
    reader.Read("t_path", t_path, 2, job.t_path);
    reader.Read("t_out", t_out, 1, job.t_out, scalar);
    if (!reader.error().empty()) return reader.error();
    job.point_stride = path.stride[path.stride.rank() - 2];
    job.t_point_stride = t_path.stride[t_path.stride.rank() - 2];
    batch.Collapse({&job.path.stride, &job.t_path.stride, &job.t_out.stride});
    if (degree == 0) {
      if (job.scalar_term) {
        job.t_out.data -= 1;
        Fill(batch, job.t_out, 1, T(0));
      }
      return "";
    }
    const Kernels<T>& kernels = KernelsFor<T>(ChosenKernels());
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
    const int64_t scalar = ScalarTerm(Reader::Last(ct_out), plan.algebra().length());
    if (scalar < 0) reader.Complain("sig_derivs has no signature's length");
    const int64_t skip = ScalarTermOfLower<T>(Reader::Last(sig), plan.algebra());
    if (skip < 0) reader.Complain("sig has no signature's length");
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
    job.point_stride = path.stride[path.stride.rank() - 2];
    batch.Collapse(
        {&job.path.stride, &job.sig.stride, &job.ct_out.stride, &job.ct_path.stride});
    if (degree == 0) {
      Fill(batch, job.ct_path, points * dimension, T(0));
      return "";
    }
    const Kernels<T>& kernels = KernelsFor<T>(ChosenKernels());
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
    const int64_t scalar = ScalarTerm(Reader::Last(ct_out), plan.algebra().length());
    if (scalar < 0) reader.Complain("sig_derivs has no signature's length");
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
    job.point_stride = path.stride[path.stride.rank() - 2];
    job.t_point_stride = t_path.stride[t_path.stride.rank() - 2];
    batch.Collapse(
        {&job.ct_out.stride, &job.path.stride, &job.t_path.stride, &job.ct_path.stride});
    if (degree == 0) {
      Fill(batch, job.ct_path, points * dimension, T(0));
      return "";
    }
    RunPath(job, KernelsFor<T>(ChosenKernels()).sig_hvp, nullptr, threads);
    return "";
  });
}

}  // namespace jax_siglib
