// The table of the kernels of one instruction set: CMakeLists.txt compiles this file,
// half_kernels.cc and those in kernels/ once for each, with JAX_SIGLIB_ISA naming the
// namespace.
#include "kernels.h"

#include "kernel_functions.h"
#include "simd.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {
namespace {

template <class T>
constexpr Kernels<T> MakeKernels() {
  return {SigJoin<T>,
          SigJoinJvp<T>,
          SigJoinBackprop<T>,
          SigJoinHvp<T>,
          Sig<T>,
          SigJvp<T>,
          SigBackprop<T>,
          SigHvp<T>,
          Vec<T>::kLanes,
          Vec<double>::kLanes,
          SigBundle<T>,
          SigJvpBundle<T>,
          SigBackpropBundle<T>,
          SigHvpBundle<T>,
          SigCombine<T>,
          SigCombineBackprop<T>,
          SigInverse<T>,
          MultiplyAdds<T>};
}

#define JAX_SIGLIB_STRING_(x) #x
#define JAX_SIGLIB_STRING(x) JAX_SIGLIB_STRING_(x)

}  // namespace

extern const KernelTable kKernels;
const KernelTable kKernels = {
    JAX_SIGLIB_STRING(JAX_SIGLIB_ISA),
    MakeKernels<float>(),
    MakeKernels<double>(),
    {WidenFloat16, WidenBFloat16, RoundToFloat16, RoundToBFloat16}};

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib
