// What carries out kernels: a GPU's stream (stream.h) or, in tests, the CPU (on_host.h).
#ifndef JAX_SIGLIB_CUDA_EXECUTOR_H_
#define JAX_SIGLIB_CUDA_EXECUTOR_H_

#include <cstdint>

#include "../arrays.h"
#include "branch_job.h"
#include "combine_job.h"
#include "join_job.h"
#include "launch.h"
#include "path_job.h"
#include "rows_job.h"

namespace jax_siglib {
namespace cuda {

// f(name, body) for every kernel of a family (join_kernels.h, path_kernels.h,
// branch_kernels.h, combine_kernels.h, rows_kernels.h).
#define JAX_SIGLIB_FOR_EACH_JOIN_KERNEL(f)                                             \
  f(kJoinForward, JoinForward<false, false>) f(kJoinTangent, JoinForward<true, false>) \
      f(kJoinAdjoint, JoinAdjoint<false, false>)                                       \
          f(kJoinAdjointTangent, JoinAdjoint<true, false>)                             \
              f(kJoinForwardWhole, JoinForward<false, true>)                           \
                  f(kJoinTangentWhole, JoinForward<true, true>)                        \
                      f(kJoinAdjointWhole, JoinAdjoint<false, true>)                   \
                          f(kJoinAdjointTangentWhole, JoinAdjoint<true, true>)         \
                              f(kJoinSums, JoinSums)
// Of joins too, with code for some dimensions.
#define JAX_SIGLIB_FOR_EACH_ROOTS_KERNEL(f) \
  f(kJoinForwardRoots, JoinRoots<false>) f(kJoinAdjointRoots, JoinRoots<true>)
#define JAX_SIGLIB_FOR_EACH_PATH_KERNEL(f)                                            \
  f(kPathForward, PathForward<false>) f(kPathTangent, PathForward<true>)              \
      f(kPathAdjoint, PathBackward<false>) f(kPathAdjointTangent, PathBackward<true>) \
          f(kPathSums, PathSums)
#define JAX_SIGLIB_FOR_EACH_BRANCH_KERNEL(f)                                               \
  f(kBranchForward, BranchThere<false, false, BranchForwardBlock>)                         \
      f(kBranchTangent, BranchThere<true, false, BranchForwardBlock>)                      \
          f(kBranchAdjoint, BranchBack<false, false, BranchBackwardBlock>)                 \
              f(kBranchAdjointTangent, BranchBack<true, false, BranchBackwardBlock>) f(    \
                  kBranchStream, BranchThere<false, true, BranchStreamForward>)            \
                  f(kBranchStreamTangent, BranchThere<true, true, BranchStreamForward>) f( \
                      kBranchStreamAdjoint, BranchBack<false, true, BranchStreamBackward>) \
                      f(kBranchGather, BranchGather)
#define JAX_SIGLIB_FOR_EACH_COMBINE_KERNEL(f)                           \
  f(kCombineForward, CombineForward) f(kCombineAdjoint, CombineAdjoint) \
      f(kCombineInverse, CombineInverse)
#define JAX_SIGLIB_FOR_EACH_ROWS_KERNEL(f)                             \
  f(kRowsFill, RowsFill) f(kRowsAdd, RowsAdd) f(kRowsSteps, RowsSteps) \
      f(kRowsEnds, RowsEnds) f(kRowsWiden, RowsWiden) f(kRowsRound, RowsRound)

#define JAX_SIGLIB_NAME(name, ...) name,
enum class Kernel {
  JAX_SIGLIB_FOR_EACH_JOIN_KERNEL(JAX_SIGLIB_NAME)
      JAX_SIGLIB_FOR_EACH_ROOTS_KERNEL(JAX_SIGLIB_NAME)
          JAX_SIGLIB_FOR_EACH_PATH_KERNEL(JAX_SIGLIB_NAME)
              JAX_SIGLIB_FOR_EACH_BRANCH_KERNEL(JAX_SIGLIB_NAME)
                  JAX_SIGLIB_FOR_EACH_COMBINE_KERNEL(JAX_SIGLIB_NAME)
                      JAX_SIGLIB_FOR_EACH_ROWS_KERNEL(JAX_SIGLIB_NAME)
};
#undef JAX_SIGLIB_NAME

class Executor {
 public:
  virtual ~Executor() = default;

  Limits limits;

  // Memory for the kernels of this call; throws std::bad_alloc if there is none.
  virtual void* Allocate(int64_t bytes) = 0;

  // Kernels run one after another. `workspace` is that of all blocks, null where they have
  // it in shared memory. Throws std::runtime_error if one cannot be launched.
  virtual void Run(Kernel kernel, Dtype dtype, const JoinJob& job, const Launch& launch,
                   void* workspace) = 0;
  virtual void Run(Kernel kernel, Dtype dtype, const PathJob& job, const Launch& launch,
                   void* workspace) = 0;
  // In shared memory alone. Computed with as `dtype`, or what that is computed with,
  // whatever the job's arrays hold.
  virtual void Run(Kernel kernel, Dtype dtype, const BranchJob& job,
                   const Launch& launch) = 0;
  virtual void Run(Kernel kernel, Dtype dtype, const CombineJob& job, const Launch& launch,
                   void* workspace) = 0;
  virtual void Run(Kernel kernel, Dtype dtype, const RowsJob& job, const Launch& launch,
                   void* workspace) = 0;
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_EXECUTOR_H_
