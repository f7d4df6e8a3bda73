#include "on_host.h"

#include <algorithm>
#include <random>
#include <stdexcept>

#include "branch_kernels.h"
#include "combine_kernels.h"
#include "garbage.h"
#include "join_kernels.h"
#include "path_kernels.h"
#include "rows_kernels.h"
#include "storage.h"
#if defined(__SANITIZE_THREAD__)
#include "thread_block.h"
#endif

namespace jax_siglib {
namespace cuda {

void* HostExecutor::Allocate(int64_t bytes) {
  memory_.push_back(Garbage(bytes));
  return memory_.back().get();
}

template <class Body, class S>
void HostExecutor::RunBody(const typename Body::Job& job, const Launch& launch,
                           char* workspace) {
  ++launches_;
  const int64_t blocks = std::min(launch.blocks, most_blocks_);
#if defined(__SANITIZE_THREAD__)
  std::vector<std::unique_ptr<char[]>> shared(blocks);
  for (auto& memory : shared) memory = Garbage(launch.shared_bytes);
  RunThreads(blocks, launch.threads, [&](const ThreadBlock& block, int64_t index) {
    Body::template Run<S>(
        block, job,
        workspace == nullptr ? shared[index].get() : workspace + index * launch.workspace);
  });
#else
  const int64_t threads = threads_ != 0 ? threads_ : launch.threads;
  std::vector<int64_t> order(blocks);
  for (int64_t i = 0; i < blocks; ++i) order[i] = i;
  if (!in_order_) std::shuffle(order.begin(), order.end(), std::mt19937(1));
  for (const int64_t index : order) {
    const auto shared = Garbage(launch.shared_bytes);
    const HostBlock block(index, blocks, threads, launch.threads, !in_order_);
    Body::template Run<S>(
        block, job,
        workspace == nullptr ? shared.get() : workspace + index * launch.workspace);
  }
#endif
}

// Those of the other families are not for this job.
#define JAX_SIGLIB_CASE(name, ...) \
  case Kernel::name:               \
    return RunBody<__VA_ARGS__, S>(job, launch, static_cast<char*>(workspace));
#define JAX_SIGLIB_SWITCH(family)                                \
  WithStorage(dtype, [&](auto zero) {                            \
    using S = decltype(zero);                                    \
    switch (kernel) { family(JAX_SIGLIB_CASE) default : break; } \
    throw std::runtime_error("wrong kernel");                    \
  })

void HostExecutor::Run(Kernel kernel, Dtype dtype, const JoinJob& job, const Launch& launch,
                       void* workspace) {
  if (job.stage.depth > 0) return RunRoots(kernel, dtype, job, launch);
  JAX_SIGLIB_SWITCH(JAX_SIGLIB_FOR_EACH_JOIN_KERNEL);
}

#define JAX_SIGLIB_ROOTS_CASE(name, ...)                                              \
  case Kernel::name:                                                                  \
    return WithRoots<sizeof(S) == 2>(                                                 \
        job.stage.letters, job.stage.depth, job.prepend, [&](auto roots) {            \
          RunBody<typename __VA_ARGS__::template Of<decltype(roots)>, S>(job, launch, \
                                                                         nullptr);    \
        });

void HostExecutor::RunRoots(Kernel kernel, Dtype dtype, const JoinJob& job,
                            const Launch& launch) {
  if (launch.global_bytes() > 0 || launch.threads != kThreadsOfRoots)
    throw std::runtime_error("no such launch of roots");
  WithStorage(dtype, [&](auto zero) {
    using S = decltype(zero);
    switch (kernel) {
      JAX_SIGLIB_FOR_EACH_ROOTS_KERNEL(JAX_SIGLIB_ROOTS_CASE)
      default:
        throw std::runtime_error("wrong kernel");
    }
  });
}

#undef JAX_SIGLIB_ROOTS_CASE

void HostExecutor::Run(Kernel kernel, Dtype dtype, const PathJob& job, const Launch& launch,
                       void* workspace) {
  JAX_SIGLIB_SWITCH(JAX_SIGLIB_FOR_EACH_PATH_KERNEL);
}

#define JAX_SIGLIB_BRANCH_CASE(name, ...)                                              \
  case Kernel::name:                                                                   \
    return WithSide<__VA_ARGS__::stream, __VA_ARGS__::dual, T>(                        \
        job.plan.side, [&](auto side) {                                                \
          RunBody<typename __VA_ARGS__::template Of<side()>, T>(job, launch, nullptr); \
        });

void HostExecutor::Run(Kernel kernel, Dtype dtype, const BranchJob& job,
                       const Launch& launch) {
  if (launch.global_bytes() > 0 || launch.threads > kBranchThreads)
    throw std::runtime_error("no such launch of branches");
  auto run = [&](auto zero) {
    using T = decltype(zero);
    switch (kernel) {
      JAX_SIGLIB_FOR_EACH_BRANCH_KERNEL(JAX_SIGLIB_BRANCH_CASE)
      default:
        throw std::runtime_error("wrong kernel");
    }
  };
  if (dtype == Dtype::kFloat64)
    run(double{});
  else
    run(float{});
}

#undef JAX_SIGLIB_BRANCH_CASE

void HostExecutor::Run(Kernel kernel, Dtype dtype, const CombineJob& job,
                       const Launch& launch, void* workspace) {
  JAX_SIGLIB_SWITCH(JAX_SIGLIB_FOR_EACH_COMBINE_KERNEL);
}

void HostExecutor::Run(Kernel kernel, Dtype dtype, const RowsJob& job, const Launch& launch,
                       void* workspace) {
  JAX_SIGLIB_SWITCH(JAX_SIGLIB_FOR_EACH_ROWS_KERNEL);
}

#undef JAX_SIGLIB_SWITCH
#undef JAX_SIGLIB_CASE

}  // namespace cuda
}  // namespace jax_siglib
