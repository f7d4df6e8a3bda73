// The adjoint of sig for the branches of a block, and the tangent of that. Going back, the
// joins are undone from the last to the first. The cotangent is linear in that of the
// signature: each branch goes back with its own part of it, words that several have in
// common being the first one's. That of level N never changes, y_t = g v_t and ct_v_t +=
// B_t^T g.
#ifndef JAX_SIGLIB_CUDA_BRANCH_BACKWARD_H_
#define JAX_SIGLIB_CUDA_BRANCH_BACKWARD_H_

#include <cstdint>

#include "branch_adjoint.h"
#include "branch_path.h"

namespace jax_siglib {
namespace cuda {

template <class T, int kSide, bool kDual, class Block>
class BranchBackwardBlock
    : public BranchAdjoint<BranchPath<T, kSide, kDual, true, false, Block>, T, kSide> {
  using Base = BranchAdjoint<BranchPath<T, kSide, kDual, true, false, Block>, T, kSide>;
  using typename Base::State;
  using typename Base::Value;

 public:
  using Base::Base;

  // Adds to (or, for a slot's first tile, sets) ct_v of every step in the elements' shares.
  JAX_SIGLIB_KERNEL void Run(int64_t slot, bool first_tile) const {
    typename Block::template Own<State> own(this->block_, this->Count());
    own.ForEach([&](int32_t i, State& mine) {
      mine.reads = this->Find(i);
      this->ClearLow(i);
      this->Clear(mine.s);
    });
    this->FindPaths();
    const int64_t steps = this->Steps(), block = this->plan_.steps;
    const bool from_path = kDual || this->job_.path.from_path;
    if (from_path) {
      JAX_SIGLIB_ROLLED
      for (int64_t first = 0; first < steps; first += block) {
        const int32_t count = this->Count(steps - first);
        this->LoadIncrements(first, count);
        own.ForEach([&](int32_t i, State& mine) {
          JAX_SIGLIB_ROLLED
          for (int32_t step = 0; step < count; ++step)
            this->template Step<false>(step, mine.reads, mine.s, mine.g);
          this->Settle(i, 0, mine.s);
        });
      }
    }
    own.ForEach([&](int32_t i, State& mine) {
      const BranchPlace place = this->Place(i);
      WithStored<T>(this->job_.dtype, [&](auto stored) {
        if (!from_path) LoadSignature<decltype(stored)>(place, mine);
        LoadCotangents<decltype(stored)>(place, mine);
      });
    });
    JAX_SIGLIB_ROLLED
    for (int64_t end = steps; end > 0; end -= block) {
      const int32_t count = this->Count(end);
      this->LoadIncrements(end - count, count);
      JAX_SIGLIB_ROLLED
      for (int32_t above = count; above > 0; above -= this->plan_.back) {
        const int32_t first = above < this->plan_.back ? 0 : above - this->plan_.back;
        own.ForEach([&](int32_t i, State& mine) {
          JAX_SIGLIB_ROLLED
          for (int32_t step = above - 1; step >= first; --step)
            this->template StepBack<true>(step, this->Found(i, step - first), mine);
          if (first > 0) return;
          this->Settle(i, 0, mine.s);
          this->Settle(i, kSide + this->plan_.root, mine.ct);
        });
        Add(end - count + first, above - first, slot, first_tile);
      }
    }
  }

 private:
  // S at the end of the path, levels below N.
  template <class S>
  JAX_SIGLIB_KERNEL void LoadSignature(const BranchPlace& place, State& mine) const {
    const PathJob& path = this->job_.path;
    const S* const s = path.sig.At<const S>(path.lead, place.element);
    const S* const rows = s + this->RowsAt(place);
    JAX_SIGLIB_IN_FULL
    for (int a = 0; a < kSide; ++a)
      if (a < mine.reads.rows) mine.s.rows[a].held = Get(rows + a);
    this->ForPath(place, true,
                  [&](int m, int64_t at) { mine.s.path[m].held = Get(s + at); });
  }

  // The branch's part of the signature's cotangent; tangents are zero.
  template <class S>
  JAX_SIGLIB_KERNEL void LoadCotangents(const BranchPlace& place, State& mine) const {
    const PathJob& path = this->job_.path;
    const S* const g = path.ct_out.At<const S>(path.lead, place.element);
    const S* const top = g + this->TopAt(place);
    const S* const rows = g + this->RowsAt(place);
    const int32_t d = this->levels_.dimension(), letters = this->Letters(place);
    this->Clear(mine.ct);
    JAX_SIGLIB_IN_FULL
    for (int a = 0; a < kSide; ++a) {
      const bool there = a < mine.reads.rows;
      const S* const row = top + a * d;
      JAX_SIGLIB_IN_FULL
      for (int e = 0; e < kSide; ++e)
        mine.g[a][e] = there && e < letters ? static_cast<T>(Load(row, e)) : T(0);
      if (there && place.column == 0) mine.ct.rows[a].held = Get(rows + a);
    }
    this->ForPath(place, false,
                  [&](int m, int64_t at) { mine.ct.path[m].held = Get(g + at); });
  }
  template <class S>
  static JAX_SIGLIB_KERNEL Value Get(const S* at) {
    return Constant<Value>(static_cast<T>(Load(at, 0)));
  }

  // To ct_v of steps first, ..., first + count - 1 in the slot's shares.
  JAX_SIGLIB_KERNEL void Add(int64_t first, int32_t count, int64_t slot,
                             bool first_tile) const {
    const PathJob& path = this->job_.path;
    const int32_t d = this->levels_.dimension();
    const int64_t entries = (path.points - 1) * d, slots = this->plan_.slots;
    T* const shares = static_cast<T*>(path.shares);
    this->AddUp(count, [&](int32_t step, int32_t element, int32_t letter, T sum) {
      T* const share = shares + ((this->first_ + element) * slots + slot) * entries +
                       (first + step) * d + letter;
      *share = first_tile ? sum : *share + sum;
    });
  }
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_BRANCH_BACKWARD_H_
