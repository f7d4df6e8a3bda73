// The second order of sig: the tangent of its adjoint. The levels below N of the path's
// signature and their tangents are made first; going back, both are undone step by step,
// so that nothing is kept for each point of the path.
#ifndef JAX_SIGLIB_CPU_SIG_HVP_KERNEL_H_
#define JAX_SIGLIB_CPU_SIG_HVP_KERNEL_H_

#include "sig_kernel.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

// A worker's scratch beyond that of a join; see LongPathScratch.
template <class T>
struct DualPathScratch {
  DualPathScratch(const JoinPlan<T>& plan, T* scratch)
      : v(scratch + plan.worker_scratch(2)),
        t_v(v + plan.displacement_scratch()),
        w(t_v + plan.displacement_scratch()),
        t_w(w + plan.displacement_scratch()),
        sig(t_w + plan.displacement_scratch()),
        t_sig(sig + plan.residual_scratch()),
        ct_sig(t_sig + plan.residual_scratch()),
        t_ct_sig(ct_sig + plan.residual_scratch()),
        carry(t_ct_sig + plan.residual_scratch()),
        full(carry + plan.displacement_scratch()) {}

  T *v, *t_v;            // an increment
  T *w, *t_w;            // its negative
  T *sig, *t_sig;        // levels below N
  T *ct_sig, *t_ct_sig;  // levels below N
  T *carry, *full;       // as in PathScratch
};

// For degree 2 and up.
template <class Steps, class T = typename Steps::T>
void SigAdjointTangent(const PathJob<T>& job, int64_t begin, int64_t end, T* scratch) {
  const JoinPlan<T>& plan = job.plan;
  const int64_t degree = plan.algebra().degree(), d = plan.algebra().dimension();
  const int64_t lower = plan.algebra().offset(degree);
  WorkerScratch<T> own(plan, scratch, job.order);
  DualPathScratch<T> more(plan, scratch);
  const Walk<Steps> walk(plan, plan.tile_chains(), 0, {0, 1}, degree);
  const Walk<Steps> below(plan, plan.tile_chains(), 0, {0, 1}, degree - 1);
  const DualChains<T> root = FillDualRoot(plan.tile_chains(), degree, own.chains);
  // Joins an increment to the levels below N.
  auto join = [&](const T* v, const T* t_v) {
    below.template RiseTangent<true, true>(Steps(v, d, own.sum), Steps(t_v, d, own.t_sum),
                                           more.sig, more.sig, more.t_sig, more.t_sig, root,
                                           own.chains, degree - 1);
  };
  for (int64_t b = begin; b < end; ++b) {
    const Numbers<const T> path = job.Path(b);
    const Numbers<const T> t_path = job.PathTangent(b);
    const T* const g = Widened(job.SigCotangent(b), plan.algebra().length(), more.full);
    auto increment = [&](int64_t t) {
      Increment(path, t, job.point_stride, d, more.v);
      Increment(t_path, t, job.t_point_stride, d, more.t_v);
    };
    Fill(more.sig, lower, T(0));
    Fill(more.t_sig, lower, T(0));
    for (int64_t t = 0; t + 1 < job.points; ++t) {
      increment(t);
      join(more.v, more.t_v);
    }
    Convert(g, lower, more.ct_sig);
    Fill(more.t_ct_sig, lower, T(0));
    PathCotangents<T> ct_points(job.PathCotangent(b), d, more.carry);
    for (int64_t t = job.points - 2; t >= 0; --t) {
      increment(t);
      for (int64_t j = 0; j < d; ++j) {
        more.w[j] = -more.v[j];
        more.t_w[j] = -more.t_v[j];
      }
      join(more.w, more.t_w);
      Steps steps(more.v, d, own.sum);
      const Steps t_steps(more.t_v, d, own.t_sum);
      steps.ClearSum();
      Fill(own.ct_v, plan.displacement_scratch(), T(0));
      walk.template RiseTangent<false, false>(steps, t_steps, more.sig, nullptr, more.t_sig,
                                              nullptr, root, own.chains,
                                              walk.ChainsForTangent());
      walk.template DescendTangent<true>(
          steps, t_steps, more.t_sig, more.ct_sig, g, more.ct_sig, more.t_ct_sig, root,
          own.chains, {nullptr, nullptr, 0}, own.twins, degree, own.ct_v);
      steps.AddDisplacement(own.ct_v);
      ct_points.Add(t, own.ct_v);
    }
    ct_points.Finish();
  }
}

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_SIG_HVP_KERNEL_H_
