// Kernels that go branch by branch, computed with as JAX_SIGLIB_STORAGE: CMakeLists.txt has
// this compiled once for each.
#include <cuda_runtime.h>

#include <stdexcept>
#include <type_traits>

#include "branch_kernels.h"
#include "launch_check.h"
#include "stream.h"

namespace jax_siglib {
namespace cuda {
namespace {

// Blocks of a multiprocessor, which says how many registers a thread may have: 128, 168 or
// 255.
template <class Family, class T>
constexpr int kBlocks =
    (std::is_same_v<Family, BranchThere<false, false, BranchForwardBlock>> ? 4 : 3) -
    (std::is_same_v<T, double> ? 1 : 0);

template <class Family, int kSide, class T>
__global__ void __launch_bounds__(kBranchThreads, kBlocks<Family, T>)
    OnDevice(const __grid_constant__ BranchJob job) {
  // For every type, and for four floats at a time.
  extern __shared__ __align__(16) double shared[];
  const DeviceBlock block;
  Family::template Of<kSide>::template Run<T>(block, job, static_cast<void*>(shared));
}

template <class Family, class T>
void Start(const BranchJob& job, const Launch& launch, cudaStream_t stream) {
  WithSide<Family::stream, Family::dual, T>(job.plan.side, [&](auto side) {
    OnDevice<Family, side(), T>
        <<<static_cast<unsigned>(launch.blocks), static_cast<unsigned>(launch.threads),
           static_cast<size_t>(launch.shared_bytes), stream>>>(job);
  });
  CheckLaunch();
}

#define JAX_SIGLIB_CASE(name, ...) \
  case Kernel::name:               \
    return Start<__VA_ARGS__, T>(job, launch, stream);

}  // namespace

template <class T>
void RunBranches(Kernel kernel, const BranchJob& job, const Launch& launch,
                 cudaStream_t stream) {
  switch (kernel) { JAX_SIGLIB_FOR_EACH_BRANCH_KERNEL(JAX_SIGLIB_CASE) default : break; }
  throw std::runtime_error("wrong kernel");
}

template void RunBranches<JAX_SIGLIB_STORAGE>(Kernel, const BranchJob&, const Launch&,
                                              cudaStream_t);

}  // namespace cuda
}  // namespace jax_siglib
