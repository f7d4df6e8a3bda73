// How a kernel is launched: as many blocks as there are items, or fewer, which then take
// several in turn; and where each block has its workspace.
#ifndef JAX_SIGLIB_CUDA_LAUNCH_H_
#define JAX_SIGLIB_CUDA_LAUNCH_H_

#include <algorithm>
#include <cstdint>

namespace jax_siglib {
namespace cuda {

inline int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// What plans keep to. Tests set other limits, to have small sizes cut up as large ones are.
struct Limits {
  // What a block may have of shared memory on every GPU without being asked twice.
  int64_t shared_bytes = 48 << 10;
  // Blocks of a launch, all along x. More than any GPU runs at a time, so that the last
  // ones do not keep the others waiting, and far below its limit of 2^31 - 1.
  int64_t blocks = 1 << 16;
  // And where blocks have their workspace in global memory: still a few for each
  // multiprocessor, but not beyond this many bytes in all, if that leaves any.
  int64_t blocks_in_global = 1 << 9;
  int64_t global_bytes = int64_t{1} << 28;
  // Rows of the highest level in a tile of a join: enough to be worth their chains' way up.
  int64_t most_rows = 1024;
  int64_t least_rows = 128;
  // Tiles that keep a large GPU busy: below that they are made smaller, or take fewer
  // elements.
  int64_t wanted_tiles = 1024;
  // Entries of level N in a tile of a path.
  int64_t most_top = 4096;
  int64_t least_top = 256;
  // Branches of a path (branch_job.h) in a block; 0: paths go in tiles alone.
  int64_t most_branches = 128;
  // Blocks of them that keep a large GPU busy: a warp for each of its schedulers.
  int64_t wanted_branch_blocks = 512;
  // Entries of a row of running signatures, all elements together, for which launches would
  // take longer than what they do: these go branch by branch.
  int64_t most_of_row = 1 << 19;
  // Entries of a signature, of few, that is one block's in products and the antipode.
  int64_t most_whole = 2048;
  // Of what the tiles of a path find for its increments, in all.
  int64_t share_bytes = int64_t{1} << 28;
};

struct Launch {
  int64_t blocks = 0;  // none: there is nothing to launch
  int64_t threads = 0;
  int64_t workspace = 0;     // bytes for a block
  int64_t shared_bytes = 0;  // of these in shared memory: all or none
  int64_t global_bytes() const {
    return shared_bytes == workspace ? 0 : blocks * workspace;
  }
};

// For `items` pieces of work, the largest phase of which has this many items of its own.
inline Launch PlanLaunch(const Limits& limits, int64_t items, int64_t widest_phase,
                         int64_t workspace) {
  Launch launch;
  // Eight rounds for each thread in the widest phase, and always whole warps.
  launch.threads =
      std::min<int64_t>(256, std::max<int64_t>(32, widest_phase / 8 / 32 * 32));
  launch.workspace = (workspace + 15) / 16 * 16;
  launch.blocks = std::min(items, limits.blocks);
  if (launch.workspace <= limits.shared_bytes) {
    launch.shared_bytes = launch.workspace;
  } else {
    const int64_t fit = std::max<int64_t>(1, limits.global_bytes / launch.workspace);
    launch.blocks = std::min({items, limits.blocks_in_global, fit});
  }
  return launch;
}

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_LAUNCH_H_
