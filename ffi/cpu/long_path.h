// Long paths of floats that go one step after another are reckoned with in double: else
// each step would round what has gathered in the levels below N, and in their cotangents
// going back, to its last digit. It takes up to twice as long. (Paths side by side keep
// their digits in another way, bundle_levels.h.)
#ifndef JAX_SIGLIB_CPU_LONG_PATH_H_
#define JAX_SIGLIB_CPU_LONG_PATH_H_

#include <cstdint>
#include <type_traits>

#include "join_plan.h"

namespace jax_siglib {

// Longer than this: so far the error of the gradient of a smooth path is within 2e-5 of
// its norm.
constexpr int64_t kLongPath = 4096;

template <class T>
bool InDouble(int64_t points) {
  return std::is_same_v<T, float> && points > kLongPath;
}

inline JoinPlan<double> PlanInDouble(const JoinPlan<float>& plan) {
  return {plan.algebra().dimension(), plan.algebra().degree(), false, false};
}

// Entries of type T for a worker with such a path, long or not: what the join takes, a
// displacement, and in double all levels of a signature.
template <class T>
int64_t LongPathScratch(const JoinPlan<T>& plan, int64_t points, int64_t order) {
  if constexpr (std::is_same_v<T, float>) {
    if (InDouble<T>(points)) {
      const JoinPlan<double> wide = PlanInDouble(plan);
      return 2 * (LongPathScratch(wide, points, order) + wide.algebra().length());
    }
  }
  return plan.path_scratch(order) + plan.displacement_scratch();
}

}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_LONG_PATH_H_
