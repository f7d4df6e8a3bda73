// Sizes and offsets of the levels of a signature: TensorAlgebra (tensor_algebra.h) in the
// form in which a kernel takes it.
#ifndef JAX_SIGLIB_CUDA_LEVELS_H_
#define JAX_SIGLIB_CUDA_LEVELS_H_

#include <cstdint>

#include "block.h"
#include "divisor.h"

namespace jax_siglib {
namespace cuda {

class Levels {
 public:
  // Of two letters there are 2^59 words of length 59, more than can be addressed. Of one
  // letter there may be any number of levels, all alike.
  static constexpr int kMaxDegree = 60;

  // Callers have checked that the length can be addressed, and that both are below
  // kMostItems.
  Levels() : Levels(1, 0) {}
  Levels(int64_t dimension, int64_t degree)
      : dimension_(static_cast<int32_t>(dimension)),
        degree_(static_cast<int32_t>(degree)),
        by_dimension_(dimension_) {
    offset_[0] = -1;
    offset_[1] = 0;
    if (dimension == 1) return;
    int64_t size = 1;
    for (int64_t k = 1; k <= degree; ++k) {
      size *= dimension;
      offset_[k + 1] = offset_[k] + size;
    }
  }

  JAX_SIGLIB_BOTH int32_t dimension() const { return dimension_; }
  JAX_SIGLIB_BOTH int32_t degree() const { return degree_; }
  JAX_SIGLIB_BOTH const Divisor& by_dimension() const { return by_dimension_; }
  // d^k, the number of words of length k.
  JAX_SIGLIB_BOTH int64_t Size(int64_t k) const { return Offset(k + 1) - Offset(k); }
  // Where level k starts, counted from the first entry of level 1.
  JAX_SIGLIB_BOTH int64_t Offset(int64_t k) const {
    return dimension_ == 1 ? k - 1 : offset_[k];
  }
  JAX_SIGLIB_BOTH int64_t Length() const { return Offset(degree_ + 1); }

 private:
  int32_t dimension_;
  int32_t degree_;
  Divisor by_dimension_;
  int64_t offset_[kMaxDegree + 2] = {};
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_LEVELS_H_
