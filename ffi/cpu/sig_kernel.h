// sig, its tangent and its adjoint: the inner join of sig_join, folded over the
// increments of a path in place. Going back, the levels below N are undone step by
// step by joining -v, so that nothing is kept for each point of the path.
#ifndef JAX_SIGLIB_CPU_SIG_KERNEL_H_
#define JAX_SIGLIB_CPU_SIG_KERNEL_H_

#include "sig_join_kernel.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

// A worker's scratch beyond that of a join; see JoinPlan::path_scratch.
template <class T>
struct PathScratch {
  PathScratch(const JoinPlan<T>& plan, T* scratch)
      : v(scratch + plan.worker_scratch()),
        w(v + plan.displacement_scratch()),
        sig(w + plan.displacement_scratch()),
        ct_sig(sig + plan.residual_scratch()) {}

  T* v;       // an increment
  T* w;       // its tangent or its negative
  T* sig;     // levels below N
  T* ct_sig;  // levels below N
};

template <class T>
inline void Increment(const T* point, int64_t stride, int64_t dimension, T* v) {
  for (int64_t j = 0; j < dimension; ++j) v[j] = point[stride + j] - point[j];
}

template <class T>
inline void Fill(T* data, int64_t n, T value) {
  for (int64_t i = 0; i < n; ++i) data[i] = value;
}

template <class Steps, class T = typename Steps::T>
void SigForward(const SigJob<T>& job, int64_t begin, int64_t end, T* scratch) {
  const JoinPlan<T>& plan = job.plan;
  const int64_t degree = plan.algebra().degree(), d = plan.algebra().dimension();
  WorkerScratch<T> own(plan, scratch);
  PathScratch<T> more(plan, scratch);
  const Walk<Steps> walk(plan, plan.tile_chains(), 0, {0, 1}, degree);
  const Chains<T> root = FillRoot(plan.tile_chains(), degree, own.chains, T(1));
  for (int64_t b = begin; b < end; ++b) {
    const T* const path = job.batch.At(job.path, b);
    T* const out = job.batch.At(job.out, b);
    Fill(out, plan.algebra().length(), T(0));
    if (job.scalar_term) out[-1] = T(1);
    for (int64_t t = 0; t + 1 < job.points; ++t) {
      Increment(path + t * job.point_stride, job.point_stride, d, more.v);
      walk.Forward(Steps(more.v, d, own.sum), out, out, root, own.chains, degree);
    }
  }
}

template <class Steps, class T = typename Steps::T>
void SigTangent(const SigJob<T>& job, int64_t begin, int64_t end, T* scratch) {
  const JoinPlan<T>& plan = job.plan;
  const int64_t degree = plan.algebra().degree(), d = plan.algebra().dimension();
  WorkerScratch<T> own(plan, scratch);
  PathScratch<T> more(plan, scratch);
  const Walk<Steps> walk(plan, plan.tile_chains(), 0, {0, 1}, degree);
  const DualChains<T> root = FillDualRoot(plan.tile_chains(), degree, own.chains);
  for (int64_t b = begin; b < end; ++b) {
    const T* const path = job.batch.At(job.path, b);
    const T* const t_path = job.batch.At(job.t_path, b);
    T* const t_out = job.batch.At(job.t_out, b);
    Fill(t_out, plan.algebra().length(), T(0));
    Fill(more.sig, plan.algebra().offset(degree), T(0));
    if (job.scalar_term) t_out[-1] = T(0);
    for (int64_t t = 0; t + 1 < job.points; ++t) {
      Increment(path + t * job.point_stride, job.point_stride, d, more.v);
      Increment(t_path + t * job.t_point_stride, job.t_point_stride, d, more.w);
      walk.template RiseTangent<true, true>(Steps(more.v, d, own.sum),
                                            Steps(more.w, d, own.t_sum), more.sig, more.sig,
                                            t_out, t_out, root, own.chains, degree);
    }
  }
}

template <class Steps, class T = typename Steps::T>
void SigAdjoint(const SigJob<T>& job, int64_t begin, int64_t end, T* scratch) {
  const JoinPlan<T>& plan = job.plan;
  const int64_t degree = plan.algebra().degree(), d = plan.algebra().dimension();
  const int64_t lower = plan.algebra().offset(degree);
  WorkerScratch<T> own(plan, scratch);
  PathScratch<T> more(plan, scratch);
  const Walk<Steps> walk(plan, plan.tile_chains(), 0, {0, 1}, degree);
  const Walk<Steps> undo(plan, plan.tile_chains(), 0, {0, 1}, degree - 1);
  const Chains<T> root = FillRoot(plan.tile_chains(), degree, own.chains, T(1));
  for (int64_t b = begin; b < end; ++b) {
    const T* const path = job.batch.At(job.path, b);
    const T* const g = job.batch.At(job.ct_out, b);
    T* const ct_path = job.batch.At(job.ct_path, b);
    const T* const sig = job.batch.At(job.sig, b);
    for (int64_t i = 0; i < lower; ++i) more.sig[i] = sig[i];
    for (int64_t i = 0; i < lower; ++i) more.ct_sig[i] = g[i];
    Fill(ct_path, job.points * d, T(0));
    for (int64_t t = job.points - 2; t >= 0; --t) {
      Increment(path + t * job.point_stride, job.point_stride, d, more.v);
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
      T* const ct_point = ct_path + t * d;
      for (int64_t j = 0; j < d; ++j) {
        ct_point[d + j] += own.ct_v[j];
        ct_point[j] -= own.ct_v[j];
      }
    }
  }
}

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_SIG_KERNEL_H_
