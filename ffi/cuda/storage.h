// Numbers as they lie in arrays, and as they are computed with: float for the half types.
// Widening is exact, rounding is to the nearest, ties to even, and NaN stays NaN.
#ifndef JAX_SIGLIB_CUDA_STORAGE_H_
#define JAX_SIGLIB_CUDA_STORAGE_H_

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <type_traits>

#include "../arrays.h"
#include "block.h"

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#else
#include <cmath>
#endif

namespace jax_siglib {
namespace cuda {

// The bits of a number.
struct Float16 {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

template <class S>
struct Computed {
  using Type = S;
};
template <>
struct Computed<Float16> {
  using Type = float;
};
template <>
struct Computed<BFloat16> {
  using Type = float;
};

JAX_SIGLIB_KERNEL float Widen(float x) { return x; }
JAX_SIGLIB_KERNEL double Widen(double x) { return x; }
JAX_SIGLIB_KERNEL void Round(float x, float* to) { *to = x; }
JAX_SIGLIB_KERNEL void Round(double x, double* to) { *to = x; }

#if defined(__CUDACC__)

JAX_SIGLIB_KERNEL float Widen(Float16 x) { return __half2float(__ushort_as_half(x.bits)); }
// (By bits: for Turing, functions that tell a bfloat16's came with CUDA 12.2 only.)
JAX_SIGLIB_KERNEL float Widen(BFloat16 x) {
  return __uint_as_float(static_cast<uint32_t>(x.bits) << 16);
}
JAX_SIGLIB_KERNEL void Round(float x, Float16* to) {
  to->bits = __half_as_ushort(__float2half_rn(x));
}
JAX_SIGLIB_KERNEL void Round(float x, BFloat16* to) {
  to->bits = static_cast<__nv_bfloat16_raw>(__float2bfloat16_rn(x)).x;
}

#else

inline float Widen(BFloat16 x) {
  const uint32_t bits = static_cast<uint32_t>(x.bits) << 16;
  float wide;
  std::memcpy(&wide, &bits, sizeof(wide));
  return wide;
}

inline void Round(float x, BFloat16* to) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  bits = std::isnan(x) ? bits | (1u << 22) : bits + 0x7fffu + (bits >> 16 & 1u);
  to->bits = static_cast<uint16_t>(bits >> 16);
}

// float16: sign, 5 bits of exponent with bias 15, 10 of fraction.
inline float Widen(Float16 x) {
  const int exponent = x.bits >> 10 & 31, fraction = x.bits & 1023;
  float size;
  if (exponent == 31) {
    size = fraction == 0 ? INFINITY : NAN;
  } else {
    const int implied = exponent == 0 ? 0 : 1024;
    size =
        std::ldexp(static_cast<float>(fraction + implied), (exponent ? exponent : 1) - 25);
  }
  return (x.bits & 0x8000) != 0 ? -size : size;
}

inline void Round(float x, Float16* to) {
  const uint16_t sign = std::signbit(x) ? 0x8000 : 0;
  const float size = std::fabs(x);
  uint16_t bits = 0x7e00;  // NaN
  if (size >= 65520.0f) {  // halfway from the largest number to the next power of two
    bits = 0x7c00;
  } else if (!std::isnan(x)) {
    // In units of the last place, which below 2^-14 is that of the smallest numbers. A
    // fraction that is rounded up to the next power of two carries into the exponent.
    int exponent;
    std::frexp(size, &exponent);
    const int place = size < 0x1p-14f ? -24 : exponent - 11;
    const int units = static_cast<int>(std::nearbyint(std::ldexp(size, -place)));
    bits = static_cast<uint16_t>(units + (place > -24 ? (place + 24) << 10 : 0));
  }
  to->bits = static_cast<uint16_t>(bits | sign);
}

#endif

// An entry of an array.
template <class S>
JAX_SIGLIB_KERNEL typename Computed<S>::Type Load(const S* array, int64_t i) {
  return Widen(array[i]);
}
template <class S>
JAX_SIGLIB_KERNEL void Store(S* array, int64_t i, typename Computed<S>::Type x) {
  Round(x, array + i);
}

// f(S{}) for what lies in arrays that are computed with as T: floats as float or double.
template <class T, class F>
JAX_SIGLIB_KERNEL void WithStored(Dtype dtype, F&& f) {
  if constexpr (std::is_same_v<T, float>) {
    if (dtype == Dtype::kFloat16) return f(Float16{});
    if (dtype == Dtype::kBFloat16) return f(BFloat16{});
  } else {
    if (dtype == Dtype::kFloat32) return f(float{});
  }
  f(T{});
}

// f(S{}) for what arrays of this dtype hold: of callers on the host.
template <class F>
void WithStorage(Dtype dtype, F&& f) {
  switch (dtype) {
    case Dtype::kFloat16:
      return f(Float16{});
    case Dtype::kBFloat16:
      return f(BFloat16{});
    case Dtype::kFloat32:
      return f(float{});
    case Dtype::kFloat64:
      return f(double{});
    case Dtype::kOther:
      break;
  }
  throw std::runtime_error("no kernel for this dtype");
}

// kCount numbers side by side, of kPadded that begin where so many bytes, or 16, do.
template <int kCount, int kPadded, class T>
JAX_SIGLIB_KERNEL void ReadAligned(const T* from, T* to) {
  struct alignas(kPadded * sizeof(T) < 16 ? kPadded * sizeof(T) : 16) Numbers {
    T x[kCount];
  } numbers;
  static_assert(sizeof(numbers) <= kPadded * sizeof(T), "reads no further");
#if defined(__CUDACC__)
  // A memcpy, and what is assumed of its pointer, ends up as loads of single numbers or
  // bytes where the pointer is a loop's.
  numbers = *reinterpret_cast<const Numbers*>(from);
#else
  std::memcpy(&numbers, from, sizeof(numbers));
#endif
  JAX_SIGLIB_IN_FULL
  for (int j = 0; j < kCount; ++j) to[j] = numbers.x[j];
}

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_STORAGE_H_
