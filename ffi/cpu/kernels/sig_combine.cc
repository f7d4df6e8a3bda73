#include "../kernel_functions.h"
#include "../sig_combine_kernel.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

template <class T>
void SigCombine(const CombineJob<T>& job, JoinPhase phase, int64_t begin, int64_t end,
                T* scratch) {
  SigCombineForward(job, phase, begin, end, scratch);
}

template void SigCombine(const CombineJob<float>&, JoinPhase, int64_t, int64_t, float*);
template void SigCombine(const CombineJob<double>&, JoinPhase, int64_t, int64_t, double*);

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib
