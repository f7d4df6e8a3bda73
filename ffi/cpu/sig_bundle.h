// sig, its tangent and its adjoint for bundles of paths (bundle_plan.h). For a block of
// steps the words are walked depth first in slices small enough to keep their chains in
// cache: up to level N-1 word by word (bundle_levels.h), and what lies above as a matrix
// product (bundle_products.h). The signature's own top level is never read going back,
// and its cotangent never changes.
#ifndef JAX_SIGLIB_CPU_SIG_BUNDLE_H_
#define JAX_SIGLIB_CPU_SIG_BUNDLE_H_

#include <algorithm>

#include "bundle_lanes.h"
#include "bundle_levels.h"
#include "bundle_plan.h"
#include "bundle_products.h"
#include "kernels.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

// A block of steps on its way up and down the levels.
template <class T>
class BundleWalk {
 public:
  static constexpr int W = Vec<T>::kLanes;
  static constexpr int64_t kRow = BundlePlan::kSteps * W;

  BundleWalk(const JoinPlan<T>& plan, const BundlePlan& at, T* scratch)
      : plan_(plan),
        algebra_(plan.algebra()),
        at_(at),
        scratch_(scratch),
        top_(algebra_.degree() - 1) {
    // Of the words of this level each slice has a sum of its own for the increments.
    if (algebra_.size(top_) >= kLongSum) part_level_ = top_ / 2;
    for (int64_t i = 0; i < kRow; ++i) Vectors(at.ones())[i] = T(1);
  }

  T* Vectors(int64_t at) const { return scratch_ + at * W; }

