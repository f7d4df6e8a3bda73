#include "../kernel_functions.h"
#include "../sig_inverse_kernel.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

template <class T>
void SigInverse(const InverseJob<T>& job, int64_t begin, int64_t end) {
  SigInverseItems(job, begin, end);
}

template void SigInverse(const InverseJob<float>&, int64_t, int64_t);
template void SigInverse(const InverseJob<double>&, int64_t, int64_t);

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib
