// Arguments of a call, checked on their way to a job: what CPU and CUDA share of that.
#ifndef JAX_SIGLIB_READER_H_
#define JAX_SIGLIB_READER_H_

#include <cstdint>
#include <string>
#include <type_traits>

#include "arrays.h"
#include "tensor_algebra.h"

namespace jax_siglib {

inline std::string Text(const Dims& dims) {
  std::string text = "(";
  for (int i = 0; i < dims.rank(); ++i) text += (i ? ", " : "") + std::to_string(dims[i]);
  return text + (dims.rank() == 1 ? ",)" : ")");
}

// Where level 1 starts in a signature of this length: 1 with the scalar term, else 0;
// -1 if the length is no signature's.
inline int64_t ScalarTerm(int64_t found, int64_t length) {
  return found == length ? 0 : found == length + 1 ? 1 : -1;
}

// The same for an operand that may be the residual.
inline int64_t ScalarTermOfLower(int64_t found, const TensorAlgebra& algebra) {
  const int64_t full = ScalarTerm(found, algebra.length());
  if (full >= 0 || algebra.degree() == 0) return full;
  return found == algebra.offset(algebra.degree()) ? 0 : -1;
}

// What a signature given to a derivative holds below its top level, which is all that is
// read of it, if it is a signature; so that no more is copied or widened.
inline Array LowerOf(const Array& sig, int64_t dimension, int64_t degree) {
  const int last = sig.shape.rank() - 1;
  const TensorAlgebra algebra(dimension, degree);
  const int64_t skip = last < 0 ? -1 : ScalarTermOfLower(sig.shape[last], algebra);
  if (skip < 0 || degree == 0) return sig;
  Array lower = sig;
  lower.data = static_cast<char*>(sig.data) + skip * EntryBytes(sig.dtype);
  lower.shape[last] = algebra.offset(degree);
  return lower;
}

// One call's arguments on their way to a job. The first complaint sticks.
class Reader {
 public:
  Reader(const char* operation, int core, const Array& result)
      : operation_(operation), dtype_(result.dtype) {
    if (result.shape.rank() < core) {
      Complain("the result has shape " + Text(result.shape));
      return;
    }
    for (int i = 0; i + core < result.shape.rank(); ++i) batch_.Append(result.shape[i]);
    if (dtype_ == Dtype::kOther) Complain("expected float16, bfloat16, float32 or float64");
  }

  // The operand's data and batch strides, `skip` entries in; its last `core`
  // dimensions are the caller's business.
  template <class T>
  void Read(const char* name, const Array& array, int core, Operand<T>& operand,
            int64_t skip = 0) {
    using Entry = std::remove_const_t<T>;
    if (!error_.empty()) return;
    const int rank = batch_.rank();
    if (array.dtype != dtype_) return Complain(std::string(name) + " has another dtype");
    bool fits = array.shape.rank() == rank + core;
    for (int i = 0; fits && i < rank; ++i) {
      const bool one = !std::is_same_v<T, Entry> && array.shape[i] == 1;
      fits = array.shape[i] == batch_[i] || one;
      operand.stride.Append(array.shape[i] == 1 ? 0 : array.stride[i]);
    }
    if (!fits)
      return Complain(std::string(name) + " has shape " + Text(array.shape) +
                      ", which does not fit a batch of " + Text(batch_));
    operand.data = static_cast<T*>(array.data) + skip;
  }

  // Checks the last dimension but `from_end`.
  void Expect(const char* name, const Array& array, int from_end, int64_t size) {
    if (!error_.empty()) return;
    const int64_t found = Last(array, from_end);
    if (found != size)
      Complain(std::string(name) + " has " + std::to_string(found) + " entries along " +
               "dimension -" + std::to_string(from_end + 1) + ", expected " +
               std::to_string(size));
  }

  // Where level 1 starts in an array of signatures: 1 with the scalar term, else 0.
  int64_t ScalarTerm(const char* name, const Array& array, const TensorAlgebra& algebra) {
    return Known(name, jax_siglib::ScalarTerm(Last(array), algebra.length()));
  }
  // The same for an operand that may be the residual.
  int64_t ScalarTermOfLower(const char* name, const Array& array,
                            const TensorAlgebra& algebra) {
    return Known(name, jax_siglib::ScalarTermOfLower(Last(array), algebra));
  }

  void Complain(const std::string& what) {
    if (error_.empty()) error_ = std::string(operation_) + ": " + what;
  }

  static int64_t Last(const Array& array, int from_end = 0) {
    const int at = array.shape.rank() - 1 - from_end;
    return at < 0 ? -1 : array.shape[at];
  }

  const Dims& batch() const { return batch_; }
  const std::string& error() const { return error_; }

 private:
  int64_t Known(const char* name, int64_t scalar) {
    if (scalar < 0) Complain(std::string(name) + " has no signature's length");
    return scalar;
  }

  const char* operation_;
  Dtype dtype_;
  Dims batch_;
  std::string error_;
};

// Whether lengths of this degree fit 63 bits, so that the plan may be made.
inline bool Addressable(int64_t dimension, int64_t degree) {
  if (dimension < 1 || degree < 0) return false;
  int64_t size = 1, length = 0;
  for (int64_t k = 1; k <= degree; ++k) {
    if (__builtin_mul_overflow(size, dimension, &size) ||
        __builtin_add_overflow(length, size, &length))
      return false;
    if (length > (int64_t{1} << 59)) return false;
  }
  return true;
}

}  // namespace jax_siglib

#endif  // JAX_SIGLIB_READER_H_
