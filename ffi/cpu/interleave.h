// Rows of d entries, d known at compile time, in vectors of W lanes.
//
// W rows of d entries lie in memory as d vectors whose lanes hold row after row:
// entry (row r, column j) is lane (r*d + j) % W of vector (r*d + j) / W. That is
// where they are loaded and stored. For the arithmetic one wants either
//
//   * the value that belongs to each lane's row or column (RowOfLane, ColumnOfLane:
//     one permutation each), to form b (x) v without a loop over rows of length d, or
//   * columns: vector j holding entry j of the W rows (Deinterleave), so that a sum
//     over the row becomes d multiply-adds with no horizontal sum.
#ifndef JAX_SIGLIB_CPU_INTERLEAVE_H_
#define JAX_SIGLIB_CPU_INTERLEAVE_H_

#include "simd.h"
#include "unroll.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

template <class T, int D>
struct InterleaveTables {
  static constexpr int W = Vec<T>::kLanes;
  // For vector m of the W*D entries: the row of each lane, and its column.
  PermuteIndex<T> row[D];
  PermuteIndex<T> column[D];  // modulo W; only meaningful where D <= W
  // For column j: the lane (of whichever vector) that holds row r.
  PermuteIndex<T> lane[D];

  constexpr InterleaveTables() : row{}, column{}, lane{} {
    for (int m = 0; m < D; ++m)
      for (int l = 0; l < W; ++l) {
        row[m].Set(l, (m * W + l) / D);
        column[m].Set(l, (m * W + l) % D % W);
        lane[m].Set(l, (l * D + m) % W);
      }
  }
};

template <class T, int D>
inline constexpr InterleaveTables<T, D> kInterleave{};

// Which lanes of a vector are rotated by 2^stage when an odd number D of vectors
// is sorted into columns; see Deinterleave.
template <class T, int D>
constexpr uint32_t RotatedLanes(int stage) {
  constexpr int W = Vec<T>::kLanes;
  int inverse = 0;  // of W modulo D; exists because D is odd and W a power of two
  while (inverse * W % D != 1 % D) ++inverse;
  uint32_t bits = 0;
  for (int l = 0; l < W; ++l)
    if ((l * inverse % D >> stage) & 1) bits |= 1u << l;
  return bits;
}

// In: x[0..D-1] as loaded (W rows of D entries). Out: x[j] is column j, lane r row r.
//
// An even D is halved by splitting even from odd columns. For odd D, lane l of the
// D vectors holds D different columns, vector k column (W*k + l) mod D; so column
// W*q mod D is found in lane l of vector q - l/W (mod D): the vectors are rotated by
// an amount that depends on the lane only, in log2(D) rounds of blends. What is left
// is to put each column's lanes in the order of the rows.
template <class T, int D>
JAX_SIGLIB_INLINE void Deinterleave(typename Vec<T>::V (&x)[D]) {
  using V = typename Vec<T>::V;
  constexpr int W = Vec<T>::kLanes;
  if constexpr (D == 1) {
    return;
  } else if constexpr (D % 2 == 0) {
    V even[D / 2], odd[D / 2];
    Unroll<0, D / 2>([&](auto i) JAX_SIGLIB_LAMBDA {
      even[i.value] = Vec<T>::UnzipEven(x[2 * i.value], x[2 * i.value + 1]);
      odd[i.value] = Vec<T>::UnzipOdd(x[2 * i.value], x[2 * i.value + 1]);
    });
    Deinterleave<T, D / 2>(even);
    Deinterleave<T, D / 2>(odd);
    Unroll<0, D / 2>([&](auto i) JAX_SIGLIB_LAMBDA {
      x[2 * i.value] = even[i.value];
      x[2 * i.value + 1] = odd[i.value];
    });
  } else {
    constexpr int kStages = D > 8 ? 4 : D > 4 ? 3 : D > 2 ? 2 : 1;
    static_assert(D <= 16, "four rounds of blends sort at most 16 vectors");
    Unroll<0, kStages>([&](auto stage) JAX_SIGLIB_LAMBDA {
      constexpr int s = decltype(stage)::value;
      constexpr uint32_t kBits = RotatedLanes<T, D>(s);
      V turned[D];
      Unroll<0, D>([&](auto q) JAX_SIGLIB_LAMBDA {
        constexpr int from = (decltype(q)::value + D * 16 - (1 << s)) % D;
        turned[q.value] = Vec<T>::template Blend<kBits>(x[q.value], x[from]);
      });
      Unroll<0, D>([&](auto q) JAX_SIGLIB_LAMBDA { x[q.value] = turned[q.value]; });
    });
    V column[D];
    Unroll<0, D>([&](auto q) JAX_SIGLIB_LAMBDA {
      constexpr int j = W * decltype(q)::value % D;
      column[j] = Vec<T>::Permute(x[q.value], kInterleave<T, D>.lane[j]);
    });
    Unroll<0, D>([&](auto j) JAX_SIGLIB_LAMBDA { x[j.value] = column[j.value]; });
  }
}

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_INTERLEAVE_H_
