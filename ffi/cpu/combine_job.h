// What a call of sig_combine, or of one of its derivatives, asks of the kernels.
#ifndef JAX_SIGLIB_CPU_COMBINE_JOB_H_
#define JAX_SIGLIB_CPU_COMBINE_JOB_H_

#include <cstdint>

#include "batch.h"
#include "combine_plan.h"

namespace jax_siglib {

// A sum of products of two signatures, scalar terms apart, and its adjoint. Pointers are
// to level 1 and, where scalar_term, an output has room for it right in front.
template <class T>
struct CombineJob {
  CombineJob(const CombinePlan<T>& plan, const Batch& batch, bool scalar_term)
      : plan(plan), batch(batch), scalar_term(scalar_term) {}

  static constexpr int kMostProducts = 2;

  const CombinePlan<T>& plan;
  const Batch& batch;
  bool scalar_term;
  // out = term[0] + term[1] + the sum of left[i] (x) right[i], where of left and right,
  // whose scalar terms count as 0, no top level is read. Its own scalar term is `scalar`.
  int products = 0;
  Operand<const T> term[2], left[kMostProducts], right[kMostProducts];
  T scalar = T(0);
  Operand<T> out;
  // The adjoint of left[0] (x) right[0], and with has_terms of term[0] and term[1] too.
  Operand<const T> ct_out;
  Operand<T> ct_left, ct_right;
  bool has_terms = true;
  bool top_level = true;  // whether ct_left and ct_right have one
  T* shared = nullptr;    // plan.shared_scratch() for each element of the batch
};

}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_COMBINE_JOB_H_
