// The kernels of the path family, as bodies for any kind of block.
#ifndef JAX_SIGLIB_CUDA_PATH_KERNELS_H_
#define JAX_SIGLIB_CUDA_PATH_KERNELS_H_

#include <cstdint>

#include "path_backward.h"
#include "path_forward.h"

namespace jax_siglib {
namespace cuda {

// sig, or, with kDual, its tangent.
template <bool kDual>
struct PathForward {
  using Job = PathJob;

  template <class S, class Block>
  static JAX_SIGLIB_KERNEL void Run(const Block& block, const PathJob& job,
                                    void* workspace) {
    using T = typename Computed<S>::Type;
    const int64_t items = job.batch * job.stage.slots;
    for (int64_t item = block.index(); item < items; item += block.count()) {
      const int64_t element = item / job.stage.slots;
      for (int64_t tile = item % job.stage.slots; tile < job.stage.tiles;
           tile += job.stage.slots) {
        PathForwardTile<S, kDual, Block>(block, job, element, tile,
                                         static_cast<T*>(workspace))
            .Run();
      }
    }
  }
};

// The slots' shares of sig_backprop, or, with kDual, of its tangent (sig_hvp).
template <bool kDual>
struct PathBackward {
  using Job = PathJob;

  template <class S, class Block>
  static JAX_SIGLIB_KERNEL void Run(const Block& block, const PathJob& job,
                                    void* workspace) {
    using T = typename Computed<S>::Type;
    const int64_t slots = job.stage.slots, items = job.batch * slots;
    for (int64_t item = block.index(); item < items; item += block.count()) {
      T* const share =
          static_cast<T*>(job.shares) + item * (job.points - 1) * job.levels.dimension();
      const int64_t slot = item % slots;
      for (int64_t tile = slot; tile < job.stage.tiles; tile += slots) {
        PathBackwardTile<S, kDual, Block>(block, job, item / slots, tile,
                                          static_cast<T*>(workspace))
            .Run(share, tile == slot);
      }
    }
  }
};

// ct_path from the slots' shares of ct_v, in double as JoinSums. A point ends one increment
// and begins another. Without shares it is zero.
struct PathSums {
  using Job = PathJob;

  template <class S, class Block>
  static JAX_SIGLIB_KERNEL void Run(const Block& block, const PathJob& job, void*) {
    using T = typename Computed<S>::Type;
    if (job.wide_shares)
      Add<S, T, double>(block, job);
    else
      Add<S, T, T>(block, job);
  }

 private:
  template <class S, class T, class Share, class Block>
  static JAX_SIGLIB_KERNEL void Add(const Block& block, const PathJob& job) {
    const int64_t d = job.levels.dimension(), entries = job.points * d;
    const int64_t of_slot = entries - d, slots = job.stage.slots;
    const int64_t pieces = (entries + kSummedEntries - 1) / kSummedEntries;
    for (int64_t item = block.index(); item < job.batch * pieces; item += block.count()) {
      const int64_t element = item / pieces, first = item % pieces * kSummedEntries;
      const Share* const shares =
          static_cast<const Share*>(job.shares) + element * slots * of_slot;
      S* const out = job.ct_path.At<S>(job.lead, element);
      const int64_t left = entries - first;
      block.ForEach(left < kSummedEntries ? static_cast<int32_t>(left) : kSummedEntries,
                    [&](int32_t i) {
                      const int64_t at = first + i;
                      double sum = 0;
                      for (int64_t slot = 0; slot < slots; ++slot) {
                        const Share* const share = shares + slot * of_slot;
                        if (at >= d) sum += static_cast<double>(share[at - d]);
                        if (at < of_slot) sum -= static_cast<double>(share[at]);
                      }
                      Store(out, at, static_cast<T>(sum));
                    });
    }
  }
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_PATH_KERNELS_H_
