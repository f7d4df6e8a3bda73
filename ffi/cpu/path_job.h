// What walks along paths read and write: numbers of the type T that they reckon with, or,
// where that is double, floats (long_path.h). Which of the two is asked as numbers are
// fetched, so that a walk is compiled once for each T and not for both.
#ifndef JAX_SIGLIB_CPU_PATH_JOB_H_
#define JAX_SIGLIB_CPU_PATH_JOB_H_

#include <cstdint>
#include <type_traits>

#include "kernels.h"
#include "simd.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

// Of an operand, where T is const, or of a result.
template <class T>
class Numbers {
 public:
  using Float = std::conditional_t<std::is_const_v<T>, const float, float>;

  template <class In>
  explicit Numbers(In* data) {
    if constexpr (std::is_same_v<In, T>)
      own_ = data;
    else
      floats_ = data;
  }

  // What there is of the two.
  T* own() const { return own_; }
  Float* floats() const {
    if constexpr (std::is_same_v<T, Float>) return nullptr;
    return floats_;
  }

  // f(a pointer to them).
  template <class F>
  JAX_SIGLIB_INLINE void As(F&& f) const {
    if constexpr (!std::is_same_v<T, Float>) {
      if (floats_ != nullptr) return f(floats_);
    }
    f(own_);
  }

 private:
  T* own_ = nullptr;
  Float* floats_ = nullptr;
};

// A SigJob of numbers of type T, or of floats, with the plan to reckon by.
template <class T>
class PathJob {
 public:
  template <class In>
  PathJob(const SigJob<In>& job, const JoinPlan<T>& plan)
      : plan(plan),
        scalar_term(job.scalar_term),
        points(job.points),
        order(job.order),
        point_stride(job.point_stride),
        t_point_stride(job.t_point_stride) {
    if constexpr (std::is_same_v<In, T>)
      own_ = &job;
    else
      floats_ = &job;
  }

  const JoinPlan<T>& plan;
  const bool scalar_term;
  const int64_t points, order, point_stride, t_point_stride;

  // Of element b of the batch.
  Numbers<const T> Path(int64_t b) const {
    return Of<const T>(b, [](const auto& job) -> auto& { return job.path; });
  }
  Numbers<const T> PathTangent(int64_t b) const {
    return Of<const T>(b, [](const auto& job) -> auto& { return job.t_path; });
  }
  Numbers<const T> Sig(int64_t b) const {
    return Of<const T>(b, [](const auto& job) -> auto& { return job.sig; });
  }
  Numbers<const T> SigCotangent(int64_t b) const {
    return Of<const T>(b, [](const auto& job) -> auto& { return job.ct_out; });
  }
  Numbers<T> Out(int64_t b) const {
    return Of<T>(b, [](const auto& job) -> auto& { return job.out; });
  }
  Numbers<T> OutTangent(int64_t b) const {
    return Of<T>(b, [](const auto& job) -> auto& { return job.t_out; });
  }
  Numbers<T> PathCotangent(int64_t b) const {
    return Of<T>(b, [](const auto& job) -> auto& { return job.ct_path; });
  }

 private:
  template <class Entry, class Choose>
  Numbers<Entry> Of(int64_t b, Choose choose) const {
    if constexpr (!std::is_same_v<T, float>) {
      if (floats_ != nullptr) return Numbers<Entry>(floats_->batch.At(choose(*floats_), b));
    }
    return Numbers<Entry>(own_->batch.At(choose(*own_), b));
  }

  const SigJob<T>* own_ = nullptr;
  const SigJob<float>* floats_ = nullptr;
};

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_PATH_JOB_H_
