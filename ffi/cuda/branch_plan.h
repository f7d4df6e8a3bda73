// How signatures are cut into branches, and these are shared out among threads and blocks.
// As for joins, that depends on the sizes alone.
#ifndef JAX_SIGLIB_CUDA_BRANCH_PLAN_H_
#define JAX_SIGLIB_CUDA_BRANCH_PLAN_H_

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "divisor.h"
#include "launch.h"
#include "path_stages.h"

namespace jax_siglib {
namespace cuda {

// A branch is what begins with one word of level N-2, its root: `side` of the root's
// children, the branch's rows, and `side` letters for each of them. It is one thread's,
// that takes it along the whole path in registers: the top level, N-1, and the path down
// from the root to level 1, of which every branch has its own. So branches need nothing of
// each other but, going back, sums of what they find for the increments.
//
// Of this many words on the way down at most, the root among them: an index into registers
// has to be a constant, so that there is code, and there are registers, for each.
constexpr int MostAncestors(int side) {
  return side == 2 ? 8 : side <= 4 ? 6 : side == 5 ? 4 : 3;
}
// Larger ones would not fit the registers of a thread.
constexpr int MostSide(bool dual, int64_t entry_bytes) {
  return !dual && entry_bytes == 4 ? 8 : dual && entry_bytes == 8 ? 3 : 5;
}
// Letters of a side as they lie in the workspace, where four are read at a time.
constexpr int PaddedSide(int side) { return side == 2 ? 2 : side <= 4 ? 4 : 8; }

// Whether there is code for it: the sides of most use for paths of floats, for others
// fewer, as each takes a while to compile. What streams write is most of their work.
constexpr bool HasSide(int side, bool stream, bool dual, int64_t entry_bytes) {
  const bool all = !stream && !dual && entry_bytes == 4;
  return side <= MostSide(dual, entry_bytes) && (all || side % 4 != 0);
}

// f(std::integral_constant) of a side that there is code for.
template <bool kStream, bool kDual, class T, class F>
void WithSide(int side, F&& f) {
  auto with = [&](auto one) {
    if constexpr (HasSide(one(), kStream, kDual, sizeof(T)))
      if (side == one()) f(one);
  };
  with(std::integral_constant<int, 2>());
  with(std::integral_constant<int, 3>());
  with(std::integral_constant<int, 4>());
  with(std::integral_constant<int, 5>());
  with(std::integral_constant<int, 8>());
}

struct BranchPlan {
  int32_t side = 0;  // none: the path is not for these kernels
  int32_t root = 0;  // the level of the roots
  // Of the letters, for rows as well as for columns: d = 20 in threes of 8.
  int32_t slices = 1;
  bool exact = false;    // d is the side
  int32_t pitch = 0;     // of an increment in the workspace
  int32_t items = 1;     // branches of a signature
  int32_t width = 1;     // branches of a block
  int32_t elements = 1;  // signatures of a block; of one, if it takes several blocks
  int32_t each = 1;      // branches of one in a block
  int64_t tiles = 1;     // blocks of a signature
  int64_t slots = 1;     // adjoint: as PathStage
  int32_t steps = 1;     // whose increments are brought into the workspace together
  // Of the adjoint: steps whose contributions to ct_v are added up together, in how many
  // groups of an element's branches; whether they are read by fours, for how many branches
  // an element has places there, and how far letters lie apart.
  int32_t back = 1;
  int32_t groups = 1;
  bool fours = false;
  int32_t places = 1;
  int32_t letter_pitch = 1;
  Divisor by_slices, by_items, by_elements, by_pitch, by_letters, by_groups;
};

// Steps between barriers: as many as fit, up to these.
constexpr int64_t kBranchSteps = 32;
constexpr int64_t kBranchStepsBack = 8;
// Of shared memory for ct_v, so that several blocks fit a multiprocessor; and for a block.
constexpr int64_t kFoundBytes = 19 << 10;
// Between the letters of contributions to ct_v, where a side has them all: a constant, for
// places that are constants cost nothing. There are places for all branches of a block, and
// the fours that eight threads read meet in no bank of shared memory: of four groups of two
// letters, as 8 letters have them most often, or of eight letters.
constexpr int32_t LetterPitch(int side) { return side == 8 ? 144 : 148; }
constexpr int64_t kBranchBytes = 48 << 10;
// Of tiles of level N, rows that go through the workspace together on their way to the
// result, and how far those of a branch lie from the next one's: an odd number, for the
// banks.
constexpr int64_t kTopBytes = 14 << 10;
constexpr int TopPitchOf(int rows, int side) { return rows * side | 1; }
constexpr int TopRows(int side, int64_t entry_bytes) {
  int rows = side;
  while (rows > 1 && 128 * TopPitchOf(rows, side) * entry_bytes > kTopBytes) --rows;
  return rows;
}
constexpr int TopPitch(int side, int64_t entry_bytes) {
  return TopPitchOf(TopRows(side, entry_bytes), side);
}
// Threads of a block, at most, of every kernel of branches: they are compiled for so many.
constexpr int64_t kBranchThreads = 128;

// The side with the least work, all slices counted, rows beyond d among them; what a branch
// does besides its top level is as much as that of some 60 entries. Of none, 0.
inline int32_t ChooseSide(int64_t dimension, int64_t degree, const PathKind& kind) {
  if (dimension < 2 || dimension > 256 || degree < 2) return 0;
  int32_t best = 0;
  int64_t least = 0;
  for (const int32_t side : {2, 3, 4, 5, 8}) {
    if (!HasSide(side, kind.stream, kind.dual, kind.entry_bytes) ||
        degree - 2 > MostAncestors(side))
      continue;
    const int64_t slices = CeilDiv(dimension, side);
    const int64_t work = slices * slices * (side * side + 60);
    if (best == 0 || work < least) {
      best = side;
      least = work;
    }
  }
  return best;
}

// With blocks of so many branches at most. Of several elements, if one has few.
inline void ShareOutBranches(const Limits& limits, BranchPlan& plan, int64_t batch,
                             int64_t most) {
  plan.tiles = plan.elements = 1;
  // Small blocks while they are few, of less than a warp if need be: a step takes a warp as
  // long whether its threads are many or few.
  const int64_t fair = batch * plan.items / limits.wanted_branch_blocks;
  const int64_t wanted =
      std::min(most, std::max<int64_t>(1, fair < 32 ? fair : fair / 32 * 32));
  if (plan.items > wanted) {
    plan.tiles =
        CeilDiv(plan.items, std::max<int64_t>(wanted, std::min<int64_t>(32, most)));
    plan.each = static_cast<int32_t>(CeilDiv(plan.items, plan.tiles));
  } else {
    plan.elements =
        static_cast<int32_t>(std::min(wanted / plan.items, std::max<int64_t>(1, batch)));
    plan.each = plan.items;
  }
  plan.width = plan.elements * plan.each;
}

// Steps whose contributions to ct_v, of a letter from each branch, lie in the workspace,
// and groups of these: a thread for each sum. They are read by fours, unless branches are
// few and would have many places for none that way.
inline void ShareOutSums(BranchPlan& plan, int64_t dimension, int64_t increments,
                         const PathKind& kind) {
  const int64_t threads = CeilDiv(plan.width, 32) * 32;
  const int64_t by_fours = CeilDiv(plan.each, 4) * 4;
  plan.fours = by_fours == plan.each ||
               (plan.each > 16 && plan.elements * by_fours <= LetterPitch(plan.side));
  plan.places = static_cast<int32_t>(plan.fours ? by_fours : plan.each);
  const int64_t apart =
      plan.slices == 1 ? LetterPitch(plan.side) : plan.elements * plan.places;
  const int64_t fit = kFoundBytes / (apart * plan.pitch * kind.entry_bytes);
  const int64_t back = std::min({kBranchStepsBack, std::max<int64_t>(1, fit), increments});
  const int64_t groups = threads / (back * plan.elements * dimension);
  plan.back = static_cast<int32_t>(back);
  plan.groups = static_cast<int32_t>(
      std::min({int64_t{32}, int64_t{plan.fours ? plan.places / 4 : plan.each},
                std::max<int64_t>(1, groups)}));
  // Behind the groups of a letter those of the next, in the banks.
  const int64_t next = plan.groups * (plan.fours ? 4 : 1);
  plan.letter_pitch = static_cast<int32_t>(
      plan.slices == 1 ? apart : apart + (next + 32 - apart % 32) % 32);
}

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_BRANCH_PLAN_H_
