// Layout of a truncated signature: levels 1..N one after another (a scalar term,
// where there is one, lies in front and is not counted here), level k row-major
// with d^k entries, so that
//
//   word (i1, ..., ik)  sits at  offset(k) + ((i1 * d + i2) * d + ...) * d + ik,
//   offset(k) = d + d^2 + ... + d^(k-1).
//
// Callers have checked that the length fits 64 bits (jax_siglib/_tensor_algebra.py
// refuses the rest), so nothing overflows here.
#ifndef JAX_SIGLIB_TENSOR_ALGEBRA_H_
#define JAX_SIGLIB_TENSOR_ALGEBRA_H_

#include <cstdint>
#include <vector>

namespace jax_siglib {

// Sizes and offsets of the levels of a signature of dimension d up to degree N.
class TensorAlgebra {
 public:
  TensorAlgebra(int64_t dimension, int64_t degree)
      : dimension_(dimension), degree_(degree), size_(degree + 1), offset_(degree + 2) {
    size_[0] = 1;
    offset_[0] = -1;  // the scalar term is in front of the first level
    if (degree >= 0) offset_[1] = 0;
    for (int64_t k = 1; k <= degree; ++k) {
      size_[k] = size_[k - 1] * dimension;
      offset_[k + 1] = offset_[k] + size_[k];
    }
  }

  int64_t dimension() const { return dimension_; }
  int64_t degree() const { return degree_; }
  // d^k, the number of words of length k.
  int64_t size(int64_t level) const { return size_[level]; }
  // Where level k starts, counted from the first entry of level 1.
  int64_t offset(int64_t level) const { return offset_[level]; }
  // d + ... + d^N.
  int64_t length() const { return offset_[degree_ + 1]; }

 private:
  int64_t dimension_;
  int64_t degree_;
  std::vector<int64_t> size_;
  std::vector<int64_t> offset_;
};

}  // namespace jax_siglib

#endif  // JAX_SIGLIB_TENSOR_ALGEBRA_H_
