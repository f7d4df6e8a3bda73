// A loop whose loads from global memory are waited for once for several of them.
#ifndef JAX_SIGLIB_CUDA_IN_FLIGHT_H_
#define JAX_SIGLIB_CUDA_IN_FLIGHT_H_

#include <cstdint>
#include <type_traits>

#include "block.h"

namespace jax_siglib {
namespace cuda {

// Of so many items at a time: what comes from global memory is waited for once, not once
// for each. With one at a time joins reached a third of what a copy does, at best.
constexpr int32_t kInFlight = 8;

// use(i, load(i)) for i = first, first + apart, ... below n, of which so many are loaded
// before any of them is used. `use` may write what `load` has read of its own i, but of no
// other. It may be called several times for the same i: of a branch around it the compiler
// would make one around the load, and loads would wait for each other.
template <int32_t kCount, class Load, class Use>
JAX_SIGLIB_KERNEL void InFlight(int32_t first, int32_t n, int32_t apart, Load&& load,
                                Use&& use) {
  JAX_SIGLIB_ROLLED
  for (int32_t i = first; i < n; i += kCount * apart) {
    decltype(load(0)) loaded[kCount];
    int32_t at[kCount];
    JAX_SIGLIB_IN_FULL
    for (int32_t u = 0; u < kCount; ++u) {
      at[u] = i + u * apart < n ? i + u * apart : i;
      loaded[u] = load(at[u]);
    }
    JAX_SIGLIB_IN_FULL
    for (int32_t u = 0; u < kCount; ++u) use(at[u], loaded[u]);
  }
}

// What InFlightTogether leaves: fewer than twice kCount, which is a power of two, or 0.
template <int32_t kCount, class I, class Some>
JAX_SIGLIB_KERNEL void AFew(I i, I n, I apart, Some&& some) {
  if constexpr (kCount > 0) {
    if (i + (kCount - 1) * apart < n) {
      some(i, std::integral_constant<int32_t, kCount>());
      i += kCount * apart;
    }
    AFew<kCount / 2>(i, n, apart, some);
  }
}

// some(i, number) for the same i, each once, `number` of them together: i, i + apart, ...
// With an std::integral_constant, for the compiler to know the number.
template <int32_t kCount, class I, class Some>
JAX_SIGLIB_KERNEL void InFlightTogether(I first, I n, I apart, Some&& some) {
  I i = first;
  JAX_SIGLIB_ROLLED
  for (; i + (kCount - 1) * apart < n; i += kCount * apart)
    some(i, std::integral_constant<int32_t, kCount>());
  AFew<kCount / 2>(i, n, apart, some);
}

// use(i, load(i)) for each i once, in a loop that is most of the work.
template <int32_t kCount, class I, class Load, class Use>
JAX_SIGLIB_KERNEL void ManyInFlight(I first, I n, I apart, Load&& load, Use&& use) {
  InFlightTogether<kCount>(first, n, apart, [&](I i, auto number) {
    constexpr int32_t kNumber = decltype(number)::value;
    decltype(load(i)) loaded[kNumber];
    JAX_SIGLIB_IN_FULL
    for (int32_t u = 0; u < kNumber; ++u) loaded[u] = load(i + u * apart);
    JAX_SIGLIB_IN_FULL
    for (int32_t u = 0; u < kNumber; ++u) use(i + u * apart, loaded[u]);
  });
}

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_IN_FLIGHT_H_
