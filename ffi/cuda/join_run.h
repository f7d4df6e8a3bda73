// Hands the stages of a join to an executor.
#ifndef JAX_SIGLIB_CUDA_JOIN_RUN_H_
#define JAX_SIGLIB_CUDA_JOIN_RUN_H_

#include "executor.h"
#include "join_stages.h"

namespace jax_siglib {
namespace cuda {

// From the top down. The job's operands, its batch and its layout are set; kind.entry_bytes
// is not looked at.
void RunJoin(JoinJob& job, Dtype dtype, Kernel kernel, JoinKind kind, Executor& executor);

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_JOIN_RUN_H_
