// One vector type for every instruction set the kernels are compiled for.
//
// Kernels are compiled once per instruction set, each time with JAX_SIGLIB_ISA
// naming the namespace everything below goes into, so that no function compiled
// with wide instructions can be picked by the linker for a processor without them.
// Vec<T> offers the same static functions everywhere:
//
//   kLanes                       entries in a vector
//   Load, Store                  unaligned, all lanes
//   LoadFirst, StoreFirst        the lanes of a Mask; the others read as 0 and are
//                                neither read from nor written to memory
//   FirstLanes(n), KeepFirst     the mask of lanes 0..n-1 (n may be <= 0 or > kLanes)
//   Select(m, a, b)              the lanes of a Mask from a, the others from b
//   Permute(v, index)            lane l of the result is lane index[l] of v
//   Blend<bits>(a, b)            lane l from b where bit l of `bits` is set, else a
//   UnzipEven, UnzipOdd(a, b)    even / odd lanes of a, then those of b
#ifndef JAX_SIGLIB_CPU_SIMD_H_
#define JAX_SIGLIB_CPU_SIMD_H_

#include <cstdint>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#ifndef JAX_SIGLIB_ISA
#error "compile with -DJAX_SIGLIB_ISA=<namespace of this instruction set>"
#endif

// Everything below a step (append_steps.h and its like) is inlined into it, lambdas
// included; a step itself is compiled once and called.
#define JAX_SIGLIB_INLINE inline __attribute__((always_inline))
#define JAX_SIGLIB_LAMBDA __attribute__((always_inline))
#define JAX_SIGLIB_STEP __attribute__((noinline))

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

template <class T>
struct Vec;

// v, in a register. Where one vector is read and used several times, GCC may else read it
// again for each use, and be limited by that: of AVX-512 it did so, two loads a cycle for
// two multiply-adds.
template <class V>
JAX_SIGLIB_INLINE V InRegister(V v) {
#if defined(__x86_64__)
  asm("" : "+v"(v));
#elif defined(__aarch64__)
  asm("" : "+w"(v));
#endif
  return v;
}

// Lane numbers for Vec<T>::Permute, in the form the instruction wants.
template <class T>
struct alignas(64) PermuteIndex;

#if defined(__AVX512F__)

template <>
struct alignas(64) PermuteIndex<float> {
  int32_t lane[16];
  constexpr void Set(int l, int from) { lane[l] = from; }
};

template <>
struct Vec<float> {
  static constexpr int kLanes = 16;
  using V = __m512;
  using Mask = __mmask16;
  static JAX_SIGLIB_INLINE V Zero() { return _mm512_setzero_ps(); }
  static JAX_SIGLIB_INLINE V Set1(float x) { return _mm512_set1_ps(x); }
  static JAX_SIGLIB_INLINE V Load(const float* p) { return _mm512_loadu_ps(p); }
  static JAX_SIGLIB_INLINE void Store(float* p, V v) { _mm512_storeu_ps(p, v); }
  static JAX_SIGLIB_INLINE Mask FirstLanes(int64_t n) {
    return n >= 16  ? static_cast<Mask>(0xffff)
           : n <= 0 ? static_cast<Mask>(0)
                    : static_cast<Mask>((1u << n) - 1u);
  }
  static JAX_SIGLIB_INLINE V LoadFirst(const float* p, Mask m) {
    return _mm512_maskz_loadu_ps(m, p);
  }
  static JAX_SIGLIB_INLINE void StoreFirst(float* p, V v, Mask m) {
    _mm512_mask_storeu_ps(p, m, v);
  }
  static JAX_SIGLIB_INLINE V KeepFirst(V v, Mask m) { return _mm512_maskz_mov_ps(m, v); }
  static JAX_SIGLIB_INLINE V Select(Mask m, V a, V b) {
    return _mm512_mask_blend_ps(m, b, a);
  }
  static JAX_SIGLIB_INLINE V MulAdd(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
  static JAX_SIGLIB_INLINE V Mul(V a, V b) { return _mm512_mul_ps(a, b); }
  static JAX_SIGLIB_INLINE V Add(V a, V b) { return _mm512_add_ps(a, b); }
  static JAX_SIGLIB_INLINE V Permute(V v, const PermuteIndex<float>& i) {
    return _mm512_permutexvar_ps(_mm512_load_si512(i.lane), v);
  }
  template <uint32_t kBits>
  static JAX_SIGLIB_INLINE V Blend(V a, V b) {
    return _mm512_mask_blend_ps(static_cast<Mask>(kBits), a, b);
  }
  static JAX_SIGLIB_INLINE V UnzipEven(V a, V b) {
    const __m512i i =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    return _mm512_permutex2var_ps(a, i, b);
  }
  static JAX_SIGLIB_INLINE V UnzipOdd(V a, V b) {
    const __m512i i =
        _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    return _mm512_permutex2var_ps(a, i, b);
  }
};

template <>
struct alignas(64) PermuteIndex<double> {
  int64_t lane[8];
  constexpr void Set(int l, int from) { lane[l] = from; }
};

template <>
struct Vec<double> {
  static constexpr int kLanes = 8;
  using V = __m512d;
  using Mask = __mmask8;
  static JAX_SIGLIB_INLINE V Zero() { return _mm512_setzero_pd(); }
  static JAX_SIGLIB_INLINE V Set1(double x) { return _mm512_set1_pd(x); }
  static JAX_SIGLIB_INLINE V Load(const double* p) { return _mm512_loadu_pd(p); }
  static JAX_SIGLIB_INLINE void Store(double* p, V v) { _mm512_storeu_pd(p, v); }
  static JAX_SIGLIB_INLINE Mask FirstLanes(int64_t n) {
    return n >= 8   ? static_cast<Mask>(0xff)
           : n <= 0 ? static_cast<Mask>(0)
                    : static_cast<Mask>((1u << n) - 1u);
  }
  static JAX_SIGLIB_INLINE V LoadFirst(const double* p, Mask m) {
    return _mm512_maskz_loadu_pd(m, p);
  }
  static JAX_SIGLIB_INLINE void StoreFirst(double* p, V v, Mask m) {
    _mm512_mask_storeu_pd(p, m, v);
  }
  static JAX_SIGLIB_INLINE V KeepFirst(V v, Mask m) { return _mm512_maskz_mov_pd(m, v); }
  static JAX_SIGLIB_INLINE V Select(Mask m, V a, V b) {
    return _mm512_mask_blend_pd(m, b, a);
  }
  static JAX_SIGLIB_INLINE V MulAdd(V a, V b, V c) { return _mm512_fmadd_pd(a, b, c); }
  static JAX_SIGLIB_INLINE V Mul(V a, V b) { return _mm512_mul_pd(a, b); }
  static JAX_SIGLIB_INLINE V Add(V a, V b) { return _mm512_add_pd(a, b); }
  static JAX_SIGLIB_INLINE V Permute(V v, const PermuteIndex<double>& i) {
    return _mm512_permutexvar_pd(_mm512_load_si512(i.lane), v);
  }
  template <uint32_t kBits>
  static JAX_SIGLIB_INLINE V Blend(V a, V b) {
    return _mm512_mask_blend_pd(static_cast<Mask>(kBits), a, b);
  }
  static JAX_SIGLIB_INLINE V UnzipEven(V a, V b) {
    return _mm512_permutex2var_pd(a, _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14), b);
  }
  static JAX_SIGLIB_INLINE V UnzipOdd(V a, V b) {
    return _mm512_permutex2var_pd(a, _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15), b);
  }
};

#elif defined(__AVX2__)

template <>
struct alignas(64) PermuteIndex<float> {
  int32_t lane[8];
  constexpr void Set(int l, int from) { lane[l] = from; }
};

template <>
struct Vec<float> {
  static constexpr int kLanes = 8;
  using V = __m256;
  using Mask = __m256i;
  static JAX_SIGLIB_INLINE V Zero() { return _mm256_setzero_ps(); }
  static JAX_SIGLIB_INLINE V Set1(float x) { return _mm256_set1_ps(x); }
  static JAX_SIGLIB_INLINE V Load(const float* p) { return _mm256_loadu_ps(p); }
  static JAX_SIGLIB_INLINE void Store(float* p, V v) { _mm256_storeu_ps(p, v); }
  static JAX_SIGLIB_INLINE Mask FirstLanes(int64_t n) {
    const int count = n >= 8 ? 8 : n <= 0 ? 0 : static_cast<int>(n);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static JAX_SIGLIB_INLINE V LoadFirst(const float* p, Mask m) {
    return _mm256_maskload_ps(p, m);
  }
  static JAX_SIGLIB_INLINE void StoreFirst(float* p, V v, Mask m) {
    _mm256_maskstore_ps(p, m, v);
  }
  static JAX_SIGLIB_INLINE V KeepFirst(V v, Mask m) {
    return _mm256_and_ps(v, _mm256_castsi256_ps(m));
  }
  static JAX_SIGLIB_INLINE V Select(Mask m, V a, V b) {
    return _mm256_blendv_ps(b, a, _mm256_castsi256_ps(m));
  }
  static JAX_SIGLIB_INLINE V MulAdd(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
  static JAX_SIGLIB_INLINE V Mul(V a, V b) { return _mm256_mul_ps(a, b); }
  static JAX_SIGLIB_INLINE V Add(V a, V b) { return _mm256_add_ps(a, b); }
  static JAX_SIGLIB_INLINE V Permute(V v, const PermuteIndex<float>& i) {
    return _mm256_permutevar8x32_ps(
        v, _mm256_load_si256(reinterpret_cast<const __m256i*>(i.lane)));
  }
  template <uint32_t kBits>
  static JAX_SIGLIB_INLINE V Blend(V a, V b) {
    return _mm256_blend_ps(a, b, static_cast<int>(kBits));
  }
  static JAX_SIGLIB_INLINE V UnzipEven(V a, V b) {
    return InOrder(_mm256_shuffle_ps(a, b, 0x88));
  }
  static JAX_SIGLIB_INLINE V UnzipOdd(V a, V b) {
    return InOrder(_mm256_shuffle_ps(a, b, 0xdd));
  }

 private:
  // shuffle_ps works within 128-bit halves: a0 b0 a1 b1 -> a0 a1 b0 b1.
  static JAX_SIGLIB_INLINE V InOrder(V v) {
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(v), 0xd8));
  }
};

template <>
struct alignas(64) PermuteIndex<double> {
  int32_t half[8];  // the instruction moves 32-bit halves
  constexpr void Set(int l, int from) {
    half[2 * l] = 2 * from;
    half[2 * l + 1] = 2 * from + 1;
  }
};

template <>
struct Vec<double> {
  static constexpr int kLanes = 4;
  using V = __m256d;
  using Mask = __m256i;
  static JAX_SIGLIB_INLINE V Zero() { return _mm256_setzero_pd(); }
  static JAX_SIGLIB_INLINE V Set1(double x) { return _mm256_set1_pd(x); }
  static JAX_SIGLIB_INLINE V Load(const double* p) { return _mm256_loadu_pd(p); }
  static JAX_SIGLIB_INLINE void Store(double* p, V v) { _mm256_storeu_pd(p, v); }
  static JAX_SIGLIB_INLINE Mask FirstLanes(int64_t n) {
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
  }
  static JAX_SIGLIB_INLINE V LoadFirst(const double* p, Mask m) {
    return _mm256_maskload_pd(p, m);
  }
  static JAX_SIGLIB_INLINE void StoreFirst(double* p, V v, Mask m) {
    _mm256_maskstore_pd(p, m, v);
  }
  static JAX_SIGLIB_INLINE V KeepFirst(V v, Mask m) {
    return _mm256_and_pd(v, _mm256_castsi256_pd(m));
  }
  static JAX_SIGLIB_INLINE V Select(Mask m, V a, V b) {
    return _mm256_blendv_pd(b, a, _mm256_castsi256_pd(m));
  }
  static JAX_SIGLIB_INLINE V MulAdd(V a, V b, V c) { return _mm256_fmadd_pd(a, b, c); }
  static JAX_SIGLIB_INLINE V Mul(V a, V b) { return _mm256_mul_pd(a, b); }
  static JAX_SIGLIB_INLINE V Add(V a, V b) { return _mm256_add_pd(a, b); }
  static JAX_SIGLIB_INLINE V Permute(V v, const PermuteIndex<double>& i) {
    return _mm256_castps_pd(_mm256_permutevar8x32_ps(
        _mm256_castpd_ps(v), _mm256_load_si256(reinterpret_cast<const __m256i*>(i.half))));
  }
  template <uint32_t kBits>
  static JAX_SIGLIB_INLINE V Blend(V a, V b) {
    return _mm256_blend_pd(a, b, static_cast<int>(kBits));
  }
  static JAX_SIGLIB_INLINE V UnzipEven(V a, V b) {
    return _mm256_permute4x64_pd(_mm256_unpacklo_pd(a, b), 0xd8);
  }
  static JAX_SIGLIB_INLINE V UnzipOdd(V a, V b) {
    return _mm256_permute4x64_pd(_mm256_unpackhi_pd(a, b), 0xd8);
  }
};

#else  // 128-bit vectors of the compiler: SSE2, NEON, or whatever the target has

template <class T>
struct alignas(64) PermuteIndex {
  int lane[16 / sizeof(T)];
  constexpr void Set(int l, int from) { lane[l] = from; }
};

template <class T>
struct Vec {
  static constexpr int kLanes = 16 / sizeof(T);
  typedef T V __attribute__((vector_size(16)));
  using Mask = int64_t;  // the number of lanes
  static JAX_SIGLIB_INLINE V Zero() { return V{}; }
  static JAX_SIGLIB_INLINE V Set1(T x) { return V{} + x; }
  static JAX_SIGLIB_INLINE V Load(const T* p) {
    V v;
    __builtin_memcpy(&v, p, sizeof(V));
    return v;
  }
  static JAX_SIGLIB_INLINE void Store(T* p, V v) { __builtin_memcpy(p, &v, sizeof(V)); }
  static JAX_SIGLIB_INLINE Mask FirstLanes(int64_t n) {
    return n < 0 ? 0 : n > kLanes ? kLanes : n;
  }
  static JAX_SIGLIB_INLINE V LoadFirst(const T* p, Mask m) {
    if (m == kLanes) return Load(p);
    V v{};
    for (int l = 0; l < kLanes; ++l)
      if (l < m) v[l] = p[l];
    return v;
  }
  static JAX_SIGLIB_INLINE void StoreFirst(T* p, V v, Mask m) {
    if (m == kLanes) return Store(p, v);
    for (int l = 0; l < kLanes; ++l)
      if (l < m) p[l] = v[l];
  }
  static JAX_SIGLIB_INLINE V KeepFirst(V v, Mask m) {
    for (int l = 0; l < kLanes; ++l)
      if (l >= m) v[l] = T(0);
    return v;
  }
  static JAX_SIGLIB_INLINE V Select(Mask m, V a, V b) {
    for (int l = 0; l < kLanes; ++l)
      if (l >= m) a[l] = b[l];
    return a;
  }
  static JAX_SIGLIB_INLINE V MulAdd(V a, V b, V c) { return a * b + c; }
  static JAX_SIGLIB_INLINE V Mul(V a, V b) { return a * b; }
  static JAX_SIGLIB_INLINE V Add(V a, V b) { return a + b; }
  static JAX_SIGLIB_INLINE V Permute(V v, const PermuteIndex<T>& i) {
    V r;
    for (int l = 0; l < kLanes; ++l) r[l] = v[i.lane[l]];
    return r;
  }
  template <uint32_t kBits>
  static JAX_SIGLIB_INLINE V Blend(V a, V b) {
    V r;
    for (int l = 0; l < kLanes; ++l) r[l] = (kBits >> l) & 1u ? b[l] : a[l];
    return r;
  }
  static JAX_SIGLIB_INLINE V UnzipEven(V a, V b) {
    V r;
    for (int l = 0; l < kLanes; ++l) r[l] = 2 * l < kLanes ? a[2 * l] : b[2 * l - kLanes];
    return r;
  }
  static JAX_SIGLIB_INLINE V UnzipOdd(V a, V b) {
    V r;
    for (int l = 0; l < kLanes; ++l)
      r[l] = 2 * l < kLanes ? a[2 * l + 1] : b[2 * l + 1 - kLanes];
    return r;
  }
};

#endif

// Asks for what a stream will read, or write, a page from here: arithmetic in between
// keeps the processor's own prefetching from running far enough ahead. Addresses past
// the end are harmless.
JAX_SIGLIB_INLINE void Prefetch(const void* p) {
  __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(p) + 4096),
                     0);
}
JAX_SIGLIB_INLINE void PrefetchToWrite(const void* p) {
  __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(p) + 4096),
                     1);
}

// Entries rounded up to whole vectors.
template <class T>
constexpr int64_t PadToVector(int64_t n) {
  return (n + Vec<T>::kLanes - 1) / Vec<T>::kLanes * Vec<T>::kLanes;
}

// Whether there are 32 vector registers, as AVX-512 has them, and not 16.
template <class T>
constexpr bool kManyRegisters = sizeof(typename Vec<T>::V) == 64;

// Loads and stores of the lanes of a mask, or of all.
struct AllLanes {};

template <class T>
JAX_SIGLIB_INLINE typename Vec<T>::V LoadLanes(const T* p, AllLanes) {
  return Vec<T>::Load(p);
}
template <class T>
JAX_SIGLIB_INLINE typename Vec<T>::V LoadLanes(const T* p, typename Vec<T>::Mask m) {
  return Vec<T>::LoadFirst(p, m);
}
template <class T>
JAX_SIGLIB_INLINE void StoreLanes(T* p, typename Vec<T>::V v, AllLanes) {
  Vec<T>::Store(p, v);
}
template <class T>
JAX_SIGLIB_INLINE void StoreLanes(T* p, typename Vec<T>::V v, typename Vec<T>::Mask m) {
  Vec<T>::StoreFirst(p, v, m);
}

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_SIMD_H_
