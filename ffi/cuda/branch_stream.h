// Running signatures, branch by branch: sig_stream and its tangent write a row after each
// step; the adjoint adds the cotangent of a row before each step back, from rows at hand.
#ifndef JAX_SIGLIB_CUDA_BRANCH_STREAM_H_
#define JAX_SIGLIB_CUDA_BRANCH_STREAM_H_

#include <cstdint>

#include "branch_adjoint.h"
#include "branch_path.h"

namespace jax_siglib {
namespace cuda {

// Steps in the order of the joins: of prepended increments the last comes first. A step,
// its increment and the row that it leads to have one number, Row(i).
template <class T, int kSide, bool kDual, bool kAdjoint, class Block>
class BranchRows : public BranchPath<T, kSide, kDual, kAdjoint, true, Block> {
  using Base = BranchPath<T, kSide, kDual, kAdjoint, true, Block>;

 public:
  using Base::Base;
  using typename Base::Levels;

 protected:
  JAX_SIGLIB_KERNEL int64_t Row(int64_t i) const {
    return this->prepend_ ? this->Steps() - 1 - i : i;
  }
  // The increments of `count` steps from `first` on, and which of them is that of step i.
  JAX_SIGLIB_KERNEL void LoadSteps(int64_t first, int32_t count) const {
    this->LoadIncrements(this->prepend_ ? this->Steps() - first - count : first, count);
  }
  JAX_SIGLIB_KERNEL int32_t Loaded(int32_t i, int32_t count) const {
    return this->prepend_ ? count - 1 - i : i;
  }

  // f(place in an array of signatures, number) for what is below level N: all of it, or
  // what falls to this branch.
  template <class Numbers, class F>
  JAX_SIGLIB_KERNEL void ForLower(const BranchPlace& place, bool all, Numbers& s,
                                  F&& f) const {
    const int32_t rows = this->Rows(place);
    const int64_t first = this->RowsAt(place), apart = this->RowsApart();
    JAX_SIGLIB_IN_FULL
    for (int a = 0; a < kSide; ++a)
      if (a < rows && (all || place.column == 0)) f(first + a * apart, s.rows[a]);
    this->ForPath(place, all, [&](int m, int64_t at) { f(at, s.path[m]); });
  }
  // f(place, entry) for the tile of level N; those of rows or letters beyond d are left
  // out.
  template <class F>
  JAX_SIGLIB_KERNEL void ForTop(const BranchPlace& place, F&& f) const {
    const int32_t rows = this->Rows(place), letters = this->Letters(place);
    const int64_t first = this->TopAt(place);
    const int64_t rows_apart = this->TopRowsApart(), apart = this->ColumnsApart();
    JAX_SIGLIB_IN_FULL
    for (int a = 0; a < kSide; ++a) JAX_SIGLIB_IN_FULL
    for (int e = 0; e < kSide; ++e)
      if (a < rows && e < letters) f(first + a * rows_apart + e * apart, a, e);
  }
};

// sig_stream, or, with kDual, its tangent.
template <class T, int kSide, bool kDual, class Block>
class BranchStreamForward : public BranchRows<T, kSide, kDual, false, Block> {
  using Base = BranchRows<T, kSide, kDual, false, Block>;
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
    JAX_SIGLIB_ROLLED
    for (int64_t first = 0; first < this->Steps(); first += this->plan_.steps) {
      const int32_t count = this->Count(this->Steps() - first);
      this->LoadSteps(first, count);
      own.ForEach([&](int32_t i, State& mine) {
        const BranchPlace place = this->Place(i);
        JAX_SIGLIB_ROLLED
        for (int32_t step = 0; step < count; ++step) {
          this->template Step<true>(this->Loaded(step, count), mine.reads, mine.s,
                                    mine.top);
          Write(place, this->Row(first + step), mine);
        }
        this->Settle(i, 0, mine.s);
      });
    }
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

  JAX_SIGLIB_KERNEL void Write(const BranchPlace& place, int64_t row,
                               const State& mine) const {
    const PathJob& path = this->job_.path;
    T* const out =
        path.out.At<T>(path.lead, place.element) + row * this->job_.stream.out_stride;
    this->ForTop(place, [&](int64_t at, int a, int e) { out[at] = mine.top[a][e]; });
    this->ForLower(place, false, mine.s, [&](int64_t at, const Moving<Value>& number) {
      out[at] = Asked(number.Now());
    });
    const bool first = place.root == 0 && place.row + place.column == 0;
    if (first && path.scalar_term) out[-1] = kDual ? T(0) : T(1);
  }
};

// The slots' shares of sig_stream_backprop, and the parts of the cotangent of `initial`.
template <class T, int kSide, bool kDual, class Block>
class BranchStreamBackward
    : public BranchAdjoint<BranchRows<T, kSide, false, true, Block>, T, kSide> {
  static_assert(!kDual, "of first order alone");
  using Base = BranchAdjoint<BranchRows<T, kSide, false, true, Block>, T, kSide>;
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
      this->ClearTop(mine.g);
    });
    this->FindPaths();
    JAX_SIGLIB_ROLLED
    for (int64_t end = this->Steps(); end > 0; end -= this->plan_.steps) {
      const int32_t count = this->Count(end);
      this->LoadSteps(end - count, count);
      JAX_SIGLIB_ROLLED
      for (int32_t above = count; above > 0; above -= this->plan_.back) {
        const int32_t first = above < this->plan_.back ? 0 : above - this->plan_.back;
        own.ForEach([&](int32_t i, State& mine) {
          const BranchPlace place = this->Place(i);
          JAX_SIGLIB_ROLLED
          for (int32_t step = above - 1; step >= first; --step) {
            Take(place, end - count + step, mine);
            this->template StepBack<false>(this->Loaded(step, count),
                                           this->Found(i, step - first), mine);
          }
          if (first == 0) this->Settle(i, 0, mine.ct);
        });
        Add(end - count + first, above - first, slot, first_tile);
      }
    }
    own.ForEach([&](int32_t i, State& mine) { Write(i, this->Place(i), mine); });
  }

 private:
  // The cotangent of the row that a step leads to, and S before that.
  JAX_SIGLIB_KERNEL void Take(const BranchPlace& place, int64_t i, State& mine) const {
    const PathJob& path = this->job_.path;
    const BranchStream& stream = this->job_.stream;
    const T* const g = path.ct_out.At<const T>(path.lead, place.element) +
                       this->Row(i) * stream.ct_out_stride;
    this->ForTop(place, [&](int64_t at, int a, int e) { mine.g[a][e] += g[at]; });
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

  JAX_SIGLIB_KERNEL void Add(int64_t first, int32_t count, int64_t slot,
                             bool first_tile) const {
    const PathJob& path = this->job_.path;
    const int32_t d = this->levels_.dimension();
    T* const shares = static_cast<T*>(path.shares);
    this->AddUp(count, [&](int32_t step, int32_t element, int32_t letter, T sum) {
      const int64_t all = (this->first_ + element) * this->plan_.slots + slot;
      T* const share =
          shares + (all * this->Steps() + this->Row(first + step)) * d + letter;
      *share = first_tile ? sum : *share + sum;
    });
  }

  JAX_SIGLIB_KERNEL void Write(int32_t i, const BranchPlace& place,
                               const State& mine) const {
    const PathJob& path = this->job_.path;
    const BranchStream& stream = this->job_.stream;
    T* const out = stream.ct_initial.At<T>(path.lead, place.element);
    this->ForTop(place, [&](int64_t at, int a, int e) { out[at] = mine.g[a][e]; });
    const int32_t item = this->first_item_ + this->plan_.by_items.Split(i).rest;
    const int64_t items = this->plan_.items;
    T* const parts = static_cast<T*>(stream.parts) +
                     place.element * (kSide + this->plan_.root) * items + item;
    JAX_SIGLIB_IN_FULL
    for (int a = 0; a < kSide; ++a) parts[a * items] = mine.ct.rows[a].Now();
    JAX_SIGLIB_IN_FULL
    for (int m = 0; m < Base::kMost; ++m)
      if (m < this->plan_.root) parts[(kSide + m) * items] = mine.ct.path[m].Now();
    const bool first = place.root == 0 && place.row + place.column == 0;
    if (first && path.scalar_term) out[-1] = 0;
  }
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_BRANCH_STREAM_H_
