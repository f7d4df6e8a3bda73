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
  Array array;
  array.dtype = ReadDtype(buffer.element_type());
  array.data = buffer.untyped_data();
  const auto dimensions = buffer.dimensions();
  for (const int64_t size : dimensions) {
    array.shape.Append(size);
    array.stride.Append(0);
  }
  int64_t stride = 1;
  for (int i = array.shape.rank(); i-- > 0;) {
    array.stride[i] = stride;
    stride *= array.shape[i];
  }
  return array;
}

}  // namespace jax_siglib

#endif  // JAX_SIGLIB_XLA_ARRAYS_H_
