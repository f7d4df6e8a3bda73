// The blocks of a launch take its items in turn.
#ifndef JAX_SIGLIB_CUDA_ITEMS_H_
#define JAX_SIGLIB_CUDA_ITEMS_H_

#include <cstdint>

#include "block.h"

namespace jax_siglib {
namespace cuda {

// f(item) for this block's share of batch x tiles.
template <class Block, class F>
JAX_SIGLIB_KERNEL void ForItems(const Block& block, int64_t items, F&& f) {
  for (int64_t item = block.index(); item < items; item += block.count()) f(item);
}

// So many of what is left, or as many as there are.
JAX_SIGLIB_KERNEL int32_t AtMost(int64_t left, int32_t most) {
  return left < most ? static_cast<int32_t>(left) : most;
}

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_ITEMS_H_
