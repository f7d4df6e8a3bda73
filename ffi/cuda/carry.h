// Sums of two numbers (Kahan).
#ifndef JAX_SIGLIB_CUDA_CARRY_H_
#define JAX_SIGLIB_CUDA_CARRY_H_

#include "block.h"

namespace jax_siglib {
namespace cuda {

// A change of a number that is carried as high + *low: returns its high part. An infinite
// one has no low part.
template <class T>
JAX_SIGLIB_KERNEL T Carry(T high, T* low, T change) {
  const T more = *low + change, sum = high + more, rest = more - (sum - high);
  *low = rest - rest == 0 ? rest : T(0);
  return sum;
}

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_CARRY_H_
