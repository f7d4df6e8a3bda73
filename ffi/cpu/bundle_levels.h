// A level below the top of a bundle of paths, for a block of steps: one word of level k
// and its d children. The children's entries stay in registers while the steps pass,
// and the chains leave a vector for each step.
#ifndef JAX_SIGLIB_CPU_BUNDLE_LEVELS_H_
#define JAX_SIGLIB_CPU_BUNDLE_LEVELS_H_

#include "bundle_plan.h"
#include "bundle_products.h"
#include "join_walk.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

// What the words of a level have in common.
template <class T>
struct BundleLevel {
  int64_t dimension;
  int64_t chains;  // levels n = k+1, ..., N that pass through level k
  int64_t steps;   // of the block
  const T* v;      // their increments
  const T* inverse;
};

template <class T>
class BundleLevels {
 public:
  using Simd = Vec<T>;
  using V = typename Simd::V;
  static constexpr int W = Simd::kLanes;
  static constexpr int64_t kRow = BundlePlan::kSteps * W;

  // s, the children, from before the block to behind it, or with kUndo the way back;
  // next: their chains at every step, from the word's chains b.
  template <bool kUndo>
  static void Expand(T* s, Chains<T> b, Chains<T> next, const BundleLevel<T>& level,
                     bool fresh) {
    ForStrips<4>(level.dimension, [&](auto columns, int64_t from) JAX_SIGLIB_LAMBDA {
      const Chains<T> to{next.data + from * kRow, next.stride};
      if (level.chains == 2)
        ExpandStrip<kUndo, columns.value, 2>(s + from * W, b, to, from, level, fresh);
      else
        ExpandStrip<kUndo, columns.value, 0>(s + from * W, b, to, from, level, fresh);
    });
  }

  // The adjoint. ct: the children's cotangents, from behind the block to before it; y:
  // their chains, y_word: those of the word; w collects for the increments.
  static void Contract(T* ct, Chains<T> y, Chains<T> b, Chains<T> y_word, T* w,
                       const BundleLevel<T>& level) {
    ForStrips<4>(level.dimension, [&](auto columns, int64_t from) JAX_SIGLIB_LAMBDA {
      constexpr int C = decltype(columns)::value;
      const Chains<T> of{y.data + from * kRow, y.stride};
      if (from == 0)
        ContractStrip<C, true>(ct + from * W, of, b, y_word, w, from, level);
      else
        ContractStrip<C, false>(ct + from * W, of, b, y_word, w, from, level);
    });
  }

 private:
  // kChains: level.chains where that is known, else 0.
  template <bool kUndo, int C, int kChains>
  static JAX_SIGLIB_STEP void ExpandStrip(T* s, Chains<T> b, Chains<T> next, int64_t from,
                                          const BundleLevel<T>& level, bool fresh) {
    const int64_t d = level.dimension, steps = level.steps;
    const int64_t chains = kChains > 0 ? kChains : level.chains;
    const T* const inverse = level.inverse;
    const T* const v = level.v + from * W;
    V value[C];
    Unroll<0, C>([&](auto c) JAX_SIGLIB_LAMBDA {
      value[c.value] = fresh ? Simd::Zero() : Simd::Load(s + c.value * W);
    });
    const V sign = Simd::Set1(kUndo ? T(-1) : T(1));
    for (int64_t i = 0; i < steps; ++i) {
      const int64_t t = kUndo ? steps - 1 - i : i;
      V entry[C];
      Unroll<0, C>([&](auto c) JAX_SIGLIB_LAMBDA {
        entry[c.value] = Simd::Load(v + (t * d + c.value) * W);
      });
      auto join = [&]() JAX_SIGLIB_LAMBDA {
        V word = Simd::Load(b.data + t * W);
        if (kUndo) word = Simd::Mul(word, sign);
        Unroll<0, C>([&](auto c) JAX_SIGLIB_LAMBDA {
          value[c.value] = Simd::MulAdd(word, entry[c.value], value[c.value]);
        });
      };
      // out_k = S_k + B (x) v, and B is made of lower levels: so S_k = out_k - B (x) v.
      if (kUndo) join();
      for (int64_t n = 1; n < chains; ++n) {
        const V word =
            Simd::Mul(Simd::Load(b.data + n * b.stride + t * W), Simd::Set1(inverse[n]));
        T* const to = next.data + (n - 1) * next.stride + t * W;
        Unroll<0, C>([&](auto c) JAX_SIGLIB_LAMBDA {
          Simd::Store(to + c.value * kRow,
                      Simd::MulAdd(word, entry[c.value], value[c.value]));
        });
      }
      if (!kUndo) join();
    }
    Unroll<0, C>([&](auto c)
                     JAX_SIGLIB_LAMBDA { Simd::Store(s + c.value * W, value[c.value]); });
  }

  template <int C, bool kFirst>
  static JAX_SIGLIB_STEP void ContractStrip(T* ct, Chains<T> y, Chains<T> b,
                                            Chains<T> y_word, T* w, int64_t from,
                                            const BundleLevel<T>& level) {
    const int64_t d = level.dimension, chains = level.chains;
    const T* const inverse = level.inverse;
    V total[C];
    Unroll<0, C>([&](auto c)
                     JAX_SIGLIB_LAMBDA { total[c.value] = Simd::Load(ct + c.value * W); });
    for (int64_t t = level.steps - 1; t >= 0; --t) {
      const T* const v = level.v + (t * d + from) * W;
      T* const sums = w + (t * d + from) * W;
      T* const fall = y_word.data + t * W;
      const T* const rise = b.data + t * W;
      V sum[C];
      // Chain 0 begins here, with the level's own cotangent.
      const V word = Simd::Load(rise);
      V product = kFirst ? Simd::Zero() : Simd::Load(fall);
      Unroll<0, C>([&](auto c) JAX_SIGLIB_LAMBDA {
        product = Simd::MulAdd(total[c.value], Simd::Load(v + c.value * W), product);
        sum[c.value] = Simd::MulAdd(word, total[c.value], Simd::Load(sums + c.value * W));
      });
      Simd::Store(fall, product);
      for (int64_t n = 1; n < chains; ++n) {
        const V scale = Simd::Set1(inverse[n]);
        const V above = Simd::Mul(Simd::Load(rise + n * b.stride), scale);
        const T* const x = y.data + (n - 1) * y.stride + t * W;
        V all = Simd::Zero();
        Unroll<0, C>([&](auto c) JAX_SIGLIB_LAMBDA {
          const V child = Simd::Load(x + c.value * kRow);
          total[c.value] = Simd::Add(total[c.value], child);
          all = c.value == 0 ? Simd::Mul(child, Simd::Load(v))
                             : Simd::MulAdd(child, Simd::Load(v + c.value * W), all);
          sum[c.value] = Simd::MulAdd(above, child, sum[c.value]);
        });
        T* const to = fall + n * y_word.stride;
        Simd::Store(
            to, kFirst ? Simd::Mul(all, scale) : Simd::MulAdd(all, scale, Simd::Load(to)));
      }
      Unroll<0, C>(
          [&](auto c) JAX_SIGLIB_LAMBDA { Simd::Store(sums + c.value * W, sum[c.value]); });
    }
    Unroll<0, C>([&](auto c)
                     JAX_SIGLIB_LAMBDA { Simd::Store(ct + c.value * W, total[c.value]); });
  }
};

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_BUNDLE_LEVELS_H_
