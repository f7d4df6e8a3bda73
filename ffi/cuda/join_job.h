// What a kernel of the join family is asked for. Plain numbers and pointers: it is passed
// to the GPU by value.
#ifndef JAX_SIGLIB_CUDA_JOIN_JOB_H_
#define JAX_SIGLIB_CUDA_JOIN_JOB_H_

#include <cstdint>

#include "block.h"
#include "chain_offsets.h"
#include "divisor.h"
#include "lead.h"
#include "levels.h"

namespace jax_siglib {
namespace cuda {

// A call goes through the levels in stages, from the top down, each a launch of its own:
// the levels from+1..to in tiles, which are all that lies above `words` words of level
// `from`. Blocks of a stage share nothing. What a tile has to know of the chains at its
// root it works out from the levels below, which are written later, for a result may be an
// operand.
struct JoinStage {
  int32_t from = 0, to = 0;
  int32_t words = 1;  // of level `from`, in a tile; the last tile may have fewer
  int64_t tiles = 1;
  int32_t rows = 1;    // whose children are brought into the workspace together (adjoint)
  int32_t groups = 1;  // of rows that are added up apart, for ct_v (adjoint)
};

// Where things lie in a block's workspace.
struct JoinWorkspace {
  JoinWorkspace() = default;
  JoinWorkspace(const Levels& levels, const JoinStage& stage, bool dual, bool adjoint)
      : order(dual ? 2 : 1) {
    const int64_t d = levels.dimension();
    inverses = order * d;
    chains = inverses + levels.degree();
    chain_offset = ChainOffsets(levels, stage.from, stage.to, stage.words);
    chain_total = chain_offset(stage.to);
    twins = chains + order * chain_total;
    staged = sums = total = twins;
    if (!adjoint) return;
    staged = twins + order * chain_total;
    const int64_t by_rows = stage.rows * (d | 1), by_letters = (stage.rows | 1) * d;
    sums = staged + (by_rows > by_letters ? by_rows : by_letters);
    total = sums + stage.groups * d;
  }

  int64_t order = 1;
  int64_t inverses = 0;     // of 1, 2, ..., N
  int64_t chains = 0;       // B, and, if dual, its tangents behind all of it
  int64_t twins = 0;        // the adjoint's, alike
  int64_t chain_total = 0;  // of either, without tangents
  int64_t staged = 0;  // the children of some rows, rows (or letters) an odd number apart
  int64_t sums = 0;    // for ct_v, of each group
  int64_t total = 0;
  ChainOffsets chain_offset;  // within chains, and within twins
};

struct JoinJob {
  Levels levels;
  Lead lead;
  int64_t batch = 0;
  bool prepend = false;
  bool scalar_term = false;  // whether `out` has room for it in front of level 1
  bool top_level = true;     // whether `out` has one
  // Those that an operation does not have are null. Levels start at level 1.
  Pointer sig, displacement, t_sig, t_displacement, ct_out;
  Pointer out;  // or t_out, ct_sig, t_ct_sig
  Pointer ct_displacement;

  JoinStage stage;
  JoinWorkspace at;
  // By the stage's words, rows and groups: to make one takes a GPU as long as much else.
  Divisor by_words, by_rows, by_groups;

  // Of the adjoint. Chains at the stage's highest level, from the tiles above it, and at
  // its lowest, for those below: of each element N-k chains of d^k words (their tangents
  // behind each chain's); null at the top, and at the bottom.
  const void* from_above = nullptr;
  void* to_below = nullptr;
  // Each tile's share of ct_displacement, of all stages, and how many groups of them are
  // added up apart; null if there is but one tile.
  void* shares = nullptr;
  int64_t first_share = 0, all_shares = 1;
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_JOIN_JOB_H_
