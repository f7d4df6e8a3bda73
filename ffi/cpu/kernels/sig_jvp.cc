#include "../kernel_functions.h"
#include "../walk_kernels.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

template <class T>
void SigJvp(const SigJob<T>& job, int64_t begin, int64_t end, T* scratch) {
  WithPathWalks(job, scratch, [&](auto walks, const auto& own_job, auto* own) {
    walks.SigJvp(own_job, begin, end, own);
  });
}

template void SigJvp(const SigJob<float>&, int64_t, int64_t, float*);
template void SigJvp(const SigJob<double>&, int64_t, int64_t, double*);

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib
