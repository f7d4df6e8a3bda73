// Branches of signatures (branch_plan.h), as the threads of a block hold them, and a step
// of theirs. The recurrences, and the names, are those of ffi/README.md.
#ifndef JAX_SIGLIB_CUDA_BRANCH_H_
#define JAX_SIGLIB_CUDA_BRANCH_H_

#include <cstdint>
#include <type_traits>

#include "branch_plan.h"
#include "dual.h"
#include "storage.h"

namespace jax_siglib {
namespace cuda {

// A number that changes with every step: what it was before the steps of a block, and how
// far it has moved since. Small steps do not lose their digits to what has gathered.
template <class N>
struct Moving {
  N held, moved;
  JAX_SIGLIB_KERNEL N Now() const { return held + moved; }
};

// S of a branch below the top level: of its rows, and of the root's path, from the root
// down.
template <class N, int kSide>
struct BranchLevels {
  Moving<N> rows[kSide];
  Moving<N> path[MostAncestors(kSide)];
};

// What a branch reads of an increment: where its rows, its letters, and those of the path,
// the last one first, lie in it. Slices are padded there. And how many of its rows there
// are.
template <int kSide>
struct BranchReads {
  int32_t element;  // of the block's
  int32_t rows_at, letters_at;
  int32_t at[MostAncestors(kSide)];
  int32_t rows;
};

// Where it is: what it takes to find its numbers in arrays, at the beginning and at the
// end.
struct BranchPlace {
  int64_t element;
  int32_t root;         // the number of the root among the words of its level
  int32_t row, column;  // slices
};

// The chains at one word of the path, chain c on its way to c levels further up.
template <class N, int kSide>
struct BranchChains {
  N b[MostAncestors(kSide) + 2];
};

// Of streams (kStream) letters may be added in front of a word too (prepend).
template <class T, int kSide, bool kDual, bool kAdjoint, bool kStream, class Block>
class Branches {
 public:
  using Value = Number<T, kDual>;
  using Reads = BranchReads<kSide>;
  using Levels = BranchLevels<Value, kSide>;
  using Chains = BranchChains<Value, kSide>;
  static constexpr int kMost = MostAncestors(kSide);
  static constexpr int kPad = PaddedSide(kSide);

 protected:
  // Of elements first, first + 1, ... of a batch, or tile `tile` of element `first`. The
  // workspace begins with the increments.
  JAX_SIGLIB_KERNEL Branches(const Block& block, const BranchPlan& plan,
                             const cuda::Levels& levels, bool prepend, int64_t batch,
                             int64_t first, int64_t tile, T* workspace)
      : block_(block),
        plan_(plan),
        levels_(levels),
        prepend_(kStream && prepend),
        first_(first),
        first_item_(static_cast<int32_t>(tile * plan.width)),
        each_(Least(plan.items - first_item_, plan.each)),
        memory_(workspace) {
    const int64_t left = batch - first;
    elements_ = left < plan.elements ? static_cast<int32_t>(left) : plan.elements;
  }

  JAX_SIGLIB_KERNEL int32_t Count() const { return elements_ * each_; }

  JAX_SIGLIB_KERNEL BranchPlace Place(int32_t i) const {
    const Divisor::Parts at = plan_.by_items.Split(i);
    const Divisor::Parts column = plan_.by_slices.Split(first_item_ + at.rest);
    const Divisor::Parts row = plan_.by_slices.Split(column.quotient);
    return {first_ + at.quotient, row.quotient, row.rest, column.rest};
  }
  JAX_SIGLIB_KERNEL int32_t Rows(const BranchPlace& place) const {
    return Least(levels_.dimension() - place.row * kSide, kSide);
  }
  JAX_SIGLIB_KERNEL int32_t Letters(const BranchPlace& place) const {
    return Least(levels_.dimension() - place.column * kSide, kSide);
  }

  JAX_SIGLIB_KERNEL Reads Find(int32_t i) const {
    const BranchPlace place = Place(i);
    Reads reads;
    reads.element = static_cast<int32_t>(place.element - first_);
    reads.rows_at = place.row * kPad;
    reads.letters_at = place.column * kPad;
    reads.rows = Rows(place);
    ForWords(place,
             [&](int m, int32_t, int32_t letter, bool) { reads.at[m] = PaddedAt(letter); });
    return reads;
  }
  // Where a letter lies in an increment.
  static JAX_SIGLIB_KERNEL int32_t PaddedAt(int32_t letter) {
    return letter / kSide * kPad + letter % kSide;
  }

  // The increment of a step, as its elements have it.
  JAX_SIGLIB_KERNEL const T* Increment(int32_t step, const Reads& reads) const {
    return memory_ + (step * plan_.elements + reads.element) * plan_.pitch;
  }
  JAX_SIGLIB_KERNEL int32_t TangentsBehind() const {
    return plan_.steps * plan_.elements * plan_.pitch;
  }
  // Of it, the letters of a side, or one letter.
  JAX_SIGLIB_KERNEL void Read(const T* v, Value* to) const {
    T x[kSide];
    ReadAligned<kSide, kPad>(v, x);
    if constexpr (kDual) {
      T t[kSide];
      ReadAligned<kSide, kPad>(v + TangentsBehind(), t);
      JAX_SIGLIB_IN_FULL
      for (int j = 0; j < kSide; ++j) to[j] = {x[j], t[j]};
    } else {
      JAX_SIGLIB_IN_FULL
      for (int j = 0; j < kSide; ++j) to[j] = x[j];
    }
  }
  JAX_SIGLIB_KERNEL Value ReadOne(const T* v) const {
    if constexpr (kDual)
      return {*v, v[TangentsBehind()]};
    else
      return *v;
  }

  static JAX_SIGLIB_KERNEL void Clear(Levels& s) {
    JAX_SIGLIB_IN_FULL
    for (int a = 0; a < kSide; ++a)
      s.rows[a].held = s.rows[a].moved = Constant<Value>(T(0));
    JAX_SIGLIB_IN_FULL
    for (int m = 0; m < kMost; ++m)
      s.path[m].held = s.path[m].moved = Constant<Value>(T(0));
  }

  static JAX_SIGLIB_KERNEL void ClearTop(T (&top)[kSide][kSide]) {
    JAX_SIGLIB_IN_FULL
    for (int a = 0; a < kSide; ++a) JAX_SIGLIB_IN_FULL
    for (int e = 0; e < kSide; ++e) top[a][e] = 0;
  }

  // Joins an increment to S of the root's path, or takes it off, and works out the chains
  // at the root: those that start from S before the increment. kept(m, b) sees the chains
  // below the path's word m, before they go on. Going back, a word's S before the increment
  // is S after it less what the chain from below adds, and that needs what is below alone.
  template <bool kBack, class Keep>
  JAX_SIGLIB_KERNEL void Climb(const T* increment, const Reads& reads, Levels& s,
                               Chains& chains, Keep&& kept) const {
    Value* const b = chains.b;
    JAX_SIGLIB_IN_FULL
    for (int c = 0; c < kMost + 2; ++c) b[c] = Constant<Value>(T(1));
    const int32_t root = plan_.root;
    JAX_SIGLIB_IN_FULL
    for (int m = kMost - 1; m >= 0; --m) {
      if (m >= root) continue;
      const bool lowest = m == root - 1;
      kept(m, b);
      const Value v = ReadOne(increment + reads.at[m]);
      const Value s_m = Move<kBack>(s.path[m], Times(lowest, b[0], v));
      JAX_SIGLIB_IN_FULL
      for (int c = 1; c <= m + 2; ++c)
        b[c - 1] = s_m + Times(lowest, b[c], (T(1) / T(c + 1)) * v);
    }
  }

  // A step of a number by so much, there or back; returns what it was before the step.
  template <bool kBack>
  static JAX_SIGLIB_KERNEL Value Move(Moving<Value>& number, const Value& by) {
    if (kBack) {
      number.moved = number.moved - by;
      return number.Now();
    }
    const Value before = number.Now();
    number.moved = number.moved + by;
    return before;
  }

  // B times something, B at level 0 or above it. B_0 is 1, and its tangent is zero by
  // nature: not to be multiplied with an infinity.
  static JAX_SIGLIB_KERNEL Value Times(bool lowest, const Value& b, const Value& x) {
    if (kDual && lowest) return x;
    return b * x;
  }

  // f(std::bool_constant) of whether the dimension is the side (kExact): then one slice has
  // all letters, and there are no others.
  template <class F>
  JAX_SIGLIB_KERNEL void WithExact(F&& f) const {
    if (plan_.exact)
      f(std::bool_constant<true>());
    else
      f(std::bool_constant<false>());
  }

  // Joins an increment to the rows, or takes it off; row(a, B of row a, v of row a).
  template <bool kBack, bool kExact, class Row>
  JAX_SIGLIB_KERNEL void MoveRows(const T* increment, const Reads& reads, Levels& s,
                                  const Chains& chains, Row&& row) const {
    const bool lowest = plan_.root == 0;
    Value v[kSide];
    Read(increment + (kExact ? 0 : reads.rows_at), v);
    const Value half = T(0.5) * chains.b[1];
    JAX_SIGLIB_IN_FULL
    for (int a = 0; a < kSide; ++a) {
      const Value s_a = Move<kBack>(s.rows[a], Times(lowest, chains.b[0], v[a]));
      Value b = s_a + (kDual && lowest ? T(0.5) * v[a] : half * v[a]);
      // A row beyond d has cotangents of 0, which chains that have overflown are not to
      // meet.
      if (kAdjoint && !kExact && a >= reads.rows) b = Constant<Value>(T(0));
      row(a, b, v[a]);
    }
  }

  // Whether it is the first branch of all, to which the scalar term falls.
  JAX_SIGLIB_KERNEL bool IsFirst(const BranchPlace& place) const {
    return place.root == 0 && place.row + place.column == 0;
  }
  // f(place, a, e) for entry e of row a of the tile of level N, of what is not beyond d,
  // with its place in an array that begins with level 1.
  template <class F>
  JAX_SIGLIB_KERNEL void ForTop(const BranchPlace& place, F&& f) const {
    const int32_t rows = Rows(place), letters = Letters(place);
    const int64_t rows_apart = prepend_ ? levels_.Size(plan_.root) : levels_.dimension();
    const int64_t apart = LettersApart(), first = FirstOfTop(place);
    JAX_SIGLIB_IN_FULL
    for (int a = 0; a < kSide; ++a) JAX_SIGLIB_IN_FULL
    for (int e = 0; e < kSide; ++e)
      if (a < rows && e < letters) f(first + a * rows_apart + e * apart, a, e);
  }
  // The place of its first entry.
  JAX_SIGLIB_KERNEL int64_t FirstOfTop(const BranchPlace& place) const {
    return levels_.Offset(levels_.degree()) +
           Row(place) * (prepend_ ? 1 : levels_.dimension()) +
           place.column * kSide * LettersApart();
  }
  // f(place, number) for what is below level N: all of it, or what falls to this branch.
  template <class Numbers, class F>
  JAX_SIGLIB_KERNEL void ForLower(const BranchPlace& place, bool all, Numbers& s,
                                  F&& f) const {
    const int32_t rows = Rows(place);
    const int64_t first = levels_.Offset(levels_.degree() - 1) + Row(place);
    const int64_t apart = prepend_ ? levels_.Size(plan_.root) : 1;
    JAX_SIGLIB_IN_FULL
    for (int a = 0; a < kSide; ++a)
      if (a < rows && (all || place.column == 0)) f(first + a * apart, s.rows[a]);
    // A word of the root's path falls to the first of the branches above it.
    const bool first_of_root = place.row + place.column == 0;
    ForWords(place, [&](int m, int32_t word, int32_t, bool first_above) {
      if (all || (first_of_root && first_above))
        f(levels_.Offset(plan_.root - m) + word, s.path[m]);
    });
  }

  // f(m, number, letter added last, whether all letters behind it are the first one) for
  // the root, m = 0, and the words that it came from.
  template <class F>
  JAX_SIGLIB_KERNEL void ForWords(const BranchPlace& place, F&& f) const {
    int32_t word = place.root;
    bool first_above = true;
    JAX_SIGLIB_IN_FULL
    for (int m = 0; m < kMost; ++m) {
      if (m >= plan_.root) continue;
      if (prepend_) {
        // Letters count the more the later they come.
        const int32_t before = static_cast<int32_t>(levels_.Size(plan_.root - m - 1));
        const int32_t letter = word / before;
        f(m, word, letter, first_above);
        first_above = first_above && letter == 0;
        word -= letter * before;
      } else {
        const Divisor::Parts at = plan_.by_letters.Split(word);
        f(m, word, at.rest, first_above);
        first_above = first_above && at.rest == 0;
        word = at.quotient;
      }
    }
  }

  static JAX_SIGLIB_KERNEL int32_t Least(int32_t a, int32_t b) { return a < b ? a : b; }

  const Block& block_;
  const BranchPlan& plan_;
  const cuda::Levels& levels_;
  bool prepend_;
  int64_t first_;  // element
  int32_t first_item_, each_, elements_;
  T* memory_;

 private:
  // Of level N, the words of a row.
  JAX_SIGLIB_KERNEL int64_t LettersApart() const {
    return prepend_ ? levels_.Size(levels_.degree() - 1) : 1;
  }
  // The number of the first row among the words of level N-1.
  JAX_SIGLIB_KERNEL int64_t Row(const BranchPlace& place) const {
    const int64_t letter = place.row * kSide;
    if (prepend_) return place.root + letter * levels_.Size(plan_.root);
    return static_cast<int64_t>(place.root) * levels_.dimension() + letter;
  }
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_BRANCH_H_
