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

struct Pointer {
  void* data = nullptr;
  int64_t stride[kMaxLead] = {};  // in entries; 0 where the operand is broadcast

  // The operand's element b.
  template <class S>
  JAX_SIGLIB_BOTH S* At(const Lead& lead, int64_t b) const {
    S* const first = static_cast<S*>(data);
    return first == nullptr ? first : first + Offset(lead, b);
  }

  // In entries, from the first element.
  JAX_SIGLIB_BOTH int64_t Offset(const Lead& lead, int64_t b) const {
    if (lead.rank == 0) return 0;
    int64_t offset = 0;
    for (int i = lead.rank; i-- > 1;) {
      offset += b % lead.shape[i] * stride[i];
      b /= lead.shape[i];
    }
    return offset + b * stride[0];
  }
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_LEAD_H_
