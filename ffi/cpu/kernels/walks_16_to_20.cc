#include "../walk_kernels_of.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

#if defined(__AVX2__)
JAX_SIGLIB_WALKS_APPENDING(16);
JAX_SIGLIB_WALKS_APPENDING(20);
#endif

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib
