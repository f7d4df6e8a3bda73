// Where the chains of each level of a tile lie: those of level k, N-k of them, behind those
// of the levels below it. Worked out once, on the host.
#ifndef JAX_SIGLIB_CUDA_CHAIN_OFFSETS_H_
#define JAX_SIGLIB_CUDA_CHAIN_OFFSETS_H_

#include <cstdint>

#include "block.h"
#include "levels.h"

namespace jax_siglib {
namespace cuda {

class ChainOffsets {
 public:
  ChainOffsets() = default;
  // Of the levels from..to-1 above `words` words of level `from`.
  ChainOffsets(const Levels& levels, int32_t from, int32_t to, int64_t words)
      : from_(from), degree_(levels.degree()), one_letter_(levels.dimension() == 1) {
    if (one_letter_) return;
    for (int32_t k = from; k < to; ++k)
      offset_[k - from + 1] =
          offset_[k - from] + (levels.degree() - k) * words * levels.Size(k - from);
  }

  // Of one letter there may be more levels than a table has; each has one word.
  JAX_SIGLIB_BOTH int64_t operator()(int32_t k) const {
    if (!one_letter_) return offset_[k - from_];
    const int64_t levels = k - from_;
    return levels * (2 * int64_t{degree_} - from_ - k + 1) / 2;
  }

 private:
  int32_t from_ = 0, degree_ = 0;
  bool one_letter_ = false;
  int64_t offset_[Levels::kMaxDegree + 1] = {};
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_CHAIN_OFFSETS_H_
