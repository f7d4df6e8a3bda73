// All running signatures of a path: sig_stream, its tangent, its adjoint, and the tangent
// of that. A row is the signature after one more step, made from the row before; going
// back, the rows themselves are what each step started from, so that nothing is undone.
//
// Each step is a call of the kernels of joins, on an element of the batch or a few.
#ifndef JAX_SIGLIB_CPU_SIG_STREAM_H_
#define JAX_SIGLIB_CPU_SIG_STREAM_H_

#include <algorithm>
#include <cstdint>

#include "batch.h"
#include "join_plan.h"
#include "kernels.h"

namespace jax_siglib {

// Operands of sig_stream and its derivatives; those that a call does not have are empty.
// Row t of the results is the signature of the points up to t+1; prepending, of those from
// t on, and the steps are joined from the last to the first. stream holds the levels below
// N of the rows. Pointers to signatures are to level 1.
template <class T>
struct SigStreamJob {
  SigStreamJob(const JoinPlan<T>& plan, const Batch& batch, bool scalar_term,
               int64_t points)
      : plan(plan),
        below(plan.algebra().dimension(), std::max<int64_t>(plan.algebra().degree() - 1, 0),
              plan.prepend(), false),
        batch(batch),
        scalar_term(scalar_term),
        steps(points - 1) {}

  // The row that step number i leads to; its segment begins at the point of this number.
  int64_t Row(int64_t i) const { return plan.prepend() ? steps - 1 - i : i; }

  const JoinPlan<T>& plan;  // not split
  const JoinPlan<T> below;  // of degree N-1
  const Batch& batch;
  bool scalar_term;
  int64_t steps;
  int64_t point_stride = 0, t_point_stride = 0;  // entries between points of a path
  // Entries between rows of out or t_out, of stream, and of ct_out.
  int64_t out_stride = 0, stream_stride = 0, ct_out_stride = 0;
  Operand<const T> initial, path, t_initial, t_path, stream, ct_out;
  Operand<T> out, t_out, ct_initial, ct_path;
};

// The steps of elements first, ..., first + count - 1 of the batch; more than one only if
// the batch has one dimension.
template <class T>
class StreamSweep {
 public:
  // How many elements to take at a time: where signatures are so small that the call of a
  // kernel costs more than they do. Not more, for each is another piece of memory to be
  // fetched from.
  static int64_t Elements(const SigStreamJob<T>& job) {
    constexpr int64_t kEntries = 2048 / sizeof(T), kMost = 8;
    if (job.batch.shape().rank() != 1) return 1;
    return std::clamp<int64_t>(kEntries / job.plan.algebra().length(), 1, kMost);
  }

  // Entries of scratch for so many; of second order also every step's signature and its
  // tangent below level N.
  static int64_t ScratchEntries(const SigStreamJob<T>& job, int64_t count, int64_t order) {
    const int64_t d = job.plan.algebra().dimension();
    int64_t entries = 4 * d + Lower(job);
    if (order == 2)
      entries += job.plan.algebra().length() + 2 * Lower(job) * (job.steps + 1);
    return job.plan.worker_scratch(order) + count * entries;
  }

  StreamSweep(const SigStreamJob<T>& job, const Kernels<T>& kernels, int64_t first,
              int64_t count, int64_t order, T* scratch)
      : job_(job),
        kernels_(kernels),
        first_(first),
        count_(count),
        d_(job.plan.algebra().dimension()),
        length_(job.plan.algebra().length()),
        lower_(Lower(job)),
        batch_(ShapeOf(job, count)),
        scratch_(scratch),
        v_(scratch + job.plan.worker_scratch(order)),
        t_v_(v_ + count * d_),
        ct_v_(t_v_ + count * d_),
        ct_w_(ct_v_ + count * d_),
        sig_(ct_w_ + count * d_),
        ct_sig_(sig_ + count * lower_),
        rows_(ct_sig_ + count * length_) {}

  void Forward() {
    SigJoinJob<T> join(job_.plan, batch_, job_.scalar_term);
    join.displacement = In(v_, d_);
    join.sig = Of(job_.initial);
    join.out = Of(job_.out);
    T* const out = join.out.data;
    for (int64_t i = 0; i < job_.steps; ++i) {
      const int64_t t = job_.Row(i);
      Increments(job_.path, job_.point_stride, t, v_);
      join.out.data = out + t * job_.out_stride;
      Run(kernels_.sig_join, join);
      join.sig = {join.out.data, join.out.stride};
    }
  }

  void Tangent() {
    SigJoinJob<T> tangent(job_.plan, batch_, job_.scalar_term);
    tangent.sig = In(sig_, lower_);
    tangent.displacement = In(v_, d_);
    tangent.t_displacement = In(t_v_, d_);
    tangent.t_sig = Of(job_.t_initial);
    tangent.t_out = Of(job_.t_out);
    SigJoinJob<T> join(job_.below, batch_, false);
    join.sig = tangent.sig;
    join.displacement = tangent.displacement;
    join.out = To(sig_, lower_);
    T* const t_out = tangent.t_out.data;
    Copy(job_.initial, lower_, sig_);
    for (int64_t i = 0; i < job_.steps; ++i) {
      const int64_t t = job_.Row(i);
      Increments(job_.path, job_.point_stride, t, v_);
      Increments(job_.t_path, job_.t_point_stride, t, t_v_);
      tangent.t_out.data = t_out + t * job_.out_stride;
      Run(kernels_.sig_join_jvp, tangent);
      tangent.t_sig = {tangent.t_out.data, tangent.t_out.stride};
      if (lower_ > 0) Run(kernels_.sig_join, join);
    }
  }

  // The cotangent of the running signature becomes that of `initial`.
  void Adjoint() {
    SigJoinJob<T> join(job_.plan, batch_, job_.scalar_term);
    join.displacement = In(v_, d_);
    join.ct_sig = Of(job_.ct_initial);
    join.ct_out = {join.ct_sig.data, join.ct_sig.stride};
    join.ct_displacement = To(ct_v_, d_);
    Clear(job_.ct_initial, length_, job_.scalar_term);
    Clear(job_.ct_path, (job_.steps + 1) * d_, false);
    for (int64_t i = job_.steps - 1; i >= 0; --i) {
      const int64_t t = job_.Row(i);
      AddRow(t, join.ct_sig);
      if (i > 0) Prefetch(job_.ct_out, job_.Row(i - 1) * job_.ct_out_stride, length_);
      if (i > 1) Prefetch(job_.stream, job_.Row(i - 2) * job_.stream_stride, lower_);
      Increments(job_.path, job_.point_stride, t, v_);
      join.sig = Of(i == 0 ? job_.initial : job_.stream);
      if (i > 0) join.sig.data += job_.Row(i - 1) * job_.stream_stride;
      Run(kernels_.sig_join_backprop, join);
      AddToPoints(t, ct_v_);
    }
  }

  // The rows' levels below N and their tangents are made first and kept, a d-th of what
  // ct_out holds, twice. The cotangent's tangent is zero at level N: of what that hands
  // down, below level N, the join of degree N-1 knows all.
  void AdjointTangent() {
    Clear(job_.ct_initial, lower_, false);
    Clear(job_.ct_path, (job_.steps + 1) * d_, false);
    // Increments that are added up have no second derivative.
    if (lower_ == 0) return;
    const int64_t row = count_ * lower_, t_rows = row * (job_.steps + 1);
    Copy(job_.initial, lower_, rows_);
    Copy(job_.t_initial, lower_, rows_ + t_rows);
    SigJoinJob<T> join(job_.below, batch_, false);
    join.displacement = In(v_, d_);
    join.t_displacement = In(t_v_, d_);
    for (int64_t i = 0; i + 1 < job_.steps; ++i) {
      T* const before = rows_ + i * row;
      Increments(job_.path, job_.point_stride, job_.Row(i), v_);
      Increments(job_.t_path, job_.t_point_stride, job_.Row(i), t_v_);
      join.sig = In(before, lower_);
      join.t_sig = In(before + t_rows, lower_);
      join.out = To(before + row, lower_);
      join.t_out = To(before + row + t_rows, lower_);
      Run(kernels_.sig_join, join);
      Run(kernels_.sig_join_jvp, join);
    }

    SigJoinJob<T> back(job_.plan, batch_, false);  // the cotangent
    back.displacement = join.displacement;
    back.ct_out = In(ct_sig_, length_);
    back.ct_sig = To(ct_sig_, length_);
    back.ct_displacement = To(ct_v_, d_);
    SigJoinJob<T> bend(job_.plan, batch_, false);  // how that changes with the join
    bend.order = 2;
    bend.top_level = false;
    bend.displacement = join.displacement;
    bend.t_displacement = join.t_displacement;
    bend.ct_out = back.ct_out;
    bend.ct_sig = To(sig_, lower_);
    bend.ct_displacement = To(ct_v_, d_);
    SigJoinJob<T> carry(job_.below, batch_, false);  // its tangent so far
    carry.displacement = join.displacement;
    carry.ct_sig = Of(job_.ct_initial);
    carry.ct_out = {carry.ct_sig.data, carry.ct_sig.stride};
    carry.ct_displacement = To(ct_w_, d_);
    std::fill_n(ct_sig_, count_ * length_, T(0));
    for (int64_t i = job_.steps - 1; i >= 0; --i) {
      const int64_t t = job_.Row(i);
      Increments(job_.path, job_.point_stride, t, v_);
      Increments(job_.t_path, job_.t_point_stride, t, t_v_);
      back.sig = bend.sig = carry.sig = In(rows_ + i * row, lower_);
      bend.t_sig = In(rows_ + i * row + t_rows, lower_);
      AddRow(t, back.ct_sig);
      Run(kernels_.sig_join_hvp, bend);
      Run(kernels_.sig_join_backprop, carry);
      AddToPoints(t, ct_v_);
      AddToPoints(t, ct_w_);
      for (int64_t e = 0; e < count_; ++e)
        Add(sig_ + e * lower_, lower_, batch_.At(carry.ct_sig, e));
      Run(kernels_.sig_join_backprop, back);
    }
  }

