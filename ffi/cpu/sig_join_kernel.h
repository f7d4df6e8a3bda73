// sig_join, its tangent and its adjoint for items of a batch: whole signatures, or the
// head, the tiles and the tail of large ones (join_plan.h).
#ifndef JAX_SIGLIB_CPU_SIG_JOIN_KERNEL_H_
#define JAX_SIGLIB_CPU_SIG_JOIN_KERNEL_H_

#include "join_static.h"
#include "join_walk.h"
#include "kernels.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

// A worker's scratch, cut up; see JoinPlan::worker_scratch.
template <class T>
struct WorkerScratch {
  WorkerScratch(const JoinPlan<T>& plan, T* scratch, int64_t order = 1)
      : chains(scratch),
        twins(chains + order * plan.tile_chains().total()),
        sum(twins + order * plan.tile_chains().total()),
        t_sum(sum + plan.sum_scratch()),
        ct_v(t_sum + plan.sum_scratch()) {}

  T* chains;  // B; of second order, their tangents behind them
  T* twins;   // their tangents, or adjoints; likewise
  T* sum;
  T* t_sum;
  T* ct_v;
};

// What the tiles of element b share; see JoinPlan::shared_scratch.
template <class T>
struct SharedScratch {
  SharedScratch(const SigJoinJob<T>& job, int64_t b)
      : chains(job.shared + b * job.plan.shared_scratch(job.order)),
        twins(chains + job.order * job.plan.head_chains().total()),
        ct_v(twins + job.order * job.plan.head_chains().total()) {}

  T* chains;
  T* twins;
  T* ct_v;  // a displacement for every tile
};

// At level 0 every chain is 1 and its tangent 0.
template <class T>
inline Chains<T> FillRoot(const ChainLayout<T>& layout, int64_t degree, T* scratch,
                          T value) {
  const Chains<T> root{scratch + layout.offset(0), layout.stride(0)};
  for (int64_t i = 0; i < degree * root.stride; ++i) root.data[i] = value;
  return root;
}

// Chains that are 1, followed by their tangents, that are 0.
template <class T>
inline DualChains<T> FillDualRoot(const ChainLayout<T>& layout, int64_t degree,
                                  T* scratch) {
  const Chains<T> ones = FillRoot(layout, degree, scratch, T(1));
  const Chains<T> zeros = FillRoot(layout, degree, scratch + layout.total(), T(0));
  return {ones.data, zeros.data, ones.stride};
}

template <class T>
inline void SetScalar(const SigJoinJob<T>& job, T* sig, T value) {
  if (job.scalar_term) sig[-1] = value;
}

// One item of a phase: which signature, which words of it, and where its chains are.
template <class T>
struct Item {
  Item(const SigJoinJob<T>& job, JoinPhase phase, int64_t item, const WorkerScratch<T>& own)
      : b(item), chains(own.chains), twins(own.twins) {
    const JoinPlan<T>& plan = job.plan;
    if (phase == JoinPhase::kWhole) return;
    if (phase == JoinPhase::kTile) {
      b = item / plan.tiles();
      tile = item % plan.tiles();
      root = plan.split();
      range = plan.tile(tile);
    }
    const SharedScratch<T> shared(job, b);
    ct_v = shared.ct_v;
    if (phase == JoinPhase::kTile) {
      const int64_t at = plan.head_chains().offset(root) + range.begin;
      const int64_t stride = plan.head_chains().stride(root);
      at_root = {shared.chains + at, stride};
      twin_at_root = {shared.twins + at, stride};
    } else {
      chains = shared.chains;
      twins = shared.twins;
    }
  }

  int64_t b;
  int64_t tile = 0;
  int64_t root = 0;
  WordRange range{0, 1};
  T* chains;
  T* twins;
  Chains<T> at_root{nullptr, 0};       // of a tile only
  Chains<T> twin_at_root{nullptr, 0};  // of a tile only
  T* ct_v = nullptr;                   // shared.ct_v
};

// The layout of an item's chains.
template <class T>
inline const ChainLayout<T>& LayoutOf(const JoinPlan<T>& plan, JoinPhase phase) {
  const bool in_head = phase == JoinPhase::kHead || phase == JoinPhase::kTail;
  return in_head ? plan.head_chains() : plan.tile_chains();
}

// Whole signatures of a dimension and degree known at compile time.
template <class Steps, int D, int N, class T = typename Steps::T>
void SigJoinStaticForward(const SigJoinJob<T>& job, int64_t begin, int64_t end) {
  StaticJoin<Steps, D, N> join;
  for (int64_t b = begin; b < end; ++b) {
    const Steps steps(job.batch.At(job.displacement, b), D, nullptr);
    T* const out = job.batch.At(job.out, b);
    join.Forward(steps, job.batch.At(job.sig, b), out);
    SetScalar(job, out, T(1));
  }
}

template <class Steps, int D, int N, class T = typename Steps::T>
void SigJoinStaticAdjoint(const SigJoinJob<T>& job, int64_t begin, int64_t end) {
  StaticJoin<Steps, D, N> join;
  T ct_v[PadToVector<T>(D)];
  for (int64_t b = begin; b < end; ++b) {
    Steps steps(job.batch.At(job.displacement, b), D, nullptr);
    steps.ClearSum();
    T* const ct_sig = job.batch.At(job.ct_sig, b);
    join.Adjoint(steps, job.batch.At(job.sig, b), job.batch.At(job.ct_out, b), ct_sig,
                 ct_v);
    T* const out = job.batch.At(job.ct_displacement, b);
    for (int j = 0; j < D; ++j) out[j] = ct_v[j];
    SetScalar(job, ct_sig, T(0));
  }
}

template <class Steps, class T = typename Steps::T>
void SigJoinForward(const SigJoinJob<T>& job, JoinPhase phase, int64_t begin, int64_t end,
                    T* scratch) {
  if (phase == JoinPhase::kTail) return;
  const JoinPlan<T>& plan = job.plan;
  const ChainLayout<T>& layout = LayoutOf(plan, phase);
  const int64_t degree = plan.algebra().degree();
  const int64_t to = phase == JoinPhase::kHead ? plan.split() : degree;
  const WorkerScratch<T> own(plan, scratch);
  Chains<T> ones{nullptr, 0};
  if (phase == JoinPhase::kWhole) ones = FillRoot(layout, degree, own.chains, T(1));
  for (int64_t i = begin; i < end; ++i) {
    const Item<T> item(job, phase, i, own);
    if (phase == JoinPhase::kTile) ones = item.at_root;
    if (phase == JoinPhase::kHead) ones = FillRoot(layout, degree, item.chains, T(1));
    const Walk<Steps> walk(plan, layout, item.root, item.range, degree);
    const Steps steps(job.batch.At(job.displacement, item.b), plan.algebra().dimension(),
                      own.sum);
    T* const out = job.batch.At(job.out, item.b);
    walk.Forward(steps, job.batch.At(job.sig, item.b), out, ones, item.chains, to);
    if (phase != JoinPhase::kTile) SetScalar(job, out, T(1));
  }
}

template <class Steps, class T = typename Steps::T>
void SigJoinTangent(const SigJoinJob<T>& job, JoinPhase phase, int64_t begin, int64_t end,
                    T* scratch) {
  if (phase == JoinPhase::kTail) return;
  const JoinPlan<T>& plan = job.plan;
  const ChainLayout<T>& layout = LayoutOf(plan, phase);
  const int64_t degree = plan.algebra().degree(), d = plan.algebra().dimension();
  const int64_t to = phase == JoinPhase::kHead ? plan.split() : degree;
  const WorkerScratch<T> own(plan, scratch);
  DualChains<T> root{nullptr, nullptr, 0};
  if (phase == JoinPhase::kWhole) root = FillDualRoot(layout, degree, own.chains);
  for (int64_t i = begin; i < end; ++i) {
    const Item<T> item(job, phase, i, own);
    if (phase == JoinPhase::kTile)
      root = {item.at_root.data, item.twin_at_root.data, item.at_root.stride};
    if (phase == JoinPhase::kHead) root = FillDualRoot(layout, degree, item.chains);
    const Walk<Steps> walk(plan, layout, item.root, item.range, degree);
    const Steps steps(job.batch.At(job.displacement, item.b), d, own.sum);
    const Steps t_steps(job.batch.At(job.t_displacement, item.b), d, own.t_sum);
    T* const t_out = job.batch.At(job.t_out, item.b);
    walk.template RiseTangent<false, true>(steps, t_steps, job.batch.At(job.sig, item.b),
                                           nullptr, job.batch.At(job.t_sig, item.b), t_out,
                                           root, item.chains, to);
    if (phase != JoinPhase::kTile) SetScalar(job, t_out, T(0));
  }
}

