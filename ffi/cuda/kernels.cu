// The kernels for one type of arrays, JAX_SIGLIB_STORAGE: CMakeLists.txt has this compiled
// once for each.
#include <cuda_runtime.h>

#include <stdexcept>
#include <type_traits>

#include "combine_kernels.h"
#include "join_kernels.h"
#include "launch_check.h"
#include "path_kernels.h"
#include "rows_kernels.h"
#include "stream.h"

namespace jax_siglib {
namespace cuda {
namespace {

// A job is read where the launch has put it, in constant memory.
template <class Body, class S>
__global__ void __launch_bounds__(256)
    OnDevice(const __grid_constant__ typename Body::Job job, int64_t workspace_bytes,
             char* workspace) {
  // For every type, and for four floats at a time.
  extern __shared__ __align__(16) double shared[];
  const DeviceBlock block;
  Body::template Run<S>(block, job,
                        workspace == nullptr ? static_cast<void*>(shared)
                                             : workspace + block.index() * workspace_bytes);
}

// Blocks of 256 threads to leave registers for. Turing has no room for five.
template <class S>
constexpr int RoomFor() {
  if (sizeof(typename Computed<S>::Type) > 4) return 3;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
  return 4;
#else
  return 5;
#endif
}

// The same for joins. Where the workspace is in shared memory the compiler knows it: a
// pointer to either memory takes more instructions. Registers are held down, which costs
// the inner loops nothing.
template <class Body, class S, bool kShared>
__global__ void __launch_bounds__(256, RoomFor<S>())
    JoinOnDevice(const __grid_constant__ JoinJob job, int64_t workspace_bytes,
                 char* workspace) {
  extern __shared__ __align__(16) double shared[];
  const DeviceBlock block;
  if constexpr (kShared)
    Body::template Run<S>(block, job, shared);
  else
    Body::template Run<S>(block, job, workspace + block.index() * workspace_bytes);
}

template <class Body, class S>
auto KernelOf(const void* workspace) {
  if constexpr (!std::is_same_v<typename Body::Job, JoinJob>)
    return OnDevice<Body, S>;
  else if constexpr (Body::kOnlyShared)
    return JoinOnDevice<Body, S, true>;
  else
    return workspace == nullptr ? JoinOnDevice<Body, S, true>
                                : JoinOnDevice<Body, S, false>;
}

template <class Body, class S>
void Start(const typename Body::Job& job, const Launch& launch, void* workspace,
           cudaStream_t stream) {
  const auto kernel = KernelOf<Body, S>(workspace);
  kernel<<<static_cast<unsigned>(launch.blocks), static_cast<unsigned>(launch.threads),
           static_cast<size_t>(launch.shared_bytes), stream>>>(
      job, launch.workspace, static_cast<char*>(workspace));
  CheckLaunch();
}

#define JAX_SIGLIB_CASE(name, ...) \
  case Kernel::name:               \
    return Start<__VA_ARGS__, S>(job, launch, workspace, stream);

template <class S>
void Choose(Kernel kernel, const JoinJob& job, const Launch& launch, void* workspace,
            cudaStream_t stream) {
  switch (kernel) { JAX_SIGLIB_FOR_EACH_JOIN_KERNEL(JAX_SIGLIB_CASE) default : break; }
  throw std::runtime_error("wrong kernel");
}

template <class S>
void Choose(Kernel kernel, const PathJob& job, const Launch& launch, void* workspace,
            cudaStream_t stream) {
  switch (kernel) { JAX_SIGLIB_FOR_EACH_PATH_KERNEL(JAX_SIGLIB_CASE) default : break; }
  throw std::runtime_error("wrong kernel");
}

template <class S>
void Choose(Kernel kernel, const CombineJob& job, const Launch& launch, void* workspace,
            cudaStream_t stream) {
  switch (kernel) { JAX_SIGLIB_FOR_EACH_COMBINE_KERNEL(JAX_SIGLIB_CASE) default : break; }
  throw std::runtime_error("wrong kernel");
}

template <class S>
void Choose(Kernel kernel, const RowsJob& job, const Launch& launch, void* workspace,
            cudaStream_t stream) {
  switch (kernel) { JAX_SIGLIB_FOR_EACH_ROWS_KERNEL(JAX_SIGLIB_CASE) default : break; }
  throw std::runtime_error("wrong kernel");
}

#undef JAX_SIGLIB_CASE

}  // namespace

template <class S, class Job>
void RunOnStream(Kernel kernel, const Job& job, const Launch& launch, void* workspace,
                 cudaStream_t stream) {
  Choose<S>(kernel, job, launch, workspace, stream);
}

template void RunOnStream<JAX_SIGLIB_STORAGE>(Kernel, const JoinJob&, const Launch&, void*,
                                              cudaStream_t);
template void RunOnStream<JAX_SIGLIB_STORAGE>(Kernel, const PathJob&, const Launch&, void*,
                                              cudaStream_t);
template void RunOnStream<JAX_SIGLIB_STORAGE>(Kernel, const CombineJob&, const Launch&,
                                              void*, cudaStream_t);
template void RunOnStream<JAX_SIGLIB_STORAGE>(Kernel, const RowsJob&, const Launch&, void*,
                                              cudaStream_t);

}  // namespace cuda
}  // namespace jax_siglib
