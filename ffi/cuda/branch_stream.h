// Running signatures, branch by branch: sig_stream and its tangent write a row after each
// step; the adjoint adds the cotangent of a row before each step back, from rows at hand.
#ifndef JAX_SIGLIB_CUDA_BRANCH_STREAM_H_
#define JAX_SIGLIB_CUDA_BRANCH_STREAM_H_

#include <cstdint>

#include "branch_adjoint.h"
#include "branch_tops.h"

namespace jax_siglib {
namespace cuda {

// sig_stream, or, with kDual, its tangent.
template <class T, int kSide, bool kDual, class Block>
class BranchStreamForward : public BranchTops<T, kSide, kDual, false, true, Block> {
  using Base = BranchTops<T, kSide, kDual, false, true, Block>;
  using typename Base::Value;

 public:
  using Base::Base;

  JAX_SIGLIB_KERNEL void Run() const {
    typename Block::template Own<State> own(this->block_, this->Count());
    own.ForEach([&](int32_t i, State& mine) {
      mine.reads = this->Find(i);
      this->ClearLow(i);
      Begin(this->Place(i), mine);
    });
    this->FindPaths();
    this->PlaceTops(this->job_.path.out);
    this->ForBlocks([&](int64_t first, int32_t count) {
      JAX_SIGLIB_ROLLED
      for (int32_t step = 0; step < count; ++step) {
        const int64_t row = this->Row(first + step) * this->job_.stream.out_stride;
        own.ForEach([&](int32_t i, State& mine) {
          this->WithExact([&](auto exact) {
            this->template Step<true, decltype(exact)::value>(
                this->Increment(this->Loaded(step, count), mine.reads), mine.reads, mine.s,
                mine.top);
          });
          Write(this->Place(i), row, mine);
          if (step == count - 1) this->Settle(i, 0, mine.s);
        });
        if (!this->prepend_)
          this->WriteTops(own, static_cast<T*>(this->job_.path.out.data) + row);
      }
    });
  }

 private:
  struct State {
    typename Base::Reads reads;
    typename Base::Levels s;
    T top[kSide][kSide];
  };

  JAX_SIGLIB_KERNEL void Begin(const BranchPlace& place, State& mine) const {
    const PathJob& path = this->job_.path;
    const T* const s =
        this->job_.stream.initial.template At<const T>(path.lead, place.element);
    const T* const t_s =
        this->job_.stream.t_initial.template At<const T>(path.lead, place.element);
    this->Clear(mine.s);
    this->ForLower(place, true, mine.s, [&](int64_t at, Moving<Value>& number) {
      if constexpr (kDual)
        number.held = {s[at], t_s[at]};
      else
        number.held = s[at];
    });
    this->ClearTop(mine.top);
    this->ForTop(place,
                 [&](int64_t at, int a, int e) { mine.top[a][e] = (kDual ? t_s : s)[at]; });
  }

  // What does not go by WriteTops, of the row that begins there.
  JAX_SIGLIB_KERNEL void Write(const BranchPlace& place, int64_t row,
                               const State& mine) const {
    const PathJob& path = this->job_.path;
    T* const out = path.out.At<T>(path.lead, place.element) + row;
    if (this->prepend_)
      this->ForTop(place, [&](int64_t at, int a, int e) { out[at] = mine.top[a][e]; });
    this->ForLower(place, false, mine.s, [&](int64_t at, const Moving<Value>& number) {
      out[at] = Asked(number.Now());
    });
    if (path.scalar_term && this->IsFirst(place)) out[-1] = kDual ? T(0) : T(1);
  }
};

// The slots' shares of sig_stream_backprop, and the parts of the cotangent of `initial`.
template <class T, int kSide, bool kDual, class Block>
class BranchStreamBackward : public BranchAdjoint<T, kSide, false, true, Block> {
  static_assert(!kDual, "of first order alone");
  using Base = BranchAdjoint<T, kSide, false, true, Block>;
  using typename Base::State;

 public:
  using Base::Base;

  JAX_SIGLIB_KERNEL void Run(int64_t slot, bool first_tile) const {
    typename Block::template Own<State> own(this->block_, this->Count());
    own.ForEach([&](int32_t i, State& mine) {
      mine.reads = this->Find(i);
      this->ClearLow(i);
      this->Clear(mine.s);
      this->Clear(mine.ct);
      this->ClearTop(mine.top);
    });
    this->FindPaths();
    const PathJob& path = this->job_.path;
    this->PlaceTops(path.ct_out);
    this->template GoBack<false>(
        own, slot, first_tile,
        [&](int64_t i) {
          if (this->prepend_) return;
          const T* const rows = static_cast<const T*>(path.ct_out.data);
          this->AddTops(own, rows + this->Row(i) * this->job_.stream.ct_out_stride);
        },
        [&](const BranchPlace& place, int64_t i, State& mine) { Take(place, i, mine); });
    own.ForEach([&](int32_t i, State& mine) { Write(i, this->Place(i), mine); });
  }

 private:
  // The cotangent of the row that a step leads to, but for what AddTops reads of it, and S
  // before that.
  JAX_SIGLIB_KERNEL void Take(const BranchPlace& place, int64_t i, State& mine) const {
    const PathJob& path = this->job_.path;
    const BranchStream& stream = this->job_.stream;
    const T* const g = path.ct_out.At<const T>(path.lead, place.element) +
                       this->Row(i) * stream.ct_out_stride;
    if (this->prepend_)
      this->ForTop(place, [&](int64_t at, int a, int e) { mine.top[a][e] += g[at]; });
    this->ForLower(place, false, mine.ct,
                   [&](int64_t at, Moving<T>& number) { number.moved += g[at]; });
    const T* const s = i == 0 ? stream.initial.At<const T>(path.lead, place.element)
                              : path.sig.At<const T>(path.lead, place.element) +
                                    this->Row(i - 1) * stream.sig_stride;
    this->ForLower(place, true, mine.s, [&](int64_t at, Moving<T>& number) {
      number.held = s[at];
      number.moved = 0;
    });
  }

  JAX_SIGLIB_KERNEL void Write(int32_t i, const BranchPlace& place,
                               const State& mine) const {
    const PathJob& path = this->job_.path;
    const BranchStream& stream = this->job_.stream;
    T* const out = stream.ct_initial.At<T>(path.lead, place.element);
    this->ForTop(place, [&](int64_t at, int a, int e) { out[at] = mine.top[a][e]; });
    const int32_t item = this->first_item_ + this->plan_.by_items.Split(i).rest;
    const int64_t items = this->plan_.items;
    T* const parts = static_cast<T*>(stream.parts) +
                     place.element * (kSide + this->plan_.root) * items + item;
    JAX_SIGLIB_IN_FULL
    for (int a = 0; a < kSide; ++a) parts[a * items] = mine.ct.rows[a].Now();
    JAX_SIGLIB_IN_FULL
    for (int m = 0; m < Base::kMost; ++m)
      if (m < this->plan_.root) parts[(kSide + m) * items] = mine.ct.path[m].Now();
    if (path.scalar_term && this->IsFirst(place)) out[-1] = 0;
  }
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_BRANCH_STREAM_H_
