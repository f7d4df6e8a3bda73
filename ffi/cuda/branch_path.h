// Branches of a path's signature on their way along the path: the increments of a block's
// steps, and what is held from one block to the next.
#ifndef JAX_SIGLIB_CUDA_BRANCH_PATH_H_
#define JAX_SIGLIB_CUDA_BRANCH_PATH_H_

#include <cstdint>

#include "branch.h"
#include "branch_job.h"
#include "carry.h"

namespace jax_siglib {
namespace cuda {

template <class T, int kSide, bool kDual, bool kAdjoint, class Block>
class BranchPath : public Branches<T, kSide, kDual, kAdjoint, Block> {
  using Base = Branches<T, kSide, kDual, kAdjoint, Block>;

 public:
  using Base::kMost;
  using Base::kPad;
  using typename Base::Levels;
  using typename Base::Value;

  JAX_SIGLIB_KERNEL BranchPath(const Block& block, const BranchJob& job, int64_t first,
                               int64_t tile, void* workspace)
      : Base(block, job.plan, job.path.levels, job.path.batch, first, tile,
             reinterpret_cast<T*>(static_cast<char*>(workspace) +
                                  BranchPathsBytes(job.plan, kDual))),
        job_(job),
        paths_(static_cast<int64_t*>(workspace)) {}

 protected:
  // Where the elements' paths lie.
  JAX_SIGLIB_KERNEL void FindPaths() const {
    const PathJob& path = job_.path;
    this->block_.ForEach(this->elements_, [&](int32_t e) {
      paths_[e] = path.path.Offset(path.lead, this->first_ + e);
      if (kDual)
        paths_[this->plan_.elements + e] = path.t_path.Offset(path.lead, this->first_ + e);
    });
  }

  // Increments first, ..., first + count - 1 of each element's path, letters beyond d zero.
  JAX_SIGLIB_KERNEL void LoadIncrements(int64_t first, int32_t count) const {
    WithStored<T>(job_.dtype, [&](auto stored) { Load<decltype(stored)>(first, count); });
  }

  // At the end of a block's steps: what has moved is added to what is held, and what that
  // loses to the low parts, which lie in the workspace from number `index` on.
  JAX_SIGLIB_KERNEL void Settle(int32_t i, int32_t index, Levels& s) const {
    const BranchPlan& plan = this->plan_;
    constexpr int kOrder = kDual ? 2 : 1;
    T* low = this->memory_ + job_.at.low + i + index * kOrder * plan.width;
    auto settle = [&](Moving<Value>& number) {
      if constexpr (kDual) {
        number.held.x = Carry(number.held.x, low, number.moved.x);
        low += plan.width;
        number.held.t = Carry(number.held.t, low, number.moved.t);
      } else {
        number.held = Carry(number.held, low, number.moved);
      }
      low += plan.width;
      number.moved = Constant<Value>(T(0));
    };
    JAX_SIGLIB_SPREAD
    for (int a = 0; a < kSide; ++a) settle(s.rows[a]);
    JAX_SIGLIB_SPREAD
    for (int m = 0; m < kMost; ++m)
      if (m < plan.root) settle(s.path[m]);
  }
  JAX_SIGLIB_KERNEL void ClearLow(int32_t i) const {
    const BranchPlan& plan = this->plan_;
    const int32_t numbers = (kDual ? 2 : 1) * (kAdjoint ? 2 : 1) * (kSide + plan.root);
    JAX_SIGLIB_ROLLED
    for (int32_t at = 0; at < numbers; ++at)
      this->memory_[job_.at.low + i + at * plan.width] = 0;
  }

  // For the adjoint.
  JAX_SIGLIB_KERNEL T* FoundFirst() const { return this->memory_ + job_.at.found; }
  JAX_SIGLIB_KERNEL T* Partial() const { return this->memory_ + job_.at.partial; }

  const BranchJob& job_;
  int64_t* paths_;  // where the elements' paths lie, in entries; then their tangents

 private:
  template <class S>
  JAX_SIGLIB_KERNEL void Load(int64_t first, int32_t count) const {
    const PathJob& path = job_.path;
    const BranchPlan& plan = this->plan_;
    T* const v = this->memory_;
    const int32_t behind = this->TangentsBehind(), d = path.levels.dimension();
    const S* const x = static_cast<const S*>(path.path.data);
    const S* const t_x = static_cast<const S*>(path.t_path.data);
    auto change = [&](const S* x, int64_t stride, int64_t element, int64_t point,
                      int32_t letter) {
      const S* const at = x + element + point * stride + letter;
      return static_cast<T>(cuda::Load(at, stride)) - static_cast<T>(cuda::Load(at, 0));
    };
    // Each as the number that it stands for: an increment of 0 where there is no letter.
    auto load = [&](int32_t i) {
      const Divisor::Parts at = plan.by_pitch.Split(i);
      const Divisor::Parts step = plan.by_elements.Split(at.quotient);
      const int32_t letter = at.rest / kPad * kSide + at.rest % kPad, e = step.rest;
      Value v_i = Constant<Value>(T(0));
      if (at.rest % kPad >= kSide || letter >= d || e >= this->elements_) return v_i;
      const int64_t point = first + step.quotient;
      const T x_i = change(x, path.point_stride, paths_[e], point, letter);
      if constexpr (kDual)
        v_i = {x_i,
               change(t_x, path.t_point_stride, paths_[plan.elements + e], point, letter)};
      else
        v_i = x_i;
      return v_i;
    };
    this->block_.template ForEachLoaded<4>(count * plan.elements * plan.pitch, load,
                                           [&](int32_t i, const Value& v_i) {
                                             if constexpr (kDual) {
                                               v[i] = v_i.x;
                                               v[behind + i] = v_i.t;
                                             } else {
                                               v[i] = v_i;
                                             }
                                           });
  }
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_BRANCH_PATH_H_
