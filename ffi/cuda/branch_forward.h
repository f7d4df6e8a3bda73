// sig and its tangent for the branches of a block. Level N is a matrix product with time as
// its inner index, S_N = sum over t of B_t ⊗ v_t, of which a branch holds a tile.
#ifndef JAX_SIGLIB_CUDA_BRANCH_FORWARD_H_
#define JAX_SIGLIB_CUDA_BRANCH_FORWARD_H_

#include <cstdint>

#include "branch_path.h"

namespace jax_siglib {
namespace cuda {

template <class T, int kSide, bool kDual, class Block>
class BranchForwardBlock : public BranchPath<T, kSide, kDual, false, false, Block> {
  using Base = BranchPath<T, kSide, kDual, false, false, Block>;

 public:
  using Base::Base;

  JAX_SIGLIB_KERNEL void Run() const {
    typename Block::template Own<State> own(this->block_, this->Count());
    own.ForEach([&](int32_t i, State& mine) {
      mine.reads = this->Find(i);
      this->ClearLow(i);
      this->Clear(mine.s);
      this->ClearTop(mine.top);
    });
    this->FindPaths();
    const int64_t steps = this->Steps();
    JAX_SIGLIB_ROLLED
    for (int64_t first = 0; first < steps; first += this->plan_.steps) {
      const int32_t count = this->Count(steps - first);
      this->LoadIncrements(first, count);
      own.ForEach([&](int32_t i, State& mine) {
        JAX_SIGLIB_ROLLED
        for (int32_t step = 0; step < count; ++step)
          this->template Step<true>(step, mine.reads, mine.s, mine.top);
        this->Settle(i, 0, mine.s);
      });
    }
    own.ForEach([&](int32_t i, State& mine) {
      WithStored<T>(this->job_.dtype,
                    [&](auto stored) { Write<decltype(stored)>(this->Place(i), mine); });
    });
  }

 private:
  struct State {
    typename Base::Reads reads;
    typename Base::Levels s;
    T top[kSide][kSide];  // of the result
  };

  template <class S>
  JAX_SIGLIB_KERNEL void Write(const BranchPlace& place, const State& mine) const {
    const PathJob& path = this->job_.path;
    S* const out = path.out.At<S>(path.lead, place.element);
    S* const top = out + this->TopAt(place);
    S* const rows = out + this->RowsAt(place);
    const int32_t d = this->levels_.dimension(), letters = this->Letters(place);
    auto put = [](S* at, T x) { Store(at, 0, static_cast<typename Computed<S>::Type>(x)); };
    JAX_SIGLIB_IN_FULL
    for (int a = 0; a < kSide; ++a) {
      if (a >= mine.reads.rows) continue;
      S* const row = top + a * d;
      JAX_SIGLIB_IN_FULL
      for (int e = 0; e < kSide; ++e)
        if (e < letters) put(row + e, mine.top[a][e]);
      if (place.column == 0) put(rows + a, Asked(mine.s.rows[a].held));
    }
    this->ForPath(place, false,
                  [&](int m, int64_t at) { put(out + at, Asked(mine.s.path[m].held)); });
    const bool first = place.root == 0 && place.row + place.column == 0;
    if (first && path.scalar_term) put(out - 1, kDual ? T(0) : T(1));
  }
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_BRANCH_FORWARD_H_
