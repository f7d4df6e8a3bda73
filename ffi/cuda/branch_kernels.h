// The kernels of paths that go branch by branch, as bodies for any kind of block.
#ifndef JAX_SIGLIB_CUDA_BRANCH_KERNELS_H_
#define JAX_SIGLIB_CUDA_BRANCH_KERNELS_H_

#include <cstdint>

#include "branch_backward.h"
#include "branch_forward.h"
#include "branch_stream.h"
#include "items.h"
#include "sums.h"

namespace jax_siglib {
namespace cuda {

// f(first element, tile) for the blocks' work: some elements, or a tile of one.
template <class Block, class F>
JAX_SIGLIB_KERNEL void ForBranches(const Block& block, const BranchJob& job, int64_t tiles,
                                   F&& f) {
  const int64_t groups = (job.path.batch + job.plan.elements - 1) / job.plan.elements;
  ForItems(block, groups * tiles, [&](int64_t item) {
    const int64_t group = item / tiles;
    f(group * job.plan.elements, item - group * tiles);
  });
}

// What goes forward, tile by tile: sig, sig_stream, their tangents.
template <bool kDual, bool kStream, template <class, int, bool, class> class Tile>
struct BranchThere {
  static constexpr bool dual = kDual, stream = kStream;

  template <int kSide>
  struct Of {
    using Job = BranchJob;

    template <class T, class Block>
    static JAX_SIGLIB_KERNEL void Run(const Block& block, const BranchJob& job,
                                      void* workspace) {
      ForBranches(block, job, job.plan.tiles, [&](int64_t first, int64_t tile) {
        Tile<T, kSide, kDual, Block>(block, job, first, tile, workspace).Run();
      });
    }
  };
};

// What goes back, each slot's tiles one after another: the slots' shares of the adjoints.
template <bool kDual, bool kStream, template <class, int, bool, class> class Tile>
struct BranchBack {
  static constexpr bool dual = kDual, stream = kStream;

  template <int kSide>
  struct Of {
    using Job = BranchJob;

    template <class T, class Block>
    static JAX_SIGLIB_KERNEL void Run(const Block& block, const BranchJob& job,
                                      void* workspace) {
      const int64_t slots = job.plan.slots;
      ForBranches(block, job, slots, [&](int64_t first, int64_t slot) {
        for (int64_t tile = slot; tile < job.plan.tiles; tile += slots)
          Tile<T, kSide, kDual, Block>(block, job, first, tile, workspace)
              .Run(slot, tile == slot);
      });
    }
  };
};

// Of the adjoint of a stream: the cotangent of `initial` below level N from its parts. One
// of rows has as many as there are slices of columns; one of the path, one from each branch
// above.
struct BranchGather {
  static constexpr bool dual = false, stream = true;

  template <int kSide>
  struct Of {
    using Job = BranchJob;

    template <class T, class Block>
    static JAX_SIGLIB_KERNEL void Run(const Block& block, const BranchJob& job, void*) {
      const Levels& levels = job.path.levels;
      const int64_t entries = levels.Offset(levels.degree());
      const int64_t pieces = (entries + kBranchThreads - 1) / kBranchThreads;
      ForItems(block, job.path.batch * pieces, [&](int64_t item) {
        const int64_t element = item / pieces, first = item % pieces * kBranchThreads;
        T* const out = job.stream.ct_initial.At<T>(job.path.lead, element);
        block.ForEach(AtMost(entries - first, kBranchThreads),
                      [&](int32_t i) { out[first + i] = Sum<T>(job, element, first + i); });
      });
    }

   private:
    template <class T>
    static JAX_SIGLIB_KERNEL T Sum(const BranchJob& job, int64_t element, int64_t at) {
      const Levels& levels = job.path.levels;
      const int32_t root = job.plan.root, slices = job.plan.slices;
      const int64_t items = job.plan.items, d = levels.dimension();
      const bool prepend = job.stream.prepend;
      const T* parts =
          static_cast<const T*>(job.stream.parts) + element * (kSide + root) * items;
      int32_t k = 1;
      while (at >= levels.Offset(k + 1)) ++k;
      const int64_t word = at - levels.Offset(k);
      if (k == root + 1) {
        const int64_t roots = levels.Size(root);
        const int64_t letter = prepend ? word / roots : word % d;
        const int64_t parent = prepend ? word % roots : word / d;
        parts += letter % kSide * items + (parent * slices + letter / kSide) * slices;
        return static_cast<T>(SumOf(parts, slices, 1));
      }
      // The roots above lie side by side, or, of prepended letters, as many apart as there
      // are such words.
      const int64_t above = levels.Size(root - k), of_root = slices * slices;
      parts += (kSide + root - k) * items;
      if (!prepend)
        return static_cast<T>(SumOf(parts + word * above * of_root, above * of_root, 1));
      parts += word * of_root;
      double sum = 0;
      for (int64_t j = 0; j < of_root; ++j)
        sum += SumOf(parts + j, above, levels.Size(k) * of_root);
      return static_cast<T>(sum);
    }
  };
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_BRANCH_KERNELS_H_
