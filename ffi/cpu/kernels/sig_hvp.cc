#include "../kernel_functions.h"
#include "../sig_hvp_kernel.h"
#include "../with_steps.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

template <class T>
void SigHvp(const SigJob<T>& job, int64_t begin, int64_t end, T* scratch) {
  WithSteps<T>(job.plan, [&](auto steps) {
    SigAdjointTangent<typename decltype(steps)::type>(job, begin, end, scratch);
  });
}

template void SigHvp(const SigJob<float>&, int64_t, int64_t, float*);
template void SigHvp(const SigJob<double>&, int64_t, int64_t, double*);

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib
