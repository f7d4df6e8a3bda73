#include "../kernel_functions.h"
#include "../sig_join_kernel.h"
#include "../with_steps.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

template <class T>
void SigJoinJvp(const SigJoinJob<T>& job, JoinPhase phase, int64_t begin, int64_t end,
                T* scratch) {
  WithSteps<T>(job.plan, [&](auto steps) {
    SigJoinTangent<typename decltype(steps)::type>(job, phase, begin, end, scratch);
  });
}

template void SigJoinJvp(const SigJoinJob<float>&, JoinPhase, int64_t, int64_t, float*);
template void SigJoinJvp(const SigJoinJob<double>&, JoinPhase, int64_t, int64_t, double*);

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib
