// Multiply-adds in registers alone: what the processor can do at the most.
#include "../kernel_functions.h"
#include "../simd.h"
#include "../unroll.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

template <class T>
int64_t MultiplyAdds(int64_t rounds, T* sum) {
  using Simd = Vec<T>;
  // Enough sums under way for two units that take four or five cycles each.
  constexpr int kSums = 12;
  typename Simd::V x[kSums];
  Unroll<0, kSums>([&](auto i) JAX_SIGLIB_LAMBDA { x[i.value] = Simd::Zero(); });
  const typename Simd::V half = Simd::Set1(T(0.5)), one = Simd::Set1(T(1));
  for (int64_t round = 0; round < rounds; ++round)
    Unroll<0, kSums>([&](auto i) JAX_SIGLIB_LAMBDA {
      x[i.value] = Simd::MulAdd(x[i.value], half, one);
    });
  typename Simd::V total = Simd::Zero();
  Unroll<0, kSums>([&](auto i) JAX_SIGLIB_LAMBDA { total = Simd::Add(total, x[i.value]); });
  T lanes[Simd::kLanes];
  Simd::Store(lanes, total);
  *sum = T(0);
  for (const T lane : lanes) *sum += lane;
  return rounds * kSums * Simd::kLanes;
}

template int64_t MultiplyAdds(int64_t, float*);
template int64_t MultiplyAdds(int64_t, double*);

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib
