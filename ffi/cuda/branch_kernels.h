// The kernels of paths that go branch by branch, as bodies for any kind of block.
#ifndef JAX_SIGLIB_CUDA_BRANCH_KERNELS_H_
#define JAX_SIGLIB_CUDA_BRANCH_KERNELS_H_

#include <cstdint>

#include "branch_backward.h"
#include "branch_forward.h"
#include "items.h"

namespace jax_siglib {
namespace cuda {

// sig, or, with kDual, its tangent.
template <bool kDual>
struct BranchForward {
  static constexpr bool dual = kDual;

  template <int kSide>
  struct Of {
    using Job = BranchJob;

    template <class T, class Block>
    static JAX_SIGLIB_KERNEL void Run(const Block& block, const BranchJob& job,
                                      void* workspace) {
      const int64_t tiles = job.plan.tiles;
      const int64_t groups = (job.path.batch + job.plan.elements - 1) / job.plan.elements;
      ForItems(block, groups * tiles, [&](int64_t item) {
        const int64_t group = item / tiles;
        BranchForwardBlock<T, kSide, kDual, Block>(block, job, group * job.plan.elements,
                                                   item - group * tiles, workspace)
            .Run();
      });
    }
  };
};

// The slots' shares of sig_backprop, or, with kDual, of its tangent (sig_hvp).
template <bool kDual>
struct BranchBackward {
  static constexpr bool dual = kDual;

  template <int kSide>
  struct Of {
    using Job = BranchJob;

    template <class T, class Block>
    static JAX_SIGLIB_KERNEL void Run(const Block& block, const BranchJob& job,
                                      void* workspace) {
      const int64_t slots = job.plan.slots;
      const int64_t groups = (job.path.batch + job.plan.elements - 1) / job.plan.elements;
      ForItems(block, groups * slots, [&](int64_t item) {
        const int64_t group = item / slots, slot = item - group * slots;
        for (int64_t tile = slot; tile < job.plan.tiles; tile += slots)
          BranchBackwardBlock<T, kSide, kDual, Block>(block, job, group * job.plan.elements,
                                                      tile, workspace)
              .Run(slot, tile == slot);
      });
    }
  };
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_BRANCH_KERNELS_H_
