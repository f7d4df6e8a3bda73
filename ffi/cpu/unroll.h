// Loops with a trip count known at compile time, unrolled in the source so that
// arrays of vectors indexed by them live in registers.
#ifndef JAX_SIGLIB_CPU_UNROLL_H_
#define JAX_SIGLIB_CPU_UNROLL_H_

#include "simd.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

template <int kValue>
struct Index {
  static constexpr int value = kValue;
};

// f(Index<kFrom>{}), ..., f(Index<kTo - 1>{}).
template <int kFrom, int kTo, class F>
JAX_SIGLIB_INLINE void Unroll(F&& f) {
  if constexpr (kFrom < kTo) {
    f(Index<kFrom>{});
    Unroll<kFrom + 1, kTo>(f);
  }
}

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_UNROLL_H_
