// Carries out calls by the PTX of their kernels, on the CPU, for tests and to count: what
// is run is what nvcc made of kernels.cu and branch_kernels.cu, launched as they launch it.
#ifndef JAX_SIGLIB_CUDA_PTX_EXECUTOR_H_
#define JAX_SIGLIB_CUDA_PTX_EXECUTOR_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "executor.h"
#include "ptx.h"
#include "ptx_machine.h"

namespace jax_siglib {
namespace cuda {

// All kernels of some files, by their names.
class PtxKernels {
 public:
  // Throws std::runtime_error.
  explicit PtxKernels(const std::vector<std::string>& files);

  struct Kernel {
    const std::vector<ptx::Function>* file;
    const ptx::Function* function;
  };
  Kernel Find(const std::string& name) const;

 private:
  std::vector<std::vector<ptx::Function>> files_;
  std::map<std::string, Kernel> kernels_;
};

class PtxExecutor final : public Executor {
 public:
  // Of another order than that of their numbers, blocks are run backwards; no launch has
  // more than `most_blocks`.
  PtxExecutor(const PtxKernels& kernels, bool in_order, int64_t most_blocks)
      : kernels_(kernels), in_order_(in_order), most_blocks_(most_blocks) {}

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

  struct Done {
    std::string kernel;
    Launch launch;
    ptx::Counts counts;
  };
  const std::vector<Done>& done() const { return done_; }

 private:
  // The kernel that is called so, with these arguments of its template.
  template <class Job>
  void Carry(const std::string& kernel, const std::string& arguments, const Job& job,
             const Launch& launch, void* workspace);

  const PtxKernels& kernels_;
  bool in_order_;
  int64_t most_blocks_;
  std::vector<std::unique_ptr<char[]>> memory_;
  std::vector<Done> done_;
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_PTX_EXECUTOR_H_
