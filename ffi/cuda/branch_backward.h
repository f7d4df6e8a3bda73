// The adjoint of sig for the branches of a block, and the tangent of that. Going back, the
// joins are undone from the last to the first. The cotangent is linear in that of the
// signature: each branch goes back with its own part of it, words that several have in
// common being the first one's. That of level N never changes, y_t = g v_t and ct_v_t +=
// B_t^T g.
#ifndef JAX_SIGLIB_CUDA_BRANCH_BACKWARD_H_
#define JAX_SIGLIB_CUDA_BRANCH_BACKWARD_H_

#include <cstdint>

#include "branch_adjoint.h"

namespace jax_siglib {
namespace cuda {

template <class T, int kSide, bool kDual, class Block>
class BranchBackwardBlock : public BranchAdjoint<T, kSide, kDual, false, Block> {
  using Base = BranchAdjoint<T, kSide, kDual, false, Block>;
  using typename Base::State;
  using typename Base::Value;

 public:
  using Base::Base;

  JAX_SIGLIB_KERNEL void Run(int64_t slot, bool first_tile) const {
    typename Block::template Own<State> own(this->block_, this->Count());
    own.ForEach([&](int32_t i, State& mine) {
      mine.reads = this->Find(i);
      this->ClearLow(i);
      this->Clear(mine.s);
    });
    this->FindPaths();
    const bool from_path = kDual || this->job_.path.from_path;
    if (from_path) this->template GoThere<false>(own);
    own.ForEach([&](int32_t i, State& mine) {
      const BranchPlace place = this->Place(i);
      WithStored<T>(this->job_.dtype, [&](auto stored) {
        if (!from_path) LoadSignature<decltype(stored)>(place, mine);
        LoadCotangents<decltype(stored)>(place, mine);
      });
    });
    this->PlaceTops(this->job_.path.ct_out);
    WithStored<T>(this->job_.dtype, [&](auto stored) {
      using S = decltype(stored);
      this->AddTops(own, static_cast<const S*>(this->job_.path.ct_out.data));
    });
    this->template GoBack<true>(
        own, slot, first_tile, [](int64_t) {}, [](const BranchPlace&, int64_t, State&) {});
  }

 private:
  // S at the end of the path, levels below N.
  template <class S>
  JAX_SIGLIB_KERNEL void LoadSignature(const BranchPlace& place, State& mine) const {
    const PathJob& path = this->job_.path;
    const S* const s = path.sig.At<const S>(path.lead, place.element);
    this->ForLower(place, true, mine.s, [&](int64_t at, auto& number) {
      number.held = Constant<Value>(static_cast<T>(Load(s, at)));
    });
  }

  // The branch's part of the signature's cotangent, but for its tile; tangents are zero.
  template <class S>
  JAX_SIGLIB_KERNEL void LoadCotangents(const BranchPlace& place, State& mine) const {
    const PathJob& path = this->job_.path;
    const S* const g = path.ct_out.At<const S>(path.lead, place.element);
    this->Clear(mine.ct);
    this->ClearTop(mine.top);
    this->ForLower(place, false, mine.ct, [&](int64_t at, auto& number) {
      number.held = Constant<Value>(static_cast<T>(Load(g, at)));
    });
  }
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_BRANCH_BACKWARD_H_
