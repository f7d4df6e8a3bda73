// What a kernel of the path family is asked for, as join_job.h has it for the joins.
#ifndef JAX_SIGLIB_CUDA_PATH_JOB_H_
#define JAX_SIGLIB_CUDA_PATH_JOB_H_

#include <cstdint>

#include "block.h"
#include "chain_offsets.h"
#include "lead.h"
#include "levels.h"

namespace jax_siglib {
namespace cuda {

// A tile of a path's signature is all that begins with one word, its root, of level `root`.
// A block takes a tile along the whole path, step by step, and needs nothing of the others:
// the levels below the root are so few numbers, one for each, that every tile has its own.
// The cotangent is linear in that of the signature: each tile goes back along the path with
// its own part of it, the root's ancestors falling to the first tile above them; what the
// tiles find for the increments is added up in the end.
struct PathStage {
  int32_t root = 0;
  int64_t tiles = 1;
  // Blocks for an element of the batch, each of which takes every `slots`th tile; below the
  // number of tiles where their shares of ct_path would take too much memory.
  int64_t slots = 1;
  int32_t steps = 1;   // whose part of the top level is done together
  int32_t groups = 1;  // of rows that are added up apart, for ct_v (adjoint)
};

// Where things lie in a block's workspace; of what has a tangent it lies behind all of it,
// and of what is carried as a sum of two numbers the low parts lie behind both.
struct PathWorkspace {
  PathWorkspace() = default;
  PathWorkspace(const Levels& levels, const PathStage& stage, bool dual, bool adjoint)
      : order(dual ? 2 : 1) {
    const int64_t d = levels.dimension(), degree = levels.degree(), root = stage.root;
    const int64_t block = stage.steps * Rows(levels, stage);
    below_total = levels.Offset(degree - root);
    chain_offset = ChainOffsets(levels, stage.root, levels.degree(), 1);
    chain_total = chain_offset(levels.degree() - 1);  // that of level N-1 is kept in b
    v = 0;
    inverses = v + order * stage.steps * d;
    ancestors = inverses + degree;
    below = ancestors + 3 * order * root;
    chains = below + 2 * order * below_total;
    b = chains + order * chain_total;
    top = b + order * block;
    y = total = top + Rows(levels, stage) * (adjoint ? d | 1 : d);
    ct_ancestors = ct_below = twins = sent = added = sums = y;
    if (!adjoint) return;
    ct_ancestors = y + order * block;
    ct_below = ct_ancestors + 2 * order * root;
    twins = ct_below + 2 * order * below_total;
    sent = twins + order * chain_total;
    added = sent + order * degree * root;
    sums = added + degree * root;
    total = sums + stage.steps * stage.groups * d;
  }

  // Words of level N-1 in a tile.
  JAX_SIGLIB_BOTH static int64_t Rows(const Levels& levels, const PathStage& stage) {
    return levels.Size(levels.degree() - 1 - stage.root);
  }

  int64_t order = 1;
  int64_t v = 0;         // increments of a block of steps
  int64_t inverses = 0;  // of 1, 2, ..., N
  // S of the root and of what it begins with: old, new, and low parts.
  int64_t ancestors = 0;
  int64_t below = 0;  // S of the tile's levels below N
  int64_t below_total = 0;
  int64_t chains = 0;
  int64_t chain_total = 0;
  int64_t b = 0;  // B of level N-1 for the block's steps
  int64_t top =
      0;  // the tile's level N: of the result, or of ct_out, rows an odd way apart
  // Of the adjoint: the contraction of level N with each increment, the cotangents of S,
  // the chains back, and what they leave with each ancestor and letter of theirs.
  int64_t y = 0;
  int64_t ct_ancestors = 0, ct_below = 0;
  int64_t twins = 0;
  int64_t sent = 0, added = 0;
  int64_t sums = 0;  // for ct_v of each step, of each group
  int64_t total = 0;
  ChainOffsets chain_offset;  // within chains, and within twins
};

// Sums that a block of PathSums forms at a time, each of a group of the slots' shares.
constexpr int32_t kPathSums = 256;
// Groups of so many slots: no fewer entries side by side than a warp reads together.
JAX_SIGLIB_BOTH constexpr int32_t PathSumsGroups(int64_t slots) {
  return slots <= 8 ? 1 : slots <= 16 ? 2 : slots <= 32 ? 4 : 8;
}

struct PathJob {
  Levels levels;
  Lead lead;
  int64_t batch = 0;
  bool scalar_term = false;
  bool from_path = false;  // the adjoint is to work out the signature, not to read it
  int64_t points = 1;
  int64_t point_stride = 0, t_point_stride = 0;
  // Those that an operation does not have are null. sig is the residual, levels < N.
  Pointer path, t_path, sig, ct_out;
  Pointer out;  // or t_out
  Pointer ct_path;
  PathStage stage;
  PathWorkspace at;
  void* shares = nullptr;    // of each element and slot: ct_v for every step
  bool wide_shares = false;  // double, of a path of floats
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_PATH_JOB_H_
