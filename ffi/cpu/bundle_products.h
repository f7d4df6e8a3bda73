// The top level of a bundle of paths for a block of steps: matrix products with time
// as the inner index, in tiles of R rows and C columns that stay in registers.
//
// A row is a word of level N-1 and its d children are the columns. For each step of a block
// there are d vectors of the increment v, and as many of the chains B: one for each of the
// words that are children of the same word. Of level 0 there is one word, and one in d is
// used.
#ifndef JAX_SIGLIB_CPU_BUNDLE_PRODUCTS_H_
#define JAX_SIGLIB_CPU_BUNDLE_PRODUCTS_H_

#include "bundle_plan.h"
#include "simd.h"
#include "unroll.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

// f(Index<C>{}, first column) for strips of 1 to kMost columns, as even as they come.
template <int kMost, class F>
JAX_SIGLIB_INLINE void ForStrips(int64_t d, F&& f) {
  const int64_t strips = (d + kMost - 1) / kMost;
  for (int64_t i = 0, from = 0; i < strips; ++i) {
    const int64_t to = d * (i + 1) / strips;
    WithIndex<1, kMost + 1>(to - from,
                            [&](auto columns) JAX_SIGLIB_LAMBDA { f(columns, from); });
    from = to;
  }
}

// The rows of the next tile where so many are left: `most`, or what is left; but not a
// single one at the end, too few sums to keep the processor busy.
constexpr int64_t RowsOfTile(int64_t most, int64_t left) {
  return left < most ? left : left == most + 1 ? 2 : most;
}

// Whether a tile of so many rows and columns occurs: of a matrix of d rows, or a single
// one, and d columns, in strips and tiles of at most so many. When there are as many strips
// as a strip has columns all have the most or one less, and that with every number of rows.
constexpr bool Occurs(int rows, int most_rows, int columns, int most_columns) {
  if (rows == 1) return true;
  for (int d = columns; d <= most_columns * (most_columns + 1); ++d) {
    const int strips = (d + most_columns - 1) / most_columns;
    if (columns != d / strips && columns != (d + strips - 1) / strips) continue;
    for (int64_t left = d; left > 0; left -= RowsOfTile(most_rows, left))
      if (RowsOfTile(most_rows, left) == rows) return true;
  }
  return false;
}

template <class T>
class BundleProducts {
 public:
  using Simd = Vec<T>;
  using V = typename Simd::V;
  static constexpr int W = Simd::kLanes;

  // out = before + B (x) v, summed over the steps; `before` may be out, and null for zeros.
  static void Add(T* out, const T* before, const T* b, const T* v, int64_t rows, int64_t d,
                  int64_t steps) {
    ForStrips<kColumns>(d, [&](auto columns, int64_t from) JAX_SIGLIB_LAMBDA {
      AddStrip<columns.value>(out + from * W,
                              before == nullptr ? nullptr : before + from * W, b,
                              v + from * W, rows, d, steps);
    });
  }

  // The adjoint: y = g v for every row and step, and w += B^T g for every step.
  static void Contract(const T* g, const T* b, const T* v, T* y, T* w, int64_t rows,
                       int64_t d, int64_t steps) {
    ContractStrips<false>(g, b, v, nullptr, y, nullptr, w, rows, d, steps);
  }

  // The same with t_y = g t_v.
  static void ContractTwice(const T* g, const T* b, const T* v, const T* t_v, T* y, T* t_y,
                            T* w, int64_t rows, int64_t d, int64_t steps) {
    ContractStrips<true>(g, b, v, t_v, y, t_y, w, rows, d, steps);
  }

 private:
  // Tiles of at most 12 vectors where there are 16 registers, and of 25 where there are 32:
  // 8 sums must be under way for two units that take 4 cycles each, and the more columns,
  // the less often are the chains read.
  static constexpr int kColumns = kManyRegisters<T> ? 8 : 4;
  static constexpr int TileRows(int columns) {
    if (kManyRegisters<T>)
      return columns <= 4 ? 6 : columns == 5 ? 5 : columns == 6 ? 4 : 3;
    return columns == 4 ? 3 : 4;
  }

  // f(Index<R>{}, first row) for the tiles of a strip of C columns. Each kind of tile is
  // compiled for itself, and only those that occur: they are most of what takes its time.
  template <int C, class F>
  static JAX_SIGLIB_INLINE void ForTiles(int64_t rows, F&& f) {
    constexpr int kMost = TileRows(C);
    for (int64_t row = 0; row < rows;) {
      const int64_t taken = RowsOfTile(kMost, rows - row);
      WithIndex<1, kMost + 1>(taken, [&](auto tile) JAX_SIGLIB_LAMBDA {
        if constexpr (Occurs(tile.value, kMost, C, kColumns)) f(tile, row);
      });
      row += taken;
    }
  }

  template <int C>
  static JAX_SIGLIB_STEP void AddStrip(T* out, const T* before, const T* b, const T* v,
                                       int64_t rows, int64_t d, int64_t steps) {
    ForTiles<C>(rows, [&](auto tile, int64_t row) JAX_SIGLIB_LAMBDA {
      AddTile<tile.value, C>(out, before, b, v, row, d, steps);
    });
  }

