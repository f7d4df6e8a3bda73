// What a call of sig_inverse asks of its kernel.
#ifndef JAX_SIGLIB_CPU_INVERSE_JOB_H_
#define JAX_SIGLIB_CPU_INVERSE_JOB_H_

#include <cstdint>

#include "../tensor_algebra.h"
#include "batch.h"

namespace jax_siglib {

// Pointers are to level 1 and, where scalar_term, the result has room for it, which is
// `scalar`, right in front. Large levels are cut into so many parts, items of their own.
template <class T>
struct InverseJob {
  const TensorAlgebra& algebra;
  const Batch& batch;
  bool scalar_term;
  T scalar;
  int64_t parts;
  Operand<const T> sig;
  Operand<T> out;
};

}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_INVERSE_JOB_H_
