// A level below the top of a bundle of paths, for a block of steps: one word of level k
// and its d children. The children's entries stay in registers while the steps pass,
// and the chains leave a vector for each step.
//
// What a block adds to an entry is summed up by itself, from zero, and then added to the
// entry, which is carried from block to block as a sum of two numbers, high and low part.
// A million small steps, all in the same direction, would else be rounded a million times
// to the last digit of what has gathered: the errors of a path that is run through and
// undone again would grow with its length.
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
  int64_t low;  // from an entry to its low part
};

template <class T>
class BundleLevels {
 public:
  using Simd = Vec<T>;
  using V = typename Simd::V;
  static constexpr int W = Simd::kLanes;

  // s, the children, from before the block to behind it, or with kUndo the way back;
  // next: their chains at every step, from the word's chains b.
  template <bool kUndo>
  static void Expand(T* s, Chains<T> b, Chains<T> next, const BundleLevel<T>& level,
                     bool fresh) {
    ForStrips<kColumns>(level.dimension, [&](auto columns, int64_t from) JAX_SIGLIB_LAMBDA {
      const Chains<T> to{next.data + from * W, next.stride};
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
    ContractStrips<true, false>(ct, y, b, y_word, nullptr, y_word, w, level);
  }

  // The same, and the word's products with t_v in the chains t_word.
  static void ContractTwice(T* ct, Chains<T> y, Chains<T> b, Chains<T> y_word, const T* t_v,
                            Chains<T> t_word, T* w, const BundleLevel<T>& level) {
    ContractStrips<true, true>(ct, y, b, y_word, t_v, t_word, w, level);
  }

  // The same as Contract, added to what is in y_word.
  static void ContractMore(T* ct, Chains<T> y, Chains<T> b, Chains<T> y_word, T* w,
                           const BundleLevel<T>& level) {
    ContractStrips<false, false>(ct, y, b, y_word, nullptr, y_word, w, level);
  }

  // Adds a block's change to an entry, a sum of two numbers (Kahan). An infinite one has
  // no low part: its own would be infinite too, or NaN.
  static JAX_SIGLIB_INLINE void Carry(T* entry, V change, int64_t low, bool fresh) {
    V sum = change, rest = Simd::Zero();
    if (!fresh) {
      const V before = Simd::Load(entry), more = Simd::Add(Simd::Load(entry + low), change);
      sum = Simd::Add(before, more);
      rest = more - (sum - before);
      const V zero = Simd::Zero();
      rest = rest - rest == zero ? rest : zero;
    }
    Simd::Store(entry, sum);
    Simd::Store(entry + low, rest);
  }

 private:
  // Children at a time, as many as there are registers for.
  static constexpr int kColumns = kManyRegisters<T> ? 6 : 4;

  // kChains: level.chains where that is known, else 0.
  template <bool kUndo, int C, int kChains>
  static JAX_SIGLIB_STEP void ExpandStrip(T* s, Chains<T> b, Chains<T> next, int64_t from,
                                          const BundleLevel<T>& level, bool fresh) {
    const int64_t d = level.dimension, steps = level.steps;
    const int64_t chains = kChains > 0 ? kChains : level.chains;
    const T* const inverse = level.inverse;
    const T* const v = level.v + from * W;
    V before[C], change[C], value[C];
    Unroll<0, C>([&](auto c) JAX_SIGLIB_LAMBDA {
      before[c.value] = fresh ? Simd::Zero() : Simd::Load(s + c.value * W);
      change[c.value] = Simd::Zero();
      value[c.value] = before[c.value];
    });
    const V sign = Simd::Set1(kUndo ? T(-1) : T(1));
    for (int64_t i = 0; i < steps; ++i) {
      const int64_t t = kUndo ? steps - 1 - i : i;
      V entry[C];
      Unroll<0, C>([&](auto c) JAX_SIGLIB_LAMBDA {
        entry[c.value] = Simd::Load(v + (t * d + c.value) * W);
      });
      auto join = [&]() JAX_SIGLIB_LAMBDA {
        V word = Simd::Load(b.data + t * d * W);
        if (kUndo) word = Simd::Mul(word, sign);
        Unroll<0, C>([&](auto c) JAX_SIGLIB_LAMBDA {
          change[c.value] = Simd::MulAdd(word, entry[c.value], change[c.value]);
          value[c.value] = Simd::Add(before[c.value], change[c.value]);
        });
      };
      // out_k = S_k + B (x) v, and B is made of lower levels: so S_k = out_k - B (x) v.
      if (kUndo) join();
      for (int64_t n = 1; n < chains; ++n) {
        const V word = Simd::Mul(Simd::Load(b.data + n * b.stride + t * d * W),
                                 Simd::Set1(inverse[n]));
        T* const to = next.data + (n - 1) * next.stride + t * d * W;
        Unroll<0, C>([&](auto c) JAX_SIGLIB_LAMBDA {
          Simd::Store(to + c.value * W, Simd::MulAdd(word, entry[c.value], value[c.value]));
        });
      }
      if (!kUndo) join();
    }
    Unroll<0, C>([&](auto c) JAX_SIGLIB_LAMBDA {
      Carry(s + c.value * W, change[c.value], level.low, fresh);
    });
  }

  template <bool kFirst, bool kTwice>
  static JAX_SIGLIB_INLINE void ContractStrips(T* ct, Chains<T> y, Chains<T> b,
                                               Chains<T> y_word, const T* t_v,
                                               Chains<T> t_word, T* w,
                                               const BundleLevel<T>& level) {
    ForStrips<kColumns>(level.dimension, [&](auto columns, int64_t from) JAX_SIGLIB_LAMBDA {
      constexpr int C = decltype(columns)::value;
      const Chains<T> of{y.data + from * W, y.stride};
      if (kFirst && from == 0)
        ContractStrip<C, true, kTwice>(ct + from * W, of, b, y_word, t_v, t_word, w, from,
                                       level);
      else
        ContractStrip<C, false, kTwice>(ct + from * W, of, b, y_word, t_v, t_word, w, from,
                                        level);
    });
  }

  template <int C, bool kFirst, bool kTwice>
  static JAX_SIGLIB_STEP void ContractStrip(T* ct, Chains<T> y, Chains<T> b,
                                            Chains<T> y_word, const T* t_v,
                                            Chains<T> t_word, T* w, int64_t from,
                                            const BundleLevel<T>& level) {
    const int64_t d = level.dimension, chains = level.chains;
    const T* const inverse = level.inverse;
    V behind[C], change[C];
    Unroll<0, C>([&](auto c) JAX_SIGLIB_LAMBDA {
      behind[c.value] = Simd::Load(ct + c.value * W);
      change[c.value] = Simd::Zero();
    });
    for (int64_t t = level.steps - 1; t >= 0; --t) {
      const int64_t at = (t * d + from) * W;
      const T* const v = level.v + at;
      T* const sums = w + at;
      T* const fall = y_word.data + t * d * W;
      T* const t_fall = t_word.data + t * d * W;
      const T* const rise = b.data + t * d * W;
      V sum[C];
      // Chain 0 begins here, with the level's own cotangent.
      const V word = Simd::Load(rise);
      V product = kFirst ? Simd::Zero() : Simd::Load(fall);
      V t_product = kFirst || !kTwice ? Simd::Zero() : Simd::Load(t_fall);
      Unroll<0, C>([&](auto c) JAX_SIGLIB_LAMBDA {
        const V total = Simd::Add(behind[c.value], change[c.value]);
        product = Simd::MulAdd(total, Simd::Load(v + c.value * W), product);
        if (kTwice)
          t_product = Simd::MulAdd(total, Simd::Load(t_v + at + c.value * W), t_product);
        sum[c.value] = Simd::MulAdd(word, total, Simd::Load(sums + c.value * W));
      });
      Simd::Store(fall, product);
      if (kTwice) Simd::Store(t_fall, t_product);
      for (int64_t n = 1; n < chains; ++n) {
        const V scale = Simd::Set1(inverse[n]);
        const V above = Simd::Mul(Simd::Load(rise + n * b.stride), scale);
        const T* const x = y.data + (n - 1) * y.stride + t * d * W;
        V all = Simd::Zero(), t_all = Simd::Zero();
        Unroll<0, C>([&](auto c) JAX_SIGLIB_LAMBDA {
          const V child = Simd::Load(x + c.value * W);
          change[c.value] = Simd::Add(change[c.value], child);
          const V entry = Simd::Load(v + c.value * W);
          all = c.value == 0 ? Simd::Mul(child, entry) : Simd::MulAdd(child, entry, all);
          if (kTwice) {
            const V t_entry = Simd::Load(t_v + at + c.value * W);
            t_all = c.value == 0 ? Simd::Mul(child, t_entry)
                                 : Simd::MulAdd(child, t_entry, t_all);
          }
          sum[c.value] = Simd::MulAdd(above, child, sum[c.value]);
        });
        auto store = [&](V products, T* to) JAX_SIGLIB_LAMBDA {
          Simd::Store(to, kFirst ? Simd::Mul(products, scale)
                                 : Simd::MulAdd(products, scale, Simd::Load(to)));
        };
        store(all, fall + n * y_word.stride);
        if (kTwice) store(t_all, t_fall + n * t_word.stride);
      }
      Unroll<0, C>(
          [&](auto c) JAX_SIGLIB_LAMBDA { Simd::Store(sums + c.value * W, sum[c.value]); });
    }
    Unroll<0, C>([&](auto c) JAX_SIGLIB_LAMBDA {
      Carry(ct + c.value * W, change[c.value], level.low, false);
    });
  }
};

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_BUNDLE_LEVELS_H_
