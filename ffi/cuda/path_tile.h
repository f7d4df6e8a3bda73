// A tile of a path's signature on its way along the path: the levels below N, walked step
// by step, and their chains. The recurrences, and the names, are those of ffi/README.md.
//
// An entry of those levels is a sum of two numbers, high and low part, and so is its
// tangent: many small steps, all in the same direction, would else be rounded each to the
// last digit of what has gathered, and again when they are undone. Chains start from the
// high part.
#ifndef JAX_SIGLIB_CUDA_PATH_TILE_H_
#define JAX_SIGLIB_CUDA_PATH_TILE_H_

#include <cstdint>

#include "carry.h"
#include "path_job.h"
#include "storage.h"

namespace jax_siglib {
namespace cuda {

// Tiles of registers: rows (or steps) by letters (or steps).
constexpr int kSide = 4;

// S is what arrays hold. With kDual everything has a tangent.
template <class S, bool kDual, bool kAdjoint, class Block>
class PathTile {
 public:
  using T = typename Computed<S>::Type;

  JAX_SIGLIB_KERNEL PathTile(const Block& block, const PathJob& job, int64_t element,
                             int64_t tile, T* workspace)
      : block_(block),
        job_(job),
        levels_(job.levels),
        d_(levels_.dimension()),
        degree_(levels_.degree()),
        root_(job.stage.root),
        rows_(static_cast<int32_t>(PathWorkspace::Rows(levels_, job.stage))),
        element_(element),
        tile_(tile),
        at_(job.at),
        memory_(workspace) {}

 protected:
  // A vector, and its tangent.
  struct Dual {
    T* x;
    T* t;
  };

  JAX_SIGLIB_KERNEL Dual Increments(int32_t step) const {
    T* const v = memory_ + at_.v + step * d_;
    return {v, v + job_.stage.steps * d_};
  }
  JAX_SIGLIB_KERNEL T Inverse(int32_t c) const { return memory_[at_.inverses + c]; }
  // S of the ancestor of length k at k-1, before a step or after it.
  JAX_SIGLIB_KERNEL Dual Ancestors(bool after) const {
    T* const s = memory_ + at_.ancestors + (after ? at_.order * root_ : 0);
    return {s, s + root_};
  }
  JAX_SIGLIB_KERNEL Dual LowAncestors() const {
    T* const low = memory_ + at_.ancestors + 2 * at_.order * root_;
    return {low, low + root_};
  }
  // S of the tile's words of level k.
  JAX_SIGLIB_KERNEL Dual Below(int32_t k) const {
    T* const s = memory_ + at_.below + levels_.Offset(k - root_);
    return {s, s + at_.below_total};
  }
  JAX_SIGLIB_KERNEL Dual LowBelow(int32_t k) const {
    const Dual s = Below(k);
    const int64_t low = at_.order * at_.below_total;
    return {s.x + low, s.t + low};
  }
  // Chains of level k, one behind the other. Of level N-1 there is one, for each step.
  JAX_SIGLIB_KERNEL Dual Chains(int32_t k, int32_t step) const {
    if (k == degree_ - 1) return OfSteps(at_.b, step);
    T* const b = memory_ + at_.chains + at_.chain_offset(k);
    return {b, b + at_.chain_total};
  }
  // Something of all rows for each step of a block.
  JAX_SIGLIB_KERNEL Dual OfSteps(int64_t at, int32_t step) const {
    T* const x = memory_ + at + static_cast<int64_t>(step) * rows_;
    return {x, x + static_cast<int64_t>(job_.stage.steps) * rows_};
  }

  JAX_SIGLIB_KERNEL int32_t Words(int32_t k) const {
    return static_cast<int32_t>(levels_.Size(k - root_));
  }
  // The place of the ancestor of length k in its level, its last letter, and whether this
  // is the first of the tiles above it, on which it falls.
  JAX_SIGLIB_KERNEL int64_t Ancestor(int32_t k) const {
    return tile_ / levels_.Size(root_ - k);
  }
  JAX_SIGLIB_KERNEL int32_t Letter(int32_t k) const {
    return static_cast<int32_t>(Ancestor(k) % d_);
  }
  JAX_SIGLIB_KERNEL bool Owns(int32_t k) const {
    return tile_ % levels_.Size(root_ - k) == 0;
  }

  // Increments first, ..., first + count - 1 of the path.
  JAX_SIGLIB_KERNEL void LoadIncrements(int64_t first, int32_t count) const {
    const S* const path = job_.path.template At<const S>(job_.lead, element_);
    const S* const t_path = job_.t_path.template At<const S>(job_.lead, element_);
    const Dual v = Increments(0);
    block_.ForEach(count * d_, [&](int32_t i) {
      const Divisor::Parts at = levels_.by_dimension().Split(i);
      const int64_t point = first + at.quotient;
      const int64_t from = point * job_.point_stride + at.rest;
      v.x[i] = Load(path, from + job_.point_stride) - Load(path, from);
      if (kDual) {
        const int64_t t_from = point * job_.t_point_stride + at.rest;
        v.t[i] = Load(t_path, t_from + job_.t_point_stride) - Load(t_path, t_from);
      }
    });
  }

  // The signature of a path that has not moved, and what does not change along it.
  JAX_SIGLIB_KERNEL void Begin() const {
    T* const inverse = memory_ + at_.inverses;
    block_.ForEach(degree_, [&](int32_t c) { inverse[c] = T(1) / static_cast<T>(c + 1); });
    T* const s = memory_ + at_.ancestors;  // and the levels below N behind it
    block_.ForEach(static_cast<int32_t>(at_.chains - at_.ancestors),
                   [&](int32_t i) { s[i] = 0; });
    if (root_ > 0) return;
    // The chains of level 0: 1, with tangents 0.
    const bool only = degree_ == 1;
    const Dual b = Chains(0, 0);
    block_.ForEach(only ? job_.stage.steps : degree_, [&](int32_t i) {
      b.x[i] = 1;
      if (kDual) b.t[i] = 0;
    });
  }

