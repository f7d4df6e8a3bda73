// Arrays from Python, on the CPU, as a call's arrays.
#ifndef JAX_SIGLIB_NDARRAYS_H_
#define JAX_SIGLIB_NDARRAYS_H_

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>

#include "arrays.h"

namespace jax_siglib {

namespace nb = nanobind;

using NdOperand = nb::ndarray<nb::ro, nb::device::cpu>;
using NdOutput = nb::ndarray<nb::device::cpu>;

inline Dtype ReadDtype(nb::dlpack::dtype type) {
  const auto is = [&](nb::dlpack::dtype_code code, int bits) {
    return type.code == static_cast<uint8_t>(code) && type.bits == bits && type.lanes == 1;
  };
  if (is(nb::dlpack::dtype_code::Float, 32)) return Dtype::kFloat32;
  if (is(nb::dlpack::dtype_code::Float, 64)) return Dtype::kFloat64;
  if (is(nb::dlpack::dtype_code::Float, 16)) return Dtype::kFloat16;
  // numpy has no bfloat16 of its own, and cannot hand on that of others: _arrays.py
  // sends it as its bits.
  if (is(nb::dlpack::dtype_code::UInt, 16)) return Dtype::kBFloat16;
  return Dtype::kOther;
}

template <class NdArray>
Array Read(const NdArray& from) {
  Array array;
  array.dtype = ReadDtype(from.dtype());
  array.data = const_cast<void*>(static_cast<const void*>(from.data()));
  const int rank = static_cast<int>(from.ndim());
  if (rank > Dims::kMaxRank) throw nb::value_error("jax_siglib: too many dimensions");
  bool empty = false;
  for (int i = 0; i < rank; ++i) {
    array.shape.Append(static_cast<int64_t>(from.shape(i)));
    array.stride.Append(from.stride(i));
    empty = empty || from.shape(i) == 0;
  }
  // Strides of an array without entries mean nothing.
  if (!empty && rank > 0 && array.shape[rank - 1] > 1 && array.stride[rank - 1] != 1)
    throw nb::value_error("jax_siglib: the last dimension is not dense");
  return array;
}

}  // namespace jax_siglib

#endif  // JAX_SIGLIB_NDARRAYS_H_