  // At level 0 every chain is 1 at every step.
  Chains<T> Root() const { return {Vectors(at_.ones()), 0}; }
  Chains<T> Up(int64_t k) const { return {Vectors(at_.up(k)), at_.chain_stride(k) * W}; }
  Chains<T> Down(int64_t k) const {
    return {Vectors(at_.down(k)), at_.chain_stride(k) * W};
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
    std::fill_n(Down(0).data, kRow, T(0));
    RiseTangent(0, 0, 1, Root(), {Down(0).data, 0}, t_v);
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

 private:
  // From this many words below the top level on, sums over them are done in parts, so
  // that errors do not grow with their number.
  static constexpr int64_t kLongSum = 128;

  T* Words(T* sig, int64_t k, int64_t first) const {
    return sig + (algebra_.offset(k) + first) * W;
  }
  BundleLevel<T> LevelAt(int64_t k) const {
    return {algebra_.dimension(), algebra_.degree() - k, steps_,
            Vectors(at_.v()),     plan_.inverse(),       at_.low() * W};
  }
  // Chains from word number i of the slice on.
  static Chains<T> From(Chains<T> chains, int64_t i) {
    return {chains.data + i * kRow, chains.stride};
  }
  void Clear(T* w) const { std::fill_n(w, steps_ * algebra_.dimension() * W, T(0)); }

  // The words above `count` words of level k, given their chains.
  void Rise(int64_t k, int64_t first, int64_t count, Chains<T> b) {
    const int64_t d = algebra_.dimension();
    if (k == top_)
      return BundleProducts<T>::Add(Words(sig_, k + 1, first * d), b.data, Vectors(at_.v()),
                                    count, d, steps_, fresh_);
    for (int64_t i = 0; i < count; i += at_.slice()) {
      const int64_t words = std::min(at_.slice(), count - i);
      ExpandSlice<false>(k, first + i, words, From(b, i));
      Rise(k + 1, (first + i) * d, words * d, Up(k + 1));
    }
  }

  // The same for tangents, given those of the chains.
  void RiseTangent(int64_t k, int64_t first, int64_t count, Chains<T> b, Chains<T> t_b,
                   const T* t_v) {
    const int64_t d = algebra_.dimension();
    const T* const v = Vectors(at_.v());
    if (k == top_) {
      T* const t_out = Words(ct_sig_, k + 1, first * d);
      BundleProducts<T>::Add(t_out, t_b.data, v, count, d, steps_, fresh_);
      return BundleProducts<T>::Add(t_out, b.data, t_v, count, d, steps_, false);
    }
    const BundleLevel<T> level = LevelAt(k);
    for (int64_t i = 0; i < count; i += at_.slice()) {
      const int64_t words = std::min(at_.slice(), count - i);
      for (int64_t j = 0; j < words; ++j) {
        const int64_t child = (first + i + j) * d;
        BundleLevels<T>::ExpandTangent(Words(sig_, k + 1, child),
                                       Words(ct_sig_, k + 1, child), From(b, i + j),
                                       From(t_b, i + j), From(Up(k + 1), j * d),
                                       From(Down(k + 1), j * d), t_v, level, fresh_);
      }
      RiseTangent(k + 1, (first + i) * d, words * d, Up(k + 1), Down(k + 1), t_v);
    }
  }

  // Up as in Rise, and back, given where the words' adjoint chains y go.
  void Sweep(int64_t k, int64_t first, int64_t count, Chains<T> b, Chains<T> y, T* w) {
    const int64_t d = algebra_.dimension();
    if (k == top_)
      return BundleProducts<T>::Contract(Words(ct_sig_, k + 1, first * d), b.data,
                                         Vectors(at_.v()), y.data, w, count, d, steps_);
    T* const part = k == part_level_ ? Vectors(at_.part()) : w;
    const BundleLevel<T> level = LevelAt(k);
    for (int64_t i = 0; i < count; i += at_.slice()) {
      const int64_t words = std::min(at_.slice(), count - i);
      if (part != w) Clear(part);
      ExpandSlice<true>(k, first + i, words, From(b, i));
      Sweep(k + 1, (first + i) * d, words * d, Up(k + 1), Down(k + 1), part);
      for (int64_t j = 0; j < words; ++j)
        BundleLevels<T>::Contract(Words(ct_sig_, k + 1, (first + i + j) * d),
                                  From(Down(k + 1), j * d), From(b, i + j), From(y, i + j),
                                  part, level);
      if (part != w)
        for (int64_t j = 0; j < steps_ * d * W; ++j) w[j] += part[j];
    }
  }

  template <bool kUndo>
  void ExpandSlice(int64_t k, int64_t first, int64_t words, Chains<T> b) const {
    const int64_t d = algebra_.dimension();
    const BundleLevel<T> level = LevelAt(k);
    for (int64_t j = 0; j < words; ++j)
      BundleLevels<T>::template Expand<kUndo>(Words(sig_, k + 1, (first + j) * d),
                                              From(b, j), From(Up(k + 1), j * d), level,
                                              fresh_);
  }

  const JoinPlan<T>& plan_;
  const TensorAlgebra& algebra_;
  const BundlePlan& at_;
  T* scratch_;
  int64_t top_;
  int64_t part_level_ = -1;
  T* sig_ = nullptr;
  T* ct_sig_ = nullptr;  // or the tangent
  int64_t steps_ = 0;
  bool fresh_ = false;
};

// Bundles number begin..end of a batch: which elements are in each.
template <class T>
class Bundle {
 public:
  static constexpr int W = Vec<T>::kLanes;

  Bundle(const Batch& batch, int64_t number)
      : batch_(batch),
        first_(number * W),
        count_(std::min<int64_t>(batch.size() - first_, W)) {}

  int64_t count() const { return count_; }
  // Where the operand is, lane by lane. Lanes without an element look at the last one.
  template <class U>
  void Find(const Operand<U>& operand, U* (&at)[W]) const {
    for (int64_t l = 0; l < W; ++l)
      at[l] = batch_.At(operand, first_ + std::min(l, count_ - 1));
  }

 private:
  const Batch& batch_;
  int64_t first_;
  int64_t count_;
};

template <class T>
void SigBundleForward(const SigJob<T>& job, int64_t begin, int64_t end, T* scratch) {
  const TensorAlgebra& algebra = job.plan.algebra();
  const int64_t d = algebra.dimension(), steps = job.points - 1;
  const int64_t blocks = BundlePlan::Blocks(steps);
  const BundlePlan at(algebra);
  BundleWalk<T> walk(job.plan, at, scratch);
  T* const sig = walk.Vectors(at.full());
  for (int64_t i = begin; i < end; ++i) {
    const Bundle<T> bundle(job.batch, i);
    const T* path[Vec<T>::kLanes];
    T* out[Vec<T>::kLanes];
    bundle.Find(job.path, path);
    bundle.Find(job.out, out);
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t t = steps * block / blocks, count = steps * (block + 1) / blocks - t;
      ReadIncrements(path, t, count, job.point_stride, d, walk.Vectors(at.v()));
      walk.Forward(sig, count, block == 0);
    }
    WriteLanes(sig, algebra.length(), out, bundle.count());
    if (job.scalar_term)
      for (int64_t l = 0; l < bundle.count(); ++l) out[l][-1] = T(1);
  }
}

