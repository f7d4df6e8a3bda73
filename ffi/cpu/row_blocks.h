// A level's rows of D entries, D known at compile time, in blocks of W rows: D vectors each
// (interleave.h), of which the last block may have fewer, and one that is not full.
#ifndef JAX_SIGLIB_CPU_ROW_BLOCKS_H_
#define JAX_SIGLIB_CPU_ROW_BLOCKS_H_

#include <cstdint>
#include <type_traits>

#include "simd.h"
#include "unroll.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

template <class T, int D>
struct RowBlocks {
  using Simd = Vec<T>;
  using V = typename Simd::V;
  static constexpr int W = Simd::kLanes;

  // f(is the block full, first row, entries in the block), the first as a constant.
  template <class F>
  static JAX_SIGLIB_INLINE void ForBlocks(int64_t rows, F&& f) {
    int64_t row = 0;
    for (; row + W <= rows; row += W) f(std::true_type{}, row, int64_t{W * D});
    if (row < rows) f(std::false_type{}, row, (rows - row) * D);
  }

  // f(Index<m>, mask) for the vectors m of a block that have entries.
  template <class Full, class F>
  static JAX_SIGLIB_INLINE void ForVectors(Full, int64_t entries, F&& f) {
    Unroll<0, D>([&](auto m) JAX_SIGLIB_LAMBDA {
      if constexpr (Full::value)
        f(m, AllLanes{});
      else if (m.value * W < entries)
        f(m, Simd::FirstLanes(entries - m.value * W));
    });
  }

  // f(is the vector full, m, mask, count) for the vectors m of a block with this many
  // entries left; the loop stays a loop, since f holds an unrolled one.
  template <class F>
  static JAX_SIGLIB_INLINE void ForVectorsOfBlock(int64_t entries, F&& f) {
    for (int m = 0; m < D; ++m) {
      const int64_t count = entries - m * W;
      if (count >= W) {
        f(std::true_type{}, m, AllLanes{}, int64_t{W});
      } else {
        if (count > 0) f(std::false_type{}, m, Simd::FirstLanes(count), count);
        break;
      }
    }
  }

  // The vectors of a block that have entries, and zeros for the others.
  template <class Full>
  static JAX_SIGLIB_INLINE void Load(Full full, V (&x)[D], const T* from, int64_t entries) {
    if constexpr (!Full::value)
      Unroll<0, D>([&](auto m) JAX_SIGLIB_LAMBDA { x[m.value] = Simd::Zero(); });
    ForVectors(full, entries, [&](auto m, auto mask) JAX_SIGLIB_LAMBDA {
      x[m.value] = LoadLanes(from + m.value * W, mask);
    });
  }
  static JAX_SIGLIB_INLINE void Copy(V (&to)[D], const V (&from)[D]) {
    Unroll<0, D>([&](auto m) JAX_SIGLIB_LAMBDA { to[m.value] = from[m.value]; });
  }
  static JAX_SIGLIB_INLINE void Add(V (&to)[D], const V (&x)[D]) {
    Unroll<0, D>([&](auto m) JAX_SIGLIB_LAMBDA {
      to[m.value] = Simd::Add(to[m.value], x[m.value]);
    });
  }
};

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_ROW_BLOCKS_H_
