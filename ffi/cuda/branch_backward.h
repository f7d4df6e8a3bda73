// The adjoint of sig for the branches of a block, and the tangent of that. Going back, the
// joins are undone from the last to the first. The cotangent is linear in that of the
// signature: each branch goes back with its own part of it, words that several have in
// common being the first one's. That of level N never changes, y_t = g v_t and ct_v_t +=
// B_t^T g.
#ifndef JAX_SIGLIB_CUDA_BRANCH_BACKWARD_H_
#define JAX_SIGLIB_CUDA_BRANCH_BACKWARD_H_

#include <cstdint>

#include "branch.h"

namespace jax_siglib {
namespace cuda {

template <class T, int kSide, bool kDual, class Block>
class BranchBackwardBlock : public BranchBlock<T, kSide, kDual, true, Block> {
  using Base = BranchBlock<T, kSide, kDual, true, Block>;
  using typename Base::N;
  static constexpr int kMost = Base::kMost;

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
    const int64_t steps = this->job_.path.points - 1, block = this->job_.plan.steps;
    const bool from_path = kDual || this->job_.path.from_path;
    if (from_path) {
      JAX_SIGLIB_ROLLED
      for (int64_t first = 0; first < steps; first += block) {
        const int32_t count = Count(steps - first);
        this->LoadIncrements(first, count);
        own.ForEach([&](int32_t i, State& mine) {
          JAX_SIGLIB_ROLLED
          for (int32_t step = 0; step < count; ++step) StepThere(step, mine);
          this->Settle(i, 0, mine.s);
        });
      }
    }
    own.ForEach([&](int32_t i, State& mine) {
      const BranchPlace place = this->Place(i);
      if (!from_path) LoadSignature(place, mine);
      LoadCotangents(place, mine);
    });
    JAX_SIGLIB_ROLLED
    for (int64_t end = steps; end > 0; end -= block) {
      const int32_t count = Count(end);
      this->LoadIncrements(end - count, count);
      JAX_SIGLIB_ROLLED
      for (int32_t above = count; above > 0; above -= this->job_.plan.back) {
        const int32_t first =
            above < this->job_.plan.back ? 0 : above - this->job_.plan.back;
        own.ForEach([&](int32_t i, State& mine) {
          JAX_SIGLIB_ROLLED
          for (int32_t step = above - 1; step >= first; --step)
            StepBack(step, Found(i, step - first), mine);
          if (first > 0) return;
          this->Settle(i, 0, mine.s);
          this->Settle(i, kSide + this->job_.plan.root, mine.ct);
        });
        AddUp(end - count + first, above - first, slot, first_tile);
      }
    }
  }

 private:
  using Base::Count;

  struct State {
    typename Base::Reads reads;
    typename Base::Levels s, ct;
    T g[kSide][kSide];  // the cotangent of level N
  };
  // Chains below each word of the path, as Climb has left them.
  struct Kept {
    N b[kMost][kMost + 2];
  };

  JAX_SIGLIB_KERNEL int32_t Count(int64_t left) const {
    const int32_t block = this->job_.plan.steps;
    return left < block ? static_cast<int32_t>(left) : block;
  }

  // S at the end of the path, levels below N.
  JAX_SIGLIB_KERNEL void LoadSignature(const BranchPlace& place, State& mine) const {
    const PathJob& path = this->job_.path;
    const int64_t element = path.sig.Offset(path.lead, place.element);
    auto load = [&](int64_t at) {
      return Constant<N>(LoadAs<T>(path.sig.data, element + at, this->job_.dtype));
    };
    JAX_SIGLIB_SPREAD
    for (int a = 0; a < kSide; ++a)
      if (a < mine.reads.rows) mine.s.rows[a].held = load(this->RowAt(place, a));
    this->ForPath(place, true, [&](int m, int64_t at) { mine.s.path[m].held = load(at); });
  }

  // The branch's part of the signature's cotangent; tangents are zero.
  JAX_SIGLIB_KERNEL void LoadCotangents(const BranchPlace& place, State& mine) const {
    const PathJob& path = this->job_.path;
    const int64_t element = path.ct_out.Offset(path.lead, place.element);
    const int32_t letters = this->Letters(place);
    auto load = [&](int64_t at) {
      return LoadAs<T>(path.ct_out.data, element + at, this->job_.dtype);
    };
    this->Clear(mine.ct);
    JAX_SIGLIB_SPREAD
    for (int a = 0; a < kSide; ++a) {
      const bool there = a < mine.reads.rows;
      JAX_SIGLIB_SPREAD
      for (int e = 0; e < kSide; ++e)
        mine.g[a][e] = there && e < letters ? load(this->TopAt(place, a, e)) : T(0);
      if (there && place.column == 0)
        mine.ct.rows[a].held = Constant<N>(load(this->RowAt(place, a)));
    }
    this->ForPath(place, false,
                  [&](int m, int64_t at) { mine.ct.path[m].held = Constant<N>(load(at)); });
  }

  JAX_SIGLIB_KERNEL void StepThere(int32_t step, State& mine) const {
    typename Base::Chains chains;
    const T* const increment = this->Increment(step, mine.reads);
    this->template Climb<false>(increment, mine.reads, mine.s, chains,
                                [](int, const N*) {});
    this->template MoveRows<false>(increment, mine.reads, mine.s, chains,
                                   [](int, const N&, const N&) {});
  }

  JAX_SIGLIB_KERNEL void StepBack(int32_t step, T* found, State& mine) const {
    const typename Base::Reads& reads = mine.reads;
    const T* const increment = this->Increment(step, reads);
    typename Base::Chains chains;
    Kept kept;
    this->template Climb<true>(increment, reads, mine.s, chains, [&](int m, const N* b) {
      JAX_SIGLIB_SPREAD
      for (int c = 0; c <= m + 2; ++c) kept.b[m][c] = b[c];
    });
    // The chains at the root: that of level N-1, which starts from the cotangents of the
    // rows, and that of level N.
    N x[kMost + 2];
    JAX_SIGLIB_SPREAD
    for (int c = 0; c < kMost + 2; ++c) x[c] = Constant<N>(T(0));
    T by_row[kSide] = {}, by_column[kSide] = {};
    N v[kSide];
    this->Read(increment + reads.letters_at, v);
    const bool lowest = this->job_.plan.root == 0;
    this->template MoveRows<true>(
        increment, reads, mine.s, chains, [&](int a, const N& b, const N& v_a) {
          N y = mine.g[a][0] * v[0];
          JAX_SIGLIB_SPREAD
          for (int e = 1; e < kSide; ++e) y = y + mine.g[a][e] * v[e];
          JAX_SIGLIB_SPREAD
          for (int e = 0; e < kSide; ++e) by_column[e] += Asked(b) * mine.g[a][e];
          const N ct = mine.ct.rows[a].Now(), half_y = T(0.5) * y;
          mine.ct.rows[a].moved = mine.ct.rows[a].moved + y;
          by_row[a] = Asked(this->Times(lowest, chains.b[0], ct) +
                            this->Times(lowest, chains.b[1], half_y));
          x[0] = x[0] + ct * v_a;
          x[1] = x[1] + half_y * v_a;
        });
    const int32_t apart = this->job_.plan.letter_pitch;
    if (this->job_.plan.slices == 1) {
      JAX_SIGLIB_SPREAD
      for (int e = 0; e < kSide; ++e) found[e * apart] = by_row[e] + by_column[e];
    } else {
      JAX_SIGLIB_ROLLED
      for (int32_t at = 0; at < this->job_.plan.pitch; ++at) found[at * apart] = 0;
      JAX_SIGLIB_SPREAD
      for (int e = 0; e < kSide; ++e) found[(reads.letters_at + e) * apart] = by_column[e];
      JAX_SIGLIB_SPREAD
      for (int e = 0; e < kSide; ++e) found[(reads.rows_at + e) * apart] += by_row[e];
    }
    Descend(increment, mine, kept, x, found);
  }

  // From the root down its path to level 0.
  JAX_SIGLIB_KERNEL void Descend(const T* increment, State& mine, const Kept& kept, N* x,
                                 T* found) const {
    const int32_t root = this->job_.plan.root, apart = this->job_.plan.letter_pitch;
    JAX_SIGLIB_SPREAD
    for (int m = 0; m < kMost; ++m) {
      if (m >= root) continue;
      const bool lowest = m == root - 1;
      const N v = this->ReadOne(increment + mine.reads.at[m]);
      const N ct = mine.ct.path[m].Now();
      N added = x[0], sum = this->Times(lowest, kept.b[m][0], ct);
      JAX_SIGLIB_SPREAD
      for (int c = 1; c <= m + 1; ++c) added = added + x[c];
      mine.ct.path[m].moved = mine.ct.path[m].moved + added;
      JAX_SIGLIB_SPREAD
      for (int c = m + 1; c >= 0; --c) {
        const N scaled = (T(1) / T(c + 2)) * x[c];
        sum = sum + this->Times(lowest, kept.b[m][c + 1], scaled);
        x[c + 1] = scaled * v;
      }
      x[0] = ct * v;
      found[mine.reads.at[m] * apart] += Asked(sum);
    }
  }

  // A branch's contributions to ct_v of a step, letter by letter, padded.
  JAX_SIGLIB_KERNEL T* Found(int32_t i, int32_t step) const {
    return this->memory_ + this->job_.at.found + i +
           step * this->job_.plan.pitch * this->job_.plan.letter_pitch;
  }

  // The branches' contributions to ct_v: in groups, and then these.
  JAX_SIGLIB_KERNEL void AddUp(int64_t first, int32_t count, int64_t slot,
                               bool first_tile) const {
    const BranchPlan& plan = this->job_.plan;
    const PathJob& path = this->job_.path;
    const int32_t d = path.levels.dimension(), sums = count * plan.elements * d;
    const int32_t each = this->each_;
    T* const partial = this->memory_ + this->job_.at.partial;
    // Sum number i is of a step, an element and a letter, in this order.
    this->block_.ForEach(sums * plan.groups, [&](int32_t i) {
      const Divisor::Parts group = plan.by_groups.Split(i);
      const Divisor::Parts letter = plan.by_letters.Split(group.quotient);
      const Divisor::Parts element = plan.by_elements.Split(letter.quotient);
      if (element.rest >= this->elements_) return;
      const T* const found = Found(element.rest * each, element.quotient) +
                             Base::PaddedAt(letter.rest) * plan.letter_pitch;
      T sum = 0;
      JAX_SIGLIB_UNROLLED
      for (int32_t at = group.rest; at < each; at += plan.groups) sum += found[at];
      partial[i] = sum;
    });
    const int64_t entries = (path.points - 1) * d;
    T* const shares = static_cast<T*>(path.shares);
    this->block_.ForEach(sums, [&](int32_t i) {
      const Divisor::Parts letter = plan.by_letters.Split(i);
      const Divisor::Parts element = plan.by_elements.Split(letter.quotient);
      if (element.rest >= this->elements_) return;
      T sum = 0;
      JAX_SIGLIB_UNROLLED
      for (int32_t g = 0; g < plan.groups; ++g) sum += partial[i * plan.groups + g];
      T* const share = shares +
                       ((this->first_ + element.rest) * plan.slots + slot) * entries +
                       (first + element.quotient) * d + letter.rest;
      *share = first_tile ? sum : *share + sum;
    });
  }
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_BRANCH_BACKWARD_H_
