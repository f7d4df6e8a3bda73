#include "../kernel_functions.h"
#include "../prepend_steps.h"
#include "../sig_join_kernel.h"
#include "../walk_kernels.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

template <class T>
void SigJoinBackprop(const SigJoinJob<T>& job, JoinPhase phase, int64_t begin, int64_t end,
                     T* scratch) {
  if (phase == JoinPhase::kWhole && WithStaticSize<T>(job.plan, [&](auto size) {
        using Size = decltype(size);
        SigJoinStaticAdjoint<typename Size::Steps, Size::dimension, Size::degree>(
            job, begin, end);
      }))
    return;
  WithJoinWalks(
      job, [&](auto walks) { walks.SigJoinBackprop(job, phase, begin, end, scratch); });
}

template void SigJoinBackprop(const SigJoinJob<float>&, JoinPhase, int64_t, int64_t,
                              float*);
template void SigJoinBackprop(const SigJoinJob<double>&, JoinPhase, int64_t, int64_t,
                              double*);

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib
