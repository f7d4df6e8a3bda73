// How the work of the combine family is cut into tiles and launches. Tiles depend on
// dimension and degree alone, so that neither do results depend on anything else.
#ifndef JAX_SIGLIB_CUDA_COMBINE_STAGES_H_
#define JAX_SIGLIB_CUDA_COMBINE_STAGES_H_

#include <algorithm>
#include <cstdint>

#include "combine_job.h"
#include "launch.h"

namespace jax_siglib {
namespace cuda {

// Entries of a product in a tile.
constexpr int32_t kProductWords = 1024;
// Sums that are formed side by side in a tile of the adjoint.
constexpr int32_t kAdjointSums = 256;
// Of the antipode, entries along either side of a tile.
constexpr int32_t kInverseEdge = 32;
// Elements that keep a large GPU busy, each with a block of its own.
constexpr int64_t kWantedElements = 512;

// The words of a level in a tile of the adjoint, and in how many sums each of theirs is
// formed. Powers of two.
struct AdjointTile {
  int32_t words, lanes;
};

// The least power of two that is not below the lesser of both.
JAX_SIGLIB_BOTH int32_t PowerOfTwo(int64_t n, int32_t most) {
  int32_t power = 1;
  while (power < n && power < most) power *= 2;
  return power;
}

// A word of the left factor is given sums over the words that may follow, which lie side by
// side: lanes go along those.
JAX_SIGLIB_BOTH AdjointTile LeftTile(const Levels& levels, int32_t level) {
  const int32_t lanes = PowerOfTwo(levels.Size(levels.degree() - level), kAdjointSums);
  return {PowerOfTwo(levels.Size(level), kAdjointSums / lanes), lanes};
}

// One of the right factor, over the words that may stand in front of it, which lie apart:
// it is the words themselves, a warp of them at least, that lie side by side.
JAX_SIGLIB_BOTH AdjointTile RightTile(const Levels& levels, int32_t level) {
  const int32_t least = PowerOfTwo(levels.Size(level), 32);
  const int32_t lanes =
      PowerOfTwo(levels.Size(levels.degree() - level), kAdjointSums / least);
  return {PowerOfTwo(levels.Size(level), kAdjointSums / lanes), lanes};
}

// A word of the antipode's is read as u m v, u and v of so many letters, backwards it is v'
// m' u'. A tile is a piece of the matrix of all u and v for one m.
struct InverseTile {
  int32_t letters;
  int32_t side;    // words u
  int64_t pieces;  // into which either side is cut
  int64_t tiles;
};

JAX_SIGLIB_BOTH InverseTile InverseTileOf(const Levels& levels, int32_t level) {
  int32_t letters = 1;
  while (2 * letters + 2 <= level && levels.Size(letters + 1) <= kInverseEdge) ++letters;
  const int32_t side = static_cast<int32_t>(levels.Size(letters));
  const int64_t pieces = (side - 1) / kInverseEdge + 1;
  const int64_t matrices = level < 2 ? 1 : levels.Size(level - 2 * letters);
  return {letters, side, pieces, matrices * pieces * pieces};
}

// Whether a block is to take whole elements, all levels in turn.
inline bool WholeElements(const Limits& limits, const Levels& levels, int64_t batch) {
  return levels.Length() <= limits.most_whole || batch >= kWantedElements;
}

inline int64_t TilesOf(int64_t words, int64_t of_tile) { return (words - 1) / of_tile + 1; }

// A thread for every fourth entry of a tile.
inline Launch PlanProductLaunch(const Limits& limits, const Levels& levels,
                                const CombineStage& stage, int64_t batch) {
  const int64_t widest = std::min<int64_t>(kProductWords, levels.Size(levels.degree()));
  return PlanLaunch(limits, batch * stage.blocks, 2 * widest, 0);
}
// One for each sum.
inline Launch PlanAdjointLaunch(const Limits& limits, const Levels& levels,
                                const CombineStage& stage, int64_t batch) {
  const int64_t widest = std::min<int64_t>(kAdjointSums, levels.Size(levels.degree()));
  return PlanLaunch(limits, batch * stage.blocks, 8 * widest,
                    kAdjointSums * static_cast<int64_t>(sizeof(double)));
}
inline Launch PlanInverseLaunch(const Limits& limits, const CombineStage& stage,
                                int64_t batch, int64_t entry_bytes) {
  return PlanLaunch(limits, batch * stage.blocks, kInverseEdge * kInverseEdge,
                    kInverseEdge * (kInverseEdge + 1) * entry_bytes);
}

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_COMBINE_STAGES_H_
