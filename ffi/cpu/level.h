// What a step up or down between two levels needs to know, and where chains are.
#ifndef JAX_SIGLIB_CPU_LEVEL_H_
#define JAX_SIGLIB_CPU_LEVEL_H_

#include <cstdint>

namespace jax_siglib {

// The step between level k and level k+1 of a range of words. Appending, the words of
// a range share their first letters, and their children lie in one piece. Prepending,
// they share their last letters: level k+1 of the range is d times `pieces` pieces of
// `piece` entries, `piece_stride` apart. rows = pieces * piece either way.
template <class T>
struct Level {
  int64_t dimension;
  int64_t rows;    // words of the range in level k
  int64_t chains;  // levels n = k+1, ..., N that pass through here
  int64_t pieces;
  int64_t piece;
  int64_t piece_stride;
  bool is_root;      // k = 0, where every chain is 1
  const T* inverse;  // inverse[c] = 1/(c+1)
};

// Chains of one level: chain c at data + c*stride.
template <class T>
struct Chains {
  T* data;
  int64_t stride;
};

// The same with their tangents: that of chain c at tangent + c*stride.
template <class T>
struct DualChains {
  T* data;
  T* tangent;
  int64_t stride;
};

}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_LEVEL_H_
