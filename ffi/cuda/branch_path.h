// Branches of a path's signature on their way along the path: the increments of a block's
// steps, and what is held from one block to the next.
#ifndef JAX_SIGLIB_CUDA_BRANCH_PATH_H_
#define JAX_SIGLIB_CUDA_BRANCH_PATH_H_

#include <cstdint>

#include "branch.h"
#include "branch_job.h"
#include "carry.h"
#include "in_flight.h"

namespace jax_siglib {
namespace cuda {

template <class T, int kSide, bool kDual, bool kAdjoint, bool kStream, class Block>
class BranchPath : public Branches<T, kSide, kDual, kAdjoint, kStream, Block> {
  using Base = Branches<T, kSide, kDual, kAdjoint, kStream, Block>;

 public:
  using Base::kMost;
  using Base::kPad;
  using typename Base::Levels;
  using typename Base::Reads;
  using typename Base::Value;

  JAX_SIGLIB_KERNEL BranchPath(const Block& block, const BranchJob& job, int64_t first,
                               int64_t tile, void* workspace)
      : Base(block, job.plan, job.path.levels, job.stream.prepend, job.path.batch, first,
             tile,
             reinterpret_cast<T*>(static_cast<char*>(workspace) +
                                  BranchPathsBytes(job.plan, kDual))),
        job_(job),
        paths_(static_cast<int64_t*>(workspace)) {}

 protected:
  using Base::Count;

  JAX_SIGLIB_KERNEL int64_t Steps() const { return job_.path.points - 1; }
  // Of those left, the steps whose increments are loaded together.
  JAX_SIGLIB_KERNEL int32_t Count(int64_t left) const {
    const int32_t block = this->plan_.steps;
    return left < block ? static_cast<int32_t>(left) : block;
  }

  // Steps are taken in the order of the joins: of prepended increments the last comes
  // first. A step's increment, and the row of a stream that it leads to, have this number.
  JAX_SIGLIB_KERNEL int64_t Row(int64_t i) const {
    return this->prepend_ ? Steps() - 1 - i : i;
  }
  // Loads the increments of `count` steps from `first` on; which of them is that of step i.
  JAX_SIGLIB_KERNEL void LoadSteps(int64_t first, int32_t count) const {
    LoadIncrements(this->prepend_ ? Steps() - first - count : first, count);
  }
  JAX_SIGLIB_KERNEL int32_t Loaded(int32_t i, int32_t count) const {
    return this->prepend_ ? count - 1 - i : i;
  }

  // How far the increment of a step lies behind that of the step before.
  JAX_SIGLIB_KERNEL int32_t StepsApart() const {
    const int32_t apart = this->plan_.elements * this->plan_.pitch;
    return this->prepend_ ? -apart : apart;
  }

  // Where the elements' paths lie.
  JAX_SIGLIB_KERNEL void FindPaths() const {
    const PathJob& path = job_.path;
    this->block_.ForEach(this->elements_, [&](int32_t e) {
      paths_[e] = path.path.Offset(path.lead, this->first_ + e);
      if (kDual)
        paths_[this->plan_.elements + e] = path.t_path.Offset(path.lead, this->first_ + e);
    });
  }

  // A step of S: below level N, and with kTop of the tile of level N, or of its tangent.
  template <bool kTop, bool kExact>
  JAX_SIGLIB_KERNEL void Step(const T* increment, const Reads& reads, Levels& s,
                              T (&top)[kSide][kSide]) const {
    typename Base::Chains chains;
    Value v[kSide];
    this->template Climb<false>(increment, reads, s, chains, [](int, const Value*) {});
    if (kTop) this->Read(increment + (kExact ? 0 : reads.letters_at), v);
    this->template MoveRows<false, kExact>(increment, reads, s, chains,
                                           [&](int a, const Value& b, const Value&) {
                                             if constexpr (kTop) {
                                               JAX_SIGLIB_IN_FULL
                                               for (int e = 0; e < kSide; ++e)
                                                 top[a][e] += Asked(b * v[e]);
                                             }
                                           });
  }

  // f(first, count) for the blocks of steps, the first one first, with their increments
  // loaded.
  template <class F>
  JAX_SIGLIB_KERNEL void ForBlocks(F&& f) const {
    JAX_SIGLIB_ROLLED
    for (int64_t first = 0; first < Steps(); first += this->plan_.steps) {
      const int32_t count = Count(Steps() - first);
      LoadSteps(first, count);
      f(first, count);
    }
  }

  // All steps, the first one first.
  template <bool kTop, class Own>
  JAX_SIGLIB_KERNEL void GoThere(Own& own) const {
    ForBlocks([&](int64_t, int32_t count) {
      own.ForEach([&](int32_t i, auto& mine) {
        this->WithExact([&](auto exact) {
          const T* increment = this->Increment(Loaded(0, count), mine.reads);
          JAX_SIGLIB_ROLLED
          for (int32_t step = 0;; ++step) {
            Step<kTop, decltype(exact)::value>(increment, mine.reads, mine.s, mine.top);
            if (step == count - 1) break;
            increment += StepsApart();
          }
        });
        Settle(i, 0, mine.s);
      });
    });
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
    JAX_SIGLIB_IN_FULL
    for (int a = 0; a < kSide; ++a) settle(s.rows[a]);
    JAX_SIGLIB_IN_FULL
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

  const BranchJob& job_;
  int64_t* paths_;  // where the elements' paths lie, in entries; then their tangents

 private:
  // Increments first, ..., first + count - 1 of each element's path, letters beyond d zero.
  JAX_SIGLIB_KERNEL void LoadIncrements(int64_t first, int32_t count) const {
    WithStored<T>(job_.dtype, [&](auto stored) { Load<decltype(stored)>(first, count); });
  }

  template <class S>
  JAX_SIGLIB_KERNEL void Load(int64_t first, int32_t count) const {
    const PathJob& path = job_.path;
    Load<S>(path.path, path.point_stride, paths_, first, count, this->memory_);
    if (kDual)
      Load<S>(path.t_path, path.t_point_stride, paths_ + this->plan_.elements, first, count,
              this->memory_ + this->TangentsBehind());
  }

  template <class S>
  JAX_SIGLIB_KERNEL void Load(const Pointer& path, int64_t stride, const int64_t* elements,
                              int64_t first, int32_t count, T* v) const {
    struct Ends {
      S from, to;
      bool there;
    };
    const BranchPlan& plan = this->plan_;
    const int32_t d = this->levels_.dimension(), last = this->elements_ - 1;
    const S* const x = static_cast<const S*>(path.data) + first * stride;
    auto load = [&](int32_t i) {
      const Divisor::Parts at = plan.by_pitch.Split(i);
      const Divisor::Parts step = plan.by_elements.Split(at.quotient);
      const int32_t place = at.rest % kPad, letter = at.rest / kPad * kSide + place;
      // Where there is no letter, some other, for no use: with a branch around them loads
      // would wait for each other.
      const bool there = place < kSide && letter < d && step.rest <= last;
      const S* const from = x + elements[step.rest <= last ? step.rest : last] +
                            step.quotient * stride + (there ? letter : 0);
      return Ends{from[0], from[stride], there};
    };
    auto use = [&](int32_t i, const Ends& ends) {
      const T to = static_cast<T>(Widen(ends.to)), from = static_cast<T>(Widen(ends.from));
      v[i] = ends.there ? to - from : T(0);
    };
    const int32_t n = count * plan.elements * plan.pitch;
    this->block_.ForEach(plan.width,
                         [&](int32_t t) { InFlight<4>(t, n, plan.width, load, use); });
  }
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_BRANCH_PATH_H_
