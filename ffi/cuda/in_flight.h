// A loop whose loads from global memory are waited for once for several of them.
#ifndef JAX_SIGLIB_CUDA_IN_FLIGHT_H_
#define JAX_SIGLIB_CUDA_IN_FLIGHT_H_

#include <cstdint>

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

// The same for a loop that is most of the work, with each i used once. In all rounds but
// the last nothing is asked.
template <int32_t kCount, class Load, class Use>
JAX_SIGLIB_KERNEL void ManyInFlight(int32_t first, int32_t n, int32_t apart, Load&& load,
                                    Use&& use) {
  int32_t i = first;
  decltype(load(0)) loaded[kCount];
  JAX_SIGLIB_ROLLED
  for (; i + (kCount - 1) * apart < n; i += kCount * apart) {
    JAX_SIGLIB_IN_FULL
    for (int32_t u = 0; u < kCount; ++u) loaded[u] = load(i + u * apart);
    JAX_SIGLIB_IN_FULL
    for (int32_t u = 0; u < kCount; ++u) use(i + u * apart, loaded[u]);
  }
  if (i >= n) return;
  JAX_SIGLIB_IN_FULL
  for (int32_t u = 0; u < kCount - 1; ++u)
    loaded[u] = load(i + u * apart < n ? i + u * apart : i);
  JAX_SIGLIB_IN_FULL
  for (int32_t u = 0; u < kCount - 1; ++u) {
    if (i + u * apart >= n) return;
    use(i + u * apart, loaded[u]);
  }
}

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_IN_FLIGHT_H_
