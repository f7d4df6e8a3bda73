// sig, its tangent and its adjoint: the inner join of sig_join, folded over the
// increments of a path in place. Going back, the levels below N are undone step by
// step by joining -v, so that nothing is kept for each point of the path.
//
// Numbers are reckoned with in the type T of the steps, in which they need not be read and
// written (path_job.h).
#ifndef JAX_SIGLIB_CPU_SIG_KERNEL_H_
#define JAX_SIGLIB_CPU_SIG_KERNEL_H_

#include "path_job.h"
#include "sig_join_kernel.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

// A worker's scratch beyond that of a join; see LongPathScratch.
template <class T>
struct PathScratch {
  PathScratch(const JoinPlan<T>& plan, T* scratch)
      : v(scratch + plan.worker_scratch()),
        w(v + plan.displacement_scratch()),
        carry(w + plan.displacement_scratch()),
        sig(carry + plan.displacement_scratch()),
        ct_sig(sig + plan.residual_scratch()),
        full(ct_sig + plan.residual_scratch()) {}

  T* v;       // an increment
  T* w;       // its tangent or its negative
  T* carry;   // the cotangent of the increment after it
  T* sig;     // levels below N
  T* ct_sig;  // levels below N
  T* full;    // all levels, for a job of floats
};

// From point number t to the next.
template <class T>
inline void Increment(Numbers<const T> path, int64_t t, int64_t stride, int64_t dimension,
                      T* v) {
  path.As([&](const auto* points) {
    const auto* const point = points + t * stride;
    for (int64_t j = 0; j < dimension; ++j)
      v[j] = static_cast<T>(point[stride + j]) - static_cast<T>(point[j]);
  });
}

template <class T>
inline void Fill(T* data, int64_t n, T value) {
  for (int64_t i = 0; i < n; ++i) data[i] = value;
}

template <class From, class To>
inline void Convert(const From* from, int64_t n, To* to) {
  for (int64_t i = 0; i < n; ++i) to[i] = static_cast<To>(from[i]);
}
template <class T>
inline void Convert(Numbers<const T> from, int64_t n, T* to) {
  from.As([&](const auto* numbers) { Convert(numbers, n, to); });
}

// Where to work on a result: there, or else in `scratch`, from where Deliver takes its n
// entries.
template <class T>
inline T* Workplace(Numbers<T> result, T* scratch) {
  return result.floats() == nullptr ? result.own() : scratch;
}
template <class T>
inline void Deliver(const T* from, int64_t n, Numbers<T> result) {
  if (result.floats() != nullptr) Convert(from, n, result.floats());
}

// An operand of n entries, in `scratch` if it is of another type.
template <class T>
inline const T* Widened(Numbers<const T> operand, int64_t n, T* scratch) {
  if (operand.floats() == nullptr) return operand.own();
  Convert(operand, n, scratch);
  return scratch;
}

template <class T>
inline void SetScalarTerm(Numbers<T> sig, T value) {
  sig.As([&](auto* levels) { Convert(&value, 1, levels - 1); });
}

// Cotangents of the points, from those of the increments, which come from the last to the
// first. A point is the end of one increment and the beginning of the next.
template <class T>
class PathCotangents {
 public:
  PathCotangents(Numbers<T> ct_path, int64_t dimension, T* carry)
      : ct_path_(ct_path), dimension_(dimension), carry_(carry) {
    Fill(carry_, dimension_, T(0));
  }
  // Increment number t.
  void Add(int64_t t, const T* ct_v) {
    for (int64_t j = 0; j < dimension_; ++j) carry_[j] = ct_v[j] - carry_[j];
    Put(t + 1);
    Convert(ct_v, dimension_, carry_);
  }
  // The first point, at last.
  void Finish() {
    for (int64_t j = 0; j < dimension_; ++j) carry_[j] = T(0) - carry_[j];
    Put(0);
  }

 private:
  void Put(int64_t t) {
    ct_path_.As(
        [&](auto* points) { Convert(carry_, dimension_, points + t * dimension_); });
  }

  Numbers<T> ct_path_;
  int64_t dimension_;
  T* carry_;
};

template <class Steps, class T = typename Steps::T>
void SigForward(const PathJob<T>& job, int64_t begin, int64_t end, T* scratch) {
  const JoinPlan<T>& plan = job.plan;
  const int64_t degree = plan.algebra().degree(), d = plan.algebra().dimension();
  const int64_t length = plan.algebra().length();
  WorkerScratch<T> own(plan, scratch);
  PathScratch<T> more(plan, scratch);
  const Walk<Steps> walk(plan, plan.tile_chains(), 0, {0, 1}, degree);
  const Chains<T> root = FillRoot(plan.tile_chains(), degree, own.chains, T(1));
  for (int64_t b = begin; b < end; ++b) {
    const Numbers<const T> path = job.Path(b);
    const Numbers<T> out = job.Out(b);
    T* const sig = Workplace(out, more.full);
    Fill(sig, length, T(0));
    for (int64_t t = 0; t + 1 < job.points; ++t) {
      Increment(path, t, job.point_stride, d, more.v);
      walk.Forward(Steps(more.v, d, own.sum), sig, sig, root, own.chains, degree);
    }
    Deliver(sig, length, out);
    if (job.scalar_term) SetScalarTerm(out, T(1));
  }
}

template <class Steps, class T = typename Steps::T>
void SigTangent(const PathJob<T>& job, int64_t begin, int64_t end, T* scratch) {
  const JoinPlan<T>& plan = job.plan;
  const int64_t degree = plan.algebra().degree(), d = plan.algebra().dimension();
  const int64_t length = plan.algebra().length();
  WorkerScratch<T> own(plan, scratch);
  PathScratch<T> more(plan, scratch);
  const Walk<Steps> walk(plan, plan.tile_chains(), 0, {0, 1}, degree);
  const DualChains<T> root = FillDualRoot(plan.tile_chains(), degree, own.chains);
  for (int64_t b = begin; b < end; ++b) {
    const Numbers<const T> path = job.Path(b);
    const Numbers<const T> t_path = job.PathTangent(b);
    const Numbers<T> t_out = job.OutTangent(b);
    T* const t_sig = Workplace(t_out, more.full);
    Fill(t_sig, length, T(0));
    Fill(more.sig, plan.algebra().offset(degree), T(0));
    for (int64_t t = 0; t + 1 < job.points; ++t) {
      Increment(path, t, job.point_stride, d, more.v);
      Increment(t_path, t, job.t_point_stride, d, more.w);
      walk.template RiseTangent<true, true>(Steps(more.v, d, own.sum),
                                            Steps(more.w, d, own.t_sum), more.sig, more.sig,
                                            t_sig, t_sig, root, own.chains, degree);
    }
    Deliver(t_sig, length, t_out);
    if (job.scalar_term) SetScalarTerm(t_out, T(0));
  }
}

template <class Steps, class T = typename Steps::T>
void SigAdjoint(const PathJob<T>& job, int64_t begin, int64_t end, T* scratch) {
  const JoinPlan<T>& plan = job.plan;
  const int64_t degree = plan.algebra().degree(), d = plan.algebra().dimension();
  const int64_t lower = plan.algebra().offset(degree);
  WorkerScratch<T> own(plan, scratch);
  PathScratch<T> more(plan, scratch);
  const Walk<Steps> walk(plan, plan.tile_chains(), 0, {0, 1}, degree);
  const Walk<Steps> undo(plan, plan.tile_chains(), 0, {0, 1}, degree - 1);
  const Chains<T> root = FillRoot(plan.tile_chains(), degree, own.chains, T(1));
  for (int64_t b = begin; b < end; ++b) {
    const Numbers<const T> path = job.Path(b);
    const T* const g = Widened(job.SigCotangent(b), plan.algebra().length(), more.full);
    Convert(job.Sig(b), lower, more.sig);
    Convert(g, lower, more.ct_sig);
    PathCotangents<T> ct_points(job.PathCotangent(b), d, more.carry);
    for (int64_t t = job.points - 2; t >= 0; --t) {
      Increment(path, t, job.point_stride, d, more.v);
      for (int64_t j = 0; j < d; ++j) more.w[j] = -more.v[j];
      if (degree > 1)
        undo.Forward(Steps(more.w, d, own.sum), more.sig, more.sig, root, own.chains,
                     degree - 1);
      Steps steps(more.v, d, own.sum);
      steps.ClearSum();
      Fill(own.ct_v, plan.displacement_scratch(), T(0));
      walk.template Rise<false>(steps, more.sig, nullptr, root, own.chains,
                                walk.ChainsForBackprop());
      walk.template Descend<false>(steps, more.sig, more.ct_sig, g, more.ct_sig, root,
                                   own.chains, {nullptr, 0}, own.twins, degree, own.ct_v);
      steps.AddDisplacement(own.ct_v);
      ct_points.Add(t, own.ct_v);
    }
    ct_points.Finish();
  }
}

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_SIG_KERNEL_H_
