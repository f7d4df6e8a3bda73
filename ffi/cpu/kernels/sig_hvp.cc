#include "../kernel_functions.h"
#include "../sig_hvp_kernel.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

template <class T>
void SigHvp(const SigJob<T>& job, int64_t begin, int64_t end, T* scratch) {
  WithPathSteps(job, [&](auto steps, const auto& plan) {
    using Steps = typename decltype(steps)::type;
    SigAdjointTangent<Steps>(job, plan, begin, end, AsScratch<typename Steps::T>(scratch));
  });
}

template void SigHvp(const SigJob<float>&, int64_t, int64_t, float*);
template void SigHvp(const SigJob<double>&, int64_t, int64_t, double*);

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib
