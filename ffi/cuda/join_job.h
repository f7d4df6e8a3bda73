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
#include "roots_plan.h"

namespace jax_siglib {
namespace cuda {

// A call goes through the levels in stages, from the top down, each a launch of its own:
// the levels from+1..to in tiles, which are all that lies above `words` words of level
// `from`. Blocks of a stage share nothing. What a tile has to know of the chains at its
// root it works out from the levels below, which are written later, for a result may be an
// operand.
//
// A block has a crew of threads for each of its elements, which are several if they are
// small: then there is one tile. A member of a crew keeps to one letter, of every
// `groups`th row (a word below the tile's highest level, whose children are a row).
struct JoinStage {
  int32_t from = 0, to = 0;
  int32_t words = 1;  // of level `from`, in a tile; the last tile may have fewer
  int64_t tiles = 1;
  int32_t crew = 1;      // threads for an element
  int32_t elements = 1;  // of a block, or, of the last one, fewer
  int32_t groups = 1;    // of rows; for ct_v they are added up apart
  // Done by join_roots.h: levels above the roots, or 0; that of the roots; the letters of
  // its code (roots_plan.h).
  int32_t depth = 0, root = 0, letters = 0;
  int32_t rows = 1;  // whose children are brought into the workspace together (adjoint)

  // What blocks take in turn: some elements, or a tile of one.
  JAX_SIGLIB_BOTH int64_t Items(int64_t batch) const {
    return (batch + elements - 1) / elements * tiles;
  }
};

// Threads of a block of join_roots.h. That it is the same number for all tells the compiler
// how far the entries that one of them reads lie apart.
constexpr int32_t kThreadsOfRoots = 128;

// Where things lie in a block's workspace. Of those of join_roots.h: signatures, with a
// scalar term; from `own` on the displacements; from `path` on, of the adjoint, S without
// level N; and what each element's roots find, from `sums` on, `apart` entries behind that
// of the last. Otherwise: the inverses, and what each element has of its own, from `own`
// on, `apart` entries behind that of the last. All levels are words of the tile by number,
// and of chains the first of all levels, in their order, lie in front of all others: there,
// and in front of that, S is loaded as it lies in memory.
struct JoinWorkspace {
  JoinWorkspace() = default;
  // Of a stage that is done by join_roots.h.
  JoinWorkspace(const Levels& levels, bool prepend, const JoinStage& stage, bool adjoint,
                int64_t entry_bytes) {
    const int64_t d = levels.dimension(), n = stage.elements;
    const RootsLayout layout = LayoutOfRoots(stage.letters, stage.depth, prepend,
                                             static_cast<int32_t>(entry_bytes));
    auto pitch = [&](int64_t entries, int32_t in_front) {
      return layout.Pitch(static_cast<int32_t>(entries), in_front, stage.crew);
    };
    own = n * pitch(levels.Length(), 1);
    path = own + n * d;
    const int32_t beside = LevelsBeside(adjoint, levels.degree(), stage.root);
    sums = path + n * pitch(levels.Offset(beside + 1), 0);
    const int64_t below = stage.root > 1 ? stage.root - 1 : 0;
    apart = adjoint ? ((below + (d | 1)) * stage.crew + stage.groups * d) | 1 : 0;
    total = sums + n * apart;
  }
  JoinWorkspace(const Levels& levels, const JoinStage& stage, bool dual, bool adjoint)
      : order(dual ? 2 : 1) {
    const int64_t d = levels.dimension();
    const int64_t words = stage.words;
    own = levels.degree();
    path = order * d;
    chains = path + 2 * order * stage.from * words;
    const bool top = stage.to == levels.degree();
    const int32_t end = adjoint && !top ? stage.to + 1 : stage.to;
    chain_total = ChainOffsets(levels, stage.from, end, words)(end);
    ct_lower = staged = sums = total = chains + order * chain_total;
    if (adjoint) {
      const int64_t above = end - stage.from;
      staged = ct_lower + (above == 0 ? 0 : words * levels.Offset(above));
      const int64_t by_rows = stage.rows * (d | 1), by_letters = (stage.rows | 1) * d;
      sums = staged + (!top || above == 0     ? 0
                       : by_rows > by_letters ? by_rows
                                              : by_letters);
      total = sums + stage.groups * d;
    }
    // An odd number, so that elements do not meet in the banks of shared memory.
    apart = total | 1;
    total = own + stage.elements * apart;
  }

  int64_t order = 1;
  int64_t own = 0;  // behind the inverses of 1, 2, ..., N
  int64_t apart = 0;
  // Of an element: v (and its tangent), and S and v along the path to each root, of every
  // level from 1 to the root's (and their tangents).
  int64_t path = 0;
  // B, and, if dual, its tangents behind all of it. Going back, the adjoint's chains come
  // to lie where theirs are that are no longer needed.
  int64_t chains = 0;
  int64_t chain_total = 0;  // without tangents
  int64_t ct_lower = 0;     // g of the levels above the root's, but for level N
  int64_t staged = 0;  // the children of some rows, rows (or letters) an odd number apart
  int64_t sums = 0;    // for ct_v, of each group
  int64_t total = 0;   // of the block
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
  // By the stage's numbers: to make one takes a GPU as long as much else.
  Divisor by_words, by_crew, by_groups;
  // By the entries of rows (join_roots.h): of signatures, and of S beside them.
  Divisor by_whole, by_beside;

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
