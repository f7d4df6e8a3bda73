// The way back along a path for the branches of a block: the adjoint of its steps, and the
// tangent of that.
#ifndef JAX_SIGLIB_CUDA_BRANCH_ADJOINT_H_
#define JAX_SIGLIB_CUDA_BRANCH_ADJOINT_H_

#include <cstdint>

#include "branch_tops.h"

namespace jax_siglib {
namespace cuda {

template <class T, int kSide, bool kDual, bool kStream, class Block>
class BranchAdjoint : public BranchTops<T, kSide, kDual, true, kStream, Block> {
  using Base = BranchTops<T, kSide, kDual, true, kStream, Block>;

 public:
  using Base::Base;
  using Base::kMost;
  using typename Base::Value;

 protected:
  // What a branch has at hand: S, its cotangent, and that of its tile of level N.
  struct State {
    typename Base::Reads reads;
    typename Base::Levels s, ct;
    T top[kSide][kSide];
  };
  // All steps, the last one first: before(place, step, state) in front of each. With kUndo
  // S is that behind a step, which is undone; else `before` brings S in front of it. Adds
  // to (or, for a slot's first tile, sets) ct_v of every step in the elements' shares. Of
  // streams ready(step) comes before that as well: all threads' together.
  template <bool kUndo, class Own, class Ready, class Before>
  JAX_SIGLIB_KERNEL void GoBack(Own& own, int64_t slot, bool first_tile, Ready&& ready,
                                Before&& before) const {
    const int32_t block = this->plan_.steps, back = this->plan_.back;
    ClearLastFours();
    JAX_SIGLIB_ROLLED
    for (int64_t end = this->Steps(); end > 0; end -= block) {
      const int32_t count = this->Count(end);
      const int64_t begin = end - count;
      this->LoadSteps(begin, count);
      JAX_SIGLIB_ROLLED
      for (int32_t above = count; above > 0; above -= back) {
        const int32_t first = above < back ? 0 : above - back;
        if constexpr (kStream) {
          JAX_SIGLIB_ROLLED
          for (int32_t step = above - 1; step >= first; --step) {
            ready(begin + step);
            StepsBack<kUndo>(own, begin, count, step, step, first, before);
          }
        } else {
          StepsBack<kUndo>(own, begin, count, above - 1, first, first, before);
        }
        AddToShares(begin + first, above - first, slot, first_tile);
      }
    }
  }

 private:
  static constexpr int32_t kLetterPitch = LetterPitch(kSide);

  // Chains below each word of the path, as Climb has left them.
  struct Kept {
    Value b[kMost][kMost + 2];
  };

  // Steps last, ..., least of the `count` that have been loaded, from step `begin` on. What
  // is found for step `first` lies first.
  template <bool kUndo, class Own, class Before>
  JAX_SIGLIB_KERNEL void StepsBack(Own& own, int64_t begin, int32_t count, int32_t last,
                                   int32_t least, int32_t first, Before&& before) const {
    own.ForEach([&](int32_t i, State& mine) {
      this->WithExact([&](auto exact) {
        const BranchPlace place = this->Place(i);
        const T* increment = this->Increment(this->Loaded(last, count), mine.reads);
        T* found =
            Found(mine.reads.element, last - first) + i - mine.reads.element * this->each_;
        JAX_SIGLIB_ROLLED
        for (int32_t step = last;; --step) {
          before(place, begin + step, mine);
          StepBack<kUndo, decltype(exact)::value>(increment, found, mine);
          if (step == least) break;
          increment -= this->StepsApart();
          found -= this->plan_.pitch * this->plan_.letter_pitch;
        }
      });
      if (least > 0) return;
      if (kUndo) this->Settle(i, 0, mine.s);
      this->Settle(i, kSide + this->plan_.root, mine.ct);
    });
  }

  // From S after the increment (kUndo), or before it.
  template <bool kUndo, bool kExact>
  JAX_SIGLIB_KERNEL void StepBack(const T* increment, T* found, State& mine) const {
    const typename Base::Reads& reads = mine.reads;
    typename Base::Chains chains;
    Kept kept;
    this->template Climb<kUndo>(increment, reads, mine.s, chains,
                                [&](int m, const Value* b) {
                                  JAX_SIGLIB_IN_FULL
                                  for (int c = 0; c <= m + 2; ++c) kept.b[m][c] = b[c];
                                });
    // The chains at the root: that of level N-1, which starts from the cotangents of the
    // rows, and that of level N.
    Value x[kMost + 2];
    JAX_SIGLIB_IN_FULL
    for (int c = 0; c < kMost + 2; ++c) x[c] = Constant<Value>(T(0));
    // Of the rows' letters, and of the columns', which are the same if there is one slice.
    T by_letter[2][kSide] = {};
    T* const by_row = by_letter[kExact ? 0 : 1];
    T* const by_column = by_letter[0];
    Value v[kSide];
    this->Read(increment + (kExact ? 0 : reads.letters_at), v);
    const bool lowest = this->plan_.root == 0;
    const Value half = T(0.5) * chains.b[1];
    this->template MoveRows<kUndo, kExact>(
        increment, reads, mine.s, chains, [&](int a, const Value& b, const Value& v_a) {
          Value y = mine.top[a][0] * v[0];
          JAX_SIGLIB_IN_FULL
          for (int e = 1; e < kSide; ++e) y = y + mine.top[a][e] * v[e];
          JAX_SIGLIB_IN_FULL
          for (int e = 0; e < kSide; ++e) by_column[e] += Asked(b) * mine.top[a][e];
          const Value ct = mine.ct.rows[a].Now();
          mine.ct.rows[a].moved = mine.ct.rows[a].moved + y;
          by_row[a] += Asked(this->Times(lowest, chains.b[0], ct));
          by_row[a] += Asked(kDual && lowest ? T(0.5) * y : half * y);
          x[0] = x[0] + ct * v_a;
          x[1] = x[1] + y * v_a;
        });
    x[1] = T(0.5) * x[1];
    const int32_t apart = kExact ? kLetterPitch : this->plan_.letter_pitch;
    if (kExact || this->plan_.slices == 1) {
      JAX_SIGLIB_IN_FULL
      for (int e = 0; e < kSide; ++e)
        found[e * kLetterPitch] = kExact ? by_column[e] : by_column[e] + by_row[e];
    } else {
      PutSlices(found, reads, by_row, by_column);
    }
    Descend(increment, apart, mine, kept, x, found);
  }

  // What a branch has found for the letters of its rows and of its columns; zeros for
  // others.
  JAX_SIGLIB_KERNEL void PutSlices(T* found, const typename Base::Reads& reads,
                                   const T* by_row, const T* by_column) const {
    const int32_t apart = this->plan_.letter_pitch;
    const bool same = reads.rows_at == reads.letters_at;
    JAX_SIGLIB_ROLLED
    for (int32_t at = 0; at < this->plan_.pitch; at += Base::kPad) {
      if (at == reads.rows_at || at == reads.letters_at) continue;
      JAX_SIGLIB_IN_FULL
      for (int e = 0; e < kSide; ++e) found[(at + e) * apart] = 0;
    }
    T* const columns = found + reads.letters_at * apart;
    JAX_SIGLIB_IN_FULL
    for (int e = 0; e < kSide; ++e)
      columns[e * apart] = same ? by_column[e] + by_row[e] : by_column[e];
    if (same) return;
    T* const rows = found + reads.rows_at * apart;
    JAX_SIGLIB_IN_FULL
    for (int e = 0; e < kSide; ++e) rows[e * apart] = by_row[e];
  }

  // From the root down its path to level 0; letters lie so far apart in `found`.
  JAX_SIGLIB_KERNEL void Descend(const T* increment, int32_t apart, State& mine,
                                 const Kept& kept, Value* x, T* found) const {
    const int32_t root = this->plan_.root;
    JAX_SIGLIB_IN_FULL
    for (int m = 0; m < kMost; ++m) {
      if (m >= root) continue;
      const bool lowest = m == root - 1;
      const Value v = this->ReadOne(increment + mine.reads.at[m]);
      const Value ct = mine.ct.path[m].Now();
      Value added = x[0], sum = this->Times(lowest, kept.b[m][0], ct);
      JAX_SIGLIB_IN_FULL
      for (int c = 1; c <= m + 1; ++c) added = added + x[c];
      mine.ct.path[m].moved = mine.ct.path[m].moved + added;
      JAX_SIGLIB_IN_FULL
      for (int c = m + 1; c >= 0; --c) {
        const Value scaled = (T(1) / T(c + 2)) * x[c];
        sum = sum + this->Times(lowest, kept.b[m][c + 1], scaled);
        x[c + 1] = scaled * v;
      }
      x[0] = ct * v;
      found[mine.reads.at[m] * apart] += Asked(sum);
    }
  }

