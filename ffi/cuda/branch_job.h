// Whole paths, branch by branch: what kernels are asked for, and how the work is shared
// out. As for joins, that depends on the sizes alone.
#ifndef JAX_SIGLIB_CUDA_BRANCH_JOB_H_
#define JAX_SIGLIB_CUDA_BRANCH_JOB_H_

#include <algorithm>
#include <cstdint>

#include "../arrays.h"
#include "branch_plan.h"
#include "launch.h"
#include "path_job.h"

namespace jax_siglib {
namespace cuda {

// Where things lie in a block's workspace, behind a place in memory for each path.
struct BranchWorkspace {
  BranchWorkspace() = default;
  BranchWorkspace(const BranchPlan& plan, int64_t dimension, const PathKind& kind) {
    const int64_t order = kind.dual ? 2 : 1, sums = kind.adjoint ? 2 : 1;
    const int64_t steps = plan.steps, elements = plan.elements;
    low = order * steps * elements * plan.pitch;
    found = low + order * sums * (plan.side + plan.root) * plan.width;
    found = (found + 3) / 4 * 4;
    partial = total = found;
    if (kind.adjoint) {
      partial = found + plan.back * plan.pitch * plan.letter_pitch;
      total = partial + plan.back * elements * dimension * plan.groups;
    }
    // Those of a whole path lie where there is nothing yet, or any more.
    places = kind.stream ? (total + 3) / 4 * 4 : kind.adjoint ? found : 0;
    tops = places + CeilDiv(plan.width * int64_t{sizeof(int64_t)}, kind.entry_bytes);
    total = std::max(total, tops + plan.width * TopPitch(plan.side, kind.entry_bytes));
  }

  int64_t v = 0;        // increments, then their tangents
  int64_t low = 0;      // low parts of what a branch carries, one behind the other
  int64_t found = 0;    // for ct_v, by step and padded letter, of each branch
  int64_t partial = 0;  // and added up by groups
  int64_t places = 0;   // of branches' tiles of level N in an array, in 64 bits
  int64_t tops = 0;     // rows of these
  int64_t total = 0;
};

// What running signatures have besides: `path` has v's path, the result (its first row) or
// the cotangent of the rows, and `sig` are the rows that it is taken at.
struct BranchStream {
  bool prepend = false;
  Pointer initial, t_initial, ct_initial;
  int64_t out_stride = 0, sig_stride = 0, ct_out_stride = 0;  // between rows
  // Of the adjoint, what each branch has of the cotangents of `initial` below level N that
  // it shares with others: of its rows, and of the root's path.
  void* parts = nullptr;
};

struct BranchJob {
  PathJob path;
  BranchStream stream;
  Dtype dtype = Dtype::kOther;  // of the arrays
  BranchPlan plan;
  BranchWorkspace at;
};

// Bytes in front of the workspace, where the paths' places are and their tangents', and in
// all.
JAX_SIGLIB_BOTH int64_t BranchPathsBytes(const BranchPlan& plan, bool dual) {
  return (plan.elements * (dual ? 2 : 1) * int64_t{sizeof(int64_t)} + 15) / 16 * 16;
}
inline int64_t BranchWorkspaceBytes(const BranchPlan& plan, int64_t dimension,
                                    const PathKind& kind) {
  return BranchPathsBytes(plan, kind.dual) +
         BranchWorkspace(plan, dimension, kind).total * kind.entry_bytes;
}

inline Launch PlanBranchLaunch(const Limits& limits, const BranchPlan& plan,
                               int64_t dimension, int64_t batch, const PathKind& kind) {
  Launch launch;
  launch.blocks = std::min(CeilDiv(batch, plan.elements) * plan.slots, limits.blocks);
  launch.threads = CeilDiv(plan.width, 32) * 32;
  launch.workspace = CeilDiv(BranchWorkspaceBytes(plan, dimension, kind), 16) * 16;
  launch.shared_bytes = launch.workspace;
  return launch;
}

// Of BranchGather, for so many entries of each element.
inline Launch PlanGatherLaunch(const Limits& limits, int64_t batch, int64_t entries) {
  return PlanLaunch(limits, batch * CeilDiv(entries, kBranchThreads), 8 * kBranchThreads,
                    0);
}

inline BranchPlan PlanBranches(const Limits& limits, const Levels& levels, int64_t batch,
                               int64_t points, const PathKind& kind) {
  const int64_t d = levels.dimension(), degree = levels.degree();
  const int64_t increments = std::max<int64_t>(1, points - 1);
  BranchPlan plan;
  plan.side = ChooseSide(d, degree, kind);
  if (plan.side == 0 || limits.most_branches == 0) return BranchPlan();
  const int64_t slices = CeilDiv(d, plan.side);
  const int64_t roots = levels.Size(degree - 2);
  if (roots >= kMostItems / slices / slices) return BranchPlan();
  plan.root = static_cast<int32_t>(degree - 2);
  plan.slices = static_cast<int32_t>(slices);
  plan.exact = d == plan.side;
  plan.pitch = plan.slices * PaddedSide(plan.side);
  plan.items = static_cast<int32_t>(roots * slices * slices);
  bool fits = false;
  for (int64_t most = limits.most_branches; !fits && most > 0; most /= 2) {
    ShareOutBranches(limits, plan, batch, most);
    if (kind.adjoint) ShareOutSums(plan, d, increments, kind);
    for (int64_t steps = std::min(kBranchSteps, increments); !fits && steps > 0;
         steps /= 2) {
      plan.steps = static_cast<int32_t>(steps);
      fits = BranchWorkspaceBytes(plan, d, kind) <= kBranchBytes;
    }
  }
  plan.by_slices = Divisor(plan.slices);
  plan.by_items = Divisor(plan.each);
  plan.by_elements = Divisor(plan.elements);
  plan.by_pitch = Divisor(plan.pitch);
  plan.by_letters = Divisor(static_cast<int32_t>(d));
  plan.by_groups = Divisor(plan.groups);
  plan.slots = plan.tiles;
  if (kind.adjoint) plan.slots = PathSlots(limits, plan.tiles, batch, increments, d, kind);
  return plan;
}

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_BRANCH_JOB_H_
