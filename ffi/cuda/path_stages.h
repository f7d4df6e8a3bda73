// How whole paths are cut into tiles and blocks of steps. As for joins, it depends on the
// sizes alone.
#ifndef JAX_SIGLIB_CUDA_PATH_STAGES_H_
#define JAX_SIGLIB_CUDA_PATH_STAGES_H_

#include <algorithm>
#include <cstdint>

#include "launch.h"
#include "path_job.h"

namespace jax_siglib {
namespace cuda {

// Tiles that keep a large GPU busy.
constexpr int64_t kWantedPathTiles = 256;
// Steps whose part of the top level is done together, and at the least, unless the tile is
// one that no shared memory holds.
constexpr int64_t kMostSteps = 16;
constexpr int64_t kLeastSteps = 8;

struct PathKind {
  bool dual, adjoint;
  int64_t entry_bytes;  // of what is computed with
  bool stream = false;  // running signatures
};

inline int64_t PathWorkspaceBytes(const Levels& levels, const PathStage& stage,
                                  const PathKind& kind) {
  return PathWorkspace(levels, stage, kind.dual, kind.adjoint).total * kind.entry_bytes;
}

inline Launch PlanPathLaunch(const Limits& limits, const Levels& levels,
                             const PathStage& stage, int64_t batch, const PathKind& kind) {
  const int64_t top = levels.Size(levels.degree() - stage.root);
  return PlanLaunch(limits, batch * stage.slots, top,
                    PathWorkspaceBytes(levels, stage, kind));
}

inline Launch PlanPathSumsLaunch(const Limits& limits, int64_t batch, int64_t entries,
                                 int64_t slots) {
  Launch launch;
  launch.blocks =
      std::min(batch * CeilDiv(entries, kPathSums / PathSumsGroups(slots)), limits.blocks);
  launch.threads = kPathSums;
  launch.workspace = launch.shared_bytes = kPathSums * sizeof(double);
  return launch;
}

// Blocks for an element, of at most so many, whose shares of ct_path do not take too much
// memory. One divisor after the other: their product may be more than 64 bits hold.
inline int64_t PathSlots(const Limits& limits, int64_t tiles, int64_t batch,
                         int64_t increments, int64_t dimension, const PathKind& kind) {
  const int64_t fit =
      limits.share_bytes / batch / increments / dimension / kind.entry_bytes;
  return std::min(tiles, std::max<int64_t>(1, fit));
}

// Of degree 1 and up.
inline PathStage PlanPath(const Limits& limits, const Levels& levels, int64_t batch,
                          int64_t points, const PathKind& kind) {
  const int64_t d = levels.dimension(), degree = levels.degree();
  const int64_t increments = std::max<int64_t>(1, points - 1);
  PathStage stage;
  for (;; ++stage.root) {
    const int64_t top = levels.Size(degree - stage.root), rows = top / d;
    stage.tiles = levels.Size(stage.root);
    stage.groups = static_cast<int32_t>(
        std::min(rows, std::max<int64_t>(1, std::min<int64_t>(64, top / 16) / d)));
    const bool last = stage.root == degree - 1;
    const bool busy = stage.tiles * batch >= kWantedPathTiles || top / d < limits.least_top;
    bool fits = false;
    for (int64_t steps = kMostSteps; !fits && steps >= (last ? 1 : kLeastSteps);
         steps /= 2) {
      stage.steps = static_cast<int32_t>(std::min(steps, increments));
      fits = PathWorkspaceBytes(levels, stage, kind) <= limits.shared_bytes;
    }
    if (last || (fits && busy && top <= limits.most_top)) break;
  }
  stage.slots = stage.tiles;
  if (kind.adjoint)
    stage.slots = PathSlots(limits, stage.tiles, batch, increments, d, kind);
  return stage;
}

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_PATH_STAGES_H_