  template <int R, int C>
  static JAX_SIGLIB_INLINE void AddTile(T* out, const T* before, const T* b, const T* v,
                                        int64_t row, int64_t d, int64_t steps) {
    const T* rise = b + row * W;
    const T* step = v;
    V sum[R][C];
    Unroll<0, R>([&](auto r) JAX_SIGLIB_LAMBDA {
      Unroll<0, C>([&](auto c) JAX_SIGLIB_LAMBDA {
        sum[r.value][c.value] = Simd::Zero();
        // What is there already of the tile behind this one: it is to be added to.
        if (before != nullptr)
          __builtin_prefetch(before + ((row + R + r.value) * d + c.value) * W, 1);
      });
    });
    for (int64_t t = 0; t < steps; ++t) {
      V each[R];
      Unroll<0, R>([&](auto r) JAX_SIGLIB_LAMBDA {
        each[r.value] = Simd::Load(rise + r.value * W);
      });
      Unroll<0, C>([&](auto c) JAX_SIGLIB_LAMBDA {
        const V entry = InRegister(Simd::Load(step + c.value * W));
        Unroll<0, R>([&](auto r) JAX_SIGLIB_LAMBDA {
          sum[r.value][c.value] = Simd::MulAdd(each[r.value], entry, sum[r.value][c.value]);
        });
      });
      rise += d * W;
      step += d * W;
    }
    Unroll<0, R>([&](auto r) JAX_SIGLIB_LAMBDA {
      Unroll<0, C>([&](auto c) JAX_SIGLIB_LAMBDA {
        const int64_t at = ((row + r.value) * d + c.value) * W;
        const V from = before == nullptr ? Simd::Zero() : Simd::Load(before + at);
        Simd::Store(out + at, Simd::Add(from, sum[r.value][c.value]));
      });
    });
  }

  template <bool kTwice>
  static JAX_SIGLIB_INLINE void ContractStrips(const T* g, const T* b, const T* v,
                                               const T* t_v, T* y, T* t_y, T* w,
                                               int64_t rows, int64_t d, int64_t steps) {
    ForStrips<kColumns>(d, [&](auto columns, int64_t from) JAX_SIGLIB_LAMBDA {
      constexpr int C = decltype(columns)::value;
      const int64_t at = from * W;
      if (from == 0)
        ContractStrip<C, true, kTwice>(g + at, b, v + at, kTwice ? t_v + at : nullptr, y,
                                       t_y, w + at, rows, d, steps);
      else if constexpr (2 * C >= kColumns)  // one of several strips
        ContractStrip<C, false, kTwice>(g + at, b, v + at, kTwice ? t_v + at : nullptr, y,
                                        t_y, w + at, rows, d, steps);
    });
  }

  template <int C, bool kFirst, bool kTwice>
  static JAX_SIGLIB_STEP void ContractStrip(const T* g, const T* b, const T* v,
                                            const T* t_v, T* y, T* t_y, T* w, int64_t rows,
                                            int64_t d, int64_t steps) {
    ForTiles<C>(rows, [&](auto tile, int64_t row) JAX_SIGLIB_LAMBDA {
      ContractTile<tile.value, C, kFirst, kTwice>(g, b, v, t_v, y, t_y, w, row, d, steps);
    });
  }

  template <int R, int C, bool kFirst, bool kTwice>
  static JAX_SIGLIB_INLINE void ContractTile(const T* g, const T* b, const T* v,
                                             const T* t_v, T* y, T* t_y, T* w, int64_t row,
                                             int64_t d, int64_t steps) {
    V entry[R][C];
    Unroll<0, R>([&](auto r) JAX_SIGLIB_LAMBDA {
      Unroll<0, C>([&](auto c) JAX_SIGLIB_LAMBDA {
        const T* const at = g + ((row + r.value) * d + c.value) * W;
        entry[r.value][c.value] = Simd::Load(at);
        // The tile behind this one: the first thing done with it is to wait for it.
        __builtin_prefetch(at + R * d * W);
      });
    });
    // The rows' products with a step's increment, or its tangent.
    auto product = [&](const T* step, T* fall) JAX_SIGLIB_LAMBDA {
      V product[R];
      Unroll<0, R>([&](auto r) JAX_SIGLIB_LAMBDA {
        product[r.value] = kFirst ? Simd::Zero() : Simd::Load(fall + r.value * W);
      });
      Unroll<0, C>([&](auto c) JAX_SIGLIB_LAMBDA {
        const V at = InRegister(Simd::Load(step + c.value * W));
        Unroll<0, R>([&](auto r) JAX_SIGLIB_LAMBDA {
          product[r.value] = kFirst && c.value == 0 ? Simd::Mul(entry[r.value][c.value], at)
                                                    : Simd::MulAdd(entry[r.value][c.value],
                                                                   at, product[r.value]);
        });
      });
      Unroll<0, R>([&](auto r) JAX_SIGLIB_LAMBDA {
        Simd::Store(fall + r.value * W, product[r.value]);
      });
    };
    for (int64_t t = 0; t < steps; ++t) {
      const T* const rise = b + (t * d + row) * W;
      T* const sums = w + t * d * W;
      product(v + t * d * W, y + (t * d + row) * W);
      if constexpr (kTwice) product(t_v + t * d * W, t_y + (t * d + row) * W);
      V each[R];
      Unroll<0, R>([&](auto r) JAX_SIGLIB_LAMBDA {
        each[r.value] = InRegister(Simd::Load(rise + r.value * W));
      });
      Unroll<0, C>([&](auto c) JAX_SIGLIB_LAMBDA {
        V sum = Simd::Load(sums + c.value * W);
        Unroll<0, R>([&](auto r) JAX_SIGLIB_LAMBDA {
          sum = Simd::MulAdd(each[r.value], entry[r.value][c.value], sum);
        });
        Simd::Store(sums + c.value * W, sum);
      });
    }
  }
};

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_BUNDLE_PRODUCTS_H_
