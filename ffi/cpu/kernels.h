// What a call asks of the kernels, and the table of kernels of one instruction set.
#ifndef JAX_SIGLIB_CPU_KERNELS_H_
#define JAX_SIGLIB_CPU_KERNELS_H_

#include <cstdint>

#include "batch.h"
#include "join_plan.h"

namespace jax_siglib {

// Operands of sig_join, sig_join_jvp, sig_join_backprop and sig_join_hvp; those that a
// call does not have are empty. Pointers are to level 1; where scalar_term, an output has
// room for it right in front.
template <class T>
struct SigJoinJob {
  SigJoinJob(const JoinPlan<T>& plan, const Batch& batch, bool scalar_term)
      : plan(plan), batch(batch), scalar_term(scalar_term) {}

  const JoinPlan<T>& plan;
  const Batch& batch;
  bool scalar_term;
  Operand<const T> sig, displacement, t_sig, t_displacement, ct_out;
  Operand<T> out, t_out, ct_sig, ct_displacement;
  int64_t order = 1;      // of the derivative, for scratch: 2 for sig_join_hvp
  bool top_level = true;  // whether sig_join_hvp's ct_sig has one
  T* shared = nullptr;    // plan.shared_scratch(order) for each element of the batch
};

// The parts of a call that may run in parallel. Small signatures are kWhole (items:
// the batch); large ones go through kHead (the batch), kTile (batch x tiles) and
// kTail (the batch), each after the one before.
enum class JoinPhase { kWhole, kHead, kTile, kTail };

// Operands of sig, sig_jvp, sig_backprop and sig_hvp. sig here is the residual, levels < N.
template <class T>
struct SigJob {
  SigJob(const JoinPlan<T>& plan, const Batch& batch, bool scalar_term, int64_t points)
      : plan(plan), batch(batch), scalar_term(scalar_term), points(points) {}

  const JoinPlan<T>& plan;  // appending
  const Batch& batch;
  bool scalar_term;
  int64_t points;
  int64_t order = 1;                             // as in SigJoinJob
  bool bundles_in_double = false;                // of floats (long_path.h)
  int64_t point_stride = 0, t_point_stride = 0;  // entries between points of a path
  Operand<const T> path, t_path, sig, ct_out;
  Operand<T> out, t_out, ct_path;
  // Of bundles: where the cotangent of the first point goes, if not to ct_path.
  Operand<T> ct_first;

  bool adjoint() const { return ct_path.data != nullptr; }
};

template <class T>
struct CombineJob;  // combine_job.h
template <class T>
struct InverseJob;  // inverse_job.h

template <class T>
struct Kernels {
  // Items begin..end of a phase, with plan.worker_scratch(job.order) entries.
  using Join = void (*)(const SigJoinJob<T>&, JoinPhase, int64_t begin, int64_t end,
                        T* scratch);
  Join sig_join, sig_join_jvp, sig_join_backprop, sig_join_hvp;
  // Elements begin..end of the batch, with plan.path_scratch(job.order) entries.
  using Path = void (*)(const SigJob<T>&, int64_t begin, int64_t end, T* scratch);
  Path sig, sig_jvp, sig_backprop, sig_hvp;
  // Bundles begin..end of the batch (bundle_plan.h), `lanes` elements each, with
  // BundlePlan::scratch(lanes) entries; if they are done in double, double_lanes, with as
  // many doubles.
  int64_t lanes, double_lanes;
  Path sig_bundle, sig_jvp_bundle, sig_backprop_bundle, sig_hvp_bundle;
  // Items begin..end of a phase, with plan.worker_scratch() entries, and
  // plan.adjoint_worker_scratch() for the adjoint.
  using Combine = void (*)(const CombineJob<T>&, JoinPhase, int64_t begin, int64_t end,
                           T* scratch);
  Combine sig_combine, sig_combine_backprop;
  // Items begin..end of the batch and, where signatures are cut, of their tiles.
  using Inverse = void (*)(const InverseJob<T>&, int64_t begin, int64_t end);
  Inverse sig_inverse;
  // As many multiply-adds as the processor can do, for benchmarks to compare with: how
  // many they were in this many rounds, and their sum.
  int64_t (*multiply_adds)(int64_t rounds, T* sum);
};

// Between float and the two half types, n entries of which are passed as their bits.
struct HalfConversions {
  using Widen = void (*)(const uint16_t* from, int64_t n, float* to);
  using Round = void (*)(const float* from, int64_t n, uint16_t* to);
  Widen widen_float16, widen_bfloat16;
  Round round_float16, round_bfloat16;
};

struct KernelTable {
  const char* name;
  Kernels<float> f32;
  Kernels<double> f64;
  HalfConversions half;
};

// Defined by kernels.cc, once per instruction set that CMakeLists.txt builds.
namespace baseline {
extern const KernelTable kKernels;
}
#if defined(JAX_SIGLIB_HAS_avx2)
namespace avx2 {
extern const KernelTable kKernels;
}
#endif
#if defined(JAX_SIGLIB_HAS_avx512)
namespace avx512 {
extern const KernelTable kKernels;
}
#endif

template <class T>
const Kernels<T>& KernelsFor(const KernelTable& table);
template <>
inline const Kernels<float>& KernelsFor<float>(const KernelTable& table) {
  return table.f32;
}
template <>
inline const Kernels<double>& KernelsFor<double>(const KernelTable& table) {
  return table.f64;
}

}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_KERNELS_H_
