// Leading ("batch") dimensions: where each operand's signature number b lies.
#ifndef JAX_SIGLIB_CPU_BATCH_H_
#define JAX_SIGLIB_CPU_BATCH_H_

#include <cstdint>

namespace jax_siglib {

// A short list of dimensions or strides that lives on the stack: calls on one small
// signature are too quick to ask the heap for each operand's shape.
class Dims {
 public:
  static constexpr int kMaxRank = 64;  // numpy's

  Dims() : rank_(0) {}
  Dims(const Dims& other) { *this = other; }
  Dims& operator=(const Dims& other) {
    rank_ = other.rank_;
    for (int i = 0; i < rank_; ++i) value_[i] = other.value_[i];
    return *this;
  }

  int rank() const { return rank_; }
  int64_t operator[](int i) const { return value_[i]; }
  int64_t& operator[](int i) { return value_[i]; }
  void Append(int64_t value) { value_[rank_++] = value; }
  void Truncate(int rank) { rank_ = rank; }
  bool operator==(const Dims& other) const {
    if (rank_ != other.rank_) return false;
    for (int i = 0; i < rank_; ++i)
      if (value_[i] != other.value_[i]) return false;
    return true;
  }

 private:
  int rank_;
  int64_t value_[kMaxRank];
};

// An operand: the first entry of its first signature, and by how many entries one
// moves along each dimension of the batch (0 where the operand is broadcast).
template <class T>
struct Operand {
  T* data = nullptr;
  Dims stride;
};

// The shape that all operands of a call share.
class Batch {
 public:
  explicit Batch(const Dims& shape) : shape_(shape), size_(1) {
    for (int i = 0; i < shape.rank(); ++i) size_ *= shape[i];
  }

  const Dims& shape() const { return shape_; }
  int64_t size() const { return size_; }

  // Element number b of the operand, in row-major order of the batch.
  template <class T>
  __attribute__((always_inline)) T* At(const Operand<T>& operand, int64_t b) const {
    if (shape_.rank() == 0) return operand.data;
    if (shape_.rank() == 1) return operand.data + b * operand.stride[0];
    int64_t offset = 0;
    for (int i = shape_.rank(); i-- > 0;) {
      offset += b % shape_[i] * operand.stride[i];
      b /= shape_[i];
    }
    return operand.data + offset;
  }

  // Merges neighbouring dimensions that every operand walks through evenly, so that
  // the usual batch is one dimension. `strides` are the operands', all of this rank.
  template <int kOperands>
  void Collapse(Dims* const (&strides)[kOperands]) {
    if (shape_.rank() < 2) return;
    int kept = 0;
    for (int i = 1; i < shape_.rank(); ++i) {
      bool even = true;
      for (const Dims* stride : strides)
        even = even && (*stride)[kept] == (*stride)[i] * shape_[i];
      if (even) {
        shape_[kept] *= shape_[i];
      } else {
        shape_[++kept] = shape_[i];
      }
      for (Dims* stride : strides) (*stride)[kept] = (*stride)[i];
    }
    shape_.Truncate(kept + 1);
    for (Dims* stride : strides) stride->Truncate(kept + 1);
  }

 private:
  Dims shape_;
  int64_t size_;
};

}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_BATCH_H_
