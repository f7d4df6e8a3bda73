// The kernels that walk through the levels, for every kind of Steps: declared here, defined
// by walk_kernels_of.h, and compiled by kernels/walks_*.cc, each dimension once.
#ifndef JAX_SIGLIB_CPU_WALK_KERNELS_H_
#define JAX_SIGLIB_CPU_WALK_KERNELS_H_

#include <type_traits>

#include "kernels.h"
#include "long_path.h"
#include "with_steps.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

// As in the table (kernels.h), for the Steps of the job's plan.
template <class T, class Steps>
struct JoinWalks {
  static void SigJoin(const SigJoinJob<T>& job, JoinPhase phase, int64_t begin, int64_t end,
                      T* scratch);
  static void SigJoinJvp(const SigJoinJob<T>& job, JoinPhase phase, int64_t begin,
                         int64_t end, T* scratch);
  static void SigJoinBackprop(const SigJoinJob<T>& job, JoinPhase phase, int64_t begin,
                              int64_t end, T* scratch);
  static void SigJoinHvp(const SigJoinJob<T>& job, JoinPhase phase, int64_t begin,
                         int64_t end, T* scratch);
};

// Numbers are read and written in the type In of the job, and reckoned with in that of the
// plan and the steps: double for long paths of floats (long_path.h).
template <class In, class T, class Steps>
struct PathWalks {
  static void Sig(const SigJob<In>& job, const JoinPlan<T>& plan, int64_t begin,
                  int64_t end, In* scratch);
  static void SigJvp(const SigJob<In>& job, const JoinPlan<T>& plan, int64_t begin,
                     int64_t end, In* scratch);
  static void SigBackprop(const SigJob<In>& job, const JoinPlan<T>& plan, int64_t begin,
                          int64_t end, In* scratch);
  static void SigHvp(const SigJob<In>& job, const JoinPlan<T>& plan, int64_t begin,
                     int64_t end, In* scratch);
};

// f(the JoinWalks to use).
template <class T, class F>
void WithJoinWalks(const SigJoinJob<T>& job, F&& f) {
  WithSteps<T>(job.plan,
               [&](auto steps) { f(JoinWalks<T, typename decltype(steps)::type>{}); });
}

// f(the PathWalks to use, the plan for them).
template <class In, class F>
void WithPathWalks(const SigJob<In>& job, F&& f) {
  if constexpr (std::is_same_v<In, float>) {
    if (InDouble<In>(job.points)) {
      const JoinPlan<double> plan = PlanInDouble(job.plan);
      return WithSomeAppendSteps<double>(plan, [&](auto steps) {
        f(PathWalks<In, double, typename decltype(steps)::type>{}, plan);
      });
    }
  }
  WithSomeAppendSteps<In>(job.plan, [&](auto steps) {
    f(PathWalks<In, In, typename decltype(steps)::type>{}, job.plan);
  });
}

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_WALK_KERNELS_H_
