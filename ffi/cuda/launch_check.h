// Whether a kernel was launched.
#ifndef JAX_SIGLIB_CUDA_LAUNCH_CHECK_H_
#define JAX_SIGLIB_CUDA_LAUNCH_CHECK_H_

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

namespace jax_siglib {
namespace cuda {

inline void CheckLaunch() {
  const cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess)
    throw std::runtime_error(std::string("CUDA cannot launch a kernel: ") +
                             cudaGetErrorString(error));
}

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_LAUNCH_CHECK_H_
