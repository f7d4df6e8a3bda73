// Where an operand's element of a batch lies: Batch and Operand (cpu/batch.h) in the form
// in which a kernel takes them, as plain numbers among its parameters.
#ifndef JAX_SIGLIB_CUDA_LEAD_H_
#define JAX_SIGLIB_CUDA_LEAD_H_

#include <cstdint>

#include "block.h"

namespace jax_siglib {
namespace cuda {

// Of leading dimensions that do not merge (Batch::Collapse). Those of usual batches do, and
// so do those of nested vmaps, if not every other operand is broadcast along every other
// one.
constexpr int kMaxLead = 12;

struct Lead {
  int32_t rank = 0;
  int64_t shape[kMaxLead] = {};
};

// Apart from the code around it: 64-bit divisions, for batches that are broadcast
// crosswise.
JAX_SIGLIB_APART int64_t OffsetIn(const Lead& lead, const int64_t* stride, int64_t b) {
  int64_t offset = 0;
  JAX_SIGLIB_ROLLED
  for (int i = lead.rank; i-- > 1;) {
    const int64_t quotient = b / lead.shape[i];
    offset += (b - quotient * lead.shape[i]) * stride[i];
    b = quotient;
  }
  return offset + b * stride[0];
}

struct Pointer {
  void* data = nullptr;
  int64_t stride[kMaxLead] = {};  // in entries; 0 where the operand is broadcast

  // The operand's element b.
  template <class S>
  JAX_SIGLIB_KERNEL S* At(const Lead& lead, int64_t b) const {
    S* const first = static_cast<S*>(data);
    return first == nullptr ? first : first + Offset(lead, b);
  }

  // In entries, from the first element. Of no leading dimensions, and of no operand, the
  // stride is 0.
  JAX_SIGLIB_KERNEL int64_t Offset(const Lead& lead, int64_t b) const {
    return lead.rank > 1 ? OffsetIn(lead, stride, b) : b * stride[0];
  }
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_LEAD_H_
