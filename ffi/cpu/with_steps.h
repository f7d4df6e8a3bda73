// From the run-time dimension and side to the Steps compiled for them.
#ifndef JAX_SIGLIB_CPU_WITH_STEPS_H_
#define JAX_SIGLIB_CPU_WITH_STEPS_H_

#include "join_plan.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

template <class T, int D>
class AppendSteps;
template <class T>
class AppendStepsAny;
template <class T, int D>
class PrependSteps;

template <class T>
struct StepsType {
  using type = T;
};

// f(StepsType<AppendSteps<T, D>>{}) and true if the plan's dimension D is in the list.
template <class T, int... kDimensions, class F>
bool WithAppendSteps(const JoinPlan<T>& plan, F&& f) {
  static_assert((IsStaticDimension(kDimensions) && ...));
  return ([&] {
    if (plan.algebra().dimension() != kDimensions) return false;
    f(StepsType<AppendSteps<T, kDimensions>>{});
    return true;
  }() || ...);
}

// f(StepsType<the Steps to use>{}), appending. Those named here are compiled by
// kernels/walks_*.cc.
template <class T, class F>
void WithSomeAppendSteps(const JoinPlan<T>& plan, F&& f) {
#if defined(__AVX2__)
  if (WithAppendSteps<T, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 16, 20>(plan, f)) return;
#else
  // 128-bit vectors gain little from a known dimension; leaving most of them out halves
  // the time it takes to build.
  if (WithAppendSteps<T, 1, 2, 3, 4>(plan, f)) return;
#endif
  f(StepsType<AppendStepsAny<T>>{});
}

// The same on either side.
template <class T, class F>
void WithSteps(const JoinPlan<T>& plan, F&& f) {
  if (plan.prepend()) return f(StepsType<PrependSteps<T, 0>>{});
  WithSomeAppendSteps<T>(plan, f);
}

template <class StepsToUse, int kDimension, int kDegree>
struct StaticSize {
  using Steps = StepsToUse;
  static constexpr int dimension = kDimension;
  static constexpr int degree = kDegree;
};

// f(StaticSize of dimension D and this degree) and true if the degree is one of the list.
template <class T, int D, int... kDegrees, class F>
bool WithStaticDegree(const JoinPlan<T>& plan, F&& f) {
  return ([&] {
    if (plan.algebra().degree() != kDegrees) return false;
    if (plan.prepend())
      f(StaticSize<PrependSteps<T, D>, D, kDegrees>{});
    else
      f(StaticSize<AppendSteps<T, D>, D, kDegrees>{});
    return true;
  }() || ...);
}

// The same for the small sizes that join_static.h is compiled for.
template <class T, class F>
bool WithStaticSize(const JoinPlan<T>& plan, F&& f) {
#if defined(__AVX2__)
  switch (plan.algebra().dimension()) {
    case 2:
      return WithStaticDegree<T, 2, 3, 4, 5, 6, 7, 8, 9, 10>(plan, f);
    case 3:
      return WithStaticDegree<T, 3, 3, 4, 5, 6>(plan, f);
    case 4:
      return WithStaticDegree<T, 4, 3, 4>(plan, f);
    case 5:
      return WithStaticDegree<T, 5, 3, 4, 5>(plan, f);
    case 6:
      return WithStaticDegree<T, 6, 3>(plan, f);
    case 7:
      return WithStaticDegree<T, 7, 3>(plan, f);
    case 8:
      return WithStaticDegree<T, 8, 3>(plan, f);
  }
#else
  (void)plan;
  (void)f;
#endif
  return false;
}

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_WITH_STEPS_H_
