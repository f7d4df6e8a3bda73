// sig_hvp for bundles of paths (bundle_plan.h): forward the levels below N and their
// tangents; on the way back both are undone, and the cotangent travels with its tangent.
#ifndef JAX_SIGLIB_CPU_SIG_HVP_BUNDLE_H_
#define JAX_SIGLIB_CPU_SIG_HVP_BUNDLE_H_

#include <algorithm>

#include "sig_bundle.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

// A block of steps on its way back. The tangents of level 0's chains and of the top level's
// cotangent are zeros by nature: products with them are left out. Neither level N-1 of the
// signature nor level 1 of its cotangent matters to anything.
template <class T, class In>
class BundleHvpWalk : private BundleWalk<T, In> {
 public:
  using Walk = BundleWalk<T, In>;
  using Walk::W;

  BundleHvpWalk(const JoinPlan<T>& plan, const BundlePlan& at, T* scratch)
      : Walk(plan, at, scratch) {}

  // sig and t_sig, levels below N, from behind the block to before it, and so ct_sig and
  // t_ct_sig; w = the tangents of the increments' cotangents.
  void Adjoint(T* sig, T* t_sig, T* ct_sig, T* t_ct_sig, const T* t_v, T* w,
               int64_t steps) {
    sig_ = sig;
    t_sig_ = t_sig;
    ct_sig_ = ct_sig;
    t_ct_sig_ = t_ct_sig;
    t_v_ = t_v;
    steps_ = steps;
    Clear(w);
    Sweep(0, 0, 1, DualRoot(at_.t_up(0)), Dual(at_.down(0), at_.t_down(0)), w);
  }

 private:
  using Walk::at_;
  using Walk::Clear;
  using Walk::ct_sig_;
  using Walk::Dual;
  using Walk::DualRoot;
  using Walk::ForWords;
  using Walk::From;
  using Walk::LevelAt;
  using Walk::sig_;
  using Walk::steps_;
  using Walk::t_v_;
  using Walk::top_;
  using Walk::Vectors;
  using Walk::Words;

  void Sweep(int64_t k, int64_t first, int64_t count, DualChains<T> b, DualChains<T> y,
             T* w) {
    const BundleLevel<T> level = LevelAt(k);
    const int64_t d = level.dimension;
    if (k == top_)
      return BundleProducts<T>::ContractTwice(Words(ct_sig_, k + 1, first * d), b.tangent,
                                              level.v, t_v_, y.data, y.tangent, w, count, d,
                                              steps_);
    const DualChains<T> up = Dual(at_.up(k + 1), at_.t_up(k + 1));
    const DualChains<T> down = Dual(at_.down(k + 1), at_.t_down(k + 1));
    ForWords(k, count, w, [&](int64_t i, T* part) JAX_SIGLIB_LAMBDA {
      const int64_t child = (first + i) * d;
      T* const s = k + 1 == top_ ? nullptr : Words(sig_, k + 1, child);
      BundleTangents<T>::template Expand<true>(s, Words(t_sig_, k + 1, child), From(b, i),
                                               up, t_v_, level, false);
      Sweep(k + 1, child, d, up, down, part);
      if (k == 0)
        return BundleTangents<T>::ContractRoot(t_ct_sig_, {down.tangent, down.stride}, part,
                                               level);
      BundleTangents<T>::Contract(Words(ct_sig_, k + 1, child),
                                  Words(t_ct_sig_, k + 1, child), down, From(b, i),
                                  From(y, i), t_v_, part, level);
    });
  }

  T* t_sig_ = nullptr;
  T* t_ct_sig_ = nullptr;
};

template <class T, class In>
void SigBundleAdjointTangent(const SigJob<In>& job, const JoinPlan<T>& plan, int64_t begin,
                             int64_t end, T* scratch) {
  constexpr int W = Vec<T>::kLanes;
  const TensorAlgebra& algebra = plan.algebra();
  const BundlePlan at(algebra, job.order, true);
  T* const sig = scratch + at.lower() * W;
  T* const t_sig = scratch + at.t_lower() * W;
  T* const ct_sig = scratch + at.full() * W;
  T* const t_ct_sig = scratch + at.t_ct_lower() * W;
  T* const t_v = scratch + at.t_v() * W;
  T* const w = scratch + at.w() * W;
  BundleWalk<T, In> below(plan, at, scratch, algebra.degree() - 1);
  BundleHvpWalk<T, In> walk(plan, at, scratch);
  for (int64_t i = begin; i < end; ++i) {
    const Bundle<T> bundle(job.batch, i);
    const In *path[W], *t_path[W], *g[W];
    bundle.Find(job.path, path);
    bundle.Find(job.t_path, t_path);
    bundle.Find(job.ct_out, g);
    auto read = [&](int64_t first, int64_t steps) JAX_SIGLIB_LAMBDA {
      below.Read(path, first, steps, job.point_stride, at.v());
      below.Read(t_path, first, steps, job.t_point_stride, at.t_v());
    };
    for (T* const x : {sig, t_sig, ct_sig, t_ct_sig}) below.ClearLow(x);
    ForBlocks(at, job.points - 1, [&](int64_t first, int64_t steps) JAX_SIGLIB_LAMBDA {
      read(first, steps);
      below.Tangent(sig, t_sig, t_v, steps, first == 0);
    });
    ReadLanes(g, algebra.length(), ct_sig);
    std::fill_n(t_ct_sig, algebra.offset(algebra.degree()) * W, T(0));
    PointCotangents<T, In> points(job, at, bundle, scratch);
    ForBlocksBack(at, job.points - 1, [&](int64_t first, int64_t steps) JAX_SIGLIB_LAMBDA {
      read(first, steps);
      walk.Adjoint(sig, t_sig, ct_sig, t_ct_sig, t_v, w, steps);
      points.WriteBlock(w, first, steps);
    });
    points.WriteFirst();
  }
}

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_SIG_HVP_BUNDLE_H_
