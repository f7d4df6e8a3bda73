#include "../kernel_functions.h"
#include "../walk_kernels.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

template <class T>
void SigJoinHvp(const SigJoinJob<T>& job, JoinPhase phase, int64_t begin, int64_t end,
                T* scratch) {
  WithJoinWalks(job,
                [&](auto walks) { walks.SigJoinHvp(job, phase, begin, end, scratch); });
}

template void SigJoinHvp(const SigJoinJob<float>&, JoinPhase, int64_t, int64_t, float*);
template void SigJoinHvp(const SigJoinJob<double>&, JoinPhase, int64_t, int64_t, double*);

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib
