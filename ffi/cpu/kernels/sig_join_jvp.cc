#include "../kernel_functions.h"
#include "../walk_kernels.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

template <class T>
void SigJoinJvp(const SigJoinJob<T>& job, JoinPhase phase, int64_t begin, int64_t end,
                T* scratch) {
  WithJoinWalks(job,
                [&](auto walks) { walks.SigJoinJvp(job, phase, begin, end, scratch); });
}

template void SigJoinJvp(const SigJoinJob<float>&, JoinPhase, int64_t, int64_t, float*);
template void SigJoinJvp(const SigJoinJob<double>&, JoinPhase, int64_t, int64_t, double*);

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib
