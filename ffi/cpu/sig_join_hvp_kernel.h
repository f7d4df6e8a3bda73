// The second order of sig_join: the tangent of its adjoint, for items of a batch. Phases
// and scratch are those of sig_join_kernel.h, with a tangent behind every chain.
#ifndef JAX_SIGLIB_CPU_SIG_JOIN_HVP_KERNEL_H_
#define JAX_SIGLIB_CPU_SIG_JOIN_HVP_KERNEL_H_

#include "sig_join_kernel.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

template <class Steps, class T = typename Steps::T>
void SigJoinAdjointTangent(const SigJoinJob<T>& job, JoinPhase phase, int64_t begin,
                           int64_t end, T* scratch) {
  const JoinPlan<T>& plan = job.plan;
  const ChainLayout<T>& layout = LayoutOf(plan, phase);
  const int64_t degree = plan.algebra().degree(), d = plan.algebra().dimension();
  const int64_t padded = plan.displacement_scratch(), p = plan.split();
  // From the chains at the root of a tile to their tangents.
  const int64_t apart = plan.head_chains().total();
  const bool tile = phase == JoinPhase::kTile, tail = phase == JoinPhase::kTail;
  const WorkerScratch<T> own(plan, scratch, job.order);
  DualChains<T> root{nullptr, nullptr, 0};
  if (phase == JoinPhase::kWhole) root = FillDualRoot(layout, degree, own.chains);
  for (int64_t i = begin; i < end; ++i) {
    const Item<T> item(job, phase, i, own);
    const Walk<Steps> walk(plan, layout, item.root, item.range, degree);
    if (tile) root = {item.at_root.data, item.at_root.data + apart, item.at_root.stride};
    if (tail) root = walk.DualAt(item.chains, 0);
    if (phase == JoinPhase::kHead) root = FillDualRoot(layout, degree, item.chains);
    const T* const t_s = job.batch.At(job.t_sig, item.b);
    Steps steps(job.batch.At(job.displacement, item.b), d, own.sum);
    const Steps t_steps(job.batch.At(job.t_displacement, item.b), d, own.t_sum);
    if (!tail) {
      const int64_t to = phase == JoinPhase::kHead ? p : walk.ChainsForTangent();
      walk.template RiseTangent<false, false>(steps, t_steps, job.batch.At(job.sig, item.b),
                                              nullptr, t_s, nullptr, root, item.chains, to);
      if (phase == JoinPhase::kHead) continue;
    }
    steps.ClearSum();
    T* const ct_v = tile ? item.ct_v + item.tile * padded : own.ct_v;
    for (int64_t j = 0; j < padded; ++j) ct_v[j] = T(0);
    const T* const g = job.batch.At(job.ct_out, item.b);
    T* const ct_sig = job.batch.At(job.ct_sig, item.b);
    DualChains<T> y{nullptr, nullptr, 0};
    if (tail) y = walk.DualAt(item.twins, p);
    y = walk.template DescendTangent<false>(steps, t_steps, t_s, g, g, nullptr, ct_sig,
                                            root, item.chains, y, item.twins,
                                            tail ? p : degree, ct_v);
    steps.AddDisplacement(ct_v);
    // Nothing depends on the top level of the signature but the result's, linearly.
    if (job.top_level && !tail) walk.ZeroTop(ct_sig);
    if (tile) {
      const Chains<T> to = item.twin_at_root;
      const int64_t words = item.range.length;
      HandOver(y.data, y.stride, degree - p, words, to.data, to.stride);
      HandOver(y.tangent, y.stride, degree - p, words, to.data + apart, to.stride);
      continue;
    }
    T* const out = job.batch.At(job.ct_displacement, item.b);
    if (tail) {
      AddTiles(plan, ct_v, item.ct_v, out);
    } else {
      for (int64_t j = 0; j < d; ++j) out[j] = ct_v[j];
    }
    SetScalar(job, ct_sig, T(0));
  }
}

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_SIG_JOIN_HVP_KERNEL_H_
