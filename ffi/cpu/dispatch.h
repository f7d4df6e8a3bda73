// Which instruction set's kernels run on this machine.
#ifndef JAX_SIGLIB_CPU_DISPATCH_H_
#define JAX_SIGLIB_CPU_DISPATCH_H_

#include <vector>

#include "kernels.h"

namespace jax_siglib {

// Those this processor can run, the best last.
std::vector<const KernelTable*> UsableKernels();

// The ones in use: the best, or what the environment variable JAX_SIGLIB_ISA names
// when the module is loaded. ChooseKernels throws std::invalid_argument where that
// names none of the usable ones; the module calls it once, on import.
void ChooseKernels();
const KernelTable& ChosenKernels();

}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_DISPATCH_H_
