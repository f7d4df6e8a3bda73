// Paths side by side: a bundle is as many paths of a batch as a vector has lanes, one
// in each, so that an entry of all their signatures is one vector and no arithmetic
// knows about lanes. Steps are done block by block: a word is visited once for all steps
// of a block, with its entry in a register, and so are, depth first, its d children, whose
// chains stay in the first-level cache till the last of theirs is done. This is where the
// scratch of a bundle lies; sig_bundle.h and sig_hvp_bundle.h say what happens there.
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

#include "../tensor_algebra.h"

namespace jax_siglib {

class BundlePlan {
 public:
  // order: of the derivative; in one of second order, which is an adjoint, much has a
  // tangent.
  BundlePlan(const TensorAlgebra& algebra, int64_t order, bool adjoint)
      : algebra_(algebra),
        order_(order),
        adjoint_(adjoint),
        steps_(adjoint ? 14 : 20),
        chain_(steps_ * algebra.dimension() + kApart) {
    const int64_t degree = algebra.degree(), d = algebra.dimension();
    const int64_t lower = algebra.offset(degree), increments = steps_ * d;
    const int64_t chains = ChainsBelow(degree);
    full_ = lower;
    lower_ = full_ + algebra.length() + lower;
    ones_ = lower_ + lower;
    v_ = ones_ + increments;
    w_ = v_ + increments;
    up_ = w_ + increments;
    down_ = up_ + chains;
    top_ = down_ + chains;
    part_ = top_ + (degree > 1 ? d * d : d);
    t_lower_ = part_ + 2 * increments + d + lower;
    t_ct_lower_ = t_lower_ + 2 * lower;
    t_v_ = t_ct_lower_ + lower;
    t_up_ = t_v_ + increments;
    t_down_ = t_up_ + chains;
    total_ = order == 1 ? t_lower_ - lower : t_down_ + chains;
  }

  // Whether to do a batch so. A full bundle takes half the time of its paths one after
  // another, or less (a gain of 2.4 and more was measured; of high degrees, whose many
  // chains fill the cache, 1.6, and of the adjoint in dimensions that fill it, 1.3; of
  // second order, where there are twice as many chains, 1.6 and 1.2), after as much as a
  // few steps on the way into lanes and out of them.
  template <class T>
  bool Pays(int64_t batch, int64_t points, int64_t lanes) const {
    if (batch < 2 || total_ > kMostBytes / (lanes * static_cast<int64_t>(sizeof(T))))
      return false;
    const bool high = algebra_.degree() > 6;
    const bool wide = adjoint_ && algebra_.dimension() > kWide;
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

  // A path's blocks, all of the same length or one less.
  int64_t Blocks(int64_t steps) const { return (steps + steps_ - 1) / steps_; }
  // Of a block's increments; d vectors for each step.
  int64_t increments() const { return steps_ * algebra_.dimension(); }

  // A signature or cotangent, all levels; and one without the top level. In front of
  // either are the low parts of the levels below the top, this far from the high ones.
  int64_t full() const { return full_; }
  int64_t lower() const { return lower_; }
  int64_t low() const { return -algebra_.offset(algebra_.degree()); }
  int64_t ones() const { return ones_; }
  // The increments of a block of steps, and their tangents or cotangents.
  int64_t v() const { return v_; }
  int64_t w() const { return w_; }
  // The chains of level k, one behind another: a chain has a vector for each child of a
  // word, step by step, as an increment has for each of its entries. Up, and their tangents
  // or adjoints.
  int64_t up(int64_t k) const { return up_ + ChainsBelow(k); }
  int64_t down(int64_t k) const { return down_ + ChainsBelow(k); }
  int64_t chain() const { return chain_; }
  // The top level above the children of a word.
  int64_t top() const { return top_; }
  // In a derivative of second order: the tangents of a signature and of a cotangent
  // without their top levels, those of the increments, and those of the chains.
  int64_t t_lower() const { return t_lower_; }
  int64_t t_ct_lower() const { return t_ct_lower_; }
  int64_t t_v() const { return t_v_; }
  int64_t t_up(int64_t k) const { return t_up_ + ChainsBelow(k); }
  int64_t t_down(int64_t k) const { return t_down_ + ChainsBelow(k); }
  // For cotangents of the increments: a part of their sum, their differences, and the
  // first of the block after this one.
  int64_t part() const { return part_; }
  int64_t differences() const { return part_ + increments(); }
  int64_t carry() const { return part_ + 2 * increments(); }

  // Entries for one worker, with this many lanes.
  template <class T>
  int64_t scratch(int64_t lanes) const {
    constexpr int64_t kLine = 64 / sizeof(T);
    return (total_ * lanes + kLine - 1) / kLine * kLine;
  }

 private:
  // A worker's scratch, which is little more than a bundle of signatures.
  static constexpr int64_t kMostBytes = 64 << 20;
  // From this dimension on, the chains of a word's children fill the cache.
  static constexpr int64_t kWide = 24;
  // From chain to chain, more than their length: were it a multiple of 4096 bytes, as it
  // would be in dimension 16, a processor would take reading one for reading what was just
  // written to another, and wait.
  static constexpr int64_t kApart = 4;
  // Levels below k have N, N-1, ... chains.
  int64_t ChainsBelow(int64_t k) const {
    return (k * algebra_.degree() - k * (k - 1) / 2) * chain_;
  }

  const TensorAlgebra& algebra_;
  int64_t order_;
  bool adjoint_;
  // Of a block, at most: enough to pay for reading and writing the signature once, few
  // enough for all that is d vectors a step to stay in the first-level cache, increments
  // and chains, and for an adjoint their cotangents too.
  int64_t steps_;
  int64_t chain_;
  int64_t full_, lower_, ones_, v_, w_, up_, down_, top_, part_;
  int64_t t_lower_, t_ct_lower_, t_v_, t_up_, t_down_, total_;
};

}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_BUNDLE_PLAN_H_
