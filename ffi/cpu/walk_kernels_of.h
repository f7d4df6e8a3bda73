// Defines the kernels of walk_kernels.h. A file that includes this and says
// JAX_SIGLIB_WALKS_APPENDING(5) compiles those of dimension 5.
#ifndef JAX_SIGLIB_CPU_WALK_KERNELS_OF_H_
#define JAX_SIGLIB_CPU_WALK_KERNELS_OF_H_

#include "append_steps.h"
#include "append_steps_any.h"
#include "prepend_steps.h"
#include "sig_hvp_kernel.h"
#include "sig_join_hvp_kernel.h"
#include "walk_kernels.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

template <class T, class Steps>
void JoinWalks<T, Steps>::SigJoin(const SigJoinJob<T>& job, JoinPhase phase, int64_t begin,
                                  int64_t end, T* scratch) {
  SigJoinForward<Steps>(job, phase, begin, end, scratch);
}

template <class T, class Steps>
void JoinWalks<T, Steps>::SigJoinJvp(const SigJoinJob<T>& job, JoinPhase phase,
                                     int64_t begin, int64_t end, T* scratch) {
  SigJoinTangent<Steps>(job, phase, begin, end, scratch);
}

template <class T, class Steps>
void JoinWalks<T, Steps>::SigJoinBackprop(const SigJoinJob<T>& job, JoinPhase phase,
                                          int64_t begin, int64_t end, T* scratch) {
  SigJoinAdjoint<Steps>(job, phase, begin, end, scratch);
}

template <class T, class Steps>
void JoinWalks<T, Steps>::SigJoinHvp(const SigJoinJob<T>& job, JoinPhase phase,
                                     int64_t begin, int64_t end, T* scratch) {
  SigJoinAdjointTangent<Steps>(job, phase, begin, end, scratch);
}

template <class T, class Steps>
void PathWalks<T, Steps>::Sig(const PathJob<T>& job, int64_t begin, int64_t end,
                              T* scratch) {
  SigForward<Steps>(job, begin, end, scratch);
}

template <class T, class Steps>
void PathWalks<T, Steps>::SigJvp(const PathJob<T>& job, int64_t begin, int64_t end,
                                 T* scratch) {
  SigTangent<Steps>(job, begin, end, scratch);
}

template <class T, class Steps>
void PathWalks<T, Steps>::SigBackprop(const PathJob<T>& job, int64_t begin, int64_t end,
                                      T* scratch) {
  SigAdjoint<Steps>(job, begin, end, scratch);
}

template <class T, class Steps>
void PathWalks<T, Steps>::SigHvp(const PathJob<T>& job, int64_t begin, int64_t end,
                                 T* scratch) {
  SigAdjointTangent<Steps>(job, begin, end, scratch);
}

// For Steps<float> and Steps<double>.
#define JAX_SIGLIB_JOIN_WALKS(Steps)              \
  template struct JoinWalks<float, Steps<float>>; \
  template struct JoinWalks<double, Steps<double>>

#define JAX_SIGLIB_WALKS(Steps)                   \
  JAX_SIGLIB_JOIN_WALKS(Steps);                   \
  template struct PathWalks<float, Steps<float>>; \
  template struct PathWalks<double, Steps<double>>

#define JAX_SIGLIB_WALKS_APPENDING(dimension)               \
  template <class T>                                        \
  using AppendSteps##dimension = AppendSteps<T, dimension>; \
  JAX_SIGLIB_WALKS(AppendSteps##dimension)

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_WALK_KERNELS_OF_H_