template <class T>
void SigBundleTangent(const SigJob<T>& job, int64_t begin, int64_t end, T* scratch) {
  const TensorAlgebra& algebra = job.plan.algebra();
  const int64_t d = algebra.dimension(), steps = job.points - 1;
  const int64_t blocks = BundlePlan::Blocks(steps);
  const BundlePlan at(algebra);
  BundleWalk<T> walk(job.plan, at, scratch);
  T* const sig = walk.Vectors(at.lower());
  T* const t_sig = walk.Vectors(at.full());
  for (int64_t i = begin; i < end; ++i) {
    const Bundle<T> bundle(job.batch, i);
    const T *path[Vec<T>::kLanes], *t_path[Vec<T>::kLanes];
    T* t_out[Vec<T>::kLanes];
    bundle.Find(job.path, path);
    bundle.Find(job.t_path, t_path);
    bundle.Find(job.t_out, t_out);
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t t = steps * block / blocks, count = steps * (block + 1) / blocks - t;
      ReadIncrements(path, t, count, job.point_stride, d, walk.Vectors(at.v()));
      ReadIncrements(t_path, t, count, job.t_point_stride, d, walk.Vectors(at.w()));
      walk.Tangent(sig, t_sig, walk.Vectors(at.w()), count, block == 0);
    }
    WriteLanes(t_sig, algebra.length(), t_out, bundle.count());
    if (job.scalar_term)
      for (int64_t l = 0; l < bundle.count(); ++l) t_out[l][-1] = T(0);
  }
}

template <class T>
void SigBundleAdjoint(const SigJob<T>& job, int64_t begin, int64_t end, T* scratch) {
  const TensorAlgebra& algebra = job.plan.algebra();
  const int64_t d = algebra.dimension(), steps = job.points - 1;
  const int64_t lower = algebra.offset(algebra.degree());
  const int64_t blocks = BundlePlan::Blocks(steps);
  const BundlePlan at(algebra);
  BundleWalk<T> walk(job.plan, at, scratch);
  constexpr int W = Vec<T>::kLanes;
  T* const sig = walk.Vectors(at.lower());
  T* const ct_sig = walk.Vectors(at.full());
  T* const w = walk.Vectors(at.w());
  T* const ct_points = walk.Vectors(at.differences());
  T* const carry = walk.Vectors(at.carry());
  for (int64_t i = begin; i < end; ++i) {
    const Bundle<T> bundle(job.batch, i);
    const T *path[W], *sig_in[W], *ct_out[W];
    T* ct_path[W];
    bundle.Find(job.path, path);
    bundle.Find(job.sig, sig_in);
    bundle.Find(job.ct_out, ct_out);
    bundle.Find(job.ct_path, ct_path);
    ReadLanes(sig_in, lower, sig);
    ReadLanes(ct_out, algebra.length(), ct_sig);
    std::fill_n(sig + at.low() * W, lower * W, T(0));
    std::fill_n(ct_sig + at.low() * W, lower * W, T(0));
    std::fill_n(carry, d * W, T(0));
    for (int64_t block = blocks - 1; block >= 0; --block) {
      const int64_t t = steps * block / blocks, count = steps * (block + 1) / blocks - t;
      ReadIncrements(path, t, count, job.point_stride, d, walk.Vectors(at.v()));
      walk.Adjoint(sig, ct_sig, w, count);
      // A point is the end of one increment and the beginning of the next.
      const int64_t inner = (count - 1) * d * W;
      for (int64_t j = 0; j < inner; ++j) ct_points[j] = w[j] - w[j + d * W];
      for (int64_t j = 0; j < d * W; ++j) {
        ct_points[inner + j] = w[inner + j] - carry[j];
        carry[j] = w[j];
      }
      T* to[W];
      for (int l = 0; l < W; ++l) to[l] = ct_path[l] + (t + 1) * d;
      WriteLanes(ct_points, count * d, to, bundle.count());
    }
    for (int64_t j = 0; j < d * W; ++j) carry[j] = -carry[j];
    WriteLanes(carry, d, ct_path, bundle.count());
  }
}

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_SIG_BUNDLE_H_
