// From the arrays of a call to the pointers of a job.
#ifndef JAX_SIGLIB_CUDA_OPERANDS_H_
#define JAX_SIGLIB_CUDA_OPERANDS_H_

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "../reader.h"
#include "lead.h"

namespace jax_siglib {
namespace cuda {

// Of what is computed with.
inline int64_t ComputedBytes(Dtype dtype) { return dtype == Dtype::kFloat64 ? 8 : 4; }

// Whether there are kernels for signatures of this size, of which a block may come to hold
// d entries.
inline bool Fits(int64_t dimension, int64_t degree) {
  return dimension < kMostItems && degree < kMostItems && Addressable(dimension, degree);
}

// Reads operands and results, and then lays out the batch that they have in common.
class Operands {
 public:
  Operands(const char* operation, int core, const Array& result)
      : reader_(operation, core, result), dtype_(result.dtype) {}

  Reader& reader() { return reader_; }

  // As Reader::Read; `pointer` is filled in by Layout.
  void Read(const char* name, const Array& array, int core, Pointer& pointer,
            int64_t skip = 0) {
    Add<const char>(name, array, core, pointer, skip);
  }
  void Write(const char* name, const Array& array, int core, Pointer& pointer,
             int64_t skip = 0) {
    Add<char>(name, array, core, pointer, skip);
  }

  // The batch, and every pointer's way through it. Empty, or what is wrong.
  std::string Layout(Lead& lead, int64_t& size) {
    if (!reader_.error().empty()) return reader_.error();
    Batch batch(reader_.batch());
    size = batch.size();
    // Walked through together; to name one twice changes nothing.
    Dims* strides[kMaxOperands];
    std::fill_n(strides, kMaxOperands, &entries_[0].operand.stride);
    for (size_t i = 0; i < entries_.size(); ++i) strides[i] = &entries_[i].operand.stride;
    batch.Collapse(strides);
    if (batch.shape().rank() > kMaxLead) {
      reader_.Complain("operands are broadcast along " +
                       std::to_string(batch.shape().rank()) +
                       " leading dimensions that do not merge; a GPU kernel takes " +
                       std::to_string(kMaxLead));
      return reader_.error();
    }
    lead.rank = batch.shape().rank();
    for (int i = 0; i < lead.rank; ++i) lead.shape[i] = batch.shape()[i];
    for (const Entry& entry : entries_) {
      entry.pointer->data = const_cast<char*>(entry.operand.data);
      for (int i = 0; i < lead.rank; ++i)
        entry.pointer->stride[i] = entry.operand.stride[i];
    }
    return "";
  }

 protected:
  // Entries in front of level 1 in an array of signatures; `lower`: it may be the residual.
  int64_t Skip(const char* name, const Array& array, const TensorAlgebra& algebra,
               bool lower) {
    const int64_t scalar = lower ? reader_.ScalarTermOfLower(name, array, algebra)
                                 : reader_.ScalarTerm(name, array, algebra);
    return std::max<int64_t>(scalar, 0);
  }

 private:
  static constexpr int kMaxOperands = 8;

  struct Entry {
    Operand<const char> operand;
    Pointer* pointer;
  };

  template <class Access>
  void Add(const char* name, const Array& array, int core, Pointer& pointer, int64_t skip) {
    Operand<Access> operand;
    reader_.Read(name, array, core, operand, skip * EntryBytes(dtype_));
    if (entries_.size() == kMaxOperands) return reader_.Complain("has too many operands");
    entries_.push_back({{operand.data, operand.stride}, &pointer});
  }

  Reader reader_;
  Dtype dtype_;
  std::vector<Entry> entries_;
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_OPERANDS_H_
