// Sums over the lanes of several vectors at once.
#ifndef JAX_SIGLIB_CPU_SUM_LANES_H_
#define JAX_SIGLIB_CPU_SUM_LANES_H_

#include "simd.h"
#include "unroll.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

// Lane i of the result is the sum of the lanes of x[i], for i < kCount <= kLanes; the
// other lanes are 0. Neighbouring lanes are added until one is left of each vector, so
// the sums are pairwise ones. x is used up.
template <class T, int kCount, int kLanesLeft = Vec<T>::kLanes>
JAX_SIGLIB_INLINE typename Vec<T>::V SumEach(typename Vec<T>::V* x) {
  using Simd = Vec<T>;
  if constexpr (kLanesLeft == 1) {
    return x[0];
  } else {
    constexpr int kPairs = (kCount + 1) / 2;
    Unroll<0, kPairs>([&](auto i) JAX_SIGLIB_LAMBDA {
      constexpr int first = 2 * decltype(i)::value;
      const typename Simd::V second = first + 1 < kCount ? x[first + 1] : Simd::Zero();
      x[i.value] =
          Simd::Add(Simd::UnzipEven(x[first], second), Simd::UnzipOdd(x[first], second));
    });
    return SumEach<T, kPairs, kLanesLeft / 2>(x);
  }
}

// f(j, sums of x[j], x[j+1], ...) for every whole vector of results of x[0..kCount-1].
template <class T, int kCount, int kFrom = 0, class F>
JAX_SIGLIB_INLINE void SumVectors(typename Vec<T>::V* x, F&& f) {
  if constexpr (kFrom < kCount) {
    constexpr int W = Vec<T>::kLanes;
    constexpr int kHere = kCount - kFrom < W ? kCount - kFrom : W;
    f(kFrom, SumEach<T, kHere>(x + kFrom));
    SumVectors<T, kCount, kFrom + W>(x, f);
  }
}

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_SUM_LANES_H_
