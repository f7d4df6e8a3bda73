// The kernels that walk through the levels, for every kind of Steps: declared here, defined
// by walk_kernels_of.h, and compiled by kernels/walks_*.cc, each dimension once.
#ifndef JAX_SIGLIB_CPU_WALK_KERNELS_H_
#define JAX_SIGLIB_CPU_WALK_KERNELS_H_

#include <type_traits>

#include "kernels.h"
#include "long_path.h"
#include "path_job.h"
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

// The same of paths.
template <class T, class Steps>
struct PathWalks {
  static void Sig(const PathJob<T>& job, int64_t begin, int64_t end, T* scratch);
  static void SigJvp(const PathJob<T>& job, int64_t begin, int64_t end, T* scratch);
  static void SigBackprop(const PathJob<T>& job, int64_t begin, int64_t end, T* scratch);
  static void SigHvp(const PathJob<T>& job, int64_t begin, int64_t end, T* scratch);
};

// f(the JoinWalks to use).
template <class T, class F>
void WithJoinWalks(const SigJoinJob<T>& job, F&& f) {
  WithSteps<T>(job.plan,
               [&](auto steps) { f(JoinWalks<T, typename decltype(steps)::type>{}); });
}

// f(the PathWalks to use; the job and the scratch for them).
template <class In, class F>
void WithPathWalks(const SigJob<In>& job, In* scratch, F&& f) {
  WithPlan(job.plan, InDouble<In>(job.points), scratch, [&](const auto& plan, auto* own) {
    using T = std::remove_pointer_t<decltype(own)>;
    WithSomeAppendSteps<T>(plan, [&](auto steps) {
      f(PathWalks<T, typename decltype(steps)::type>{}, PathJob<T>(job, plan), own);
    });
  });
}

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_WALK_KERNELS_H_
