#if defined(__AVX2__)  // with_steps.h
#include "../walk_kernels_of.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

JAX_SIGLIB_WALKS_APPENDING(10);
JAX_SIGLIB_WALKS_APPENDING(12);

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib
#endif
