// Threads for calls from outside XLA, where its pool cannot be had.
#ifndef JAX_SIGLIB_CPU_THREAD_POOL_H_
#define JAX_SIGLIB_CPU_THREAD_POOL_H_

#include "parallel_for.h"

namespace jax_siglib {

// The process's pool: one thread less than there are processors to run on, started
// when first asked for, never stopped (a forked child starts its own).
Scheduler& ProcessThreadPool();

// Processors this process may run on.
int64_t MaxThreads();

}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_THREAD_POOL_H_