 private:
  static int64_t Lower(const SigStreamJob<T>& job) { return job.below.algebra().length(); }

  static Dims ShapeOf(const SigStreamJob<T>& job, int64_t count) {
    Dims shape;
    if (job.batch.shape().rank() == 1) shape.Append(count);
    return shape;
  }

  static void Add(const T* x, int64_t n, T* sum) {
    for (int64_t i = 0; i < n; ++i) sum[i] += x[i];
  }

  void Run(typename Kernels<T>::Join kernel, const SigJoinJob<T>& join) {
    kernel(join, JoinPhase::kWhole, 0, count_, scratch_);
  }

  // The elements' part of an operand of the whole call.
  template <class U>
  Operand<U> Of(const Operand<U>& operand) const {
    Operand<U> part;
    part.data = job_.batch.At(operand, first_);
    if (batch_.shape().rank() == 1) part.stride = operand.stride;
    return part;
  }

  // Operands in scratch, `entries` for each element.
  Operand<T> To(T* data, int64_t entries) const {
    Operand<T> operand;
    operand.data = data;
    if (batch_.shape().rank() == 1) operand.stride.Append(entries);
    return operand;
  }
  Operand<const T> In(const T* data, int64_t entries) const {
    Operand<const T> operand;
    operand.data = data;
    if (batch_.shape().rank() == 1) operand.stride.Append(entries);
    return operand;
  }

  void Increments(const Operand<const T>& path, int64_t stride, int64_t t, T* v) const {
    for (int64_t e = 0; e < count_; ++e) {
      const T* const point = job_.batch.At(path, first_ + e) + t * stride;
      for (int64_t j = 0; j < d_; ++j) v[e * d_ + j] = point[stride + j] - point[j];
    }
  }

  void Copy(const Operand<const T>& from, int64_t entries, T* to) const {
    for (int64_t e = 0; e < count_; ++e)
      std::copy_n(job_.batch.At(from, first_ + e), entries, to + e * entries);
  }

  void Clear(const Operand<T>& result, int64_t entries, bool scalar_term) const {
    for (int64_t e = 0; e < count_; ++e)
      std::fill_n(job_.batch.At(result, first_ + e) - scalar_term, entries + scalar_term,
                  T(0));
  }

  void AddRow(int64_t t, const Operand<T>& ct_sig) const {
    for (int64_t e = 0; e < count_; ++e) {
      // From its end, as the rows are gone through: memory is fetched ahead that way.
      const T* const row = job_.batch.At(job_.ct_out, first_ + e) + t * job_.ct_out_stride;
      T* const sum = batch_.At(ct_sig, e);
      constexpr int64_t kBlock = 64 / sizeof(T);
      int64_t end = length_;
      for (; end >= kBlock; end -= kBlock)
        Add(row + end - kBlock, kBlock, sum + end - kBlock);
      Add(row, end, sum);
    }
  }

  // Rows are gone through backwards, each of them forwards: the processor's own prefetching
  // would fetch what has been used already. Inline, or GCC takes it for a function without
  // effect.
  __attribute__((always_inline)) void Prefetch(const Operand<const T>& rows, int64_t offset,
                                               int64_t entries) const {
    constexpr int64_t kLine = 64 / sizeof(T), kMost = 64 * kLine;
    for (int64_t e = 0; e < count_; ++e) {
      const T* const row = job_.batch.At(rows, first_ + e) + offset;
      for (int64_t i = 0; i < std::min(entries, kMost); i += kLine)
        __builtin_prefetch(row + i);
    }
  }

  // Step t's share in the cotangent of the points at its ends.
  void AddToPoints(int64_t t, const T* ct_v) const {
    for (int64_t e = 0; e < count_; ++e) {
      T* const point = job_.batch.At(job_.ct_path, first_ + e) + t * d_;
      for (int64_t j = 0; j < d_; ++j) {
        point[d_ + j] += ct_v[e * d_ + j];
        point[j] -= ct_v[e * d_ + j];
      }
    }
  }

  const SigStreamJob<T>& job_;
  const Kernels<T>& kernels_;
  int64_t first_, count_, d_, length_, lower_;
  Batch batch_;
  T* scratch_;         // the kernels'
  T *v_, *t_v_;        // a step of each element
  T *ct_v_, *ct_w_;    // its cotangent
  T* sig_;             // levels below N of each element
  T *ct_sig_, *rows_;  // of second order only
};

}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_SIG_STREAM_H_
