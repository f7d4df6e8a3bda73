// The arrays of a call, wherever they come from.
#ifndef JAX_SIGLIB_ARRAYS_H_
#define JAX_SIGLIB_ARRAYS_H_

#include <cstdint>
#include <string>

#include "cpu/batch.h"

namespace jax_siglib {

enum class Dtype { kFloat16, kBFloat16, kFloat32, kFloat64, kOther };

// By the name that numpy and torch have for it.
inline Dtype DtypeNamed(const std::string& name) {
  if (name == "float16") return Dtype::kFloat16;
  if (name == "bfloat16") return Dtype::kBFloat16;
  if (name == "float32") return Dtype::kFloat32;
  if (name == "float64") return Dtype::kFloat64;
  return Dtype::kOther;
}

inline int64_t EntryBytes(Dtype dtype) {
  return dtype == Dtype::kFloat64 ? 8 : dtype == Dtype::kFloat32 ? 4 : 2;
}

// An array in memory; strides in entries, 0 along a broadcast dimension. The last
// dimension is dense.
struct Array {
  Dtype dtype = Dtype::kOther;
  void* data = nullptr;
  Dims shape;
  Dims stride;
};

inline bool IsHalf(const Array& array) {
  return array.dtype == Dtype::kFloat16 || array.dtype == Dtype::kBFloat16;
}

// An array of this shape whose entries lie one after another.
template <class Shape>
Array DenseArray(Dtype dtype, void* data, const Shape& shape) {
  Array array;
  array.dtype = dtype;
  array.data = data;
  for (const int64_t size : shape) {
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

// Entries between the rows of the last two dimensions, if there are two.
inline int64_t BetweenRows(const Array& array) {
  const int rank = array.stride.rank();
  return rank < 2 ? 0 : array.stride[rank - 2];
}

}  // namespace jax_siglib

#endif  // JAX_SIGLIB_ARRAYS_H_
