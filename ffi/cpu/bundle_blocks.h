// What is common to all that is done with bundles of paths: which elements of the batch
// they hold, their steps block by block, and the cotangents of their points.
#ifndef JAX_SIGLIB_CPU_BUNDLE_BLOCKS_H_
#define JAX_SIGLIB_CPU_BUNDLE_BLOCKS_H_

#include <algorithm>

#include "bundle_lanes.h"
#include "bundle_plan.h"
#include "kernels.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

// A bundle of a batch: which elements are in it.
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

// f(first step, how many) for the blocks of a path, one after another.
template <class F>
JAX_SIGLIB_INLINE void ForBlocks(const BundlePlan& at, int64_t steps, F&& f) {
  const int64_t blocks = at.Blocks(steps);
  for (int64_t i = 0; i < blocks; ++i) {
    const int64_t first = steps * i / blocks;
    f(first, steps * (i + 1) / blocks - first);
  }
}

// The same from the last block to the first.
template <class F>
JAX_SIGLIB_INLINE void ForBlocksBack(const BundlePlan& at, int64_t steps, F&& f) {
  const int64_t blocks = at.Blocks(steps);
  for (int64_t i = blocks - 1; i >= 0; --i) {
    const int64_t first = steps * i / blocks;
    f(first, steps * (i + 1) / blocks - first);
  }
}

// Writes the cotangents of a bundle's points, given those of its increments block by block
// from the end: a point is the end of one increment and the beginning of the next.
template <class T, class In>
class PointCotangents {
 public:
  static constexpr int W = Vec<T>::kLanes;

  PointCotangents(const SigJob<In>& job, const BundlePlan& at, const Bundle<T>& bundle,
                  T* scratch)
      : entries_(job.plan.algebra().dimension()),
        count_(bundle.count()),
        differences_(scratch + at.differences() * W),
        carry_(scratch + at.carry() * W) {
    bundle.Find(job.ct_path, ct_path_);
    bundle.Find(job.ct_first.data == nullptr ? job.ct_path : job.ct_first, ct_first_);
    std::fill_n(carry_, entries_ * W, T(0));
  }

  // w: the cotangents of the increments of a block.
  void WriteBlock(const T* w, int64_t first, int64_t steps) {
    const int64_t step = entries_ * W, inner = (steps - 1) * step;
    for (int64_t j = 0; j < inner; ++j) differences_[j] = w[j] - w[j + step];
    for (int64_t j = 0; j < step; ++j) {
      differences_[inner + j] = w[inner + j] - carry_[j];
      carry_[j] = w[j];
    }
    In* to[W];
    for (int l = 0; l < W; ++l) to[l] = ct_path_[l] + (first + 1) * entries_;
    WriteLanes(differences_, steps * entries_, to, count_);
  }

  // The first point, after all blocks.
  void WriteFirst() {
    for (int64_t j = 0; j < entries_ * W; ++j) carry_[j] = -carry_[j];
    WriteLanes(carry_, entries_, ct_first_, count_);
  }

 private:
  int64_t entries_;  // of a point
  int64_t count_;
  T* differences_;
  T* carry_;
  In* ct_path_[W];
  In* ct_first_[W];
};

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_BUNDLE_BLOCKS_H_
