// An executor for calls made of many.
#ifndef JAX_SIGLIB_CUDA_STEP_EXECUTOR_H_
#define JAX_SIGLIB_CUDA_STEP_EXECUTOR_H_

#include <cstdint>
#include <vector>

#include "executor.h"

namespace jax_siglib {
namespace cuda {

// Gives one step the scratch of the last one, which has been run by then.
class StepExecutor final : public Executor {
 public:
  explicit StepExecutor(Executor& executor) : executor_(executor) {
    limits = executor.limits;
  }

  void NextStep() { used_ = 0; }

  void* Allocate(int64_t bytes) override {
    if (used_ == memory_.size()) memory_.push_back({nullptr, 0});
    Memory& memory = memory_[used_++];
    if (memory.bytes < bytes) memory = {executor_.Allocate(bytes), bytes};
    return memory.data;
  }
  void Run(Kernel kernel, Dtype dtype, const JoinJob& job, const Launch& launch,
           void* workspace) override {
    executor_.Run(kernel, dtype, job, launch, workspace);
  }
  void Run(Kernel kernel, Dtype dtype, const PathJob& job, const Launch& launch,
           void* workspace) override {
    executor_.Run(kernel, dtype, job, launch, workspace);
  }
  void Run(Kernel kernel, Dtype dtype, const BranchJob& job,
           const Launch& launch) override {
    executor_.Run(kernel, dtype, job, launch);
  }
  void Run(Kernel kernel, Dtype dtype, const CombineJob& job, const Launch& launch,
           void* workspace) override {
    executor_.Run(kernel, dtype, job, launch, workspace);
  }
  void Run(Kernel kernel, Dtype dtype, const RowsJob& job, const Launch& launch,
           void* workspace) override {
    executor_.Run(kernel, dtype, job, launch, workspace);
  }

 private:
  struct Memory {
    void* data;
    int64_t bytes;
  };

  Executor& executor_;
  std::vector<Memory> memory_;
  size_t used_ = 0;
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_STEP_EXECUTOR_H_
