#include "../sig_bundle.h"

#include <type_traits>

#include "../kernel_functions.h"
#include "../long_path.h"
#include "../sig_hvp_bundle.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

// f(the plan to reckon with, and scratch of its type).
template <class In, class F>
void WithBundlePlan(const SigJob<In>& job, In* scratch, F&& f) {
  if constexpr (std::is_same_v<In, float>) {
    if (job.bundles_in_double) return f(PlanInDouble(job.plan), AsScratch<double>(scratch));
  }
  f(job.plan, scratch);
}

template <class T>
void SigBundle(const SigJob<T>& job, int64_t begin, int64_t end, T* scratch) {
  WithBundlePlan(job, scratch, [&](const auto& plan, auto* own) {
    SigBundleForward(job, plan, begin, end, own);
  });
}

template <class T>
void SigJvpBundle(const SigJob<T>& job, int64_t begin, int64_t end, T* scratch) {
  WithBundlePlan(job, scratch, [&](const auto& plan, auto* own) {
    SigBundleTangent(job, plan, begin, end, own);
  });
}

template <class T>
void SigBackpropBundle(const SigJob<T>& job, int64_t begin, int64_t end, T* scratch) {
  WithBundlePlan(job, scratch, [&](const auto& plan, auto* own) {
    SigBundleAdjoint(job, plan, begin, end, own);
  });
}

template <class T>
void SigHvpBundle(const SigJob<T>& job, int64_t begin, int64_t end, T* scratch) {
  WithBundlePlan(job, scratch, [&](const auto& plan, auto* own) {
    SigBundleAdjointTangent(job, plan, begin, end, own);
  });
}

template void SigBundle(const SigJob<float>&, int64_t, int64_t, float*);
template void SigBundle(const SigJob<double>&, int64_t, int64_t, double*);
template void SigJvpBundle(const SigJob<float>&, int64_t, int64_t, float*);
template void SigJvpBundle(const SigJob<double>&, int64_t, int64_t, double*);
template void SigBackpropBundle(const SigJob<float>&, int64_t, int64_t, float*);
template void SigBackpropBundle(const SigJob<double>&, int64_t, int64_t, double*);
template void SigHvpBundle(const SigJob<float>&, int64_t, int64_t, float*);
template void SigHvpBundle(const SigJob<double>&, int64_t, int64_t, double*);

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib
