// sig and its tangent for the branches of a block. Level N is a matrix product with time as
// its inner index, S_N = sum over t of B_t ⊗ v_t, of which a branch holds a tile.
#ifndef JAX_SIGLIB_CUDA_BRANCH_FORWARD_H_
#define JAX_SIGLIB_CUDA_BRANCH_FORWARD_H_

#include <cstdint>

#include "branch_tops.h"

namespace jax_siglib {
namespace cuda {

template <class T, int kSide, bool kDual, class Block>
class BranchForwardBlock : public BranchTops<T, kSide, kDual, false, false, Block> {
  using Base = BranchTops<T, kSide, kDual, false, false, Block>;

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
    this->template GoThere<true>(own);
    this->PlaceTops(this->job_.path.out);
    WithStored<T>(this->job_.dtype, [&](auto stored) {
      using S = decltype(stored);
      own.ForEach([&](int32_t i, State& mine) { WriteLower<S>(this->Place(i), mine); });
      this->WriteTops(own, static_cast<S*>(this->job_.path.out.data));
    });
  }

 private:
  struct State {
    typename Base::Reads reads;
    typename Base::Levels s;
    T top[kSide][kSide];  // of the result
  };

  template <class S>
  JAX_SIGLIB_KERNEL void WriteLower(const BranchPlace& place, const State& mine) const {
    const PathJob& path = this->job_.path;
    S* const out = path.out.At<S>(path.lead, place.element);
    auto put = [&](int64_t at, T x) {
      Store(out, at, static_cast<typename Computed<S>::Type>(x));
    };
    this->ForLower(place, false, mine.s,
                   [&](int64_t at, const auto& number) { put(at, Asked(number.held)); });
    if (path.scalar_term && this->IsFirst(place)) put(-1, kDual ? T(0) : T(1));
  }
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_BRANCH_FORWARD_H_
