// The arrays of a call, wherever they come from.
#ifndef JAX_SIGLIB_ARRAYS_H_
#define JAX_SIGLIB_ARRAYS_H_

#include <cstdint>

#include "cpu/batch.h"

namespace jax_siglib {

enum class Dtype { kFloat16, kBFloat16, kFloat32, kFloat64, kOther };

// An array in memory; strides in entries, 0 along a broadcast dimension. The last
// dimension is dense.
struct Array {
  Dtype dtype = Dtype::kOther;
  void* data = nullptr;
  Dims shape;
  Dims stride;
};

}  // namespace jax_siglib

#endif  // JAX_SIGLIB_ARRAYS_H_
