// The levels of a range of words, walked up (Horner) and down (its adjoint). What one
// step does is the business of Steps (append_steps.h, append_steps_any.h,
// prepend_steps.h), called through walk_steps.h; which pointers it gets is decided here.
#ifndef JAX_SIGLIB_CPU_JOIN_WALK_H_
#define JAX_SIGLIB_CPU_JOIN_WALK_H_

#include <algorithm>

#include "join_plan.h"
#include "level.h"
#include "simd.h"
#include "walk_steps.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

// At the bottom B_0 = 1: ct_s_1 = g_1 + sum of y, ct_v = g_1 + sum of y_n / n, where
// the chains y come from the levels n = 2..degree. ct_v is padded to whole vectors. g may
// be null for zeros.
template <class T>
JAX_SIGLIB_INLINE void BottomLevel(const T* g, T* ct_s, Chains<T> y, int64_t dimension,
                                   int64_t degree, const T* inverse, T* ct_v) {
  using Simd = Vec<T>;
  for (int64_t j = 0; j < dimension; j += Simd::kLanes) {
    const auto lanes = Simd::FirstLanes(dimension - j);
    typename Simd::V total = g == nullptr ? Simd::Zero() : Simd::LoadFirst(g + j, lanes);
    typename Simd::V v = total;
    for (int64_t c = 1; c < degree; ++c) {
      const typename Simd::V x = Simd::LoadFirst(y.data + (c - 1) * y.stride + j, lanes);
      total = Simd::Add(total, x);
      v = Simd::MulAdd(x, Simd::Set1(inverse[c]), v);
    }
    if (ct_s != nullptr) Simd::StoreFirst(ct_s + j, total, lanes);
    Simd::Store(ct_v + j, v);
  }
}

template <class Steps>
class Walk {
 public:
  using T = typename Steps::T;

  // The words above `range` of level `root`, with chains in scratch laid out by
  // `chains`; degree is at most the plan's (a walk may stop below its top).
  Walk(const JoinPlan<T>& plan, const ChainLayout<T>& chains, int64_t root, WordRange range,
       int64_t degree)
      : plan_(plan),
        algebra_(plan.algebra()),
        chains_(chains),
        root_(root),
        range_(range),
        full_(range.length == algebra_.size(root)),
        degree_(degree) {}

  JAX_SIGLIB_INLINE Chains<T> At(T* scratch, int64_t level) const {
    return {scratch + chains_.offset(level), chains_.stride(level)};
  }

  // Of chains that are followed by their tangents, laid out alike.
  JAX_SIGLIB_INLINE DualChains<T> DualAt(T* scratch, int64_t level) const {
    T* const data = scratch + chains_.offset(level);
    return {data, data + chains_.total(), chains_.stride(level)};
  }

  // The range's part of a level of a signature.
  template <class U>
  JAX_SIGLIB_INLINE U* Part(U* sig, int64_t level) const {
    const int64_t first =
        plan_.prepend() ? range_.begin : range_.begin * algebra_.size(level - root_);
    return sig + algebra_.offset(level) + first;
  }

  // out = join(s, v) from level root+1 up to level `to`, given the chains at the root.
  JAX_SIGLIB_INLINE void Forward(const Steps& steps, const T* s, T* out, Chains<T> at_root,
                                 T* scratch, int64_t to) const {
    const bool fuse = Steps::kFusesTopTwo && to == degree_ && degree_ - root_ >= 2;
    const Chains<T> b = Rise<true>(steps, s, out, at_root, scratch, fuse ? to - 2 : to);
    if constexpr (Steps::kFusesTopTwo) {
      if (fuse)
        TakeStep<&Steps::ExpandTopTwo>(steps, Part(out, to - 1), Part(out, to),
                                       Part(s, to - 1), Part(s, to), b.data, b.stride,
                                       LevelAt(to - 2));
    }
  }

  // Chains (and, if kOut, complete levels) from the root to level `to`.
  template <bool kOut>
  JAX_SIGLIB_INLINE Chains<T> Rise(const Steps& steps, const T* s, T* out, Chains<T> b,
                                   T* scratch, int64_t to) const {
    for (int64_t k = root_; k < to; ++k) {
      // No chain passes through the top level, and none has a place there.
      const Chains<T> next = k + 1 < degree_ ? At(scratch, k + 1) : Chains<T>{nullptr, 0};
      TakeStep<&Steps::template ExpandLevel<kOut>>(steps, kOut ? Part(out, k + 1) : nullptr,
                                                   Part(s, k + 1), b.data, b.stride,
                                                   next.data, next.stride, LevelAt(k));
      b = next;
    }
    return b;
  }

  // The same for tangents: t_out = the tangent of join(s, v) along (t_s, t_v) if
  // kTangentOut, and, if kOut, out = join(s, v) below the top level too. steps holds v,
  // t_steps holds t_v. Returns the chains at level `to`. Those at N-1 serve t_out alone:
  // without it only their tangents are made.
  template <bool kOut, bool kTangentOut>
  JAX_SIGLIB_INLINE DualChains<T> RiseTangent(const Steps& steps, const Steps& t_steps,
                                              const T* s, T* out, const T* t_s, T* t_out,
                                              DualChains<T> b, T* scratch,
                                              int64_t to) const {
    for (int64_t k = root_; k < to; ++k) {
      const bool more = k + 1 < degree_;
      DualChains<T> next{nullptr, nullptr, 0};
      if (more) next = DualAt(scratch, k + 1);
      DualChains<T> wanted = next;
      if (!kTangentOut && k + 1 == degree_ - 1) wanted.data = nullptr;
      TakeDualStep<&Steps::ExpandLevelTangent>(
          steps, t_steps, kOut && more ? Part(out, k + 1) : nullptr, Part(s, k + 1),
          kTangentOut ? Part(t_out, k + 1) : nullptr, Part(t_s, k + 1), b, wanted,
          LevelAt(k));
      b = next;
    }
    return b;
  }

  // Up to which level Descend from the top needs chains.
  JAX_SIGLIB_INLINE int64_t ChainsForBackprop() const {
    return degree_ - (Steps::kFusesTopTwo && degree_ - root_ >= 2 ? 2 : 1);
  }

  // ct_s = cotangent of s, given g, that of join(s, v), from level `from` down to the
  // root. Its chains are in scratch, and so are the adjoint chains y at
  // level `from` if that is below the top. steps collects for the displacement, and
  // ct_v (padded to whole vectors, and zeros to begin with) is set at the bottom. Returns
  // the adjoint chains at the root. g's top level is taken from g_top, and with kCopyTop =
  // false left out of ct_s. ct_s may be g.
  template <bool kCopyTop>
  JAX_SIGLIB_INLINE Chains<T> Descend(Steps& steps, const T* s, const T* g, const T* g_top,
                                      T* ct_s, Chains<T> at_root, T* scratch, Chains<T> y,
                                      T* y_scratch, int64_t from, T* ct_v) const {
    const int64_t lowest = root_ == 0 ? 1 : root_;
    int64_t k = from - 1;  // the step between levels k and k+1
    if constexpr (Steps::kFusesTopTwo) {
      if (from == degree_ && degree_ - root_ >= 2) {
        k = degree_ - 2;
        const Chains<T> b = k == root_ ? at_root : At(scratch, k);
        y = At(y_scratch, k);
        TakeStep<&Steps::template ContractTopTwo<kCopyTop>>(
            steps, Part(ct_s, k + 1), kCopyTop ? Part(ct_s, k + 2) : nullptr,
            Part(g, k + 1), Part(g_top, k + 2), Part(s, k + 1), b.data, b.stride, y.data,
            y.stride, LevelAt(k));
        // Of degree 2, that was all: ct_v gets its share from steps.
        if (k == 0) return y;
        --k;
      }
    }
    for (; k >= lowest; --k) {
      const bool top = k + 1 == degree_;
      const Chains<T> b = k == root_ ? at_root : At(scratch, k);
      const Chains<T> next = At(y_scratch, k);
      TakeStep<&Steps::ContractLevel>(steps, top && !kCopyTop ? nullptr : Part(ct_s, k + 1),
                                      Part(top ? g_top : g, k + 1), y.data, y.stride,
                                      b.data, b.stride, next.data, next.stride, LevelAt(k));
      y = next;
    }
    if (root_ == 0) {
      const bool top = degree_ == 1;
      BottomLevel(top ? g_top : g, top && !kCopyTop ? nullptr : ct_s, y,
                  algebra_.dimension(), degree_, plan_.inverse(), ct_v);
    }
    return y;
  }

  // Whether DescendTangent takes the two topmost levels together. Not from the root of
  // degree 2, whose chains' tangents are zeros that must not meet an infinite g_1.
  JAX_SIGLIB_INLINE bool FusesTangent() const {
    return Steps::kFusesTopTwo && degree_ - root_ >= 2 && degree_ > 2;
  }

  // Up to which level DescendTangent from the top needs chains.
  JAX_SIGLIB_INLINE int64_t ChainsForTangent() const {
    return degree_ - (FusesTangent() ? 2 : 1);
  }

  // The tangent of Descend along (t_s, t_v), and, if kCarry, along a tangent of g below its
  // top level. Without kCarry, t_ct_s = the tangent of ct_s below the top level. With it,
  // ct_s and t_ct_s hold g and its tangent (below the top level), and come to hold those of
  // the cotangent of s, but for level 1 of ct_s, on which nothing here depends. Chains, y
  // and both scratches as for Descend, each followed by its tangents.
  //
  // The tangents of B_0 and of g_N are zeros by nature: products with them are left out,
  // and so g_1, s_{N-1} and s_N are never read.
  template <bool kCarry>
  JAX_SIGLIB_INLINE DualChains<T> DescendTangent(Steps& steps, const Steps& t_steps,
                                                 const T* t_s, const T* g, const T* g_top,
                                                 T* ct_s, T* t_ct_s, DualChains<T> at_root,
                                                 T* scratch, DualChains<T> y, T* y_scratch,
                                                 int64_t from, T* ct_v) const {
    const int64_t lowest = root_ == 0 ? 1 : root_;
    int64_t k = from - 1;  // the step between levels k and k+1
    if constexpr (Steps::kFusesTopTwo) {
      if (from == degree_ && FusesTangent()) {
        k = degree_ - 2;
        y = DualAt(y_scratch, k);
        TakeDualStep<&Steps::template ContractTopTwoTangent<kCarry>>(
            steps, t_steps, Part(g, k + 1), Part(g_top, k + 2),
            kCarry ? Part(ct_s, k + 1) : nullptr, Part(t_ct_s, k + 1), Part(t_s, k + 1),
            k == root_ ? at_root : DualAt(scratch, k), y, LevelAt(k));
        --k;
      }
    }
    for (; k >= lowest; --k) {
      const bool top = k + 1 == degree_;
      const DualChains<T> next = DualAt(y_scratch, k);
      TakeDualStep<&Steps::template ContractLevelTangent<kCarry>>(
          steps, t_steps, Part(top ? g_top : g, k + 1),
          kCarry && !top ? Part(ct_s, k + 1) : nullptr, top ? nullptr : Part(t_ct_s, k + 1),
          y, k == root_ ? at_root : DualAt(scratch, k), next, LevelAt(k));
      y = next;
    }
    if (root_ == 0) {
      T* const t_level = degree_ == 1 ? nullptr : t_ct_s;
      BottomLevel<T>(kCarry ? t_level : nullptr, t_level, {y.tangent, y.stride},
                     algebra_.dimension(), degree_, plan_.inverse(), ct_v);
    }
    return y;
  }

  // Writes zeros to the range's part of the top level.
  JAX_SIGLIB_INLINE void ZeroTop(T* sig) const {
    const Level<T> level = LevelAt(degree_);
    T* const top = Part(sig, degree_);
    if (!plan_.prepend()) {
      std::fill_n(top, level.rows, T(0));
      return;
    }
    for (int64_t u = 0; u < level.pieces; ++u)
      std::fill_n(top + u * level.piece_stride, level.piece, T(0));
  }

 private:
  JAX_SIGLIB_INLINE Level<T> LevelAt(int64_t k) const {
    const int64_t above = algebra_.size(k - root_);
    const int64_t rows = range_.length * above;
    Level<T> level{algebra_.dimension(), rows, degree_ - k, 1, rows, rows, k == 0,
                   plan_.inverse()};
    if (!full_) {
      level.pieces = above;
      level.piece = range_.length;
      level.piece_stride = algebra_.size(root_);
    }
    return level;
  }

  const JoinPlan<T>& plan_;
  const TensorAlgebra& algebra_;
  const ChainLayout<T>& chains_;
  int64_t root_;
  WordRange range_;
  bool full_;
  int64_t degree_;
};

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_JOIN_WALK_H_
