// Paths side by side: a bundle is as many paths of a batch as a vector has lanes, one
// in each, so that an entry of all their signatures is one vector and no arithmetic
// knows about lanes. Steps are done kSteps at a time: a word is visited once for all
// steps of such a block, with its entry in a register. This is where the scratch of a
// bundle lies; sig_bundle.h and sig_hvp_bundle.h say what happens there.
//
// From block to block the levels below N are kept to twice the digits of their type, as a
// sum of two numbers: so errors do not grow with the number of steps.
//
// All sizes are in vectors. Neither the number of threads nor that of the other paths
// in the bundle enters, so neither changes any bit of a result.
#ifndef JAX_SIGLIB_CPU_BUNDLE_PLAN_H_
#define JAX_SIGLIB_CPU_BUNDLE_PLAN_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "../tensor_algebra.h"

namespace jax_siglib {

class BundlePlan {
 public:
  // Steps of a block: enough to pay for reading and writing the signature once, few
  // enough for the chains of a slice to stay in the first-level cache.
  static constexpr int64_t kSteps = 16;

  // A path's blocks, all of the same length or one less.
  static int64_t Blocks(int64_t steps) { return (steps + kSteps - 1) / kSteps; }

  // order: of the derivative; in one of second order much has a tangent.
  explicit BundlePlan(const TensorAlgebra& algebra, int64_t order = 1)
      : algebra_(algebra),
        order_(order),
        slice_(std::max<int64_t>(SliceWords() / algebra.dimension(), 1)),
        chains_(algebra.degree() + 1) {
    const int64_t degree = algebra.degree(), d = algebra.dimension();
    int64_t at = 0;
    for (int64_t k = 0; k < degree; ++k) {
      chains_[k] = at;
      at += (degree - k) * words(k) * kSteps;
    }
    chains_[degree] = at;
    const int64_t lower = algebra.offset(degree), increments = kSteps * d;
    full_ = lower;
    lower_ = full_ + algebra.length() + lower;
    ones_ = lower_ + lower;
    v_ = ones_ + kSteps;
    w_ = v_ + increments;
    up_ = w_ + increments;
    down_ = up_ + at;
    top_ = down_ + at;
    part_ = top_ + words(degree - 1) * d;
    t_lower_ = part_ + 2 * increments + d + lower;
    t_ct_lower_ = t_lower_ + 2 * lower;
    t_v_ = t_ct_lower_ + lower;
    t_up_ = t_v_ + increments;
    t_down_ = t_up_ + at;
    total_ = order == 1 ? t_lower_ - lower : t_down_ + at;
  }

  // Whether to do a batch so. A full bundle takes half the time of its paths one after
  // another, or less (a gain of 2.4 and more was measured; of high degrees, whose many
  // chains fill the cache, 1.6, and of the adjoint in dimensions that fill it, 1.3; of
  // second order, where there are twice as many chains, 1.6 and 1.2), after as much as a
  // few steps on the way into lanes and out of them.
  template <class T>
  bool Pays(int64_t batch, int64_t points, int64_t lanes, bool adjoint) const {
    if (batch < 2 || total_ > kMostBytes / (lanes * static_cast<int64_t>(sizeof(T))))
      return false;
    const bool high = algebra_.degree() > 6;
    const bool wide = adjoint && algebra_.dimension() > kSliceWords;
    double gain = wide ? 1.3 : high ? 1.6 : 2.4, extra = high ? 8 : 6;
    if (order_ == 2) {
      gain = high ? 1.2 : 1.6;
      extra = 2;
    }
    const double bundles = static_cast<double>((batch + lanes - 1) / lanes);
    const double filled =
        static_cast<double>(batch) / (bundles * static_cast<double>(lanes));
    const double steps = static_cast<double>(points - 1);
    return filled * gain * steps >= steps + extra;
  }

  // Of the words of level k, this many are expanded at once; their children are a
  // slice of level k+1.
  int64_t slice() const { return slice_; }
  // Words of a slice of level k.
  int64_t words(int64_t k) const {
    return k == 0 ? 1 : std::min(algebra_.size(k), slice_ * algebra_.dimension());
  }

  // A signature or cotangent, all levels; and one without the top level. In front of
  // either are the low parts of the levels below the top, this far from the high ones.
  int64_t full() const { return full_; }
  int64_t lower() const { return lower_; }
  int64_t low() const { return -algebra_.offset(algebra_.degree()); }
  int64_t ones() const { return ones_; }
  // The increments of a block of steps, and their tangents or cotangents.
  int64_t v() const { return v_; }
  int64_t w() const { return w_; }
  // Chains of slices of level k: up, and their tangents or adjoints.
  int64_t up(int64_t k) const { return up_ + chains_[k]; }
  int64_t down(int64_t k) const { return down_ + chains_[k]; }
  // From chain to chain of level k.
  int64_t chain_stride(int64_t k) const { return words(k) * kSteps; }
  // The top level above a slice.
  int64_t top() const { return top_; }
  // In a derivative of second order: the tangents of a signature and of a cotangent
  // without their top levels, those of the increments, and those of the chains.
  int64_t t_lower() const { return t_lower_; }
  int64_t t_ct_lower() const { return t_ct_lower_; }
  int64_t t_v() const { return t_v_; }
  int64_t t_up(int64_t k) const { return t_up_ + chains_[k]; }
  int64_t t_down(int64_t k) const { return t_down_ + chains_[k]; }
  // For cotangents of the increments: a part of their sum, their differences, and the
  // first of the block after this one.
  int64_t part() const { return part_; }
  int64_t differences() const { return part_ + kSteps * algebra_.dimension(); }
  int64_t carry() const { return part_ + 2 * kSteps * algebra_.dimension(); }

  // Entries for one worker, with this many lanes.
  template <class T>
  int64_t scratch(int64_t lanes) const {
    constexpr int64_t kLine = 64 / sizeof(T);
    return (total_ * lanes + kLine - 1) / kLine * kLine;
  }

 private:
  // A worker's scratch, which is little more than a bundle of signatures.
  static constexpr int64_t kMostBytes = 64 << 20;
  static constexpr int64_t kSliceWords = 24;
  // Words of a slice, or a word's children if they are more. 24 are whole tiles of 3 and
  // of 4 rows (bundle_products.h); of high degrees so many chains pass each level that
  // fewer have to do for them to stay in cache, and of second order every chain is two.
  int64_t SliceWords() const {
    constexpr int64_t kChains = 512;
    const int64_t degree = algebra_.degree();
    return std::min(kSliceWords, kChains / std::max<int64_t>(degree * (degree - 1), 1)) /
           order_;
  }

  const TensorAlgebra& algebra_;
  int64_t order_;
  int64_t slice_;
  std::vector<int64_t> chains_;
  int64_t full_, lower_, ones_, v_, w_, up_, down_, top_, part_;
  int64_t t_lower_, t_ct_lower_, t_v_, t_up_, t_down_, total_;
};

}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_BUNDLE_PLAN_H_
