// How a join is cut into stages and tiles. It depends on the sizes alone, not on the GPU,
// so that neither do the results.
#ifndef JAX_SIGLIB_CUDA_JOIN_STAGES_H_
#define JAX_SIGLIB_CUDA_JOIN_STAGES_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "join_job.h"
#include "launch.h"
#include "levels.h"

namespace jax_siglib {
namespace cuda {

// Tiles that keep a large GPU busy: below that they are made smaller.
constexpr int64_t kWantedTiles = 1024;
// Prepending, a tile's words lie in pieces as long as its range: no shorter than a warp.
constexpr int64_t kLeastPiece = 32;
// Entries that are brought into the workspace together.
constexpr int64_t kStagedEntries = 2048;

struct JoinKind {
  bool dual, adjoint;
  int64_t entry_bytes;  // of what is computed with
};

// The highest levels up to `to`, with about this many rows in a tile at most.
inline JoinStage TopStage(const Levels& levels, bool prepend, int64_t to, int64_t rows) {
  JoinStage stage;
  stage.to = static_cast<int32_t>(to);
  if (to == 0) return stage;
  auto piece = [&](int64_t from) {
    return prepend ? std::min(levels.Size(from), kLeastPiece) : int64_t{1};
  };
  while (stage.from < to - 1 && levels.Size(to - 1 - stage.from) > rows / piece(stage.from))
    ++stage.from;
  const int64_t above = levels.Size(to - 1 - stage.from), size = levels.Size(stage.from);
  stage.words =
      static_cast<int32_t>(std::min(size, std::max(piece(stage.from), rows / above)));
  stage.tiles = CeilDiv(size, stage.words);
  return stage;
}

// A stage's workspace, in bytes, after the choice of what is staged.
inline int64_t JoinWorkspaceBytes(const Levels& levels, const JoinStage& stage,
                                  const JoinKind& kind) {
  return JoinWorkspace(levels, stage, kind.dual, kind.adjoint).total * kind.entry_bytes;
}

inline Launch PlanJoinLaunch(const Limits& limits, const Levels& levels,
                             const JoinStage& stage, int64_t batch, const JoinKind& kind) {
  const int64_t above = stage.to == 0 ? 0 : levels.Size(stage.to - 1 - stage.from);
  const int64_t d = levels.dimension();
  const int64_t widest = kind.adjoint ? stage.rows * d : stage.words * above * d;
  return PlanLaunch(limits, batch * stage.tiles, widest,
                    JoinWorkspaceBytes(levels, stage, kind));
}

// Of JoinSums, which adds up in double.
inline Launch PlanSumsLaunch(const Limits& limits, int64_t dimension, int64_t batch,
                             int64_t groups) {
  return PlanLaunch(limits, batch, groups * dimension * 8, groups * dimension * 8);
}

// Groups in which the shares of so many tiles are added up.
inline int32_t SumsGroups(int64_t dimension, int64_t shares) {
  return static_cast<int32_t>(std::min(shares, std::max<int64_t>(1, 256 / dimension)));
}

// From the top down.
inline std::vector<JoinStage> PlanJoin(const Limits& limits, const Levels& levels,
                                       bool prepend, int64_t batch, const JoinKind& kind) {
  std::vector<JoinStage> stages;
  int64_t to = levels.degree();
  do {
    const int64_t d = levels.dimension();
    const int64_t all = to == 0 ? 1 : levels.Size(to - 1);
    // All that there are, dealt out to enough tiles.
    const int64_t wanted = CeilDiv(kWantedTiles, std::max<int64_t>(batch, 1));
    int64_t rows =
        std::min(limits.most_rows, std::max(limits.least_rows, CeilDiv(all, wanted)));
    JoinStage stage;
    for (;; rows /= 2) {
      stage = TopStage(levels, prepend, to, rows);
      const int64_t most = to == 0 ? 1 : stage.words * levels.Size(to - 1 - stage.from);
      stage.rows =
          static_cast<int32_t>(std::min(most, std::max<int64_t>(1, kStagedEntries / d)));
      const int64_t threads = PlanJoinLaunch(limits, levels, stage, batch, kind).threads;
      stage.groups = static_cast<int32_t>(
          std::min<int64_t>(stage.rows, std::max<int64_t>(1, threads / d)));
      if (rows <= 1 || JoinWorkspaceBytes(levels, stage, kind) <= limits.shared_bytes)
        break;
    }
    stages.push_back(stage);
    to = stage.from;
  } while (to > 0);
  return stages;
}

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_JOIN_STAGES_H_
