// Sums of what lies in memory: in double, for what one part adds must not lose digits
// against all the others, and in a fixed order.
#ifndef JAX_SIGLIB_CUDA_SUMS_H_
#define JAX_SIGLIB_CUDA_SUMS_H_

#include <cstdint>

#include "block.h"
#include "in_flight.h"

namespace jax_siglib {
namespace cuda {

// Of so many numbers, so far apart. Several are read before any is added: one at a time a
// thread would wait as often as there are numbers.
template <class T>
JAX_SIGLIB_KERNEL double SumOf(const T* numbers, int64_t count, int64_t apart) {
  double sum = 0;
  ManyInFlight<kInFlight>(
      int64_t{0}, count, int64_t{1}, [&](int64_t i) { return numbers[i * apart]; },
      [&](int64_t, T x) { sum += static_cast<double>(x); });
  return sum;
}

// What is left of n when every `apart`th is taken, from number `first` on.
JAX_SIGLIB_KERNEL int64_t EveryOf(int64_t n, int64_t first, int64_t apart) {
  return first < n ? (n - first - 1) / apart + 1 : 0;
}

// sums[0], ..., of so many groups of `each` numbers, one behind the other: into the first.
template <class Block>
JAX_SIGLIB_KERNEL void AddGroups(const Block& block, int32_t groups, int32_t each,
                                 double* sums) {
  while (groups > 1) {
    const int32_t half = (groups + 1) / 2;
    block.ForEach((groups - half) * each,
                  [&](int32_t i) { sums[i] += sums[i + half * each]; });
    groups = half;
  }
}

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_SUMS_H_
