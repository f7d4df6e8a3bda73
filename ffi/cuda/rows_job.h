// What a kernel is asked for that goes through rows of entries, and what it is asked by.
// Plain numbers and pointers: it is passed to the GPU by value.
#ifndef JAX_SIGLIB_CUDA_ROWS_JOB_H_
#define JAX_SIGLIB_CUDA_ROWS_JOB_H_

#include <algorithm>
#include <cstdint>

#include "block.h"
#include "launch.h"
#include "lead.h"

namespace jax_siglib {
namespace cuda {

// Entries for a block.
constexpr int32_t kRowsEntries = 1024;

// Of each element of a batch so many rows of so many entries, and how far rows lie apart.
struct RowsJob {
  Lead lead;
  int64_t batch = 0, rows = 1, entries = 0;
  Pointer from, to;
  int64_t from_stride = 0, to_stride = 0;
  double constant = 0;  // instead of `from`, where that is null

  JAX_SIGLIB_BOTH int64_t Tiles() const {
    return (rows * entries + kRowsEntries - 1) / kRowsEntries;
  }
};

inline Launch PlanRowsLaunch(const Limits& limits, const RowsJob& job) {
  const int64_t widest = std::min<int64_t>(kRowsEntries, job.rows * job.entries);
  return PlanLaunch(limits, job.batch * job.Tiles(), 2 * widest, 0);
}

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_ROWS_JOB_H_
