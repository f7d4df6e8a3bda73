// How a join is cut into stages and tiles. It depends on the sizes alone, not on the GPU,
// so that neither do the results.
#ifndef JAX_SIGLIB_CUDA_JOIN_STAGES_H_
#define JAX_SIGLIB_CUDA_JOIN_STAGES_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "in_flight.h"
#include "join_job.h"
#include "launch.h"
#include "levels.h"
#include "roots_plan.h"

namespace jax_siglib {
namespace cuda {

// Prepending, a tile's words lie in pieces as long as its range: no shorter than a warp.
constexpr int64_t kLeastPiece = 32;
// Threads of a block at the most.
constexpr int64_t kMostCrew = 256;
// Rows of which a thread has its letter, in tiles: to be worth what a phase takes to begin.
constexpr int64_t kRowsOfEach = 2 * kInFlight;
// What is brought into the workspace together.
constexpr int64_t kStagedBytes = 16 << 10;
// Where signatures are many, a multiprocessor has this many threads and this much memory
// for them. A signature has its share of the threads by what it takes of the memory.
constexpr int64_t kThreadsTogether = 768, kBytesTogether = 220 << 10;
// Entries side by side that a crew reads or writes at a time, at the least: of float two
// sectors of memory, or three that are not full.
constexpr int64_t kLeastRun = 16;

struct JoinKind {
  bool dual, adjoint;
  int64_t entry_bytes;  // of what is computed with
  bool half = false;    // what lies in arrays
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

// Whether each signature is one tile.
inline bool IsWhole(const Levels& levels, const JoinStage& stage) {
  return stage.tiles == 1 && stage.from == 0 && stage.to == levels.degree() && stage.to > 0;
}

// A stage's workspace, in bytes, after the choice of what is staged.
inline JoinWorkspace PlanJoinWorkspace(const Levels& levels, bool prepend,
                                       const JoinStage& stage, const JoinKind& kind) {
  if (stage.depth == 0) return JoinWorkspace(levels, stage, kind.dual, kind.adjoint);
  return JoinWorkspace(levels, prepend, stage, kind.adjoint, kind.entry_bytes);
}
inline int64_t JoinWorkspaceBytes(const Levels& levels, bool prepend,
                                  const JoinStage& stage, const JoinKind& kind) {
  return PlanJoinWorkspace(levels, prepend, stage, kind).total * kind.entry_bytes;
}

inline Launch PlanJoinLaunch(const Limits& limits, const Levels& levels, bool prepend,
                             const JoinStage& stage, int64_t batch, const JoinKind& kind) {
  const int64_t threads =
      stage.depth > 0 ? kThreadsOfRoots : CeilDiv(stage.crew * stage.elements, 32) * 32;
  return PlanLaunch(limits, stage.Items(batch), 8 * threads,
                    JoinWorkspaceBytes(levels, prepend, stage, kind));
}

// Who does what of a stage's tiles, of so many rows, with so many threads for each or, if a
// thread has its letter of but a few rows, fewer.
inline void PlanCrew(const Levels& levels, bool prepend, const JoinKind& kind, int64_t rows,
                     int64_t threads, JoinStage& stage) {
  const int64_t d = levels.dimension();
  int64_t groups = std::min(rows, std::max<int64_t>(1, threads / d));
  const int64_t crew = std::min(kMostCrew, groups * d);
  // Prepending, what lies side by side are rows: of a letter at least a warp's, if each
  // member takes several letters for that, of not too few rows.
  const int64_t letters = std::min<int64_t>(
      {8, CeilDiv(kLeastPiece * d, crew), std::max<int64_t>(1, rows * d / (4 * crew))});
  if (prepend) groups = std::min(rows, std::max(groups, crew * letters / d));
  stage.crew = static_cast<int32_t>(crew);
  stage.groups = static_cast<int32_t>(groups);
  // Of each group as many as are in flight together, once or twice.
  const int64_t fit = std::max<int64_t>(1, kStagedBytes / kind.entry_bytes / (groups * d));
  const int64_t staged = fit < kInFlight       ? fit
                         : fit < 2 * kInFlight ? int64_t{kInFlight}
                                               : 2 * kInFlight;
  stage.rows = static_cast<int32_t>(std::min(rows, groups * staged));
}

// Elements of a block, with enough blocks.
inline int64_t MostElements(const Limits& limits, int64_t batch) {
  return std::max<int64_t>(1, CeilDiv(batch, limits.wanted_tiles));
}

// The same for signatures that are whole, of which a block takes several if there are many.
inline void PlanElements(const Limits& limits, const Levels& levels, bool prepend,
                         int64_t batch, const JoinKind& kind, int64_t rows,
                         JoinStage& stage) {
  const int64_t most = MostElements(limits, batch);
  // A few are done the sooner the more threads they have.
  int64_t threads = std::min(kMostCrew, CeilDiv(rows, 4) * levels.dimension());
  threads = std::min(threads, std::max(kLeastRun, kMostCrew / most));
  auto bytes = [&] {
    return JoinWorkspace(levels, stage, kind.dual, kind.adjoint).apart * kind.entry_bytes;
  };
  for (;; threads = std::min(kMostCrew, 2 * threads)) {
    PlanCrew(levels, prepend, kind, rows,
             CeilDiv(threads, levels.dimension()) * levels.dimension(), stage);
    if (threads == kMostCrew || stage.crew < threads ||
        3 * threads / 2 * kBytesTogether >= kThreadsTogether * bytes())
      break;
  }
  const int64_t fit = (limits.shared_bytes - levels.degree() * kind.entry_bytes) / bytes();
  stage.elements = static_cast<int32_t>(
      std::max<int64_t>(1, std::min({kMostCrew / stage.crew, fit, most})));
}

// Groups of roots, if there are more, whose sums for ct_v are added up apart.
constexpr int64_t kGroupsOfRoots = 16;
// Entries of a signature of more than three letters that goes root by root forward.
constexpr int64_t kMostOfRoots = 2048;
// Roots that there should be in a multiprocessor's memory: two warps for each scheduler.
constexpr int64_t kLeastRootsTogether = 256;

// Whether signatures are to be done by join_roots.h, and if, how.
inline bool PlanRoots(const Limits& limits, const Levels& levels, bool prepend,
                      int64_t batch, const JoinKind& kind, JoinStage& stage) {
  const int32_t d = levels.dimension(), degree = levels.degree();
  const int32_t letters = LettersOfRoots(d, kind.half);
  const int32_t depth = DepthOfRoots(letters, degree);
  if (kind.dual || d == 1 || depth == 0 || degree - depth > MostRoot(letters, depth))
    return false;
  // Those for which tiles take fewer instructions, or meet less in the banks.
  if (d > 3 && !kind.adjoint && levels.Length() > kMostOfRoots) return false;
  if (d > 11 && degree > 2) return false;
  const int64_t roots = levels.Size(degree - depth);
  if (roots > kThreadsOfRoots || levels.Length() * kind.entry_bytes > limits.shared_bytes)
    return false;
  JoinStage plan;
  plan.to = degree;
  plan.depth = depth;
  plan.root = degree - depth;
  plan.letters = letters;
  plan.crew = static_cast<int32_t>(roots);
  plan.groups = static_cast<int32_t>(std::min(roots, kGroupsOfRoots));
  const int64_t bytes = JoinWorkspaceBytes(levels, prepend, plan, kind);
  // Threads enough, although each has all words of a root.
  if (roots * kBytesTogether < kLeastRootsTogether * bytes || bytes > limits.shared_bytes)
    return false;
  plan.elements = static_cast<int32_t>(std::min(
      {kThreadsOfRoots / roots, limits.shared_bytes / bytes, MostElements(limits, batch)}));
  // What is rounded for one may be more for several.
  while (JoinWorkspaceBytes(levels, prepend, plan, kind) > limits.shared_bytes)
    --plan.elements;
  stage = plan;
  return true;
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
  std::vector<JoinStage> stages(1);
  if (PlanRoots(limits, levels, prepend, batch, kind, stages[0])) return stages;
  stages.clear();
  int64_t to = levels.degree();
  do {
    const int64_t all = to == 0 ? 1 : levels.Size(to - 1);
    // All that there are, dealt out to enough tiles.
    const int64_t wanted = CeilDiv(limits.wanted_tiles, std::max<int64_t>(batch, 1));
    // Going back a tile has more phases, to be worth while.
    const int64_t most = kind.adjoint ? 2 * limits.most_rows : limits.most_rows;
    int64_t rows = std::min(most, std::max(limits.least_rows, CeilDiv(all, wanted)));
    JoinStage stage;
    for (;; rows /= 2) {
      stage = TopStage(levels, prepend, to, rows);
      const int64_t of_tile = to == 0 ? 1 : stage.words * levels.Size(to - 1 - stage.from);
      if (IsWhole(levels, stage))
        PlanElements(limits, levels, prepend, batch, kind, of_tile, stage);
      else
        PlanCrew(levels, prepend, kind, of_tile,
                 std::min(kMostCrew, CeilDiv(of_tile, kRowsOfEach) * levels.dimension()),
                 stage);
      if (rows <= 1 ||
          JoinWorkspaceBytes(levels, prepend, stage, kind) <= limits.shared_bytes)
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
