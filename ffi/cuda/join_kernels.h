// The kernels of the join family, as bodies for any kind of block.
#ifndef JAX_SIGLIB_CUDA_JOIN_KERNELS_H_
#define JAX_SIGLIB_CUDA_JOIN_KERNELS_H_

#include <cstdint>

#include "items.h"
#include "join_descent.h"
#include "join_roots.h"
#include "join_tile.h"
#include "sums.h"

namespace jax_siglib {
namespace cuda {

// One stage of sig_join, or, with kDual, of its tangent. With kWhole it is the only one,
// and a signature its only tile.
template <bool kDual, bool kWhole>
struct JoinForward {
  using Job = JoinJob;
  static constexpr bool kOnlyShared = kWhole;  // the workspace

  template <class S, class Block>
  static JAX_SIGLIB_KERNEL void Run(const Block& block, const JoinJob& job,
                                    void* workspace) {
    using T = typename Computed<S>::Type;
    ForItems(block, job.stage.Items(job.batch), [&](int64_t item) {
      JoinTile<S, kDual, false, kWhole, Block> tile(block, job, item,
                                                    static_cast<T*>(workspace));
      tile.Begin();
      tile.template Rise<true>();
    });
  }
};

// One stage of sig_join_backprop, or, with kDual, of its tangent (sig_join_hvp).
template <bool kDual, bool kWhole>
struct JoinAdjoint {
  using Job = JoinJob;
  static constexpr bool kOnlyShared = kWhole;

  template <class S, class Block>
  static JAX_SIGLIB_KERNEL void Run(const Block& block, const JoinJob& job,
                                    void* workspace) {
    using T = typename Computed<S>::Type;
    ForItems(block, job.stage.Items(job.batch), [&](int64_t item) {
      JoinTile<S, kDual, true, kWhole, Block> tile(block, job, item,
                                                   static_cast<T*>(workspace));
      tile.Begin();
      JoinDescent<S, kDual, kWhole, Block> descent(tile);
      descent.Run(tile.template Rise<false>());
    });
  }
};

// sig_join, or its adjoint, of small signatures.
template <bool kAdjoint>
struct JoinRoots {
  template <class Roots>
  struct Of {
    using Job = JoinJob;

    template <class S, class Block>
    static JAX_SIGLIB_KERNEL void Run(const Block& block, const JoinJob& job,
                                      void* workspace) {
      using T = typename Computed<S>::Type;
      ForItems(block, job.stage.Items(job.batch), [&](int64_t item) {
        JoinOfRoots<S, kAdjoint, Roots::letters, Roots::depth, Roots::prepend, Block>(
            block, job, item * job.stage.elements, static_cast<T*>(workspace))
            .Run();
      });
    }
  };
};

// Adds up the tiles' shares of ct_displacement.
struct JoinSums {
  using Job = JoinJob;
  static constexpr bool kOnlyShared = false;

  template <class S, class Block>
  static JAX_SIGLIB_KERNEL void Run(const Block& block, const JoinJob& job,
                                    void* workspace) {
    using T = typename Computed<S>::Type;
    double* const sums = static_cast<double*>(workspace);
    const int32_t d = job.levels.dimension();
    ForItems(block, job.batch, [&](int64_t element) {
      const T* const shares =
          static_cast<const T*>(job.shares) + element * job.all_shares * d;
      const int32_t groups = job.stage.groups;
      // Share number i / d, and every `groups`th after it.
      block.ForEach(groups * d, [&](int32_t i) {
        sums[i] =
            SumOf(shares + i, EveryOf(job.all_shares, i / d, groups), int64_t{groups} * d);
      });
      AddGroups(block, groups, d, sums);
      S* const out = job.ct_displacement.At<S>(job.lead, element);
      block.ForEach(d, [&](int32_t j) { Store(out, j, static_cast<T>(sums[j])); });
    });
  }
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_JOIN_KERNELS_H_
