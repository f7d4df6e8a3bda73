// What a kernel is written for: a block of threads that works through phases.
//
//   block.ForEach(n, f)   f(0), ..., f(n-1) in any order; all are done, and their writes
//                         seen by all, before the next phase begins. n stays below
//                         kMostItems
//
// Nothing else is shared between threads: no warps, no atomics, no order among the items of
// a phase, nor among blocks. So the body of every kernel is an ordinary function, which
// runs on a CPU as well (on_host.h), where it is tested: under sanitizers, with threads
// and blocks in other orders. What no test on a CPU can tell is left to the few lines of
// DeviceBlock.
#ifndef JAX_SIGLIB_CUDA_BLOCK_H_
#define JAX_SIGLIB_CUDA_BLOCK_H_

#include <cstdint>

#if defined(__CUDACC__)
// Of kernels: the device's alone, for a block is.
#define JAX_SIGLIB_KERNEL __device__ __forceinline__
// Of what both sides need.
#define JAX_SIGLIB_BOTH __host__ __device__ __forceinline__
// In front of a loop that is not worth unrolling.
#define JAX_SIGLIB_ROLLED _Pragma("unroll 1")
#else
#define JAX_SIGLIB_KERNEL inline
#define JAX_SIGLIB_BOTH inline
#define JAX_SIGLIB_ROLLED
#endif

namespace jax_siglib {
namespace cuda {

// A block's own numbers are of 32 bits, for a GPU has no others: those beyond are made of
// several. Where something lies in an array is a matter of 64 bits.
constexpr int64_t kMostItems = (int64_t{1} << 31) - 2048;

#if defined(__CUDACC__)

class DeviceBlock {
 public:
  __device__ __forceinline__ int64_t index() const { return blockIdx.x; }
  __device__ __forceinline__ int64_t count() const { return gridDim.x; }
  __device__ __forceinline__ int64_t threads() const { return blockDim.x; }

  template <class F>
  __device__ __forceinline__ void ForEach(int32_t n, F&& f) const {
    JAX_SIGLIB_ROLLED
    for (int32_t i = threadIdx.x; i < n; i += blockDim.x) f(i);
    __syncthreads();
  }
};

#endif

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_BLOCK_H_
