// What a kernel of the combine family is asked for: products of signatures, their adjoint,
// and the antipode. Plain numbers and pointers: it is passed to the GPU by value.
#ifndef JAX_SIGLIB_CUDA_COMBINE_JOB_H_
#define JAX_SIGLIB_CUDA_COMBINE_JOB_H_

#include <cstdint>

#include "block.h"
#include "lead.h"
#include "levels.h"

namespace jax_siglib {
namespace cuda {

// A launch: the levels from..to of each element, whose tiles are dealt out to so many
// blocks. Levels that must be done one after another are in one launch only if there is one
// block.
struct CombineStage {
  int32_t from = 1, to = 0;
  int64_t blocks = 1;
  bool left = false, right = false;  // which of the adjoint's results
};

// Pointers are to level 1.
struct CombineJob {
  static constexpr int kMostProducts = 2;

  Levels levels;
  Lead lead;
  int64_t batch = 0;
  bool scalar_term = false;  // whether results have room for it in front of level 1
  bool top_level = true;     // whether results have one
  bool linear = false;       // whether the result's scalar term is 0, else 1
  // out = term[0] + term[1] + the sum of left[i] (x) right[i], where of left and right,
  // whose scalar terms count as 0, no top level is read. Or: out = the antipode of term[0].
  int32_t products = 0;
  Pointer term[2], left[kMostProducts], right[kMostProducts], out;
  // The adjoint of left[0] (x) right[0], and with has_terms of term[0] and term[1] too.
  Pointer ct_out, ct_left, ct_right;
  bool has_terms = true;

  CombineStage stage;
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_COMBINE_JOB_H_
