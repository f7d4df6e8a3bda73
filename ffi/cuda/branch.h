// A branch of a path's signature on its way along the path (branch_job.h), as a thread
// holds it, and what a block of them shares. The recurrences, and the names, are those of
// ffi/README.md.
#ifndef JAX_SIGLIB_CUDA_BRANCH_H_
#define JAX_SIGLIB_CUDA_BRANCH_H_

#include <cstdint>

#include "branch_job.h"
#include "carry.h"
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
  int64_t root;         // the number of the root among the words of its level
  int32_t row, column;  // slices
};

// The chains at one word of the path, chain c on its way to c levels further up.
template <class N, int kSide>
struct BranchChains {
  N b[MostAncestors(kSide) + 2];
};

template <class T, int kSide, bool kDual, bool kAdjoint, class Block>
class BranchBlock {
 public:
  using N = Number<T, kDual>;
  using Reads = BranchReads<kSide>;
  using Levels = BranchLevels<N, kSide>;
  using Chains = BranchChains<N, kSide>;
  static constexpr int kMost = MostAncestors(kSide);
  static constexpr int kPad = PaddedSide(kSide);

  // The block of elements first, first + 1, ..., or tile `tile` of element `first`.
  JAX_SIGLIB_KERNEL BranchBlock(const Block& block, const BranchJob& job, int64_t first,
                                int64_t tile, void* workspace)
      : block_(block),
        job_(job),
        first_(first),
        first_item_(tile * job.plan.width),
        paths_(static_cast<int64_t*>(workspace)),
        memory_(reinterpret_cast<T*>(static_cast<char*>(workspace) +
                                     BranchPathsBytes(job.plan, kDual))) {
    const int64_t left = job.path.batch - first, items = job.plan.items - first_item_;
    elements_ = left < job.plan.elements ? static_cast<int32_t>(left) : job.plan.elements;
    each_ = job.plan.width / job.plan.elements;
    if (items < each_) each_ = static_cast<int32_t>(items);
  }

 protected:
  JAX_SIGLIB_KERNEL int32_t Count() const { return elements_ * each_; }

  JAX_SIGLIB_KERNEL BranchPlace Place(int32_t i) const {
    const Divisor::Parts at = job_.plan.by_items.Split(i);
    const int32_t slices = job_.plan.slices;
    const int64_t rows = (first_item_ + at.rest) / slices, root = rows / slices;
    return {first_ + at.quotient, root, static_cast<int32_t>(rows - root * slices),
            static_cast<int32_t>(first_item_ + at.rest - rows * slices)};
  }
  JAX_SIGLIB_KERNEL int32_t Rows(const BranchPlace& place) const {
    return Least(job_.path.levels.dimension() - place.row * kSide, kSide);
  }
  JAX_SIGLIB_KERNEL int32_t Letters(const BranchPlace& place) const {
    return Least(job_.path.levels.dimension() - place.column * kSide, kSide);
  }

  JAX_SIGLIB_KERNEL Reads Find(int32_t i) const {
    const BranchPlace place = Place(i);
    Reads reads;
    reads.element = static_cast<int32_t>(place.element - first_);
    reads.rows_at = place.row * kPad;
    reads.letters_at = place.column * kPad;
    reads.rows = Rows(place);
    int64_t word = place.root;
    JAX_SIGLIB_SPREAD
    for (int m = 0; m < kMost; ++m) {
      const int64_t parent = word / job_.path.levels.dimension();
      reads.at[m] =
          PaddedAt(static_cast<int32_t>(word - parent * job_.path.levels.dimension()));
      word = parent;
    }
    return reads;
  }
  // Where a letter lies in an increment.
  static JAX_SIGLIB_KERNEL int32_t PaddedAt(int32_t letter) {
    return letter / kSide * kPad + letter % kSide;
  }

  // Where the elements' paths lie.
  JAX_SIGLIB_KERNEL void FindPaths() const {
    const PathJob& path = job_.path;
    block_.ForEach(elements_, [&](int32_t e) {
      paths_[e] = path.path.Offset(path.lead, first_ + e);
      if (kDual) paths_[job_.plan.elements + e] = path.t_path.Offset(path.lead, first_ + e);
    });
  }

  // Increments first, ..., first + count - 1 of each element's path, letters beyond d zero.
  JAX_SIGLIB_KERNEL void LoadIncrements(int64_t first, int32_t count) const {
    WithStored<T>(job_.dtype, [&](auto stored) { Load<decltype(stored)>(first, count); });
  }

  // The increment of a step, as its elements have it.
  JAX_SIGLIB_KERNEL const T* Increment(int32_t step, const Reads& reads) const {
    return memory_ + (step * job_.plan.elements + reads.element) * job_.plan.pitch;
  }
  JAX_SIGLIB_KERNEL int32_t TangentsBehind() const {
    return job_.plan.steps * job_.plan.elements * job_.plan.pitch;
  }
  // Of it, the letters of a side, or one letter.
  JAX_SIGLIB_KERNEL void Read(const T* v, N* to) const {
    T x[kSide];
    ReadAligned<kSide, kPad>(v, x);
    if constexpr (kDual) {
      T t[kSide];
      ReadAligned<kSide, kPad>(v + TangentsBehind(), t);
      JAX_SIGLIB_SPREAD
      for (int j = 0; j < kSide; ++j) to[j] = {x[j], t[j]};
    } else {
      JAX_SIGLIB_SPREAD
      for (int j = 0; j < kSide; ++j) to[j] = x[j];
    }
  }
  JAX_SIGLIB_KERNEL N ReadOne(const T* v) const {
    if constexpr (kDual)
      return {*v, v[TangentsBehind()]};
    else
      return *v;
  }

  static JAX_SIGLIB_KERNEL void Clear(Levels& s) {
    JAX_SIGLIB_SPREAD
    for (int a = 0; a < kSide; ++a) s.rows[a].held = s.rows[a].moved = Constant<N>(T(0));
    JAX_SIGLIB_SPREAD
    for (int m = 0; m < kMost; ++m) s.path[m].held = s.path[m].moved = Constant<N>(T(0));
  }

  // Joins an increment to S of the root's path, or takes it off, and works out the chains
  // at the root: those that start from S before the increment. kept(m, b) sees the chains
  // below the path's word m, before they go on. Going back, a word's S before the increment
  // is S after it less what the chain from below adds, and that needs what is below alone.
  template <bool kBack, class Keep>
  JAX_SIGLIB_KERNEL void Climb(const T* increment, const Reads& reads, Levels& s,
                               Chains& chains, Keep&& kept) const {
    N* const b = chains.b;
    JAX_SIGLIB_SPREAD
    for (int c = 0; c < kMost + 2; ++c) b[c] = Constant<N>(T(1));
    const int32_t root = job_.plan.root;
    JAX_SIGLIB_SPREAD
    for (int m = kMost - 1; m >= 0; --m) {
      if (m >= root) continue;
      const bool lowest = m == root - 1;
      kept(m, b);
      const N v = ReadOne(increment + reads.at[m]);
      const N s_m = Move<kBack>(s.path[m], Times(lowest, b[0], v));
      JAX_SIGLIB_SPREAD
      for (int c = 1; c <= m + 2; ++c)
        b[c - 1] = s_m + Times(lowest, b[c], (T(1) / T(c + 1)) * v);
    }
  }

  // A step of a number by so much, there or back; returns what it was before the step.
  template <bool kBack>
  static JAX_SIGLIB_KERNEL N Move(Moving<N>& number, const N& by) {
    if (kBack) {
      number.moved = number.moved - by;
      return number.Now();
    }
    const N before = number.Now();
    number.moved = number.moved + by;
    return before;
  }

  // B times something, B at level 0 or above it. B_0 is 1, and its tangent is zero by
  // nature: not to be multiplied with an infinity.
  static JAX_SIGLIB_KERNEL N Times(bool lowest, const N& b, const N& x) {
    if (kDual && lowest) return x;
    return b * x;
  }

  // Joins an increment to the rows, or takes it off; row(a, B of row a, v of row a).
  template <bool kBack, class Row>
  JAX_SIGLIB_KERNEL void MoveRows(const T* increment, const Reads& reads, Levels& s,
                                  const Chains& chains, Row&& row) const {
    const bool lowest = job_.plan.root == 0;
    N v[kSide];
    Read(increment + reads.rows_at, v);
    const N half = T(0.5) * chains.b[1];
    JAX_SIGLIB_SPREAD
    for (int a = 0; a < kSide; ++a) {
      const N s_a = Move<kBack>(s.rows[a], Times(lowest, chains.b[0], v[a]));
      N b = s_a + (kDual && lowest ? T(0.5) * v[a] : half * v[a]);
      // A row beyond d has cotangents of 0, which chains that have overflown are not to
      // meet.
      if (kAdjoint && a >= reads.rows) b = Constant<N>(T(0));
      row(a, b, v[a]);
    }
  }

