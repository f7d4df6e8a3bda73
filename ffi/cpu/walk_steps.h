// How walks (join_walk.h) take a step between two levels: small dimensions with the step
// inlined, others by a call of one that is compiled once for each dimension and not into
// every kernel that walks. That halves the time of a build and costs some nanoseconds,
// which is little beside such a step.
#ifndef JAX_SIGLIB_CPU_WALK_STEPS_H_
#define JAX_SIGLIB_CPU_WALK_STEPS_H_

#include <type_traits>

#include "simd.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

// The steps are copied, and what they collect copied back, so that both are in registers:
// what is referred to might be written by the step. Steps is const where nothing is
// collected.
template <auto kStep, class Steps, class... Args>
JAX_SIGLIB_STEP void CallStep(Steps& steps, Args... args) {
  Steps own = steps;
  (own.*kStep)(args...);
  if constexpr (!std::is_const_v<Steps>) steps.TakeSum(own);
}

// With those for tangents too registers would not do: only sums are worth a copy.
template <auto kStep, class Steps, class TSteps, class... Args>
JAX_SIGLIB_STEP void CallDualStep(Steps& steps, const TSteps& t_steps, Args... args) {
  if constexpr (std::is_const_v<Steps>) {
    (steps.*kStep)(t_steps, args...);
  } else {
    Steps own = steps;
    (own.*kStep)(t_steps, args...);
    steps.TakeSum(own);
  }
}

// steps.kStep(args...).
template <auto kStep, class Steps, class... Args>
JAX_SIGLIB_INLINE void TakeStep(Steps& steps, Args... args) {
  if constexpr (Steps::kCalled)
    CallStep<kStep>(steps, args...);
  else
    (steps.*kStep)(args...);
}

// steps.kStep(t_steps, args...).
template <auto kStep, class Steps, class TSteps, class... Args>
JAX_SIGLIB_INLINE void TakeDualStep(Steps& steps, const TSteps& t_steps, Args... args) {
  if constexpr (Steps::kCalled)
    CallDualStep<kStep>(steps, t_steps, args...);
  else
    (steps.*kStep)(t_steps, args...);
}

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_WALK_STEPS_H_
