#include "../kernel_functions.h"
#include "../sig_join_hvp_kernel.h"
#include "../with_steps.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

template <class T>
void SigJoinHvp(const SigJoinJob<T>& job, JoinPhase phase, int64_t begin, int64_t end,
                T* scratch) {
  WithSteps<T>(job.plan, [&](auto steps) {
    SigJoinAdjointTangent<typename decltype(steps)::type>(job, phase, begin, end, scratch);
  });
}

template void SigJoinHvp(const SigJoinJob<float>&, JoinPhase, int64_t, int64_t, float*);
template void SigJoinHvp(const SigJoinJob<double>&, JoinPhase, int64_t, int64_t, double*);

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib
