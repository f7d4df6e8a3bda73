// How walks (join_walk.h) take a step between two levels: small dimensions with the step
// inlined, others by a call of one that is compiled once for each dimension and not into
// every kernel that walks. That halves the time of a build and costs some nanoseconds,
// which is little beside such a step.
#ifndef JAX_SIGLIB_CPU_WALK_STEPS_H_
#define JAX_SIGLIB_CPU_WALK_STEPS_H_

#include "simd.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

// The steps are copied, and their sums copied back, so that both are in registers: what is
// referred to might be written by the step. Where there are tangents, registers would not
// do.
template <auto kStep, class Steps, class... Args>
JAX_SIGLIB_STEP void CallStep(const Steps& steps, Args... args) {
  const Steps own = steps;
  (own.*kStep)(args...);
}
template <auto kStep, class Steps, class... Args>
JAX_SIGLIB_STEP void CallCollectingStep(Steps& steps, Args... args) {
  Steps own = steps;
  (own.*kStep)(args...);
  steps.TakeSum(own);
}
template <auto kStep, class Steps, class... Args>
JAX_SIGLIB_STEP void CallDualStep(const Steps& steps, const Steps& t_steps, Args... args) {
  (steps.*kStep)(t_steps, args...);
}
template <auto kStep, class Steps, class... Args>
JAX_SIGLIB_STEP void CallCollectingDualStep(Steps& steps, const Steps& t_steps,
                                            Args... args) {
  Steps own = steps;
  (own.*kStep)(t_steps, args...);
  steps.TakeSum(own);
}

// steps.kStep(args...).
template <auto kStep, class Steps, class... Args>
JAX_SIGLIB_INLINE void TakeStep(const Steps& steps, Args... args) {
  if constexpr (Steps::kCalled)
    CallStep<kStep>(steps, args...);
  else
    (steps.*kStep)(args...);
}
// The same, where it collects for the displacement.
template <auto kStep, class Steps, class... Args>
JAX_SIGLIB_INLINE void TakeCollectingStep(Steps& steps, Args... args) {
  if constexpr (Steps::kCalled)
    CallCollectingStep<kStep>(steps, args...);
  else
    (steps.*kStep)(args...);
}
// steps.kStep(t_steps, args...), likewise.
template <auto kStep, class Steps, class... Args>
JAX_SIGLIB_INLINE void TakeDualStep(const Steps& steps, const Steps& t_steps,
                                    Args... args) {
  if constexpr (Steps::kCalled)
    CallDualStep<kStep>(steps, t_steps, args...);
  else
    (steps.*kStep)(t_steps, args...);
}
template <auto kStep, class Steps, class... Args>
JAX_SIGLIB_INLINE void TakeCollectingDualStep(Steps& steps, const Steps& t_steps,
                                              Args... args) {
  if constexpr (Steps::kCalled)
    CallCollectingDualStep<kStep>(steps, t_steps, args...);
  else
    (steps.*kStep)(t_steps, args...);
}

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_WALK_STEPS_H_
