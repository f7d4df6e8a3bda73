#include "ptx_executor.h"

#include <algorithm>

#include "garbage.h"

namespace jax_siglib {
namespace cuda {
namespace {

// The body of a kernel, as its name has it.
std::string BodyOf(Kernel kernel) {
#define JAX_SIGLIB_CASE(name, ...) \
  case Kernel::name:               \
    return #__VA_ARGS__;
  switch (kernel) {
    JAX_SIGLIB_FOR_EACH_JOIN_KERNEL(JAX_SIGLIB_CASE)
    JAX_SIGLIB_FOR_EACH_ROOTS_KERNEL(JAX_SIGLIB_CASE)
    JAX_SIGLIB_FOR_EACH_PATH_KERNEL(JAX_SIGLIB_CASE)
    JAX_SIGLIB_FOR_EACH_BRANCH_KERNEL(JAX_SIGLIB_CASE)
    JAX_SIGLIB_FOR_EACH_COMBINE_KERNEL(JAX_SIGLIB_CASE)
    JAX_SIGLIB_FOR_EACH_ROWS_KERNEL(JAX_SIGLIB_CASE)
  }
#undef JAX_SIGLIB_CASE
  return "";
}

std::string StorageOf(Dtype dtype) {
  switch (dtype) {
    case Dtype::kFloat16:
      return "Float16";
    case Dtype::kBFloat16:
      return "BFloat16";
    case Dtype::kFloat64:
      return "double";
    default:
      return "float";
  }
}

}  // namespace

PtxKernels::PtxKernels(const std::vector<std::string>& files) {
  for (const std::string& file : files) files_.push_back(ptx::ReadFile(file));
  for (const auto& file : files_)
    for (const ptx::Function& function : file)
      if (function.entry) kernels_[function.name] = {&file, &function};
}

PtxKernels::Kernel PtxKernels::Find(const std::string& name) const {
  const auto found = kernels_.find(name);
  if (found == kernels_.end()) ptx::Complain("no kernel " + name);
  return found->second;
}

void* PtxExecutor::Allocate(int64_t bytes) {
  memory_.push_back(Garbage(bytes));
  return memory_.back().get();
}

template <class Job>
void PtxExecutor::Carry(const std::string& kernel, const std::string& arguments,
                        const Job& job, const Launch& launch, void* workspace) {
  const std::string name = kernel + "<" + arguments + ">";
  const PtxKernels::Kernel found = kernels_.Find(name);
  const int64_t bytes = found.function->parameter_bytes[0];
  if (bytes != int64_t{sizeof(Job)})
    ptx::Complain("a job of " + std::to_string(sizeof(Job)) + " bytes for " + name +
                  ", which takes " + std::to_string(bytes));
  ptx::Grid grid;
  grid.order.resize(std::min(launch.blocks, most_blocks_));
  for (size_t i = 0; i < grid.order.size(); ++i)
    grid.order[in_order_ ? i : grid.order.size() - 1 - i] = static_cast<int64_t>(i);
  grid.threads = launch.threads;
  grid.shared_bytes = launch.shared_bytes;
  // Those of branches take but the first.
  grid.parameters = {&job, &launch.workspace, &workspace};
  ptx::Machine machine(*found.file);
  done_.push_back({name, launch, machine.Launch(*found.function, grid)});
}

void PtxExecutor::Run(Kernel kernel, Dtype dtype, const JoinJob& job, const Launch& launch,
                      void* workspace) {
  if (job.stage.depth > 0) {
    const std::string letters = std::to_string(job.stage.letters);
    const std::string depth = std::to_string(job.stage.depth);
    const char* const prepend = job.prepend ? "true" : "false";
    return Carry("RootsOnDevice",
                 BodyOf(kernel) + ", RootsOf<" + letters + ", " + depth + ", " + prepend +
                     ">, " + StorageOf(dtype),
                 job, launch, nullptr);
  }
  const char* const shared = workspace == nullptr ? "true" : "false";
  Carry("JoinOnDevice", BodyOf(kernel) + ", " + StorageOf(dtype) + ", " + shared, job,
        launch, workspace);
}

void PtxExecutor::Run(Kernel kernel, Dtype dtype, const PathJob& job, const Launch& launch,
                      void* workspace) {
  Carry("OnDevice", BodyOf(kernel) + ", " + StorageOf(dtype), job, launch, workspace);
}

void PtxExecutor::Run(Kernel kernel, Dtype dtype, const BranchJob& job,
                      const Launch& launch) {
  // Half types are computed with as floats.
  const std::string type = StorageOf(dtype == Dtype::kFloat64 ? dtype : Dtype::kFloat32);
  Carry("OnDevice", BodyOf(kernel) + ", " + std::to_string(job.plan.side) + ", " + type,
        job, launch, nullptr);
}

void PtxExecutor::Run(Kernel kernel, Dtype dtype, const CombineJob& job,
                      const Launch& launch, void* workspace) {
  Carry("OnDevice", BodyOf(kernel) + ", " + StorageOf(dtype), job, launch, workspace);
}

void PtxExecutor::Run(Kernel kernel, Dtype dtype, const RowsJob& job, const Launch& launch,
                      void* workspace) {
  Carry("OnDevice", BodyOf(kernel) + ", " + StorageOf(dtype), job, launch, workspace);
}

}  // namespace cuda
}  // namespace jax_siglib
