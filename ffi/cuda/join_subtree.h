// All that begins with one word of a signature, its root, by one thread: the levels above
// it depth first, with the chains in registers. (With the segment in front: that ends with
// it.) The recurrences, and the names, are those of ffi/README.md.
#ifndef JAX_SIGLIB_CUDA_JOIN_SUBTREE_H_
#define JAX_SIGLIB_CUDA_JOIN_SUBTREE_H_

#include <cstdint>

#include "block.h"

namespace jax_siglib {
namespace cuda {

// v, and what a thread finds for its cotangent: in registers if the dimension is known, but
// for letters whose number is none that the compiler knows, whose sums are where all will
// be put down.
template <class T, int kD>
struct JoinLetters {
  const T* from;
  T* to;
  T v[kD], ct[kD];

  JAX_SIGLIB_KERNEL JoinLetters(int32_t, const T* v_from, T* ct_to)
      : from(v_from), to(ct_to) {
    JAX_SIGLIB_IN_FULL
    for (int j = 0; j < kD; ++j) {
      v[j] = from[j];
      ct[j] = 0;
    }
  }
  JAX_SIGLIB_KERNEL static constexpr int32_t d() { return kD; }
  // Of a letter whose number is a constant, or not.
  template <bool kConstant>
  JAX_SIGLIB_KERNEL T V(int32_t j) const {
    return kConstant ? v[j] : from[j];
  }
  // The first of all sums of a letter: there is one for each.
  JAX_SIGLIB_KERNEL void Begin(int32_t letter, T x) { to[letter] = x; }
  template <bool kConstant>
  JAX_SIGLIB_KERNEL void Add(int32_t letter, T x) {
    (kConstant ? ct : to)[letter] += x;
  }
  JAX_SIGLIB_KERNEL void PutDown() const {
    JAX_SIGLIB_IN_FULL
    for (int j = 0; j < kD; ++j) to[j] += ct[j];
  }
};

// Otherwise all are there.
template <class T>
struct JoinLetters<T, 0> {
  int32_t dimension;
  const T* v;
  T* ct;

  JAX_SIGLIB_KERNEL JoinLetters(int32_t d, const T* from, T* to)
      : dimension(d), v(from), ct(to) {
    JAX_SIGLIB_ROLLED
    for (int32_t j = 0; to != nullptr && j < d; ++j) to[j] = 0;
  }
  JAX_SIGLIB_KERNEL void Begin(int32_t letter, T x) { ct[letter] += x; }
  JAX_SIGLIB_KERNEL int32_t d() const { return dimension; }
  template <bool kConstant>
  JAX_SIGLIB_KERNEL T V(int32_t j) const {
    return v[j];
  }
  template <bool kConstant>
  JAX_SIGLIB_KERNEL void Add(int32_t letter, T x) {
    ct[letter] += x;
  }
  JAX_SIGLIB_KERNEL void PutDown() const {}
};

// The subtree of a root: kDepth levels. Words of each that begin with one of its letters
// are counted from 0: appending, the child of word w by letter j is w d + j; prepending, it
// is w + j d^k, k levels above the root, and words lie as many places apart as there are
// roots. Appending, the words of a letter lie side by side, whatever the gaps
// (roots_plan.h).
//
// A chain B of level k on its way up to level n is held as B / (n-k)!, which saves
// multiplications: its recurrence is B_k / (n-k)! = S_k / (n-k)! + B_{k-1} / (n-k+1)! v.
template <class T, int kD, int kDepth, bool kPrepend, int kGap>
class JoinSubtree {
 public:
  JAX_SIGLIB_KERNEL JoinSubtree(JoinLetters<T, kD>& letters, int32_t roots)
      : letters_(letters), roots_(roots) {}

  // Where the root's words begin, level by level: of S, or, going back, of g and of S,
  // which then has no level N.
  T *s = nullptr, *g = nullptr;
  int32_t at[kDepth] = {};

  // The chains of a word, c = 0, 1, ..., are those of the levels above it.
  template <int kAt>
  using Chains = T[kDepth - kAt];

  // 1 / c!, of c up to kDepth. (A loop would be one on the GPU.)
  JAX_SIGLIB_BOTH static constexpr T OverFactorial(int c) {
    static_assert(kDepth <= 5, "see below");
    return T(1) / T(c < 3 ? (c < 2 ? 1 : 2) : c == 3 ? 6 : c == 4 ? 24 : 120);
  }

