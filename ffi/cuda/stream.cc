#include "stream.h"

#include <new>
#include <stdexcept>
#include <string>

#include "storage.h"

namespace jax_siglib {
namespace cuda {
namespace {

template <class Job>
void RunFor(Dtype dtype, Kernel kernel, const Job& job, const Launch& launch,
            void* workspace, cudaStream_t stream) {
  WithStorage(dtype, [&](auto zero) {
    RunOnStream<decltype(zero)>(kernel, job, launch, workspace, stream);
  });
}

}  // namespace

void StreamExecutor::RefuseCapture(cudaStream_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  const cudaError_t error = cudaStreamIsCapturing(stream, &status);
  if (error != cudaSuccess) {
    cudaGetLastError();  // or the next launch would be blamed for it
    throw std::runtime_error(std::string("CUDA stream: ") + cudaGetErrorString(error));
  }
  if (status != cudaStreamCaptureStatusNone)
    throw std::runtime_error(
        "a call of this size needs scratch memory, and cannot be recorded into a CUDA "
        "graph;"
        " XLA_FLAGS=--xla_gpu_enable_command_buffer= turns recording off");
}

void* StreamExecutor::Allocate(int64_t bytes) {
  void* const memory = allocate_(bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void StreamExecutor::Run(Kernel kernel, Dtype dtype, const JoinJob& job,
                         const Launch& launch, void* workspace) {
  if (job.stage.depth == 0) return RunFor(dtype, kernel, job, launch, workspace, stream_);
  WithStorage(dtype,
              [&](auto zero) { RunRoots<decltype(zero)>(kernel, job, launch, stream_); });
}

void StreamExecutor::Run(Kernel kernel, Dtype dtype, const PathJob& job,
                         const Launch& launch, void* workspace) {
  RunFor(dtype, kernel, job, launch, workspace, stream_);
}

void StreamExecutor::Run(Kernel kernel, Dtype dtype, const BranchJob& job,
                         const Launch& launch) {
  if (dtype == Dtype::kFloat64)
    RunBranches<double>(kernel, job, launch, stream_);
  else
    RunBranches<float>(kernel, job, launch, stream_);
}

void StreamExecutor::Run(Kernel kernel, Dtype dtype, const CombineJob& job,
                         const Launch& launch, void* workspace) {
  RunFor(dtype, kernel, job, launch, workspace, stream_);
}

void StreamExecutor::Run(Kernel kernel, Dtype dtype, const RowsJob& job,
                         const Launch& launch, void* workspace) {
  RunFor(dtype, kernel, job, launch, workspace, stream_);
}

}  // namespace cuda
}  // namespace jax_siglib
