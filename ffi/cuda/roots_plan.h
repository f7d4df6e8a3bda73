// Small signatures whose joins go root by root (join_roots.h): for which there is code, and
// how they lie in the workspace.
#ifndef JAX_SIGLIB_CUDA_ROOTS_PLAN_H_
#define JAX_SIGLIB_CUDA_ROOTS_PLAN_H_

#include <cstdint>

#include "block.h"

namespace jax_siglib {
namespace cuda {

// The dimension that the code for d letters is made for, or 0, of any: that of half types,
// and of more than 8 letters.
JAX_SIGLIB_BOTH constexpr int32_t LettersOfRoots(int32_t d, bool half) {
  return half || d > 8 ? 0 : d;
}

// How many of N levels lie above the roots: 30 to 80 words of a root, if there are as many,
// so that what is worked out for each alone is little beside it.
JAX_SIGLIB_BOTH constexpr int32_t DepthOfRoots(int32_t letters, int32_t degree) {
  if (degree < 2) return 0;  // no roots
  if (letters == 2) return degree < 5 ? degree : 5;
  if ((letters == 3 && degree > 2) || (letters == 4 && degree > 3)) return 3;
  return 2;
}

// Level of a root at the most: what a thread has of the path to it lies in registers.
JAX_SIGLIB_BOTH constexpr int32_t MostRoot(int32_t letters, int32_t depth) {
  if (letters == 2) return depth < 5 ? 0 : 6;
  if (letters == 3) return depth == 2 ? 0 : 4;
  if (letters == 4) return depth == 2 ? 1 : 3;
  return letters == 5 || letters == 6 ? 3 : 2;
}

// Of how many of N levels there is S in the workspace, beside signatures: going back of
// those below N; else of those up to the root's, which are read while results are written.
JAX_SIGLIB_BOTH constexpr int32_t LevelsBeside(bool adjoint, int32_t degree, int32_t root) {
  return adjoint ? degree - 1 : root;
}

// How signatures lie in the workspace: one behind the other, as in memory; or, appending,
// where d is a power of two, so that threads, which reach for entries d, d^2, ... apart,
// would meet in the banks of shared memory, with a place left free behind every 32 (in
// double, 16). Level 1 begins `lead` behind such a place, so that levels begin at multiples
// of their sizes or of 32, and what begins with a word of a root's lies side by side.
struct RootsLayout {
  int32_t gap = 0, lead = 0;

  JAX_SIGLIB_BOTH constexpr int32_t Place(int32_t i) const {
    return gap > 0 ? i + i / (gap > 0 ? gap : 1) : i;
  }
  // From one signature to the next, of so many entries, and so many in front of level 1.
  // With gaps an odd multiple of the number of roots: then neither do those of several
  // signatures meet in the banks, at the levels that have most of the words.
  JAX_SIGLIB_BOTH constexpr int32_t Pitch(int32_t entries, int32_t in_front,
                                          int32_t roots) const {
    return gap > 0 ? ((Place(lead + entries) + roots - 1) / roots | 1) * roots
                   : entries + in_front;
  }
};
JAX_SIGLIB_BOTH constexpr RootsLayout LayoutOfRoots(int32_t letters, int32_t depth,
                                                    bool prepend, int32_t entry_bytes) {
  RootsLayout layout;
  // Of two letters and fewer than 5 levels a signature is a thread's.
  const bool gaps = letters == 2 ? depth == 5 : letters == 4 || letters == 8;
  if (prepend || !gaps) return layout;
  layout.gap = entry_bytes == 8 ? 16 : 32;
  layout.lead = letters == 2 ? 2 : letters == 4 ? 12 : 24;
  return layout;
}

template <int kD, int kDepth, bool kPrepend>
struct RootsOf {
  static constexpr int32_t letters = kD, depth = kDepth;
  static constexpr bool prepend = kPrepend;
};

// f(RootsOf) of those that there is code for.
template <bool kHalf, bool kPrepend, class F>
void WithDepth(int32_t letters, int32_t depth, F&& f) {
  auto with = [&](auto roots) {
    if (letters == roots.letters && depth == roots.depth) f(roots);
  };
  with(RootsOf<0, 2, kPrepend>());
  if constexpr (!kHalf) {
    with(RootsOf<2, 2, kPrepend>());
    with(RootsOf<2, 3, kPrepend>());
    with(RootsOf<2, 4, kPrepend>());
    with(RootsOf<2, 5, kPrepend>());
    with(RootsOf<3, 2, kPrepend>());
    with(RootsOf<3, 3, kPrepend>());
    with(RootsOf<4, 2, kPrepend>());
    with(RootsOf<4, 3, kPrepend>());
    with(RootsOf<5, 2, kPrepend>());
    with(RootsOf<6, 2, kPrepend>());
    with(RootsOf<7, 2, kPrepend>());
    with(RootsOf<8, 2, kPrepend>());
  }
}
template <bool kHalf, class F>
void WithRoots(int32_t letters, int32_t depth, bool prepend, F&& f) {
  if (prepend)
    WithDepth<kHalf, true>(letters, depth, f);
  else
    WithDepth<kHalf, false>(letters, depth, f);
}

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_ROOTS_PLAN_H_
