// All that begins with one word of a signature, its root, by one thread: the levels above
// it depth first, with the chains in registers. (With the segment in front: that ends with
// it.) The recurrences, and the names, are those of ffi/README.md.
#ifndef JAX_SIGLIB_CUDA_JOIN_SUBTREE_H_
#define JAX_SIGLIB_CUDA_JOIN_SUBTREE_H_

#include <cstdint>

#include "block.h"

namespace jax_siglib {
namespace cuda {

// v, and what a thread finds for its cotangent: in registers if the dimension is known.
template <class T, int kD>
struct JoinLetters {
  const T* from;
  T v[kD], ct[kD];

  JAX_SIGLIB_KERNEL JoinLetters(int32_t, const T* v_from, T*) : from(v_from) {
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
  template <bool kConstant>
  JAX_SIGLIB_KERNEL void Add(int32_t letter, T x) {
    if constexpr (kConstant) {
      ct[letter] += x;
    } else {
      JAX_SIGLIB_IN_FULL
      for (int j = 0; j < kD; ++j) ct[j] += j == letter ? x : T(0);
    }
  }
  JAX_SIGLIB_KERNEL void PutDown(T* to) const {
    JAX_SIGLIB_IN_FULL
    for (int j = 0; j < kD; ++j) to[j] = ct[j];
  }
};

// Otherwise they are where v lies, and where the sums will be put down.
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
  JAX_SIGLIB_KERNEL int32_t d() const { return dimension; }
  template <bool kConstant>
  JAX_SIGLIB_KERNEL T V(int32_t j) const {
    return v[j];
  }
  template <bool kConstant>
  JAX_SIGLIB_KERNEL void Add(int32_t letter, T x) {
    ct[letter] += x;
  }
  JAX_SIGLIB_KERNEL void PutDown(T*) const {}
};

// The subtree of a root: kDepth levels. Words of each are counted from 0: appending, the
// child of word w by letter j is w d + j; prepending, it is w + j d^k, k levels above the
// root, and words lie as many places apart as there are roots.
template <class T, int kD, int kDepth, bool kPrepend, class Places>
class JoinSubtree {
 public:
  JAX_SIGLIB_KERNEL JoinSubtree(JoinLetters<T, kD>& letters, int32_t roots)
      : letters_(letters), roots_(roots) {}

  T *s = nullptr, *g = nullptr;
  // Where the root's words begin, level by level: of S, or, going back, of g and of S,
  // which then has no level N. Places()(i) is where entry i lies.
  int32_t at[kDepth], at_s[kDepth];

  // The chains of a word, c = 0, 1, ..., are those of the levels above it.
  template <int kAt>
  using Chains = T[kDepth - kAt];

  // From the chains of a word: S of its children and of theirs, in place.
  template <int kAt>
  JAX_SIGLIB_KERNEL void Go(int32_t word, const Chains<kAt>& b) {
    ForLetters<kAt>([&](int32_t j) {
      const int32_t child = Child<kAt>(word, j);
      T& place = Place(s, at[kAt], child);
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
      T& place = Place(g, at[kAt], child);
      const T v_j = letters_.template V<(kAt > 0)>(j);
      T ct = place;
      y[0] += v_j * ct;
      T sum = b[0] * ct;
      if constexpr (kAt + 1 < kDepth) {
        Chains<kAt + 1> next, z;
        Rise<kAt>(b, Place(s, at_s[kAt], child), v_j, next);
        GoBack<kAt + 1>(child, next, z);
        JAX_SIGLIB_IN_FULL
        for (int c = 1; c < kDepth - kAt; ++c) {
          const T part = z[c - 1] * Inverse(c + 1);
          ct += z[c - 1];
          y[c] += v_j * part;
          sum += b[c] * part;
        }
        place = ct;
      }
      letters_.template Add<(kAt > 0)>(j, sum);
    });
  }

  JAX_SIGLIB_BOTH static constexpr T Inverse(int c) { return T(1) / T(c); }

 private:
  JAX_SIGLIB_KERNEL T& Place(T* of, int32_t first, int32_t word) const {
    return of[Places()(first + (kPrepend ? word * roots_ : word))];
  }

  template <int kAt>
  JAX_SIGLIB_KERNEL int32_t Child(int32_t word, int32_t j) const {
    if constexpr (!kPrepend) {
      return word * letters_.d() + j;
    } else {
      int32_t apart = 1;
      JAX_SIGLIB_IN_FULL
      for (int k = 0; k < kAt; ++k) apart *= letters_.d();
      return word + j * apart;
    }
  }

  // The chains of a child, with S there.
  template <int kAt>
  JAX_SIGLIB_KERNEL static void Rise(const Chains<kAt>& b, T s_child, T v_j,
                                     Chains<kAt + 1>& next) {
    JAX_SIGLIB_IN_FULL
    for (int c = 1; c < kDepth - kAt; ++c)
      next[c - 1] = s_child + b[c] * (v_j * Inverse(c + 1));
  }

  // f(letter) for all of them: the root's one after another; of the levels above them,
  // if their number is known, all are instructions of their own.
  template <int kAt, class F>
  JAX_SIGLIB_KERNEL void ForLetters(F&& f) const {
    if constexpr (kAt == 0) {
      JAX_SIGLIB_ROLLED
      for (int32_t j = 0; j < letters_.d(); ++j) f(j);
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
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_JOIN_SUBTREE_H_
