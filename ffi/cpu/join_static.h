// A whole join whose dimension and degree are both known at compile time, for
// signatures so small that walking the levels (join_walk.h) costs more than the levels:
// the same steps, with every size, mask and address a constant.
#ifndef JAX_SIGLIB_CPU_JOIN_STATIC_H_
#define JAX_SIGLIB_CPU_JOIN_STATIC_H_

#include "append_steps.h"
#include "join_walk.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

// Steps are AppendSteps<T, D> or PrependSteps<T, D>.
template <class Steps, int D, int N>
class StaticJoin {
 public:
  using T = typename Steps::T;
  static_assert(N >= 3);

  StaticJoin() {
    for (int64_t i = 0; i < ChainAt(1); ++i) chains_[i] = T(1);
    for (int c = 0; c < N; ++c) inverse_[c] = T(1) / static_cast<T>(c + 1);
  }

  JAX_SIGLIB_INLINE void Forward(const Steps& steps, const T* s, T* out) {
    if constexpr (Steps::kFusesTopTwo) {
      Rise<true, N - 2>(steps, s, out);
      steps.ExpandTopTwo(out + Offset(N - 1), out + Offset(N), s + Offset(N - 1),
                         s + Offset(N), chains_ + ChainAt(N - 2), Stride(N - 2),
                         LevelAt(N - 2));
    } else {
      Rise<true, N>(steps, s, out);
    }
  }

  // ct_v is padded to whole vectors and overwritten.
  JAX_SIGLIB_INLINE void Adjoint(Steps& steps, const T* s, const T* g, T* ct_s, T* ct_v) {
    constexpr int k = Steps::kFusesTopTwo ? N - 2 : N;
    if constexpr (Steps::kFusesTopTwo) {
      Rise<false, N - 2>(steps, s, nullptr);
      steps.template ContractTopTwo<true>(
          ct_s + Offset(k + 1), ct_s + Offset(k + 2), g + Offset(k + 1), g + Offset(k + 2),
          s + Offset(k + 1), chains_ + ChainAt(k), Stride(k), adjoints_ + ChainAt(k),
          Stride(k), LevelAt(k));
    } else {
      Rise<false, N - 1>(steps, s, nullptr);
    }
    Unroll<0, k - 1>([&](auto i) JAX_SIGLIB_LAMBDA {
      constexpr int k = (Steps::kFusesTopTwo ? N - 3 : N - 1) - decltype(i)::value;
      steps.ContractLevel(ct_s + Offset(k + 1), g + Offset(k + 1),
                          adjoints_ + ChainAt(k + 1), Stride(k + 1), chains_ + ChainAt(k),
                          Stride(k), adjoints_ + ChainAt(k), Stride(k), LevelAt(k));
    });
    const Chains<T> y{adjoints_ + ChainAt(1), Stride(1)};
    BottomLevel<T>(g, ct_s, y, D, N, inverse_, ct_v);
    steps.AddDisplacement(ct_v);
  }

 private:
  static constexpr int64_t Size(int level) {
    int64_t size = 1;
    for (int k = 0; k < level; ++k) size *= D;
    return size;
  }
  static constexpr int64_t Offset(int level) {
    int64_t offset = 0;
    for (int k = 1; k < level; ++k) offset += Size(k);
    return offset;
  }
  static constexpr int64_t Stride(int level) { return PadToVector<T>(Size(level)); }
  static constexpr int64_t ChainAt(int level) {
    int64_t at = 0;
    for (int k = 0; k < level; ++k) at += Stride(k) * (N - k);
    return at;
  }

  JAX_SIGLIB_INLINE Level<T> LevelAt(int k) const {
    return {D, Size(k), N - k, 1, Size(k), Size(k), k == 0, inverse_};
  }

  template <bool kOut, int kTo>
  JAX_SIGLIB_INLINE void Rise(const Steps& steps, const T* s, T* out) {
    Unroll<0, kTo>([&](auto level) JAX_SIGLIB_LAMBDA {
      constexpr int k = decltype(level)::value;
      steps.template ExpandLevel<kOut>(kOut ? out + Offset(k + 1) : nullptr,
                                       s + Offset(k + 1), chains_ + ChainAt(k), Stride(k),
                                       chains_ + ChainAt(k + 1), Stride(k + 1), LevelAt(k));
    });
  }

  alignas(64) T chains_[ChainAt(N)];
  alignas(64) T adjoints_[ChainAt(N)];
  T inverse_[N];
};

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_JOIN_STATIC_H_
