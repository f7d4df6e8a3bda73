// Loops with a trip count known at compile time, unrolled in the source so that
// arrays of vectors indexed by them live in registers.
#ifndef JAX_SIGLIB_CPU_UNROLL_H_
#define JAX_SIGLIB_CPU_UNROLL_H_

#include <cstdint>
#include <utility>

#include "simd.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

template <int kValue>
struct Index {
  static constexpr int value = kValue;
};

template <int kFrom, class F, int... kSteps>
JAX_SIGLIB_INLINE void UnrollSteps(F&& f, std::integer_sequence<int, kSteps...>) {
  (f(Index<kFrom + kSteps>{}), ...);
}

// f(Index<kFrom>{}), ..., f(Index<kTo - 1>{}). Not by recursion: the compiler would copy
// the last step's code into each call before it.
template <int kFrom, int kTo, class F>
JAX_SIGLIB_INLINE void Unroll(F&& f) {
  if constexpr (kFrom < kTo)
    UnrollSteps<kFrom>(f, std::make_integer_sequence<int, kTo - kFrom>{});
}

// f(Index<value>{}), of a value from kFrom to kTo - 1.
template <int kFrom, int kTo, class F>
JAX_SIGLIB_INLINE void WithIndex(int64_t value, F&& f) {
  Unroll<kFrom, kTo>([&](auto index) JAX_SIGLIB_LAMBDA {
    if (value == index.value) f(index);
  });
}

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_UNROLL_H_
