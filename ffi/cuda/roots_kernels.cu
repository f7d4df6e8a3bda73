// Joins that go root by root, for one type of arrays, JAX_SIGLIB_STORAGE: CMakeLists.txt
// has this compiled once for each.
#include <cuda_runtime.h>

#include <stdexcept>

#include "join_kernels.h"
#include "launch_check.h"
#include "stream.h"

namespace jax_siglib {
namespace cuda {
namespace {

// Registers for eight blocks of a multiprocessor, in double for four: 64, and 128.
template <class Family, class Roots, class S>
__global__ void __launch_bounds__(kThreadsOfRoots,
                                  sizeof(typename Computed<S>::Type) > 4 ? 4 : 8)
    RootsOnDevice(const __grid_constant__ JoinJob job) {
  extern __shared__ __align__(16) double shared[];
  const DeviceBlock block;
  Family::template Of<Roots>::template Run<S>(block, job, static_cast<void*>(shared));
}

template <class Family, class S>
void Start(const JoinJob& job, const Launch& launch, cudaStream_t stream) {
  const JoinStage& stage = job.stage;
  WithRoots<sizeof(S) == 2>(stage.letters, stage.depth, job.prepend, [&](auto roots) {
    RootsOnDevice<Family, decltype(roots), S>
        <<<static_cast<unsigned>(launch.blocks), static_cast<unsigned>(launch.threads),
           static_cast<size_t>(launch.shared_bytes), stream>>>(job);
  });
  CheckLaunch();
}

#define JAX_SIGLIB_CASE(name, ...) \
  case Kernel::name:               \
    return Start<__VA_ARGS__, S>(job, launch, stream);

}  // namespace

template <class S>
void RunRoots(Kernel kernel, const JoinJob& job, const Launch& launch,
              cudaStream_t stream) {
  switch (kernel) { JAX_SIGLIB_FOR_EACH_ROOTS_KERNEL(JAX_SIGLIB_CASE) default : break; }
  throw std::runtime_error("wrong kernel");
}

template void RunRoots<JAX_SIGLIB_STORAGE>(Kernel, const JoinJob&, const Launch&,
                                           cudaStream_t);

}  // namespace cuda
}  // namespace jax_siglib
