#include "../walk_kernels_of.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

JAX_SIGLIB_WALKS_APPENDING(1);
JAX_SIGLIB_WALKS_APPENDING(2);
JAX_SIGLIB_WALKS_APPENDING(3);
JAX_SIGLIB_WALKS_APPENDING(4);

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib
