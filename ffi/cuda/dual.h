// A number with its tangent, for kernels that are written once for both orders: what they
// compute with numbers they compute with these, by the product rule.
#ifndef JAX_SIGLIB_CUDA_DUAL_H_
#define JAX_SIGLIB_CUDA_DUAL_H_

#include <type_traits>

#include "block.h"

namespace jax_siglib {
namespace cuda {

template <class T>
struct Dual {
  T x, t;
};

template <class T>
JAX_SIGLIB_KERNEL Dual<T> operator+(const Dual<T>& a, const Dual<T>& b) {
  return {a.x + b.x, a.t + b.t};
}
template <class T>
JAX_SIGLIB_KERNEL Dual<T> operator-(const Dual<T>& a, const Dual<T>& b) {
  return {a.x - b.x, a.t - b.t};
}
template <class T>
JAX_SIGLIB_KERNEL Dual<T> operator*(const Dual<T>& a, const Dual<T>& b) {
  return {a.x * b.x, a.x * b.t + a.t * b.x};
}
// With a constant, the tangent of which is zero by nature.
template <class T>
JAX_SIGLIB_KERNEL Dual<T> operator*(T a, const Dual<T>& b) {
  return {a * b.x, a * b.t};
}

// T, or with a tangent.
template <class T, bool kDual>
using Number = std::conditional_t<kDual, Dual<T>, T>;

template <class N, class T>
JAX_SIGLIB_KERNEL N Constant(T x) {
  if constexpr (std::is_same_v<N, T>)
    return x;
  else
    return {x, 0};
}

// What an operation is asked for: of a dual number the tangent.
template <class T>
JAX_SIGLIB_KERNEL T Asked(T x) {
  return x;
}
template <class T>
JAX_SIGLIB_KERNEL T Asked(const Dual<T>& a) {
  return a.t;
}

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_DUAL_H_
