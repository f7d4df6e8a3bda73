// Into lanes and out of them: an entry of W arrays becomes one vector.
#ifndef JAX_SIGLIB_CPU_BUNDLE_LANES_H_
#define JAX_SIGLIB_CPU_BUNDLE_LANES_H_

#include <type_traits>

#include "interleave.h"
#include "simd.h"
#include "unroll.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

// The first n entries of a row, or W of them if there are more, in vectors of T; the row
// may be of another type In.
template <class T, class In>
JAX_SIGLIB_INLINE typename Vec<T>::V LoadRow(const In* row, int64_t n) {
  using Simd = Vec<T>;
  if constexpr (std::is_same_v<T, In>) return Simd::LoadFirst(row, Simd::FirstLanes(n));
  T x[Simd::kLanes];
  for (int64_t i = 0; i < Simd::kLanes; ++i) x[i] = i < n ? static_cast<T>(row[i]) : T(0);
  return Simd::Load(x);
}
template <class T, class In>
JAX_SIGLIB_INLINE void StoreRow(In* row, typename Vec<T>::V v, int64_t n) {
  using Simd = Vec<T>;
  if constexpr (std::is_same_v<T, In>) {
    if (n >= Simd::kLanes) return Simd::Store(row, v);
    return Simd::StoreFirst(row, v, Simd::FirstLanes(n));
  }
  T x[Simd::kLanes];
  Simd::Store(x, v);
  for (int64_t i = 0; i < Simd::kLanes && i < n; ++i) row[i] = static_cast<In>(x[i]);
}

// Vector i of `to`, i < n, holds in lane l entry i of what load(l, i, n - i) reads.
template <class T, class Load>
JAX_SIGLIB_INLINE void ToLanes(int64_t n, T* to, Load&& load) {
  using Simd = Vec<T>;
  constexpr int W = Simd::kLanes;
  for (int64_t i = 0; i < n; i += W) {
    typename Simd::V x[W];
    Unroll<0, W>([&](auto l) JAX_SIGLIB_LAMBDA { x[l.value] = load(l.value, i, n - i); });
    Deinterleave<T, W>(x);
    Unroll<0, W>([&](auto j) JAX_SIGLIB_LAMBDA {
      if (i + j.value < n) Simd::Store(to + (i + j.value) * W, x[j.value]);
    });
  }
}

template <class T, class In>
JAX_SIGLIB_STEP void ReadLanes(const In* const* from, int64_t n, T* to) {
  ToLanes(n, to, [&](int l, int64_t i, int64_t left) JAX_SIGLIB_LAMBDA {
    return LoadRow<T>(from[l] + i, left);
  });
}

// The increments of `steps` steps from point number `first`, d vectors for each.
template <class T, class In>
JAX_SIGLIB_STEP void ReadIncrements(const In* const* path, int64_t first, int64_t steps,
                                    int64_t stride, int64_t d, T* to) {
  using Simd = Vec<T>;
  // Points that lie one after another are one long row.
  const bool dense = stride == d;
  const int64_t rows = dense ? 1 : steps, n = dense ? steps * d : d;
  const auto minus = Simd::Set1(T(-1));
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t at = (first + row) * stride;
    ToLanes(n, to + row * d * Simd::kLanes,
            [&](int l, int64_t i, int64_t left) JAX_SIGLIB_LAMBDA {
              const In* const point = path[l] + at + i;
              return Simd::MulAdd(LoadRow<T>(point, left), minus,
                                  LoadRow<T>(point + stride, left));
            });
  }
}

// Back again, for the first `count` lanes.
template <class T, class In>
JAX_SIGLIB_STEP void WriteLanes(const T* from, int64_t n, In* const* to, int64_t count) {
  using Simd = Vec<T>;
  constexpr int W = Simd::kLanes;
  for (int64_t i = 0; i < n; i += W) {
    typename Simd::V x[W];
    Unroll<0, W>([&](auto j) JAX_SIGLIB_LAMBDA {
      x[j.value] = i + j.value < n ? Simd::Load(from + (i + j.value) * W) : Simd::Zero();
    });
    Deinterleave<T, W>(x);
    Unroll<0, W>([&](auto l) JAX_SIGLIB_LAMBDA {
      if (l.value < count) StoreRow<T>(to[l.value] + i, x[l.value], n - i);
    });
  }
}

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_BUNDLE_LANES_H_