  // At the end of a block's steps: what has moved is added to what is held, and what that
  // loses to the low parts, which lie in the workspace from number `index` on.
  JAX_SIGLIB_KERNEL void Settle(int32_t i, int32_t index, Levels& s) const {
    const BranchPlan& plan = job_.plan;
    constexpr int kOrder = kDual ? 2 : 1;
    T* low = memory_ + job_.at.low + i + index * kOrder * plan.width;
    auto settle = [&](Moving<N>& number) {
      if constexpr (kDual) {
        number.held.x = Carry(number.held.x, low, number.moved.x);
        low += plan.width;
        number.held.t = Carry(number.held.t, low, number.moved.t);
      } else {
        number.held = Carry(number.held, low, number.moved);
      }
      low += plan.width;
      number.moved = Constant<N>(T(0));
    };
    JAX_SIGLIB_SPREAD
    for (int a = 0; a < kSide; ++a) settle(s.rows[a]);
    JAX_SIGLIB_SPREAD
    for (int m = 0; m < kMost; ++m)
      if (m < plan.root) settle(s.path[m]);
  }
  JAX_SIGLIB_KERNEL void ClearLow(int32_t i) const {
    const BranchPlan& plan = job_.plan;
    const int32_t numbers = (kDual ? 2 : 1) * (kAdjoint ? 2 : 1) * (kSide + plan.root);
    JAX_SIGLIB_ROLLED
    for (int32_t at = 0; at < numbers; ++at) memory_[job_.at.low + i + at * plan.width] = 0;
  }

  // Where the branch's numbers lie in an array of signatures, counted from level 1.
  JAX_SIGLIB_KERNEL int64_t RowAt(const BranchPlace& place, int a) const {
    const cuda::Levels& levels = job_.path.levels;
    return levels.Offset(levels.degree() - 1) + Row(place, a);
  }
  JAX_SIGLIB_KERNEL int64_t TopAt(const BranchPlace& place, int a, int e) const {
    const cuda::Levels& levels = job_.path.levels;
    return levels.Offset(levels.degree()) + Row(place, a) * levels.dimension() +
           place.column * kSide + e;
  }
  // f(m, place) for the words of the root's path: all of them, or those that fall to this
  // branch, which is the first of those above them.
  template <class F>
  JAX_SIGLIB_KERNEL void ForPath(const BranchPlace& place, bool all, F&& f) const {
    const cuda::Levels& levels = job_.path.levels;
    const int32_t root = job_.plan.root;
    bool mine = all || place.row + place.column == 0;
    int64_t word = place.root;
    JAX_SIGLIB_SPREAD
    for (int m = 0; m < kMost; ++m) {
      if (m >= root) continue;
      if (mine) f(m, levels.Offset(root - m) + word);
      const int64_t parent = word / levels.dimension();
      mine = all || (mine && parent * levels.dimension() == word);
      word = parent;
    }
  }

  static JAX_SIGLIB_KERNEL int32_t Least(int32_t a, int32_t b) { return a < b ? a : b; }

  const Block& block_;
  const BranchJob& job_;
  int64_t first_, first_item_;
  int32_t elements_, each_;
  int64_t* paths_;  // where the elements' paths lie, in entries; then their tangents
  T* memory_;

 private:
  template <class S>
  JAX_SIGLIB_KERNEL void Load(int64_t first, int32_t count) const {
    const PathJob& path = job_.path;
    const BranchPlan& plan = job_.plan;
    T* const v = memory_;
    const int32_t behind = TangentsBehind(), d = path.levels.dimension();
    const S* const x = static_cast<const S*>(path.path.data);
    const S* const t_x = static_cast<const S*>(path.t_path.data);
    auto change = [&](const S* x, int64_t stride, int64_t element, int64_t point,
                      int32_t letter) {
      const S* const at = x + element + point * stride + letter;
      return static_cast<T>(cuda::Load(at, stride)) - static_cast<T>(cuda::Load(at, 0));
    };
    // Each as the number that it stands for: an increment of 0 where there is no letter.
    auto load = [&](int32_t i) {
      const Divisor::Parts at = plan.by_pitch.Split(i);
      const Divisor::Parts step = plan.by_elements.Split(at.quotient);
      const int32_t letter = at.rest / kPad * kSide + at.rest % kPad, e = step.rest;
      N v_i = Constant<N>(T(0));
      if (at.rest % kPad >= kSide || letter >= d || e >= elements_) return v_i;
      const int64_t point = first + step.quotient;
      const T x_i = change(x, path.point_stride, paths_[e], point, letter);
      if constexpr (kDual)
        v_i = {x_i,
               change(t_x, path.t_point_stride, paths_[plan.elements + e], point, letter)};
      else
        v_i = x_i;
      return v_i;
    };
    block_.template ForEachLoaded<4>(count * plan.elements * plan.pitch, load,
                                     [&](int32_t i, const N& v_i) {
                                       if constexpr (kDual) {
                                         v[i] = v_i.x;
                                         v[behind + i] = v_i.t;
                                       } else {
                                         v[i] = v_i;
                                       }
                                     });
  }

  JAX_SIGLIB_KERNEL int64_t Row(const BranchPlace& place, int a) const {
    return place.root * job_.path.levels.dimension() + place.row * kSide + a;
  }
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_BRANCH_H_
