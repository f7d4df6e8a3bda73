#include "../walk_kernels_of.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

template <class T>
using PrependStepsAny = PrependSteps<T, 0>;

JAX_SIGLIB_WALKS(AppendStepsAny);
JAX_SIGLIB_JOIN_WALKS(PrependStepsAny);

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib
