// sig, its tangent and its adjoint for bundles of paths (bundle_plan.h). For a block of
// steps the words are walked depth first: up to level N-1 word by word (bundle_levels.h),
// and what lies above the d children of a word of level N-2 as a matrix product
// (bundle_products.h). The signature's own top level is never read going back, and its
// cotangent never changes.
#ifndef JAX_SIGLIB_CPU_SIG_BUNDLE_H_
#define JAX_SIGLIB_CPU_SIG_BUNDLE_H_

#include <algorithm>

#include "bundle_blocks.h"
#include "bundle_levels.h"
#include "bundle_plan.h"
#include "bundle_products.h"
#include "bundle_tangents.h"
#include "kernels.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

// A block of steps on its way up and down the levels. Numbers are read and written in the
// type In, and reckoned with in the type T: double for long paths of floats (long_path.h).
template <class T, class In>
class BundleWalk {
 public:
  static constexpr int W = Vec<T>::kLanes;

  // degree is at most the plan's (a walk may stop below its top).
  BundleWalk(const JoinPlan<T>& plan, const BundlePlan& at, T* scratch, int64_t degree)
      : plan_(plan),
        algebra_(plan.algebra()),
        at_(at),
        scratch_(scratch),
        top_(degree - 1) {
    // The words above each of this level have a sum of their own for the increments.
    if (algebra_.size(top_) >= kLongSum) part_level_ = top_ / 2;
    std::fill_n(Vectors(at.ones()), at.increments() * W, T(1));
  }

  BundleWalk(const JoinPlan<T>& plan, const BundlePlan& at, T* scratch)
      : BundleWalk(plan, at, scratch, plan.algebra().degree()) {}

  T* Vectors(int64_t at) const { return scratch_ + at * W; }

  // The increments of a block of steps.
  void Read(const In* const* path, int64_t first, int64_t steps, int64_t stride,
            int64_t to) const {
    ReadIncrements(path, first, steps, stride, algebra_.dimension(), Vectors(to));
  }

  // At level 0 every chain is 1 at every step.
  Chains<T> Root() const { return {Vectors(at_.ones()), 0}; }
  Chains<T> Up(int64_t k) const { return {Vectors(at_.up(k)), at_.chain() * W}; }
  Chains<T> Down(int64_t k) const { return {Vectors(at_.down(k)), at_.chain() * W}; }

  // Chains with tangents; those of the constant 1 are zeros.
  DualChains<T> DualRoot(int64_t zeros) const {
    std::fill_n(Vectors(zeros), at_.increments() * W, T(0));
    return {Vectors(at_.ones()), Vectors(zeros), 0};
  }
  DualChains<T> Dual(int64_t chains, int64_t tangents) const {
    return {Vectors(chains), Vectors(tangents), at_.chain() * W};
  }

  // What is read from an operand has no low part.
  void ClearLow(T* sig) const {
    const int64_t low = at_.low() * W;
    std::fill_n(sig + low, -low, T(0));
  }

  // From now on the top level goes to `out`, where the results of so many paths are, and
  // not back to the bundle: for the last block.
  void DeliverTop(In* const* out, int64_t count) {
    out_ = out;
    out_count_ = count;
  }

  // sig, all levels, from before the block to behind it.
  void Forward(T* sig, int64_t steps, bool fresh) {
    sig_ = sig;
    steps_ = steps;
    fresh_ = fresh;
    Rise(0, 0, 1, Root());
  }

  // The tangent t_sig, all levels, with sig, levels below N; t_v are the tangents of the
  // increments.
  void Tangent(T* sig, T* t_sig, const T* t_v, int64_t steps, bool fresh) {
    sig_ = sig;
    ct_sig_ = t_sig;
    steps_ = steps;
    fresh_ = fresh;
    t_v_ = t_v;
    RiseTangent(0, 0, 1, DualRoot(at_.down(0)));
  }

  // The way back: sig, levels below N, and ct_sig, whose top level is left as it is;
  // w = the cotangents of the increments.
  void Adjoint(T* sig, T* ct_sig, T* w, int64_t steps) {
    sig_ = sig;
    ct_sig_ = ct_sig;
    steps_ = steps;
    fresh_ = false;
    Clear(w);
    Sweep(0, 0, 1, Root(), Down(0), w);
  }

 protected:
  // From this many words below the top level on, sums over them are done in parts, so
  // that errors do not grow with their number.
  static constexpr int64_t kLongSum = 128;

  T* Words(T* sig, int64_t k, int64_t first) const {
    return sig + (algebra_.offset(k) + first) * W;
  }
  BundleLevel<T> LevelAt(int64_t k) const {
    return {algebra_.dimension(), top_ + 1 - k,    steps_,
            Vectors(at_.v()),     plan_.inverse(), at_.low() * W};
  }
  // Chains of one word of several.
  static Chains<T> From(Chains<T> chains, int64_t i) {
    return {chains.data + i * W, chains.stride};
  }
  static DualChains<T> From(DualChains<T> chains, int64_t i) {
    return {chains.data + i * W, chains.tangent + i * W, chains.stride};
  }
  void Clear(T* w) const { std::fill_n(w, steps_ * algebra_.dimension() * W, T(0)); }

  // f(i, part) for word number i of `count` words of level k; part is where its share of w
  // is to be added up.
  template <class F>
  JAX_SIGLIB_INLINE void ForWords(int64_t k, int64_t count, T* w, F&& f) const {
    T* const part = k == part_level_ ? Vectors(at_.part()) : w;
    for (int64_t i = 0; i < count; ++i) {
      if (part != w) Clear(part);
      f(i, part);
      if (part != w)
        for (int64_t j = 0; j < steps_ * algebra_.dimension() * W; ++j) w[j] += part[j];
    }
  }

  // add(out, before) on the top level above `count` words of the level below: what is there
  // before the block (or null for zeros), and where it is to be after it.
  template <class F>
  JAX_SIGLIB_INLINE void WithTop(T* sig, int64_t first, int64_t count, F&& add) const {
    const int64_t d = algebra_.dimension();
    T* const words = Words(sig, top_ + 1, first * d);
    T* const out = out_ == nullptr ? words : Vectors(at_.top());
    add(out, fresh_ ? nullptr : words);
    if (out_ == nullptr) return;
    In* to[W];
    for (int64_t l = 0; l < W; ++l)
      to[l] = out_[std::min(l, out_count_ - 1)] + algebra_.offset(top_ + 1) + first * d;
    WriteLanes(out, count * d, to, out_count_);
  }

  // The words above `count` words of level k, given their chains.
  void Rise(int64_t k, int64_t first, int64_t count, Chains<T> b) {
    const int64_t d = algebra_.dimension();
    if (k == top_)
      return WithTop(sig_, first, count, [&](T* out, const T* before) JAX_SIGLIB_LAMBDA {
        BundleProducts<T>::Add(out, before, b.data, Vectors(at_.v()), count, d, steps_);
      });
    for (int64_t i = 0; i < count; ++i) {
      Expand<false>(k, first + i, From(b, i));
      Rise(k + 1, (first + i) * d, d, Up(k + 1));
    }
  }

  // The same for tangents, given those of the chains.
  void RiseTangent(int64_t k, int64_t first, int64_t count, DualChains<T> b) {
    const int64_t d = algebra_.dimension();
    if (k == top_) {
      return WithTop(ct_sig_, first, count, [&](T* out, const T* before) JAX_SIGLIB_LAMBDA {
        BundleProducts<T>::Add(out, before, b.tangent, Vectors(at_.v()), count, d, steps_);
        BundleProducts<T>::Add(out, out, b.data, t_v_, count, d, steps_);
      });
    }
    const DualChains<T> next = Dual(at_.up(k + 1), at_.down(k + 1));
    const BundleLevel<T> level = LevelAt(k);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t child = (first + i) * d;
      BundleTangents<T>::template Expand<false>(Words(sig_, k + 1, child),
                                                Words(ct_sig_, k + 1, child), From(b, i),
                                                next, t_v_, level, fresh_);
      RiseTangent(k + 1, child, d, next);
    }
  }

  // Up as in Rise, and back, given where the words' adjoint chains y go.
  void Sweep(int64_t k, int64_t first, int64_t count, Chains<T> b, Chains<T> y, T* w) {
    const int64_t d = algebra_.dimension();
    if (k == top_)
      return BundleProducts<T>::Contract(Words(ct_sig_, k + 1, first * d), b.data,
                                         Vectors(at_.v()), y.data, w, count, d, steps_);
    const BundleLevel<T> level = LevelAt(k);
    ForWords(k, count, w, [&](int64_t i, T* part) JAX_SIGLIB_LAMBDA {
      const int64_t child = (first + i) * d;
      Expand<true>(k, first + i, From(b, i));
      Sweep(k + 1, child, d, Up(k + 1), Down(k + 1), part);
      BundleLevels<T>::Contract(Words(ct_sig_, k + 1, child), Down(k + 1), From(b, i),
                                From(y, i), part, level);
    });
  }

  // A word's children and their chains.
  template <bool kUndo>
  void Expand(int64_t k, int64_t word, Chains<T> b) const {
    BundleLevels<T>::template Expand<kUndo>(Words(sig_, k + 1, word * algebra_.dimension()),
                                            b, Up(k + 1), LevelAt(k), fresh_);
  }

  const JoinPlan<T>& plan_;
  const TensorAlgebra& algebra_;
  const BundlePlan& at_;
  T* scratch_;
  int64_t top_;
  int64_t part_level_ = -1;
  T* sig_ = nullptr;
  T* ct_sig_ = nullptr;  // or the tangent
  const T* t_v_ = nullptr;
  int64_t steps_ = 0;
  bool fresh_ = false;
  In* const* out_ = nullptr;
  int64_t out_count_ = 0;
};

template <class T, class In>
void SigBundleForward(const SigJob<In>& job, const JoinPlan<T>& plan, int64_t begin,
                      int64_t end, T* scratch) {
  const TensorAlgebra& algebra = plan.algebra();
  const BundlePlan at(algebra, 1, false);
  for (int64_t i = begin; i < end; ++i) {
    BundleWalk<T, In> walk(plan, at, scratch);
    T* const sig = walk.Vectors(at.full());
    const Bundle<T> bundle(job.batch, i);
    const In* path[Vec<T>::kLanes];
    In* out[Vec<T>::kLanes];
    bundle.Find(job.path, path);
    bundle.Find(job.out, out);
    ForBlocks(at, job.points - 1, [&](int64_t first, int64_t steps) JAX_SIGLIB_LAMBDA {
      walk.Read(path, first, steps, job.point_stride, at.v());
      if (first + steps == job.points - 1) walk.DeliverTop(out, bundle.count());
      walk.Forward(sig, steps, first == 0);
    });
    WriteLanes(sig, algebra.offset(algebra.degree()), out, bundle.count());
    if (job.scalar_term)
      for (int64_t l = 0; l < bundle.count(); ++l) out[l][-1] = In(1);
  }
}

template <class T, class In>
void SigBundleTangent(const SigJob<In>& job, const JoinPlan<T>& plan, int64_t begin,
                      int64_t end, T* scratch) {
  const TensorAlgebra& algebra = plan.algebra();
  const BundlePlan at(algebra, 1, false);
  for (int64_t i = begin; i < end; ++i) {
    BundleWalk<T, In> walk(plan, at, scratch);
    T* const t_sig = walk.Vectors(at.full());
    const Bundle<T> bundle(job.batch, i);
    const In *path[Vec<T>::kLanes], *t_path[Vec<T>::kLanes];
    In* t_out[Vec<T>::kLanes];
    bundle.Find(job.path, path);
    bundle.Find(job.t_path, t_path);
    bundle.Find(job.t_out, t_out);
    ForBlocks(at, job.points - 1, [&](int64_t first, int64_t steps) JAX_SIGLIB_LAMBDA {
      walk.Read(path, first, steps, job.point_stride, at.v());
      walk.Read(t_path, first, steps, job.t_point_stride, at.w());
      if (first + steps == job.points - 1) walk.DeliverTop(t_out, bundle.count());
      walk.Tangent(walk.Vectors(at.lower()), t_sig, walk.Vectors(at.w()), steps,
                   first == 0);
    });
    WriteLanes(t_sig, algebra.offset(algebra.degree()), t_out, bundle.count());
    if (job.scalar_term)
      for (int64_t l = 0; l < bundle.count(); ++l) t_out[l][-1] = In(0);
  }
}

template <class T, class In>
void SigBundleAdjoint(const SigJob<In>& job, const JoinPlan<T>& plan, int64_t begin,
                      int64_t end, T* scratch) {
  const TensorAlgebra& algebra = plan.algebra();
  const BundlePlan at(algebra, 1, true);
  BundleWalk<T, In> walk(plan, at, scratch);
  T* const sig = walk.Vectors(at.lower());
  T* const ct_sig = walk.Vectors(at.full());
  T* const w = walk.Vectors(at.w());
  for (int64_t i = begin; i < end; ++i) {
    const Bundle<T> bundle(job.batch, i);
    const In *path[Vec<T>::kLanes], *sig_in[Vec<T>::kLanes], *ct_out[Vec<T>::kLanes];
    bundle.Find(job.path, path);
    bundle.Find(job.sig, sig_in);
    bundle.Find(job.ct_out, ct_out);
    ReadLanes(sig_in, algebra.offset(algebra.degree()), sig);
    ReadLanes(ct_out, algebra.length(), ct_sig);
    walk.ClearLow(sig);
    walk.ClearLow(ct_sig);
    PointCotangents<T, In> points(job, at, bundle, scratch);
    ForBlocksBack(at, job.points - 1, [&](int64_t first, int64_t steps) JAX_SIGLIB_LAMBDA {
      walk.Read(path, first, steps, job.point_stride, at.v());
      walk.Adjoint(sig, ct_sig, w, steps);
      points.WriteBlock(w, first, steps);
    });
    points.WriteFirst();
  }
}

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_SIG_BUNDLE_H_
