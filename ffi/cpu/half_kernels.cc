// Between float and the half types. Widening is exact. Rounding is to the nearest, ties to
// even; what is too large becomes infinite, and NaN stays NaN.
//
// Bits are moved in integers, and where floats are added none is subnormal, so that a
// thread that flushes those to zero, as XLA's do, converts like any other.
#include <cstdint>
#include <cstring>

#include "kernel_functions.h"
#if defined(__F16C__)
#include <immintrin.h>
#endif

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {
namespace {

inline uint32_t BitsOf(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return bits;
}

inline float FromBits(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof(x));
  return x;
}

#if !defined(__F16C__)

// float16 has 5 bits of exponent to float's 8, and 10 of mantissa to its 23; the biases
// differ by 112. All cases are worked out and one is picked by a mask, so that loops
// vectorise (of a branch with floats in it GCC makes none).

inline uint32_t Pick(bool first, uint32_t a, uint32_t b) {
  const uint32_t mask = 0u - static_cast<uint32_t>(first);
  return (a & mask) | (b & ~mask);
}

inline float FromFloat16(uint16_t half) {
  const uint32_t sign = (half & 0x8000u) << 16, rest = (half & 0x7fffu) << 13;
  const uint32_t normal = rest + (112u << 23), special = rest + (224u << 23);
  // m * 2^-24 is (1 + m * 2^-10) * 2^-14 - 2^-14.
  const uint32_t small = BitsOf(FromBits(rest + (113u << 23)) - FromBits(113u << 23));
  const int32_t order = static_cast<int32_t>(rest);
  const uint32_t finite = Pick(order < (1 << 23), small, normal);
  return FromBits(Pick(order >= (31 << 23), special, finite) | sign);
}

inline uint16_t ToFloat16(float x) {
  const uint32_t bits = BitsOf(x), sign = bits >> 16 & 0x8000u, rest = bits & 0x7fffffffu;
  // Half of the last place kept less one, and one more if that place is odd.
  const uint32_t normal = (rest - (112u << 23) + 0xfffu + (rest >> 13 & 1u)) >> 13;
  // Below 2^-14 the last place is 2^-24, as in the floats from 0.5 on.
  const uint32_t small = BitsOf(FromBits(rest) + 0.5f) - (126u << 23);
  const uint32_t nan = 0x7e00u | (rest >> 13 & 0x1ffu);
  const int32_t order = static_cast<int32_t>(rest);
  uint32_t half = Pick(order < (113 << 23), small, normal);
  half = Pick(order >= 0x477ff000, 0x7c00u, half);  // 65520, halfway to the first beyond
  half = Pick(order > 0x7f800000, nan, half);
  return static_cast<uint16_t>(half | sign);
}

#endif

inline uint16_t ToBFloat16(float x) {
  const uint32_t bits = BitsOf(x);
  const uint32_t rounded = bits + 0x7fffu + (bits >> 16 & 1u), nan = bits | (1u << 22);
  return static_cast<uint16_t>((x != x ? nan : rounded) >> 16);
}

}  // namespace

#if defined(__F16C__)

void WidenFloat16(const uint16_t* from, int64_t n, float* to) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    _mm256_storeu_ps(
        to + i,
        _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i))));
  for (; i < n; ++i) to[i] = _cvtsh_ss(from[i]);
}

void RoundToFloat16(const float* from, int64_t n, uint16_t* to) {
  constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT;
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i),
                     _mm256_cvtps_ph(_mm256_loadu_ps(from + i), kNearest));
  for (; i < n; ++i) to[i] = _cvtss_sh(from[i], kNearest);
}

#else

void WidenFloat16(const uint16_t* from, int64_t n, float* to) {
  for (int64_t i = 0; i < n; ++i) to[i] = FromFloat16(from[i]);
}

void RoundToFloat16(const float* from, int64_t n, uint16_t* to) {
  for (int64_t i = 0; i < n; ++i) to[i] = ToFloat16(from[i]);
}

#endif

void WidenBFloat16(const uint16_t* from, int64_t n, float* to) {
  for (int64_t i = 0; i < n; ++i) to[i] = FromBits(static_cast<uint32_t>(from[i]) << 16);
}

void RoundToBFloat16(const float* from, int64_t n, uint16_t* to) {
  for (int64_t i = 0; i < n; ++i) to[i] = ToBFloat16(from[i]);
}

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib
