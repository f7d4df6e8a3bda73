// XLA's buffers as a call's arrays.
#ifndef JAX_SIGLIB_XLA_ARRAYS_H_
#define JAX_SIGLIB_XLA_ARRAYS_H_

#include <xla/ffi/api/ffi.h>

#include <cstdint>

#include "arrays.h"

namespace jax_siglib {

inline Dtype ReadDtype(xla::ffi::DataType type) {
  switch (type) {
    case xla::ffi::F16:
      return Dtype::kFloat16;
    case xla::ffi::BF16:
      return Dtype::kBFloat16;
    case xla::ffi::F32:
      return Dtype::kFloat32;
    case xla::ffi::F64:
      return Dtype::kFloat64;
    default:
      return Dtype::kOther;
  }
}

inline Array Read(xla::ffi::AnyBuffer buffer) {
  return DenseArray(ReadDtype(buffer.element_type()), buffer.untyped_data(),
                    buffer.dimensions());
}

}  // namespace jax_siglib

#endif  // JAX_SIGLIB_XLA_ARRAYS_H_