  // From the chains of a word: S of its children and of theirs, in place.
  template <int kAt>
  JAX_SIGLIB_KERNEL void Go(int32_t word, const Chains<kAt>& b) {
    ForLetters<kAt>([&](int32_t j) {
      const int32_t child = Child<kAt>(word, j);
      T& place = Place(s, begin_[kAt], child);
      const T x = place, v_j = letters_.template V<(kAt > 0)>(j);
      place = x + b[0] * v_j;
      if constexpr (kAt + 1 < kDepth) {
        Chains<kAt + 1> next;
        Rise<kAt>(b, x, v_j, next);
        Go<kAt + 1>(child, next);
      }
    });
  }

  // The adjoint of that: the cotangents of S in place of those of the result, and, in y,
  // those of the word's chains.
  template <int kAt>
  JAX_SIGLIB_KERNEL void GoBack(int32_t word, const Chains<kAt>& b, Chains<kAt>& y) {
    JAX_SIGLIB_IN_FULL
    for (int c = 0; c < kDepth - kAt; ++c) y[c] = 0;
    ForLetters<kAt>([&](int32_t j) {
      const int32_t child = Child<kAt>(word, j);
      T& place = Place(g, begin_[kAt], child);
      const T v_j = letters_.template V<(kAt > 0)>(j);
      T ct = place;
      y[0] += v_j * ct;
      T sum = b[0] * ct;
      if constexpr (kAt + 1 < kDepth) {
        Chains<kAt + 1> next, z;
        Rise<kAt>(b, Place(s, begin_[kAt], child), v_j, next);
        GoBack<kAt + 1>(child, next, z);
        JAX_SIGLIB_IN_FULL
        for (int c = 1; c < kDepth - kAt; ++c) {
          ct += z[c - 1] * OverFactorial(c);
          y[c] += v_j * z[c - 1];
          sum += b[c] * z[c - 1];
        }
        place = ct;
      }
      if constexpr (kAt == 0)
        letters_.Begin(j, sum);
      else
        letters_.template Add<true>(j, sum);
    });
  }

 private:
  JAX_SIGLIB_KERNEL T& Place(T* of, int32_t first, int32_t word) const {
    return of[first + (kPrepend ? word * roots_ : word)];
  }

  // d^k
  template <int k>
  JAX_SIGLIB_KERNEL int32_t Power() const {
    if constexpr (k == 0)
      return 1;
    else
      return letters_.d() * Power<k - 1>();
  }

  template <int kAt>
  JAX_SIGLIB_KERNEL int32_t Child(int32_t word, int32_t j) const {
    if constexpr (kAt == 0) return 0;
    return kPrepend ? word + j * Power<kAt>() : word * letters_.d() + j;
  }

  // Where what begins with the root's letter j does.
  template <int kAt = 0>
  JAX_SIGLIB_KERNEL void BeginLetter(int32_t j) {
    if constexpr (kAt < kDepth) {
      const int32_t word = j * (kPrepend ? roots_ : Power<kAt>());
      const int32_t place = kGap > 0 ? word + word / (kGap > 0 ? kGap : 1) : word;
      begin_[kAt] = at[kAt] + place;
      BeginLetter<kAt + 1>(j);
    }
  }

  // The chains of a child, with S there.
  template <int kAt>
  JAX_SIGLIB_KERNEL static void Rise(const Chains<kAt>& b, T s_child, T v_j,
                                     Chains<kAt + 1>& next) {
    JAX_SIGLIB_IN_FULL
    for (int c = 1; c < kDepth - kAt; ++c)
      next[c - 1] = s_child * OverFactorial(c) + b[c] * v_j;
  }

  // f(letter) for all of them: the root's one after another; of the levels above them,
  // if their number is known, all are instructions of their own.
  template <int kAt, class F>
  JAX_SIGLIB_KERNEL void ForLetters(F&& f) {
    if constexpr (kAt == 0) {
      JAX_SIGLIB_ROLLED
      for (int32_t j = 0; j < letters_.d(); ++j) {
        BeginLetter(j);
        f(j);
      }
    } else if constexpr (kD > 0) {
      JAX_SIGLIB_IN_FULL
      for (int j = 0; j < kD; ++j) f(j);
    } else {
      JAX_SIGLIB_UNROLLED
      for (int32_t j = 0; j < letters_.d(); ++j) f(j);
    }
  }

  JoinLetters<T, kD>& letters_;
  int32_t roots_;
  int32_t begin_[kDepth];  // the same of the root's letter
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_JOIN_SUBTREE_H_