  // The contributions to ct_v of a step by an element's branches, letter by letter, padded.
  JAX_SIGLIB_KERNEL T* Found(int32_t element, int32_t step) const {
    return this->memory_ + this->job_.at.found + element * this->plan_.places +
           step * this->plan_.pitch * this->plan_.letter_pitch;
  }
  // Those of the branches that there are not are zero.
  JAX_SIGLIB_KERNEL void ClearLastFours() const {
    const BranchPlan& plan = this->plan_;
    const int32_t each = this->each_, letters = plan.back * plan.pitch;
    if (!plan.fours || each % 4 == 0) return;
    this->block_.ForEach(letters * this->elements_, [&](int32_t i) {
      const int32_t element = i / letters, letter = i - element * letters;
      T* const last = Found(element, 0) + letter * plan.letter_pitch + each / 4 * 4;
      JAX_SIGLIB_ROLLED
      for (int32_t at = each % 4; at < 4; ++at) last[at] = 0;
    });
  }

  // The branches' contributions to ct_v of steps first, ..., first + count - 1: in groups,
  // and these then in the slot's shares.
  JAX_SIGLIB_KERNEL void AddToShares(int64_t first, int32_t count, int64_t slot,
                                     bool first_tile) const {
    const BranchPlan& plan = this->plan_;
    const int32_t d = this->levels_.dimension(), sums = count * plan.elements * d;
    T* const partial = this->memory_ + this->job_.at.partial;
    T* const shares = static_cast<T*>(this->job_.path.shares);
    auto put = [&](int32_t step, int32_t element, int32_t letter, T sum) {
      const int64_t share = (this->first_ + element) * plan.slots + slot;
      T* const at = shares + (share * this->Steps() + this->Row(first + step)) * d + letter;
      *at = first_tile ? sum : *at + sum;
    };
    // Sum number i is of a step, an element and a letter, in this order.
    auto with = [&](int32_t i, auto&& use) {
      const Divisor::Parts letter = plan.by_letters.Split(i);
      const Divisor::Parts element = plan.by_elements.Split(letter.quotient);
      if (element.rest < this->elements_) use(element.quotient, element.rest, letter.rest);
    };
    this->block_.ForEach(sums * plan.groups, [&](int32_t i) {
      const Divisor::Parts group = plan.by_groups.Split(i);
      with(group.quotient, [&](int32_t step, int32_t element, int32_t letter) {
        const T* const found =
            Found(element, step) + Base::PaddedAt(letter) * plan.letter_pitch;
        T sum = 0;
        if (plan.fours) {
          JAX_SIGLIB_UNROLLED
          for (int32_t at = group.rest * 4; at < this->each_; at += plan.groups * 4) {
            T four[4];
            ReadAligned<4, 4>(found + at, four);
            sum += (four[0] + four[1]) + (four[2] + four[3]);
          }
        } else {
          JAX_SIGLIB_UNROLLED
          for (int32_t at = group.rest; at < this->each_; at += plan.groups)
            sum += found[at];
        }
        if (plan.groups == 1)
          put(step, element, letter, sum);
        else
          partial[i] = sum;
      });
    });
    if (plan.groups == 1) return;
    this->block_.ForEach(sums, [&](int32_t i) {
      with(i, [&](int32_t step, int32_t element, int32_t letter) {
        T sum = 0;
        JAX_SIGLIB_UNROLLED
        for (int32_t g = 0; g < plan.groups; ++g) sum += partial[i * plan.groups + g];
        put(step, element, letter, sum);
      });
    });
  }
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_BRANCH_ADJOINT_H_
