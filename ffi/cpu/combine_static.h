// A whole product whose dimension and degree are both known at compile time, for signatures
// so small that finding one's way through the levels (sig_combine_kernel.h) costs more than
// the levels: every vector of the result by itself, with all places constants.
#ifndef JAX_SIGLIB_CPU_COMBINE_STATIC_H_
#define JAX_SIGLIB_CPU_COMBINE_STATIC_H_

#include <algorithm>
#include <cstdint>

#include "simd.h"
#include "unroll.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

template <class T, int D, int N>
class StaticCombine {
 public:
  using Simd = Vec<T>;
  using V = typename Simd::V;
  static constexpr int W = Simd::kLanes;

  static constexpr int Size(int level) { return level == 0 ? 1 : D * Size(level - 1); }
  static constexpr int Offset(int level) {
    return level <= 1 ? 0 : Offset(level - 1) + Size(level - 1);
  }
  static constexpr int kLength = Offset(N + 1);
  // Every load is of a whole vector.
  static constexpr bool kFits = kLength >= 2 * W && Size(N) >= W;

  // Levels from the top down, so that out may be left or right.
  static void Do(const T* left, const T* right, T* out) {
    Unroll<0, N>([&](auto i) JAX_SIGLIB_LAMBDA {
      constexpr int n = N - decltype(i)::value;
      Unroll<0, (Size(n) + W - 1) / W>([&](auto v) JAX_SIGLIB_LAMBDA {
        DoVector<n, decltype(v)::value * W>(left, right, out + Offset(n));
      });
    });
  }

 private:
  static constexpr uint32_t LanesFrom(int lane) {
    return ((1u << W) - 1u) & ~((1u << lane) - 1u);
  }

  // From entry q of level n on.
  template <int n, int q>
  static JAX_SIGLIB_INLINE void DoVector(const T* left, const T* right, T* out) {
    constexpr int kCount = Size(n) - q < W ? Size(n) - q : W;
    constexpr int at = Offset(n) + q;
    V sum;
    if constexpr (at + W <= kLength) {
      sum = Simd::Add(Simd::Load(left + at), Simd::Load(right + at));
    } else {
      const auto mask = Simd::FirstLanes(kCount);
      sum = Simd::Add(Simd::LoadFirst(left + at, mask), Simd::LoadFirst(right + at, mask));
    }
    Unroll<1, n>([&](auto k) JAX_SIGLIB_LAMBDA {
      sum = Simd::MulAdd(Left<decltype(k)::value, Size(n - decltype(k)::value), q>(left),
                         Right<n - decltype(k)::value, q>(right), sum);
    });
    if constexpr (kCount == W) {
      Simd::Store(out + q, sum);
    } else if constexpr (at + W <= kLength) {
      // What follows is the level above, and done.
      Simd::Store(out + q,
                  Simd::template Blend<LanesFrom(kCount)>(sum, Simd::Load(out + q)));
    } else {
      Simd::StoreFirst(out + q, sum, Simd::FirstLanes(kCount));
    }
  }

  struct Spread {
    PermuteIndex<T> lane{};
  };

  // For each lane its entry of left_k, of which one is good for `size` lanes.
  template <int k, int size, int q>
  static JAX_SIGLIB_INLINE V Left(const T* left) {
    constexpr int first = Offset(k) + q / size;
    if constexpr (q / size == (q + W - 1) / size) {
      return Simd::Set1(left[first]);
    } else {
      constexpr int from = std::min(first, kLength - W);
      static constexpr Spread kSpread = [] {
        Spread spread;
        for (int l = 0; l < W; ++l)
          spread.lane.Set(l,
                          std::min(Offset(k) + (q + l) / size, Offset(k + 1) - 1) - from);
        return spread;
      }();
      return Simd::Permute(Simd::Load(left + from), kSpread.lane);
    }
  }

  // For each lane its entry of right_i, which comes again and again.
  template <int i, int q>
  static JAX_SIGLIB_INLINE V Right(const T* right) {
    constexpr int size = Size(i), phase = q % size;
    if constexpr (phase + W <= size) {
      return Simd::Load(right + Offset(i) + phase);
    } else {
      static constexpr Spread kSpread = [] {
        Spread spread;
        for (int l = 0; l < W; ++l) spread.lane.Set(l, (phase + l) % size % W);
        return spread;
      }();
      // In a vector from the beginning of the level on, if the level is that short.
      const V begin = Simd::Permute(Simd::Load(right + Offset(i)), kSpread.lane);
      if constexpr (size <= W) {
        return begin;
      } else {
        return Simd::template Blend<LanesFrom(size - phase)>(
            Simd::Load(right + Offset(i) + phase), begin);
      }
    }
  }
};

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_COMBINE_STATIC_H_
