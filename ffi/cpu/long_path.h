// Long paths of floats are reckoned with in double. One step after another, each step would
// else round what has gathered in the levels below N, and in their cotangents going back,
// to its last digit. Paths side by side keep these digits in another way (bundle_levels.h),
// but the cotangent of a point is the difference of those of two increments, which cancel
// the more the more points there are. It takes 2.3 to 3 times as long.
#ifndef JAX_SIGLIB_CPU_LONG_PATH_H_
#define JAX_SIGLIB_CPU_LONG_PATH_H_

#include <cstdint>
#include <type_traits>

#include "join_plan.h"

namespace jax_siglib {

// Longer than this: so far the error of the gradient of a smooth path is within 2e-5 of
// its norm.
constexpr int64_t kLongPath = 4096;

// Side by side: so far it was within 6.7e-5 wherever tried, closed curves among them.
constexpr int64_t kLongPathInBundle = 8192;

template <class T>
bool InDouble(int64_t points) {
  return std::is_same_v<T, float> && points > kLongPath;
}

template <class T>
bool BundlesInDouble(int64_t points) {
  return std::is_same_v<T, float> && points > kLongPathInBundle;
}

inline JoinPlan<double> PlanInDouble(const JoinPlan<float>& plan) {
  return {plan.algebra().dimension(), plan.algebra().degree(), false, false};
}

// f(the plan to reckon with, in double or as it is, and a worker's scratch taken for
// numbers of its type).
template <class In, class F>
void WithPlan(const JoinPlan<In>& plan, bool in_double, In* scratch, F&& f) {
  if constexpr (std::is_same_v<In, float>) {
    if (in_double) return f(PlanInDouble(plan), reinterpret_cast<double*>(scratch));
  }
  f(plan, scratch);
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
