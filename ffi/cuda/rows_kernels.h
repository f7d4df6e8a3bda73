// What streams need besides joins, as bodies for any kind of block: entry by entry.
#ifndef JAX_SIGLIB_CUDA_ROWS_KERNELS_H_
#define JAX_SIGLIB_CUDA_ROWS_KERNELS_H_

#include <cstdint>

#include "items.h"
#include "rows_job.h"
#include "storage.h"

namespace jax_siglib {
namespace cuda {

// f(from, to, row, entry) for every entry; `from` and `to` are those of the row, From and
// To what lies there.
template <class From, class To, class Block, class F>
JAX_SIGLIB_KERNEL void ForRows(const Block& block, const RowsJob& job, F&& f) {
  const int64_t tiles = job.Tiles(), entries = job.rows * job.entries;
  ForItems(block, job.batch * tiles, [&](int64_t item) {
    const int64_t element = item / tiles, first = item % tiles * kRowsEntries;
    const From* const from = job.from.template At<const From>(job.lead, element);
    To* const to = job.to.template At<To>(job.lead, element);
    const int64_t left = entries - first;
    const int32_t here = left < kRowsEntries ? static_cast<int32_t>(left) : kRowsEntries;
    block.ForEach(here, [&](int32_t i) {
      const int64_t row = (first + i) / job.entries;
      f(from == nullptr ? from : from + row * job.from_stride, to + row * job.to_stride,
        row, first + i - row * job.entries);
    });
  });
}

struct RowsFill {
  using Job = RowsJob;

  template <class S, class Block>
  static JAX_SIGLIB_KERNEL void Run(const Block& block, const RowsJob& job, void*) {
    using T = typename Computed<S>::Type;
    ForRows<S, S>(block, job, [&](const S*, S* to, int64_t, int64_t i) {
      Store(to, i, static_cast<T>(job.constant));
    });
  }
};

struct RowsAdd {
  using Job = RowsJob;

  template <class S, class Block>
  static JAX_SIGLIB_KERNEL void Run(const Block& block, const RowsJob& job, void*) {
    ForRows<S, S>(block, job, [&](const S* from, S* to, int64_t, int64_t i) {
      Store(to, i, Load(to, i) + Load(from, i));
    });
  }
};

// Of points, the steps between them.
struct RowsSteps {
  using Job = RowsJob;

  template <class S, class Block>
  static JAX_SIGLIB_KERNEL void Run(const Block& block, const RowsJob& job, void*) {
    ForRows<S, S>(block, job, [&](const S* from, S* to, int64_t, int64_t i) {
      Store(to, i, Load(from, job.from_stride + i) - Load(from, i));
    });
  }
};

// The transpose of that: what steps are given, to the points at their ends.
struct RowsEnds {
  using Job = RowsJob;

  template <class S, class Block>
  static JAX_SIGLIB_KERNEL void Run(const Block& block, const RowsJob& job, void*) {
    using T = typename Computed<S>::Type;
    ForRows<S, S>(block, job, [&](const S* from, S* to, int64_t row, int64_t i) {
      const T before = row == 0 ? T(0) : Load(from, i - job.from_stride);
      Store(to, i, row == job.rows - 1 ? before : before - Load(from, i));
    });
  }
};

// From arrays to what is computed with, and back.
struct RowsWiden {
  using Job = RowsJob;

  template <class S, class Block>
  static JAX_SIGLIB_KERNEL void Run(const Block& block, const RowsJob& job, void*) {
    using T = typename Computed<S>::Type;
    ForRows<S, T>(block, job,
                  [&](const S* from, T* to, int64_t, int64_t i) { to[i] = Load(from, i); });
  }
};

struct RowsRound {
  using Job = RowsJob;

  template <class S, class Block>
  static JAX_SIGLIB_KERNEL void Run(const Block& block, const RowsJob& job, void*) {
    using T = typename Computed<S>::Type;
    ForRows<T, S>(block, job,
                  [&](const T* from, S* to, int64_t, int64_t i) { Store(to, i, from[i]); });
  }
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_ROWS_KERNELS_H_
