// Kernels on a stream of a GPU. Nothing here waits for the GPU, nor asks the driver for
// memory, so that calls can be captured into a graph.
#ifndef JAX_SIGLIB_CUDA_STREAM_H_
#define JAX_SIGLIB_CUDA_STREAM_H_

#include <cuda_runtime.h>

#include <cstdint>
#include <functional>
#include <utility>

#include "executor.h"

namespace jax_siglib {
namespace cuda {

class StreamExecutor final : public Executor {
 public:
  // `allocate` gives memory that lives until the kernels of this call have run; null if
  // there is none.
  using Allocator = std::function<void*(int64_t bytes)>;
  StreamExecutor(cudaStream_t stream, Allocator allocate)
      : stream_(stream), allocate_(std::move(allocate)) {}

  // Throws std::runtime_error if what the stream is given is not carried out, but recorded.
  static void RefuseCapture(cudaStream_t stream);

  void* Allocate(int64_t bytes) override;
  void Run(Kernel kernel, Dtype dtype, const JoinJob& job, const Launch& launch,
           void* workspace) override;
  void Run(Kernel kernel, Dtype dtype, const PathJob& job, const Launch& launch,
           void* workspace) override;
  void Run(Kernel kernel, Dtype dtype, const BranchJob& job, const Launch& launch) override;
  void Run(Kernel kernel, Dtype dtype, const CombineJob& job, const Launch& launch,
           void* workspace) override;
  void Run(Kernel kernel, Dtype dtype, const RowsJob& job, const Launch& launch,
           void* workspace) override;

 private:
  cudaStream_t stream_;
  Allocator allocate_;
};

// Launches a kernel for arrays of S; kernels.cu, compiled for each S.
template <class S, class Job>
void RunOnStream(Kernel kernel, const Job& job, const Launch& launch, void* workspace,
                 cudaStream_t stream);

// The same of joins that go root by root; roots_kernels.cu, compiled for each S.
template <class S>
void RunRoots(Kernel kernel, const JoinJob& job, const Launch& launch, cudaStream_t stream);

// The same of branches, computed with as T: branch_kernels.cu, compiled for each T.
template <class T>
void RunBranches(Kernel kernel, const BranchJob& job, const Launch& launch,
                 cudaStream_t stream);

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_STREAM_H_
