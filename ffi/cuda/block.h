// What a kernel is written for: a block of threads that works through phases.
//
//   block.ForEach(n, f)   f(0), ..., f(n-1) in any order; all are done, and their writes
//                         seen by all, before the next phase begins. n stays below
//                         kMostItems
//   Block::Own<State> own(block, n)     n items, no more than threads, that each keep a
//   own.ForEach(f)        State from phase to phase: f(i, state). On a GPU it is the
//                         thread's, in registers if every index into it is a constant
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
// Of what kernels seldom do and many places ask for: called, not inlined.
#define JAX_SIGLIB_APART static __device__ __noinline__
// Of what both sides need.
#define JAX_SIGLIB_BOTH __host__ __device__ __forceinline__
// In front of a loop that is not worth unrolling.
#define JAX_SIGLIB_ROLLED _Pragma("unroll 1")
// And of one that is, of few instructions.
#define JAX_SIGLIB_UNROLLED _Pragma("unroll 4")
// And of one whose rounds are to be instructions side by side.
#define JAX_SIGLIB_IN_FULL _Pragma("unroll")
#else
#define JAX_SIGLIB_KERNEL inline
#define JAX_SIGLIB_APART inline
#define JAX_SIGLIB_BOTH inline
#define JAX_SIGLIB_ROLLED
#define JAX_SIGLIB_UNROLLED
#define JAX_SIGLIB_IN_FULL
#endif

namespace jax_siglib {
namespace cuda {

// A block's own numbers are of 32 bits, for a GPU has no others: those beyond are made of
// several. Where something lies in an array is a matter of 64 bits.
constexpr int64_t kMostItems = (int64_t{1} << 31) - 4096;

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

  template <class State>
  class Own {
   public:
    __device__ __forceinline__ Own(const DeviceBlock&, int32_t n) : n_(n) {}

    template <class F>
    __device__ __forceinline__ void ForEach(F&& f) {
      const int32_t i = threadIdx.x;
      if (i < n_) f(i, state_);
      __syncthreads();
    }

   private:
    int32_t n_;
    State state_;
  };
};

#endif

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_BLOCK_H_
