// Into lanes and out of them: an entry of W arrays becomes one vector.
#ifndef JAX_SIGLIB_CPU_BUNDLE_LANES_H_
#define JAX_SIGLIB_CPU_BUNDLE_LANES_H_

#include "interleave.h"
#include "simd.h"
#include "unroll.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

// Vector i of `to`, i < n, holds in lane l entry i of what load(l, i, mask) reads W
// entries of, or those of a mask.
template <class T, class Load>
JAX_SIGLIB_INLINE void ToLanes(int64_t n, T* to, Load&& load) {
  using Simd = Vec<T>;
  constexpr int W = Simd::kLanes;
  for (int64_t i = 0; i < n; i += W) {
    const auto mask = Simd::FirstLanes(n - i);
    typename Simd::V x[W];
    Unroll<0, W>([&](auto l) JAX_SIGLIB_LAMBDA { x[l.value] = load(l.value, i, mask); });
    Deinterleave<T, W>(x);
    Unroll<0, W>([&](auto j) JAX_SIGLIB_LAMBDA {
      if (i + j.value < n) Simd::Store(to + (i + j.value) * W, x[j.value]);
    });
  }
}

template <class T>
JAX_SIGLIB_STEP void ReadLanes(const T* const* from, int64_t n, T* to) {
  ToLanes(n, to, [&](int l, int64_t i, auto mask) JAX_SIGLIB_LAMBDA {
    return Vec<T>::LoadFirst(from[l] + i, mask);
  });
}

// The increments of `steps` steps from point number `first`, d vectors for each.
template <class T>
JAX_SIGLIB_STEP void ReadIncrements(const T* const* path, int64_t first, int64_t steps,
                                    int64_t stride, int64_t d, T* to) {
  using Simd = Vec<T>;
  // Points that lie one after another are one long row.
  const bool dense = stride == d;
  const int64_t rows = dense ? 1 : steps, n = dense ? steps * d : d;
  const auto minus = Simd::Set1(T(-1));
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t at = (first + row) * stride;
    ToLanes(n, to + row * d * Simd::kLanes,
            [&](int l, int64_t i, auto mask) JAX_SIGLIB_LAMBDA {
              const T* const point = path[l] + at + i;
              return Simd::MulAdd(Simd::LoadFirst(point, mask), minus,
                                  Simd::LoadFirst(point + stride, mask));
            });
  }
}

// Back again, for the first `count` lanes.
template <class T>
JAX_SIGLIB_STEP void WriteLanes(const T* from, int64_t n, T* const* to, int64_t count) {
  using Simd = Vec<T>;
  constexpr int W = Simd::kLanes;
  for (int64_t i = 0; i < n; i += W) {
    typename Simd::V x[W];
    Unroll<0, W>([&](auto j) JAX_SIGLIB_LAMBDA {
      x[j.value] = i + j.value < n ? Simd::Load(from + (i + j.value) * W) : Simd::Zero();
    });
    Deinterleave<T, W>(x);
    if (i + W <= n) {
      Unroll<0, W>([&](auto l) JAX_SIGLIB_LAMBDA {
        if (l.value < count) Simd::Store(to[l.value] + i, x[l.value]);
      });
    } else {
      const auto mask = Simd::FirstLanes(n - i);
      Unroll<0, W>([&](auto l) JAX_SIGLIB_LAMBDA {
        if (l.value < count) Simd::StoreFirst(to[l.value] + i, x[l.value], mask);
      });
    }
  }
}

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_BUNDLE_LANES_H_
