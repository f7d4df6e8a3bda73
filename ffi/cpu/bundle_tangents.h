// A level below the top of a bundle of paths with tangents, for a block of steps: the steps
// of bundle_levels.h, and of second order the tangent of their adjoint.
#ifndef JAX_SIGLIB_CPU_BUNDLE_TANGENTS_H_
#define JAX_SIGLIB_CPU_BUNDLE_TANGENTS_H_

#include "bundle_levels.h"
#include "level.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

template <class T>
class BundleTangents {
 public:
  using Simd = Vec<T>;
  using V = typename Simd::V;
  static constexpr int W = Simd::kLanes;

  // BundleLevels::Expand for tangents: those of s in t_s, of the increments in t_v. Without
  // s only the tangents are made, of t_s and of the chains.
  template <bool kUndo>
  static void Expand(T* s, T* t_s, DualChains<T> b, DualChains<T> next, const T* t_v,
                     const BundleLevel<T>& level, bool fresh) {
    ForStrips<4>(level.dimension, [&](auto columns, int64_t from) JAX_SIGLIB_LAMBDA {
      constexpr int C = decltype(columns)::value;
      const DualChains<T> to = From(next, from);
      if (s != nullptr)
        ExpandStrip<kUndo, true, C>(s + from * W, t_s + from * W, b, to, t_v + from * W,
                                    from, level, fresh);
      else
        ExpandStrip<kUndo, false, C>(nullptr, t_s + from * W, b, to, t_v + from * W, from,
                                     level, fresh);
    });
  }

  // The tangent of BundleLevels::Contract: ct and the chains y with tangents, and of the
  // increments' cotangents the tangent is collected in w. What the cotangent gives to both
  // is one pass, what its tangent gives another: more sums than that fit no registers.
  static void Contract(T* ct, T* t_ct, DualChains<T> y, DualChains<T> b,
                       DualChains<T> y_word, const T* t_v, T* w,
                       const BundleLevel<T>& level) {
    const Chains<T> t_word{y_word.tangent, y_word.stride};
    BundleLevels<T>::ContractTwice(ct, {y.data, y.stride}, {b.tangent, b.stride},
                                   {y_word.data, y_word.stride}, t_v, t_word, w, level);
    BundleLevels<T>::ContractMore(t_ct, {y.tangent, y.stride}, {b.data, b.stride}, t_word,
                                  w, level);
  }

  // The same at level 0, where the word's chains are 1 and have no tangents, and where the
  // way back ends: of level 1 only the tangents t_ct and t_y count.
  static void ContractRoot(T* t_ct, Chains<T> t_y, T* w, const BundleLevel<T>& level) {
    for (int64_t j = 0; j < level.dimension; ++j) {
      const V behind = Simd::Load(t_ct + j * W);
      V change = Simd::Zero();
      for (int64_t t = level.steps - 1; t >= 0; --t) {
        V sum = Simd::Add(behind, change);
        for (int64_t n = 1; n < level.chains; ++n) {
          const V child =
              Simd::Load(t_y.data + (n - 1) * t_y.stride + (t * level.dimension + j) * W);
          change = Simd::Add(change, child);
          sum = Simd::MulAdd(child, Simd::Set1(level.inverse[n]), sum);
        }
        T* const to = w + (t * level.dimension + j) * W;
        Simd::Store(to, Simd::Add(Simd::Load(to), sum));
      }
      BundleLevels<T>::Carry(t_ct + j * W, change, level.low, false);
    }
  }

 private:
  static DualChains<T> From(DualChains<T> chains, int64_t column) {
    return {chains.data + column * W, chains.tangent + column * W, chains.stride};
  }

  template <bool kUndo, bool kValues, int C>
  static JAX_SIGLIB_STEP void ExpandStrip(T* s, T* t_s, DualChains<T> b, DualChains<T> next,
                                          const T* t_v, int64_t from,
                                          const BundleLevel<T>& level, bool fresh) {
    const int64_t d = level.dimension, chains = level.chains;
    const T* const inverse = level.inverse;
    const T* const v = level.v + from * W;
    V before[C], t_before[C], change[C], t_change[C], value[C], t_value[C];
    Unroll<0, C>([&](auto c) JAX_SIGLIB_LAMBDA {
      before[c.value] = !kValues || fresh ? Simd::Zero() : Simd::Load(s + c.value * W);
      t_before[c.value] = fresh ? Simd::Zero() : Simd::Load(t_s + c.value * W);
      change[c.value] = t_change[c.value] = Simd::Zero();
      value[c.value] = before[c.value];
      t_value[c.value] = t_before[c.value];
    });
    for (int64_t i = 0; i < level.steps; ++i) {
      const int64_t t = kUndo ? level.steps - 1 - i : i;
      // f(c, x + word (x) v, its tangent), given a chain of the word.
      auto join = [&](V word, V t_word, const V(&x)[C], const V(&t_x)[C],
                      auto&& f) JAX_SIGLIB_LAMBDA {
        Unroll<0, C>([&](auto c) JAX_SIGLIB_LAMBDA {
          const V entry = Simd::Load(v + (t * d + c.value) * W);
          const V t_entry = Simd::Load(t_v + (t * d + c.value) * W);
          f(c, kValues ? Simd::MulAdd(word, entry, x[c.value]) : x[c.value],
            Simd::MulAdd(word, t_entry, Simd::MulAdd(t_word, entry, t_x[c.value])));
        });
      };
      auto step = [&]() JAX_SIGLIB_LAMBDA {
        V word = Simd::Load(b.data + t * d * W), t_word = Simd::Load(b.tangent + t * d * W);
        if (kUndo) {
          word = Simd::Mul(word, Simd::Set1(T(-1)));
          t_word = Simd::Mul(t_word, Simd::Set1(T(-1)));
        }
        join(word, t_word, change, t_change, [&](auto c, V out, V t_out) JAX_SIGLIB_LAMBDA {
          change[c.value] = out;
          t_change[c.value] = t_out;
          value[c.value] = Simd::Add(before[c.value], out);
          t_value[c.value] = Simd::Add(t_before[c.value], t_out);
        });
      };
      if (kUndo) step();
      for (int64_t n = 1; n < chains; ++n) {
        const V scale = Simd::Set1(inverse[n]);
        T* const to = next.data + (n - 1) * next.stride + t * d * W;
        T* const t_to = next.tangent + (n - 1) * next.stride + t * d * W;
        join(Simd::Mul(Simd::Load(b.data + n * b.stride + t * d * W), scale),
             Simd::Mul(Simd::Load(b.tangent + n * b.stride + t * d * W), scale), value,
             t_value, [&](auto c, V chain, V t_chain) JAX_SIGLIB_LAMBDA {
               if (kValues) Simd::Store(to + c.value * W, chain);
               Simd::Store(t_to + c.value * W, t_chain);
             });
      }
      if (!kUndo) step();
    }
    Unroll<0, C>([&](auto c) JAX_SIGLIB_LAMBDA {
      if (kValues)
        BundleLevels<T>::Carry(s + c.value * W, change[c.value], level.low, fresh);
      BundleLevels<T>::Carry(t_s + c.value * W, t_change[c.value], level.low, fresh);
    });
  }
};

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_BUNDLE_TANGENTS_H_
