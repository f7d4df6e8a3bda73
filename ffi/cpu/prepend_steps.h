// One level of exp(v) (x) S, up and down. Level k+1 is d copies of the range's level k,
// one for each first letter, so every loop runs along words and no lane ever needs
// another's value. D is the dimension, or 0 where it is known at run time only.
// Interface and meaning as in append_steps.h.
#ifndef JAX_SIGLIB_CPU_PREPEND_STEPS_H_
#define JAX_SIGLIB_CPU_PREPEND_STEPS_H_

#include "level.h"
#include "simd.h"
#include "sum_lanes.h"
#include "unroll.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

// For vector m of the D * kRows children of kRows words: each lane's letter and word.
template <class T, int D, int kRows>
struct PrependLanes {
  static constexpr int W = Vec<T>::kLanes;
  static constexpr int kVectors = (D * kRows + W - 1) / W;
  PermuteIndex<T> letter[kVectors];
  PermuteIndex<T> word[kVectors];

  constexpr PrependLanes() : letter{}, word{} {
    for (int m = 0; m < kVectors; ++m)
      for (int l = 0; l < W; ++l) {
        const int i = m * W + l < D * kRows ? m * W + l : 0;
        letter[m].Set(l, i / kRows);
        word[m].Set(l, i % kRows);
      }
  }
};

template <class T, int D, int kRows>
inline constexpr PrependLanes<T, D, kRows> kPrependLanes{};

template <class Type, int D>
class PrependSteps {
 public:
  using T = Type;
  using Simd = Vec<T>;
  using V = typename Simd::V;
  static constexpr int W = Simd::kLanes;
  static constexpr bool kFusesTopTwo = false;
  static constexpr bool kCalled = false;  // by joins alone

  // sum: d*W entries of scratch, where the displacement's cotangent is collected.
  PrependSteps(const T* v, int64_t dimension, T* sum)
      : v_(v), d_(D == 0 ? dimension : D), sum_(sum) {}

  JAX_SIGLIB_INLINE void ClearSum() {
    if constexpr (D > 0) {
      Unroll<0, D>([&](auto j) JAX_SIGLIB_LAMBDA { sums_[j.value] = Simd::Zero(); });
    } else {
      for (int64_t j = 0; j < d_; ++j) Simd::Store(sum_ + j * W, Simd::Zero());
    }
  }

  // Children of the caller's come in pieces; those in scratch (kPadded) in one.
  template <bool kPadded>
  JAX_SIGLIB_INLINE void Expand(T* dst, const T* s, const T* b, T factor,
                                Level<T> level) const {
    for (int64_t j = 0; j < d_; ++j) {
      const V scale = Simd::Set1(v_[j] * factor);
      for (int64_t u = 0; u < level.pieces; ++u) {
        const int64_t piece = j * level.pieces + u;
        ExpandPiece(dst + piece * (kPadded ? level.piece : level.piece_stride),
                    s + piece * level.piece_stride, b + u * level.piece, scale,
                    level.piece);
      }
    }
  }

  template <bool kOut>
  JAX_SIGLIB_INLINE void ExpandLevel(T* out, const T* s, const T* b, int64_t stride,
                                     T* b_next, int64_t next_stride, Level<T> level) const {
    if (level.is_root) return ExpandRoot<kOut>(out, s, b_next, next_stride, level);
    if constexpr (D > 1 && D <= W)
      if (ExpandSmall<kOut, D>(out, s, b, stride, b_next, next_stride, level)) return;
    for (int64_t u = 0; u < level.pieces; ++u) {
      const int64_t stretch = level.piece > kLongChain ? kLongChain / 8 : level.piece;
      for (int64_t i = 0; i < level.piece; i += stretch) {
        const int64_t n = level.piece - i < stretch ? level.piece - i : stretch;
        ForLetters([&](int64_t j) JAX_SIGLIB_LAMBDA {
          const int64_t piece = j * level.pieces + u;
          const T* const from = s + piece * level.piece_stride + i;
          const T* const rows = b + u * level.piece + i;
          T* const next = b_next + piece * level.piece + i;
          // The chains first: out may be s.
          for (int64_t c = 1; c < level.chains; ++c)
            ExpandPiece(next + (c - 1) * next_stride, from, rows + c * stride,
                        Simd::Set1(v_[j] * level.inverse[c]), n);
          if constexpr (kOut)
            ExpandPiece(out + piece * level.piece_stride + i, from, rows, Simd::Set1(v_[j]),
                        n);
        });
      }
    }
  }

  JAX_SIGLIB_INLINE void ExpandLevelTangent(const PrependSteps& t_steps, T* out, const T* s,
                                            T* t_out, const T* t_s, DualChains<T> b,
                                            DualChains<T> next, Level<T> level) const {
    if (level.is_root)
      return ExpandRootTangent(t_steps, out, s, t_out, t_s, b, next, level);
    for (int64_t u = 0; u < level.pieces; ++u) {
      const int64_t stretch = level.piece > kLongChain ? kLongChain / 8 : level.piece;
      for (int64_t i = 0; i < level.piece; i += stretch) {
        const int64_t n = level.piece - i < stretch ? level.piece - i : stretch;
        ForLetters([&](int64_t j) JAX_SIGLIB_LAMBDA {
          const int64_t piece = j * level.pieces + u;
          const int64_t at = piece * level.piece_stride + i;
          const int64_t row = u * level.piece + i;
          // The chains first: out may be s, and t_out may be t_s.
          for (int64_t c = 1; c < level.chains; ++c) {
            const T* const rows = b.data + c * b.stride + row;
            const int64_t to = (c - 1) * next.stride + piece * level.piece + i;
            const V v = Simd::Set1(v_[j] * level.inverse[c]);
            ExpandPieceTwice(next.tangent + to, t_s + at, b.tangent + c * b.stride + row, v,
                             rows, Simd::Set1(t_steps.v_[j] * level.inverse[c]), n);
            if (next.data != nullptr) ExpandPiece(next.data + to, s + at, rows, v, n);
          }
          const V v = Simd::Set1(v_[j]);
          if (t_out != nullptr)
            ExpandPieceTwice(t_out + at, t_s + at, b.tangent + row, v, b.data + row,
                             Simd::Set1(t_steps.v_[j]), n);
          if (out != nullptr) ExpandPiece(out + at, s + at, b.data + row, v, n);
        });
      }
    }
  }

  JAX_SIGLIB_INLINE void ContractLevel(T* ct, const T* g, const T* y, int64_t y_stride,
                                       const T* b, int64_t b_stride, T* y_next,
                                       int64_t next_stride, Level<T> level) {
    const Adjoint all{ct, g, y, y_stride, b, b_stride, y_next, next_stride};
    ForGroupsOfLetters([&](auto count, int64_t first) JAX_SIGLIB_LAMBDA {
      ContractLetters<decltype(count)::value>(all, level, first);
    });
  }

  template <bool kCarry>
  JAX_SIGLIB_INLINE void ContractLevelTangent(const PrependSteps& t_steps, const T* g,
                                              T* ct, T* t_ct, DualChains<T> y,
                                              DualChains<T> b, DualChains<T> next,
                                              Level<T> level) {
    const AdjointTangent all{g, ct, t_ct, y, b, next};
    ForGroupsOfLetters([&](auto count, int64_t first) JAX_SIGLIB_LAMBDA {
      ContractLettersTangent<kCarry, decltype(count)::value>(t_steps, all, level, first);
    });
  }

  JAX_SIGLIB_INLINE void AddDisplacement(T* ct_v) {
    if constexpr (D > 0) {
      SumVectors<T, D>(sums_, [&](int j, V sums) JAX_SIGLIB_LAMBDA {
        Simd::Store(ct_v + j, Simd::Add(Simd::Load(ct_v + j), sums));
      });
      return;
    }
    for (int64_t j = 0; j < d_; j += W) {
      V x[W];
      Unroll<0, W>([&](auto i) JAX_SIGLIB_LAMBDA {
        x[i.value] = j + i.value < d_ ? Simd::Load(sum_ + (j + i.value) * W) : Simd::Zero();
      });
      Simd::Store(ct_v + j, Simd::Add(Simd::Load(ct_v + j), SumEach<T, W>(x)));
    }
  }

 private:
  // Chains longer than this (64 KiB in float32) are taken in stretches of an eighth
  // of it, over all letters, so that they are read from the first-level cache.
  static constexpr int64_t kLongChain = 16384;

  // The letters that ContractLevel takes in one pass over the words.
  static constexpr int kLetters = D > 0 ? D : 5;
  static_assert(D <= 8, "more letters than there are registers for");

  template <class F>
  static JAX_SIGLIB_INLINE void ForLanes(int64_t n, F&& f) {
    int64_t i = 0;
    for (; i + W <= n; i += W) f(i, AllLanes{});
    if (i < n) f(i, Simd::FirstLanes(n - i));
  }
  template <class F>
  JAX_SIGLIB_INLINE void ForLetters(F&& f) const {
    if constexpr (D > 0) {
      Unroll<0, D>([&](auto j) JAX_SIGLIB_LAMBDA { f(int64_t{j.value}); });
    } else {
      for (int64_t j = 0; j < d_; ++j) f(j);
    }
  }
  // f(Index<how many>, the first of them) for groups of kLetters and the rest.
  template <class F>
  JAX_SIGLIB_INLINE void ForGroupsOfLetters(F&& f) const {
    int64_t j = 0;
    for (; j + kLetters <= d_; j += kLetters) f(Index<kLetters>{}, j);
    if constexpr (D == 0)
      WithIndex<1, kLetters>(d_ - j, [&](auto count) JAX_SIGLIB_LAMBDA { f(count, j); });
  }
  static JAX_SIGLIB_INLINE void ExpandPiece(T* to, const T* s, const T* rows, V scale,
                                            int64_t entries) {
    ForLanes(entries, [&](int64_t i, auto lanes) JAX_SIGLIB_LAMBDA {
      Prefetch(s + i);
      PrefetchToWrite(to + i);
      StoreLanes(to + i,
                 Simd::MulAdd(scale, LoadLanes(rows + i, lanes), LoadLanes(s + i, lanes)),
                 lanes);
    });
  }

  // to = s + scale * rows + t_scale * t_rows.
  static JAX_SIGLIB_INLINE void ExpandPieceTwice(T* to, const T* s, const T* rows, V scale,
                                                 const T* t_rows, V t_scale,
                                                 int64_t entries) {
    ForLanes(entries, [&](int64_t i, auto lanes) JAX_SIGLIB_LAMBDA {
      Prefetch(s + i);
      PrefetchToWrite(to + i);
      const V moved =
          Simd::MulAdd(scale, LoadLanes(rows + i, lanes), LoadLanes(s + i, lanes));
      StoreLanes(to + i, Simd::MulAdd(t_scale, LoadLanes(t_rows + i, lanes), moved), lanes);
    });
  }

  // From level 0, where there is one word and every chain is 1, the letters lie side by
  // side.
  template <bool kOut>
  JAX_SIGLIB_INLINE void ExpandRoot(T* out, const T* s, T* b_next, int64_t next_stride,
                                    Level<T> level) const {
    ForLanes(d_, [&](int64_t j, auto lanes) JAX_SIGLIB_LAMBDA {
      const V value = LoadLanes(s + j, lanes), v = LoadLanes(v_ + j, lanes);
      if constexpr (kOut) StoreLanes(out + j, Simd::Add(value, v), lanes);
      for (int64_t c = 1; c < level.chains; ++c)
        Simd::Store(b_next + (c - 1) * next_stride + j,
                    Simd::MulAdd(Simd::Set1(level.inverse[c]), v, value));
    });
  }

  JAX_SIGLIB_INLINE void ExpandRootTangent(const PrependSteps& t_steps, T* out, const T* s,
                                           T* t_out, const T* t_s, DualChains<T> b,
                                           DualChains<T> next, Level<T> level) const {
    ForLanes(d_, [&](int64_t j, auto lanes) JAX_SIGLIB_LAMBDA {
      const V tangent = LoadLanes(t_s + j, lanes), v = LoadLanes(v_ + j, lanes);
      const V t_v = LoadLanes(t_steps.v_ + j, lanes);
      // v times the tangent of B_0, which is 0: a term like any other.
      const V moved = Simd::MulAdd(Simd::Set1(b.tangent[0]), v, tangent);
      const bool values_wanted = out != nullptr || next.data != nullptr;
      const V value = values_wanted ? LoadLanes(s + j, lanes) : Simd::Zero();
      if (t_out != nullptr) StoreLanes(t_out + j, Simd::Add(moved, t_v), lanes);
      if (out != nullptr) StoreLanes(out + j, Simd::Add(value, v), lanes);
      for (int64_t c = 1; c < level.chains; ++c) {
        const V scale = Simd::Set1(level.inverse[c]);
        const int64_t to = (c - 1) * next.stride + j;
        Simd::Store(next.tangent + to, Simd::MulAdd(scale, t_v, moved));
        if (next.data != nullptr)
          Simd::Store(next.data + to, Simd::MulAdd(scale, v, value));
      }
    });
  }

  // A level of few words in whole vectors: lane i of the children is letter i / kRows of
  // word i % kRows. Returns whether level has kRows = D, D*D, ... <= W words.
  template <bool kOut, int kRows>
  JAX_SIGLIB_INLINE bool ExpandSmall(T* out, const T* s, const T* b, int64_t stride,
                                     T* b_next, int64_t next_stride, Level<T> level) const {
    if constexpr (kRows <= W) {
      if (level.pieces != 1 || level.rows != kRows)
        return ExpandSmall<kOut, kRows * D>(out, s, b, stride, b_next, next_stride, level);
      constexpr int kVectors = (D * kRows + W - 1) / W;
      const V letters = Simd::LoadFirst(v_, Simd::FirstLanes(D));
      Unroll<0, kVectors>([&](auto m) JAX_SIGLIB_LAMBDA {
        const auto mask = Simd::FirstLanes(D * kRows - m.value * W);
        const V v = Simd::Permute(letters, kPrependLanes<T, D, kRows>.letter[m.value]);
        const V value = Simd::LoadFirst(s + m.value * W, mask);
        auto child = [&](int64_t c, V scaled) JAX_SIGLIB_LAMBDA {
          return Simd::MulAdd(Simd::Permute(Simd::Load(b + c * stride),
                                            kPrependLanes<T, D, kRows>.word[m.value]),
                              scaled, value);
        };
        for (int64_t c = 1; c < level.chains; ++c)
          Simd::Store(b_next + (c - 1) * next_stride + m.value * W,
                      child(c, Simd::Mul(v, Simd::Set1(level.inverse[c]))));
        if constexpr (kOut) Simd::StoreFirst(out + m.value * W, child(0, v), mask);
      });
      return true;
    }
    return false;
  }

  // The arguments of ContractLevel.
  struct Adjoint {
    T* ct;
    const T* g;
    const T* y;
    int64_t y_stride;
    const T* b;
    int64_t b_stride;
    T* y_next;
    int64_t next_stride;
  };

  // ContractLevel for the kCount letters from `first` on: their part of ct, and what they
  // add to y_next.
  template <int kCount>
  JAX_SIGLIB_INLINE void ContractLetters(const Adjoint& all, Level<T> level,
                                         int64_t first) {
    V v[kCount], sum[kCount];
    Unroll<0, kCount>([&](auto j) JAX_SIGLIB_LAMBDA {
      v[j.value] = Simd::Set1(v_[first + j.value]);
      sum[j.value] =
          D > 0 ? sums_[first + j.value] : Simd::Load(sum_ + (first + j.value) * W);
    });
    const int64_t letter = level.pieces * level.piece_stride;  // in g and ct
    const int64_t row_letter = level.rows;                     // in chains
    for (int64_t u = 0; u < level.pieces; ++u) {
      const int64_t at = first * letter + u * level.piece_stride;
      const int64_t row_at = first * row_letter + u * level.piece;
      const T* const g = all.g + at;
      T* const ct = all.ct == nullptr ? nullptr : all.ct + at;
      const T* const rows = all.b + u * level.piece;
      T* const next = all.y_next + u * level.piece;
      ForLanes(level.piece, [&](int64_t i, auto lanes) JAX_SIGLIB_LAMBDA {
        V total[kCount];
        const V parents = LoadLanes(rows + i, lanes);
        V down = first == 0 ? Simd::Zero() : LoadLanes(next + i, lanes);
        Unroll<0, kCount>([&](auto j) JAX_SIGLIB_LAMBDA {
          Prefetch(g + j.value * letter + i);
          total[j.value] = LoadLanes(g + j.value * letter + i, lanes);
          down = Simd::MulAdd(v[j.value], total[j.value], down);
          sum[j.value] = Simd::MulAdd(parents, total[j.value], sum[j.value]);
        });
        StoreLanes(next + i, down, lanes);
        for (int64_t c = 1; c < level.chains; ++c) {
          const V scale = Simd::Set1(level.inverse[c]);
          const V parents = Simd::Mul(LoadLanes(rows + c * all.b_stride + i, lanes), scale);
          const T* const x = all.y + (c - 1) * all.y_stride + row_at + i;
          V down = Simd::Zero();
          Unroll<0, kCount>([&](auto j) JAX_SIGLIB_LAMBDA {
            const V value = LoadLanes(x + j.value * row_letter, lanes);
            total[j.value] = Simd::Add(total[j.value], value);
            down = Simd::MulAdd(v[j.value], value, down);
            sum[j.value] = Simd::MulAdd(parents, value, sum[j.value]);
          });
          T* const to = next + c * all.next_stride + i;
          down = Simd::Mul(down, scale);
          StoreLanes(to, first == 0 ? down : Simd::Add(down, LoadLanes(to, lanes)), lanes);
        }
        if (ct != nullptr) {
          Unroll<0, kCount>([&](auto j) JAX_SIGLIB_LAMBDA {
            PrefetchToWrite(ct + j.value * letter + i);
            StoreLanes(ct + j.value * letter + i, total[j.value], lanes);
          });
        }
      });
    }
    Unroll<0, kCount>([&](auto j) JAX_SIGLIB_LAMBDA {
      if constexpr (D > 0)
        sums_[first + j.value] = sum[j.value];
      else
        Simd::Store(sum_ + (first + j.value) * W, sum[j.value]);
    });
  }

  // The arguments of ContractLevelTangent.
  struct AdjointTangent {
    const T* g;
    T* ct;
    T* t_ct;
    DualChains<T> y, b, next;
  };

  // ContractLevelTangent for the kCount letters from `first` on.
  template <bool kCarry, int kCount>
  JAX_SIGLIB_INLINE void ContractLettersTangent(const PrependSteps& t_steps,
                                                const AdjointTangent& all, Level<T> level,
                                                int64_t first) {
    V v[kCount], t_v[kCount], sum[kCount];
    Unroll<0, kCount>([&](auto j) JAX_SIGLIB_LAMBDA {
      v[j.value] = Simd::Set1(v_[first + j.value]);
      t_v[j.value] = Simd::Set1(t_steps.v_[first + j.value]);
      sum[j.value] =
          D > 0 ? sums_[first + j.value] : Simd::Load(sum_ + (first + j.value) * W);
    });
    const int64_t letter = level.pieces * level.piece_stride;  // in g, ct and t_ct
    const int64_t row_letter = level.rows;                     // in chains
    for (int64_t u = 0; u < level.pieces; ++u) {
      const int64_t at = first * letter + u * level.piece_stride;
      const int64_t row_at = u * level.piece, y_at = first * row_letter + row_at;
      ForLanes(level.piece, [&](int64_t i, auto lanes) JAX_SIGLIB_LAMBDA {
        V total[kCount], t_total[kCount];
        V parents = Simd::Zero(), t_parents = Simd::Zero();
        V down = Simd::Zero(), t_down = Simd::Zero();
        // x and its tangent, of the letter j.
        auto contract = [&](auto j, V x) JAX_SIGLIB_LAMBDA {
          down = Simd::MulAdd(v[j.value], x, down);
          t_down = Simd::MulAdd(t_v[j.value], x, t_down);
          sum[j.value] = Simd::MulAdd(t_parents, x, sum[j.value]);
        };
        auto contract_tangent = [&](auto j, V t_x) JAX_SIGLIB_LAMBDA {
          t_down = Simd::MulAdd(v[j.value], t_x, t_down);
          sum[j.value] = Simd::MulAdd(parents, t_x, sum[j.value]);
        };
        auto add_to = [&](T* next, V x) JAX_SIGLIB_LAMBDA {
          StoreLanes(next, first == 0 ? x : Simd::Add(LoadLanes(next, lanes), x), lanes);
        };
        t_parents = LoadLanes(all.b.tangent + row_at + i, lanes);
        Unroll<0, kCount>([&](auto j) JAX_SIGLIB_LAMBDA {
          const T* const from = all.g + at + j.value * letter + i;
          Prefetch(from);
          total[j.value] = LoadLanes(from, lanes);
          t_total[j.value] = Simd::Zero();
          contract(j, total[j.value]);
        });
        if constexpr (kCarry) {
          if (all.t_ct != nullptr) {
            parents = LoadLanes(all.b.data + row_at + i, lanes);
            Unroll<0, kCount>([&](auto j) JAX_SIGLIB_LAMBDA {
              t_total[j.value] = LoadLanes(all.t_ct + at + j.value * letter + i, lanes);
              contract_tangent(j, t_total[j.value]);
            });
          }
        }
        add_to(all.next.data + row_at + i, down);
        add_to(all.next.tangent + row_at + i, t_down);
        for (int64_t c = 1; c < level.chains; ++c) {
          const V scale = Simd::Set1(level.inverse[c]);
          const int64_t row = c * all.b.stride + row_at + i;
          const int64_t from = (c - 1) * all.y.stride + y_at + i;
          parents = Simd::Mul(LoadLanes(all.b.data + row, lanes), scale);
          t_parents = Simd::Mul(LoadLanes(all.b.tangent + row, lanes), scale);
          down = t_down = Simd::Zero();
          Unroll<0, kCount>([&](auto j) JAX_SIGLIB_LAMBDA {
            const V x = LoadLanes(all.y.data + from + j.value * row_letter, lanes);
            const V t_x = LoadLanes(all.y.tangent + from + j.value * row_letter, lanes);
            if constexpr (kCarry) total[j.value] = Simd::Add(total[j.value], x);
            t_total[j.value] = Simd::Add(t_total[j.value], t_x);
            contract(j, x);
            contract_tangent(j, t_x);
          });
          const int64_t to = c * all.next.stride + row_at + i;
          add_to(all.next.data + to, Simd::Mul(down, scale));
          add_to(all.next.tangent + to, Simd::Mul(t_down, scale));
        }
        if (all.t_ct == nullptr) return;
        Unroll<0, kCount>([&](auto j) JAX_SIGLIB_LAMBDA {
          const int64_t to = at + j.value * letter + i;
          if constexpr (kCarry) StoreLanes(all.ct + to, total[j.value], lanes);
          StoreLanes(all.t_ct + to, t_total[j.value], lanes);
        });
      });
    }
    Unroll<0, kCount>([&](auto j) JAX_SIGLIB_LAMBDA {
      if constexpr (D > 0)
        sums_[first + j.value] = sum[j.value];
      else
        Simd::Store(sum_ + (first + j.value) * W, sum[j.value]);
    });
  }

  const T* v_;
  int64_t d_;
  T* sum_;
  V sums_[D > 0 ? D : 1];  // instead of sum_, for a D known
};

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_PREPEND_STEPS_H_