  // A chain's way from level 0 to the ancestor of length `to`; with an increment that is
  // `sign` times v. n is the level it is for.
  struct Pair {
    T x, t;
  };
  JAX_SIGLIB_KERNEL Pair AncestorChain(int32_t n, int32_t to, const Dual& s, const Dual& v,
                                       T sign) const {
    T b = 1, t_b = 0;
    JAX_SIGLIB_ROLLED
    for (int32_t k = 1; k <= to; ++k) {
      const int32_t letter = Letter(k);
      const T inverse = sign * Inverse(n - k);
      const T v_k = v.x[letter] * inverse;
      if (kDual) {
        // The tangent of B_0 is zero by nature: not to be multiplied with an infinity.
        const T moved = b * (v.t[letter] * inverse);
        t_b = s.t[k - 1] + (k == 1 ? moved : t_b * v_k + moved);
      }
      b = s.x[k - 1] + b * v_k;
    }
    return {b, t_b};
  }

  // S of the ancestor of length i + 1 behind an increment that is `sign` times v.
  JAX_SIGLIB_KERNEL Pair MoveAncestor(int32_t i, const Dual& s, const Dual& v,
                                      T sign) const {
    const Pair b = AncestorChain(i + 1, i, s, v, sign);
    const int32_t letter = Letter(i + 1);
    const Dual low = LowAncestors();
    const T v_i = sign * v.x[letter];
    Pair moved = {Carry(s.x[i], low.x + i, b.x * v_i), 0};
    if (kDual) {
      const T t_change = b.x * (sign * v.t[letter]);
      moved.t = Carry(s.t[i], low.t + i, i == 0 ? t_change : b.t * v_i + t_change);
    }
    return moved;
  }

  // Joins (or, backwards, takes off) increment number `step` of the block to the levels
  // below N, and leaves the chains of that step: those that start from S before the
  // increment.
  template <bool kBackwards>
  JAX_SIGLIB_KERNEL void Step(int32_t step) const {
    const Dual v = Increments(step);
    const Dual before = Ancestors(false), after = Ancestors(true);
    if (root_ > 0) {
      const Dual at_root = Chains(root_, step);
      // Of the ancestors, those after are made from those before, or the other way round;
      // the chains at the root come from those before.
      if (kBackwards) {
        block_.ForEach(root_, [&](int32_t i) {
          const Pair s = MoveAncestor(i, after, v, T(-1));
          before.x[i] = s.x;
          if (kDual) before.t[i] = s.t;
        });
      }
      block_.ForEach(degree_, [&](int32_t i) {
        if (kBackwards && i < root_) return;
        if (i < root_) {
          const Pair s = MoveAncestor(i, before, v, T(1));
          after.x[i] = s.x;
          if (kDual) after.t[i] = s.t;
        } else {
          const Pair b = AncestorChain(i + 1, root_, before, v, T(1));
          at_root.x[i - root_] = b.x;
          if (kDual) at_root.t[i - root_] = b.t;
        }
      });
      // What was after one step is before the next one.
      block_.ForEach(static_cast<int32_t>(at_.order * root_), [&](int32_t i) {
        if (kBackwards)
          after.x[i] = before.x[i];
        else
          before.x[i] = after.x[i];
      });
    }
    JAX_SIGLIB_ROLLED
    for (int32_t k = root_; k + 1 < degree_; ++k) {
      const int32_t parents = Words(k), count = Words(k + 1), chains = degree_ - k;
      const Dual b = Chains(k, step), next = Chains(k + 1, step);
      const Dual s = Below(k + 1), low = LowBelow(k + 1);
      block_.ForEach(count, [&](int32_t i) {
        const Divisor::Parts at = levels_.by_dimension().Split(i);
        const int32_t parent = at.quotient;
        const T v_i = v.x[at.rest], t_v_i = kDual ? v.t[at.rest] : T(0);
        const T b_i = b.x[parent];
        T s_i = s.x[i], t_s_i = kDual ? s.t[i] : T(0);
        const T grown = b_i * v_i;
        T t_grown = 0;
        if (kDual) t_grown = b_i * t_v_i + (k == 0 ? T(0) : b.t[parent] * v_i);
        const T moved = Carry(s_i, low.x + i, kBackwards ? -grown : grown);
        s.x[i] = moved;
        if (kBackwards) s_i = moved;  // chains start from what was there before
        if (kDual) {
          const T t_moved = Carry(t_s_i, low.t + i, kBackwards ? -t_grown : t_grown);
          s.t[i] = t_moved;
          if (kBackwards) t_s_i = t_moved;
        }
        JAX_SIGLIB_ROLLED
        for (int32_t c = 1; c < chains; ++c) {
          const T inverse = Inverse(c);
          const T b_c = b.x[c * parents + parent], v_c = v_i * inverse;
          next.x[(c - 1) * count + i] = s_i + b_c * v_c;
          if (kDual) {
            const T t_moved = b_c * (t_v_i * inverse);
            next.t[(c - 1) * count + i] =
                t_s_i + (k == 0 ? t_moved : b.t[c * parents + parent] * v_c + t_moved);
          }
        }
      });
    }
  }

  const Block& block_;
  const PathJob& job_;
  const Levels& levels_;
  int32_t d_, degree_, root_;
  int32_t rows_;
  int64_t element_, tile_;
  const PathWorkspace& at_;
  T* memory_;
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_PATH_TILE_H_
