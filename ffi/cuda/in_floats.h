// Half types by way of float.
#ifndef JAX_SIGLIB_CUDA_IN_FLOATS_H_
#define JAX_SIGLIB_CUDA_IN_FLOATS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "../arrays.h"
#include "../reader.h"
#include "executor.h"

namespace jax_siglib {
namespace cuda {

// Calls of half types, done in float: operands are widened first, results rounded last.
class InFloats {
 public:
  InFloats(Executor& executor, Dtype dtype) : executor_(executor), dtype_(dtype) {}

  // `core` dimensions belong to the operand, those in front to the batch.
  Array Operand(const Array& array, int core) {
    const Array wide = Dense(array, core, true);
    if (error_.empty()) Convert(Kernel::kRowsWiden, core, array, wide);
    return wide;
  }
  Array Result(const Array& array, int core) {
    const Array wide = Dense(array, core, false);
    results_.push_back({array, wide, core});
    return wide;
  }

  // After the call, of which this is the complaint.
  std::string Finish(const std::function<std::string()>& call) {
    if (!error_.empty()) return error_;
    const std::string error = call();
    if (!error.empty()) return error;
    for (const Rounded& result : results_)
      Convert(Kernel::kRowsRound, result.core, result.wide, result.array);
    return error_;
  }

 private:
  struct Rounded {
    Array array, wide;
    int core;
  };

  // In scratch, without what is only broadcast.
  Array Dense(const Array& array, int core, bool operand) {
    Array wide = array;
    const int rank = array.shape.rank();
    if (array.dtype != dtype_ || rank < core || array.stride.rank() != rank) {
      error_ = "an operand has another dtype, or too few dimensions";
      return wide;
    }
    wide.dtype = Dtype::kFloat32;
    int64_t entries = 1;
    for (int i = rank; i-- > 0;) {
      if (operand && i < rank - core && array.stride[i] == 0 && array.shape[i] > 1)
        wide.shape[i] = 1;
      wide.stride[i] = entries;
      entries *= wide.shape[i];
    }
    wide.data = entries > 0 ? executor_.Allocate(entries * 4) : nullptr;
    return wide;
  }

  void Convert(Kernel kernel, int core, const Array& from, const Array& to) {
    // The batch of the one in scratch, which is the one without broadcast dimensions.
    const Array& dense = kernel == Kernel::kRowsWiden ? to : from;
    const int lead = dense.shape.rank() - core;
    Dims shape, from_stride, to_stride;
    for (int i = 0; i < lead; ++i) {
      shape.Append(dense.shape[i]);
      from_stride.Append(dense.shape[i] == 1 ? 0 : from.stride[i]);
      to_stride.Append(dense.shape[i] == 1 ? 0 : to.stride[i]);
    }
    Batch batch(shape);
    batch.Collapse({&from_stride, &to_stride});
    RowsJob job;
    job.lead.rank = batch.shape().rank();
    if (job.lead.rank > kMaxLead) {
      error_ = "too many leading dimensions that do not merge";
      return;
    }
    for (int i = 0; i < job.lead.rank; ++i) {
      job.lead.shape[i] = batch.shape()[i];
      job.from.stride[i] = from_stride[i];
      job.to.stride[i] = to_stride[i];
    }
    job.batch = batch.size();
    job.from.data = from.data;
    job.to.data = to.data;
    job.entries = Reader::Last(dense);
    if (core == 2) {
      job.rows = Reader::Last(dense, 1);
      job.from_stride = BetweenRows(from);
      job.to_stride = BetweenRows(to);
    }
    if (job.batch * job.Tiles() > 0)
      executor_.Run(kernel, dtype_, job, PlanRowsLaunch(executor_.limits, job), nullptr);
  }

  Executor& executor_;
  Dtype dtype_;
  std::vector<Rounded> results_;
  std::string error_;
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_IN_FLOATS_H_
