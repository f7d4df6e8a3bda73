// The kernels of the path family, as bodies for any kind of block.
#ifndef JAX_SIGLIB_CUDA_PATH_KERNELS_H_
#define JAX_SIGLIB_CUDA_PATH_KERNELS_H_

#include <cstdint>

#include "items.h"
#include "path_backward.h"
#include "path_forward.h"
#include "sums.h"

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
  static JAX_SIGLIB_KERNEL void Run(const Block& block, const PathJob& job,
                                    void* workspace) {
    double* const sums = static_cast<double*>(workspace);
    if (job.wide_shares)
      Add<S, double>(block, job, sums);
    else
      Add<S, typename Computed<S>::Type>(block, job, sums);
  }

 private:
  template <class S, class Share, class Block>
  static JAX_SIGLIB_KERNEL void Add(const Block& block, const PathJob& job, double* sums) {
    using T = typename Computed<S>::Type;
    const int64_t d = job.levels.dimension(), entries = job.points * d;
    const int64_t of_slot = entries - d, slots = job.stage.slots;
    const int32_t groups = PathSumsGroups(slots), each = kPathSums / groups;
    const int64_t pieces = (entries + each - 1) / each;
    ForItems(block, job.batch * pieces, [&](int64_t item) {
      const int64_t element = item / pieces, first = item % pieces * each;
      const Share* const shares =
          static_cast<const Share*>(job.shares) + element * slots * of_slot;
      block.ForEach(kPathSums, [&](int32_t i) {
        const int32_t group = i / each;
        const int64_t at = first + (i - group * each);
        const int64_t count = EveryOf(slots, group, groups), apart = groups * of_slot;
        const Share* const mine = shares + group * of_slot;
        double sum = 0;
        if (at >= d && at < entries) sum += SumOf(mine + (at - d), count, apart);
        if (at < of_slot) sum -= SumOf(mine + at, count, apart);
        sums[i] = sum;
      });
      AddGroups(block, groups, each, sums);
      S* const out = job.ct_path.At<S>(job.lead, element);
      block.ForEach(each, [&](int32_t i) {
        if (first + i < entries) Store(out, first + i, static_cast<T>(sums[i]));
      });
    });
  }
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_PATH_KERNELS_H_
