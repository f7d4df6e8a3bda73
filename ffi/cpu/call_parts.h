// What the calls of all families begin with: the type, plans, scalar terms.
#ifndef JAX_SIGLIB_CPU_CALL_PARTS_H_
#define JAX_SIGLIB_CPU_CALL_PARTS_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <tuple>

#include "../reader.h"
#include "join_plan.h"
#include "kernels.h"
#include "run.h"

namespace jax_siglib {

// f(T{}) for the type of a dtype that has kernels.
template <class F>
std::string WithType(Dtype dtype, F&& f) {
  switch (dtype) {
    case Dtype::kFloat32:
      return f(float{});
    case Dtype::kFloat64:
      return f(double{});
    case Dtype::kFloat16:  // done in float, see half.h
    case Dtype::kBFloat16:
    case Dtype::kOther:
      break;
  }
  return "expected float16, bfloat16, float32 or float64";
}

// Whether large signatures are worth cutting up: if there are few of them, for the sake
// of threads and of the cache. The number of threads must not matter to the adjoint, whose
// sums depend on the cuts; results of the others do not, and in front (prepend) one thread
// alone is faster without.
inline bool MaySplit(const Array& result, bool worthwhile) {
  int64_t batch = 1;
  for (int i = 0; i + 1 < result.shape.rank(); ++i) batch *= result.shape[i];
  return batch < 16 && worthwhile;
}

// Plans are asked for again and again with the same arguments, and for a signature of
// 155 entries making one costs more than using it.
template <class Plan, class... Key>
const Plan& Remembered(Key... key) {
  thread_local std::unique_ptr<const Plan> last;
  thread_local std::tuple<Key...> last_key;
  if (!last || last_key != std::tuple<Key...>(key...)) {
    last.reset();
    last = std::make_unique<const Plan>(key...);
    last_key = std::tuple<Key...>(key...);
  }
  return *last;
}

template <class T>
const JoinPlan<T>& PlanFor(int64_t dimension, int64_t degree, bool prepend,
                           bool may_split) {
  return Remembered<JoinPlan<T>>(dimension, degree, prepend, may_split);
}

template <class T>
void Fill(const Batch& batch, const Operand<T>& operand, int64_t entries, T value) {
  if (scratch_count != nullptr) return;
  for (int64_t b = 0; b < batch.size(); ++b)
    std::fill_n(batch.At(operand, b), entries, value);
}

// The scalar term in front of a result, all that there is of degree 0; in each of its rows.
template <class Job, class T>
void FillScalarTerm(const Job& job, Operand<T> result, int64_t rows, T value) {
  if (!job.scalar_term) return;
  result.data -= 1;
  Fill(job.batch, result, rows, value);
}

}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_CALL_PARTS_H_
