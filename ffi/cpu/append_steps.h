// One level of join(S, v) = S (x) exp(v), up (Horner) and down (its adjoint), for a
// dimension known at compile time. Maths and names: ../README.md.
//
// An object lives in one kernel for one signature, and every function is inlined into
// that kernel, so that v's patterns and the sums stay in registers.
//
// A step works on `rows` words of level k and their d*rows children in level k+1.
// Chains lie one after another: chain c (of level n = k+1+c) at b + c*stride, padded
// to whole vectors so that scratch is read and written without masks.
#ifndef JAX_SIGLIB_CPU_APPEND_STEPS_H_
#define JAX_SIGLIB_CPU_APPEND_STEPS_H_

#include "interleave.h"
#include "level.h"
#include "row_blocks.h"
#include "simd.h"
#include "sum_lanes.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

template <class Type, int D>
class AppendSteps {
 public:
  using T = Type;
  using Simd = Vec<T>;
  using V = typename Simd::V;
  using Blocks = RowBlocks<T, D>;
  static constexpr int W = Simd::kLanes;
  // The two topmost levels are done together: B_{N-1} stays in registers.
  static constexpr bool kFusesTopTwo = true;
  static constexpr bool kCalled = D > 5;  // walk_steps.h

  AppendSteps(const T* v, int64_t, T*) {
    for (int j = 0; j < D; ++j) v_[j] = v[j];
    if constexpr (D <= W) {
      const V values = Simd::LoadFirst(v, Simd::FirstLanes(D));
      Unroll<0, D>([&](auto m) JAX_SIGLIB_LAMBDA {
        pattern_[m.value] = Simd::Permute(values, kInterleave<T, D>.column[m.value]);
      });
    } else {
      T repeated[D + W];
      for (int i = 0; i < D + W; ++i) repeated[i] = v[i % D];
      Unroll<0, D>([&](auto m) JAX_SIGLIB_LAMBDA {
        pattern_[m.value] = Simd::Load(repeated + m.value * W % D);
      });
    }
  }

  // Entry by entry, so that those of the copy can be registers.
  JAX_SIGLIB_INLINE AppendSteps(const AppendSteps& other) {
    Unroll<0, D>([&](auto m) JAX_SIGLIB_LAMBDA {
      pattern_[m.value] = other.pattern_[m.value];
      v_[m.value] = other.v_[m.value];
    });
    TakeSum(other);
  }
  AppendSteps& operator=(const AppendSteps&) = delete;

  JAX_SIGLIB_INLINE void ClearSum() {
    Unroll<0, D>([&](auto j) JAX_SIGLIB_LAMBDA { sum_[j.value] = Simd::Zero(); });
  }
  JAX_SIGLIB_INLINE void TakeSum(const AppendSteps& other) {
    Unroll<0, D>([&](auto j) JAX_SIGLIB_LAMBDA { sum_[j.value] = other.sum_[j.value]; });
  }

  // dst = s + factor * b (x) v. dst is a level of the caller's (no padding) unless
  // kPadded; it may be s.
  template <bool kPadded>
  JAX_SIGLIB_INLINE void Expand(T* dst, const T* s, const T* b, T factor,
                                Level<T> level) const {
    const V scale = Simd::Set1(factor);
    Blocks::ForBlocks(
        level.rows, [&](auto full, int64_t row, int64_t entries) JAX_SIGLIB_LAMBDA {
          const V rows = Simd::Mul(Simd::Load(b + row), scale);
          Blocks::ForVectors(full, entries, [&](auto m, auto mask) JAX_SIGLIB_LAMBDA {
            const int64_t at = row * D + m.value * W;
            const V value = Outer(rows, m.value, LoadLanes(s + at, mask));
            if constexpr (kPadded)
              Simd::Store(dst + at, value);
            else
              StoreLanes(dst + at, value, mask);
          });
        });
  }

  // All chains from level k to level k+1: chain 0 is complete there and goes to out
  // (unless kOut is false), chain c becomes chain c-1 of b_next. out may be s.
  template <bool kOut>
  JAX_SIGLIB_INLINE void ExpandLevel(T* out, const T* s, const T* b, int64_t stride,
                                     T* b_next, int64_t next_stride, Level<T> level) const {
    Blocks::ForBlocks(
        level.rows, [&](auto full, int64_t row, int64_t entries) JAX_SIGLIB_LAMBDA {
          V values[D];
          Blocks::Load(full, values, s + row * D, entries);
          if constexpr (kOut) {
            const V rows = Simd::Load(b + row);
            Blocks::ForVectors(full, entries, [&](auto m, auto mask) JAX_SIGLIB_LAMBDA {
              StoreLanes(out + row * D + m.value * W, Outer(rows, m.value, values[m.value]),
                         mask);
            });
          }
          for (int64_t c = 1; c < level.chains; ++c) {
            const V rows =
                Simd::Mul(Simd::Load(b + c * stride + row), Simd::Set1(level.inverse[c]));
            T* const next = b_next + (c - 1) * next_stride + row * D;
            Blocks::ForVectors(full, entries, [&](auto m, auto) JAX_SIGLIB_LAMBDA {
              Simd::Store(next + m.value * W, Outer(rows, m.value, values[m.value]));
            });
          }
        });
  }

  // ExpandLevel for chains with tangents, along tangents of s and of v, which t_steps
  // holds. Null for what is not wanted: out, t_out, next.data; without out and next.data s
  // is not read.
  JAX_SIGLIB_INLINE void ExpandLevelTangent(const AppendSteps& t_steps, T* out, const T* s,
                                            T* t_out, const T* t_s, DualChains<T> b,
                                            DualChains<T> next, Level<T> level) const {
    const bool values_wanted = out != nullptr || next.data != nullptr;
    Blocks::ForBlocks(level.rows, [&](auto full, int64_t row,
                                      int64_t entries) JAX_SIGLIB_LAMBDA {
      V values[D], tangents[D];
      if (values_wanted) Blocks::Load(full, values, s + row * D, entries);
      Blocks::Load(full, tangents, t_s + row * D, entries);
      const V rows = Simd::Load(b.data + row), t_rows = Simd::Load(b.tangent + row);
      if (t_out != nullptr) {
        Blocks::ForVectors(full, entries, [&](auto m, auto mask) JAX_SIGLIB_LAMBDA {
          const V moved = Outer(t_rows, m.value, tangents[m.value]);
          StoreLanes(t_out + row * D + m.value * W, t_steps.Outer(rows, m.value, moved),
                     mask);
        });
      }
      if (out != nullptr) {
        Blocks::ForVectors(full, entries, [&](auto m, auto mask) JAX_SIGLIB_LAMBDA {
          StoreLanes(out + row * D + m.value * W, Outer(rows, m.value, values[m.value]),
                     mask);
        });
      }
      for (int64_t c = 1; c < level.chains; ++c) {
        const V scale = Simd::Set1(level.inverse[c]);
        const V rows = Simd::Mul(Simd::Load(b.data + c * b.stride + row), scale);
        const V t_rows = Simd::Mul(Simd::Load(b.tangent + c * b.stride + row), scale);
        const int64_t to = (c - 1) * next.stride + row * D;
        Blocks::ForVectors(full, entries, [&](auto m, auto) JAX_SIGLIB_LAMBDA {
          const V moved = Outer(t_rows, m.value, tangents[m.value]);
          Simd::Store(next.tangent + to + m.value * W, t_steps.Outer(rows, m.value, moved));
        });
        if (next.data == nullptr) continue;
        Blocks::ForVectors(full, entries, [&](auto m, auto) JAX_SIGLIB_LAMBDA {
          Simd::Store(next.data + to + m.value * W, Outer(rows, m.value, values[m.value]));
        });
      }
    });
  }

  // Levels N-1 and N from the two chains (n = N-1, N) at level N-2. Vector m of a
  // block of level N-1 is W (or `count`) words, the parents of a block of level N.
  JAX_SIGLIB_INLINE void ExpandTopTwo(T* out_low, T* out_top, const T* s_low,
                                      const T* s_top, const T* b, int64_t stride,
                                      Level<T> level) const {
    const V half = Simd::Set1(T(0.5));
    for (int64_t row = 0; row < level.rows; row += W) {
      const V rows_low = Simd::Load(b + row);
      const V rows_top = Simd::Mul(Simd::Load(b + stride + row), half);
      auto vector = [&](auto whole, int m, auto mask, int64_t count) JAX_SIGLIB_LAMBDA {
        const int64_t at = row * D + m * W;
        const V s = LoadLanes(s_low + at, mask);
        StoreLanes(out_low + at, Outer(rows_low, m, s), mask);
        const V parents = Outer(rows_top, m, s);
        Blocks::ForVectors(whole, count * D, [&](auto n, auto lanes) JAX_SIGLIB_LAMBDA {
          const int64_t to = at * D + n.value * W;
          Prefetch(s_top + to);
          PrefetchToWrite(out_top + to);
          StoreLanes(out_top + to, Outer(parents, n.value, LoadLanes(s_top + to, lanes)),
                     lanes);
        });
      };
      Blocks::ForVectorsOfBlock((level.rows - row) * D, vector);
    }
  }

  // The adjoint of ExpandLevel. g is the cotangent of level k+1, y its chains that
  // came down from higher levels (chain c of y belongs to chain c+1 here); ct = their
  // sum, y_next = the chains' contractions with v, and the displacement's cotangent is
  // collected. ct may be g.
  JAX_SIGLIB_INLINE void ContractLevel(T* ct, const T* g, const T* y, int64_t y_stride,
                                       const T* b, int64_t b_stride, T* y_next,
                                       int64_t next_stride, Level<T> level) {
    Blocks::ForBlocks(level.rows, [&](auto full, int64_t row,
                                      int64_t entries) JAX_SIGLIB_LAMBDA {
      const auto valid = Simd::FirstLanes(full.value ? W : level.rows - row);
      V total[D], x[D];
      Blocks::Load(full, total, g + row * D, entries);
      Blocks::Copy(x, total);
      Simd::Store(y_next + row, Contract(x, Simd::KeepFirst(Simd::Load(b + row), valid)));
      for (int64_t c = 1; c < level.chains; ++c) {
        Blocks::Load(full, x, y + (c - 1) * y_stride + row * D, entries);
        Blocks::Add(total, x);
        const V scale = Simd::Set1(level.inverse[c]);
        const V rows = Simd::Mul(Simd::Load(b + c * b_stride + row), scale);
        const V sums = Contract(x, Simd::KeepFirst(rows, valid));
        Simd::Store(y_next + c * next_stride + row, Simd::Mul(sums, scale));
      }
      Blocks::ForVectors(full, entries, [&](auto m, auto mask) JAX_SIGLIB_LAMBDA {
        StoreLanes(ct + row * D + m.value * W, total[m.value], mask);
      });
    });
  }

  // The adjoint of ExpandTopTwo. Where kCopyTop is false, the caller has no use for a
  // copy of g_top. ct_low may be g_low and ct_top may be g_top.
  template <bool kCopyTop>
  JAX_SIGLIB_INLINE void ContractTopTwo(T* ct_low, T* ct_top, const T* g_low,
                                        const T* g_top, const T* s_low, const T* b,
                                        int64_t b_stride, T* y_next, int64_t next_stride,
                                        Level<T> level) {
    const V half = Simd::Set1(T(0.5));
    for (int64_t row = 0; row < level.rows; row += W) {
      const auto valid = Simd::FirstLanes(level.rows - row);
      const V rows_low = Simd::KeepFirst(Simd::Load(b + row), valid);
      const V rows_top =
          Simd::KeepFirst(Simd::Mul(Simd::Load(b + b_stride + row), half), valid);
      // Level N-1 of this block: its cotangent, and what comes down from level N.
      V low[D], y[D];
      Unroll<0, D>([&](auto m)
                       JAX_SIGLIB_LAMBDA { y[m.value] = low[m.value] = Simd::Zero(); });
      auto vector = [&](auto whole, int m, auto mask, int64_t count) JAX_SIGLIB_LAMBDA {
        constexpr bool kWhole = decltype(whole)::value;
        const int64_t at = row * D + m * W;
        V parents = Outer(rows_top, m, LoadLanes(s_low + at, mask));
        // Lanes past the end meet zeros, here and below, but 0 * inf must not come of it.
        if constexpr (!kWhole) parents = Simd::KeepFirst(parents, mask);
        V x[D];
        if constexpr (!kWhole) {
          Unroll<0, D>([&](auto n) JAX_SIGLIB_LAMBDA { x[n.value] = Simd::Zero(); });
        }
        Blocks::ForVectors(whole, count * D, [&](auto n, auto lanes) JAX_SIGLIB_LAMBDA {
          const int64_t from = at * D + n.value * W;
          Prefetch(g_top + from);
          if constexpr (kCopyTop) PrefetchToWrite(ct_top + from);
          x[n.value] = LoadLanes(g_top + from, lanes);
          if constexpr (kCopyTop) StoreLanes(ct_top + from, x[n.value], lanes);
        });
        y[m] = Contract(x, parents);
        if constexpr (!kWhole) y[m] = Simd::KeepFirst(y[m], mask);
        low[m] = LoadLanes(g_low + at, mask);
        StoreLanes(ct_low + at, Simd::Add(low[m], y[m]), mask);
      };
      Blocks::ForVectorsOfBlock((level.rows - row) * D, vector);
      Simd::Store(y_next + row, Contract(low, rows_low));
      Simd::Store(y_next + next_stride + row, Simd::Mul(Contract(y, rows_top), half));
    }
  }

  // The tangent of ContractLevel along tangents of s and v (t_steps), which have made those
  // of y and b, and, if kCarry, of g. t_ct = that tangent + the sum of y's tangents;
  // without kCarry the former is zero and ct is not wanted, with it both are in place: ct
  // is g, t_ct holds its tangent. At the top level, which has no tangent and is not to be
  // written, t_ct is null. Of the displacement's cotangent the tangent is collected.
  template <bool kCarry>
  JAX_SIGLIB_INLINE void ContractLevelTangent(const AppendSteps& t_steps, const T* g, T* ct,
                                              T* t_ct, DualChains<T> y, DualChains<T> b,
                                              DualChains<T> next, Level<T> level) {
    Blocks::ForBlocks(level.rows, [&](auto full, int64_t row,
                                      int64_t entries) JAX_SIGLIB_LAMBDA {
      const auto valid = Simd::FirstLanes(full.value ? W : level.rows - row);
      V total[D], t_total[D], x[D];
      Blocks::Load(full, total, g + row * D, entries);
      Blocks::Copy(x, total);
      Dual down =
          ContractTwice(t_steps, x, Simd::KeepFirst(Simd::Load(b.tangent + row), valid));
      Unroll<0, D>([&](auto m) JAX_SIGLIB_LAMBDA { t_total[m.value] = Simd::Zero(); });
      if constexpr (kCarry) {
        if (t_ct != nullptr) {
          Blocks::Load(full, t_total, t_ct + row * D, entries);
          Blocks::Copy(x, t_total);
          const V rows = Simd::KeepFirst(Simd::Load(b.data + row), valid);
          down.tangent = Simd::Add(down.tangent, Contract(x, rows));
        }
      }
      Simd::Store(next.data + row, down.value);
      Simd::Store(next.tangent + row, down.tangent);
      for (int64_t c = 1; c < level.chains; ++c) {
        const int64_t from = (c - 1) * y.stride + row * D, at = c * b.stride + row;
        const V scale = Simd::Set1(level.inverse[c]);
        Blocks::Load(full, x, y.data + from, entries);
        if constexpr (kCarry) Blocks::Add(total, x);
        const V t_rows = Simd::Mul(Simd::Load(b.tangent + at), scale);
        down = ContractTwice(t_steps, x, Simd::KeepFirst(t_rows, valid));
        Blocks::Load(full, x, y.tangent + from, entries);
        Blocks::Add(t_total, x);
        const V rows = Simd::Mul(Simd::Load(b.data + at), scale);
        const V sums = Simd::Add(down.tangent, Contract(x, Simd::KeepFirst(rows, valid)));
        const int64_t to = c * next.stride + row;
        Simd::Store(next.data + to, Simd::Mul(down.value, scale));
        Simd::Store(next.tangent + to, Simd::Mul(sums, scale));
      }
      if (t_ct == nullptr) return;
      Blocks::ForVectors(full, entries, [&](auto m, auto mask) JAX_SIGLIB_LAMBDA {
        const int64_t to = row * D + m.value * W;
        if constexpr (kCarry) StoreLanes(ct + to, total[m.value], mask);
        StoreLanes(t_ct + to, t_total[m.value], mask);
      });
    });
  }

  // The tangent of ContractTopTwo, in the same sense: levels N-1 and N of g, g_top without
  // a tangent. s_low is not read, only its tangent.
  template <bool kCarry>
  JAX_SIGLIB_INLINE void ContractTopTwoTangent(const AppendSteps& t_steps, const T* g_low,
                                               const T* g_top, T* ct_low, T* t_ct_low,
                                               const T* t_s_low, DualChains<T> b,
                                               DualChains<T> next, Level<T> level) {
    const V half = Simd::Set1(T(0.5));
    for (int64_t row = 0; row < level.rows; row += W) {
      const auto valid = Simd::FirstLanes(level.rows - row);
      const V t_rows_low = Simd::KeepFirst(Simd::Load(b.tangent + row), valid);
      const V rows_top =
          Simd::KeepFirst(Simd::Mul(Simd::Load(b.data + b.stride + row), half), valid);
      const V t_rows_top =
          Simd::KeepFirst(Simd::Mul(Simd::Load(b.tangent + b.stride + row), half), valid);
      // Level N-1 of this block, and what comes down from level N, with tangents.
      V low[D], t_low[D], y[D], t_y[D];
      Unroll<0, D>([&](auto m) JAX_SIGLIB_LAMBDA {
        low[m.value] = t_low[m.value] = y[m.value] = t_y[m.value] = Simd::Zero();
      });
      auto vector = [&](auto whole, int m, auto mask, int64_t count) JAX_SIGLIB_LAMBDA {
        constexpr bool kWhole = decltype(whole)::value;
        const int64_t at = row * D + m * W;
        V t_parents =
            t_steps.Outer(rows_top, m, Outer(t_rows_top, m, LoadLanes(t_s_low + at, mask)));
        // As in ContractTopTwo: no 0 * inf from lanes past the end.
        if constexpr (!kWhole) t_parents = Simd::KeepFirst(t_parents, mask);
        V x[D];
        if constexpr (!kWhole) {
          Unroll<0, D>([&](auto n) JAX_SIGLIB_LAMBDA { x[n.value] = Simd::Zero(); });
        }
        Blocks::ForVectors(whole, count * D, [&](auto n, auto lanes) JAX_SIGLIB_LAMBDA {
          const int64_t from = at * D + n.value * W;
          Prefetch(g_top + from);
          x[n.value] = LoadLanes(g_top + from, lanes);
        });
        Dual down = ContractTwice(t_steps, x, t_parents);
        if constexpr (!kWhole) {
          down.value = Simd::KeepFirst(down.value, mask);
          down.tangent = Simd::KeepFirst(down.tangent, mask);
        }
        y[m] = down.value;
        t_y[m] = down.tangent;
        low[m] = LoadLanes(g_low + at, mask);
        if constexpr (kCarry) {
          t_low[m] = LoadLanes(t_ct_low + at, mask);
          StoreLanes(ct_low + at, Simd::Add(low[m], y[m]), mask);
          StoreLanes(t_ct_low + at, Simd::Add(t_low[m], t_y[m]), mask);
        } else {
          StoreLanes(t_ct_low + at, t_y[m], mask);
        }
      };
      Blocks::ForVectorsOfBlock((level.rows - row) * D, vector);
      Dual down = ContractTwice(t_steps, low, t_rows_low);
      if constexpr (kCarry) {
        const V rows_low = Simd::KeepFirst(Simd::Load(b.data + row), valid);
        down.tangent = Simd::Add(down.tangent, Contract(t_low, rows_low));
      }
      Simd::Store(next.data + row, down.value);
      Simd::Store(next.tangent + row, down.tangent);
      down = ContractTwice(t_steps, y, t_rows_top);
      down.tangent = Simd::Add(down.tangent, Contract(t_y, rows_top));
      Simd::Store(next.data + next.stride + row, Simd::Mul(down.value, half));
      Simd::Store(next.tangent + next.stride + row, Simd::Mul(down.tangent, half));
    }
  }