// A tile's adjoint chains at its root, handed to the tail. The tiles' own chains end in
// whole vectors; side by side they must not.
template <class T>
inline void HandOver(const T* from, int64_t stride, int64_t chains, int64_t words, T* to,
                     int64_t to_stride) {
  for (int64_t c = 0; c < chains; ++c)
    for (int64_t w = 0; w < words; ++w) to[c * to_stride + w] = from[c * stride + w];
}

// The displacement's cotangent, from that of the tail and those of all tiles. In double:
// what one tile adds must not lose digits against all the others.
template <class T>
inline void AddTiles(const JoinPlan<T>& plan, const T* ct_v, const T* of_tiles, T* out) {
  for (int64_t j = 0; j < plan.algebra().dimension(); ++j) {
    double sum = static_cast<double>(ct_v[j]);
    for (int64_t t = 0; t < plan.tiles(); ++t)
      sum += static_cast<double>(of_tiles[t * plan.displacement_scratch() + j]);
    out[j] = static_cast<T>(sum);
  }
}

template <class Steps, class T = typename Steps::T>
void SigJoinAdjoint(const SigJoinJob<T>& job, JoinPhase phase, int64_t begin, int64_t end,
                    T* scratch) {
  const JoinPlan<T>& plan = job.plan;
  const ChainLayout<T>& layout = LayoutOf(plan, phase);
  const int64_t degree = plan.algebra().degree(), d = plan.algebra().dimension();
  const int64_t padded = plan.displacement_scratch(), p = plan.split();
  const bool tile = phase == JoinPhase::kTile, tail = phase == JoinPhase::kTail;
  const WorkerScratch<T> own(plan, scratch);
  Chains<T> ones{nullptr, 0};
  if (phase == JoinPhase::kWhole) ones = FillRoot(layout, degree, own.chains, T(1));
  for (int64_t i = begin; i < end; ++i) {
    const Item<T> item(job, phase, i, own);
    const Walk<Steps> walk(plan, layout, item.root, item.range, degree);
    if (tile) ones = item.at_root;
    if (tail) ones = walk.At(item.chains, 0);
    if (phase == JoinPhase::kHead) ones = FillRoot(layout, degree, item.chains, T(1));
    const T* const s = job.batch.At(job.sig, item.b);
    Steps steps(job.batch.At(job.displacement, item.b), d, own.sum);
    if (!tail) {
      const int64_t to = phase == JoinPhase::kHead ? p : walk.ChainsForBackprop();
      walk.template Rise<false>(steps, s, nullptr, ones, item.chains, to);
      if (phase == JoinPhase::kHead) continue;
    }
    steps.ClearSum();
    T* const ct_v = tile ? item.ct_v + item.tile * padded : own.ct_v;
    for (int64_t j = 0; j < padded; ++j) ct_v[j] = T(0);
    const T* const g = job.batch.At(job.ct_out, item.b);
    T* const ct_sig = job.batch.At(job.ct_sig, item.b);
    const Chains<T> from = tail ? walk.At(item.twins, p) : Chains<T>{nullptr, 0};
    const Chains<T> y =
        walk.template Descend<true>(steps, s, g, g, ct_sig, ones, item.chains, from,
                                    item.twins, tail ? p : degree, ct_v);
    steps.AddDisplacement(ct_v);
    if (tile) {
      HandOver(y.data, y.stride, degree - p, item.range.length, item.twin_at_root.data,
               item.twin_at_root.stride);
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

#endif  // JAX_SIGLIB_CPU_SIG_JOIN_KERNEL_H_