  // Adds what the blocks have collected for the displacement to ct_v, which is padded to
  // whole vectors.
  JAX_SIGLIB_INLINE void AddDisplacement(T* ct_v) {
    SumVectors<T, D>(sum_, [&](int j, V sums) JAX_SIGLIB_LAMBDA {
      Simd::Store(ct_v + j, Simd::Add(Simd::Load(ct_v + j), sums));
    });
  }

 private:
  struct Dual {
    V value, tangent;
  };

  // add + (vector m of rows (x) v).
  JAX_SIGLIB_INLINE V Outer(V rows, int m, V add) const {
    if constexpr (D == 1)
      return Simd::MulAdd(rows, pattern_[0], add);
    else
      return Simd::MulAdd(Simd::Permute(rows, kInterleave<T, D>.row[m]), pattern_[m], add);
  }

  // x: W rows of D entries. Returns every row's product with v and adds b's rows times
  // x to the columns' sums.
  JAX_SIGLIB_INLINE V Contract(V (&x)[D], V b) {
    Deinterleave<T, D>(x);
    Collect(x, b);
    return Dot(x);
  }

  // The same, with every row's product with t_steps's v as tangent.
  JAX_SIGLIB_INLINE Dual ContractTwice(const AppendSteps& t_steps, V (&x)[D], V b) {
    Deinterleave<T, D>(x);
    Collect(x, b);
    return {Dot(x), t_steps.Dot(x)};
  }

  JAX_SIGLIB_INLINE void Collect(const V (&columns)[D], V b) {
    Unroll<0, D>([&](auto j) JAX_SIGLIB_LAMBDA {
      sum_[j.value] = Simd::MulAdd(b, columns[j.value], sum_[j.value]);
    });
  }

  JAX_SIGLIB_INLINE V Dot(const V (&columns)[D]) const {
    // Two partial sums: every level waits for the one above it.
    V even = Simd::Mul(columns[0], Simd::Set1(v_[0]));
    V odd = Simd::Zero();
    Unroll<1, D>([&](auto j) JAX_SIGLIB_LAMBDA {
      const V entry = Simd::Set1(v_[j.value]);
      if constexpr (j.value == 1)
        odd = Simd::Mul(columns[1], entry);
      else if constexpr (j.value % 2 == 1)
        odd = Simd::MulAdd(columns[j.value], entry, odd);
      else
        even = Simd::MulAdd(columns[j.value], entry, even);
    });
    return D == 1 ? even : Simd::Add(even, odd);
  }

  V pattern_[D];  // v's entry for each lane of a block of rows
  T v_[D];
  V sum_[D];
};

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_APPEND_STEPS_H_
