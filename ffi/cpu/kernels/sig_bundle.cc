#include "../sig_bundle.h"

#include "../kernel_functions.h"
#include "../long_path.h"
#include "../sig_hvp_bundle.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

template <class T>
void SigBundle(const SigJob<T>& job, int64_t begin, int64_t end, T* scratch) {
  WithPlan(job.plan, job.bundles_in_double, scratch, [&](const auto& plan, auto* own) {
    SigBundleForward(job, plan, begin, end, own);
  });
}

template <class T>
void SigJvpBundle(const SigJob<T>& job, int64_t begin, int64_t end, T* scratch) {
  WithPlan(job.plan, job.bundles_in_double, scratch, [&](const auto& plan, auto* own) {
    SigBundleTangent(job, plan, begin, end, own);
  });
}

template <class T>
void SigBackpropBundle(const SigJob<T>& job, int64_t begin, int64_t end, T* scratch) {
  WithPlan(job.plan, job.bundles_in_double, scratch, [&](const auto& plan, auto* own) {
    SigBundleAdjoint(job, plan, begin, end, own);
  });
}

template <class T>
void SigHvpBundle(const SigJob<T>& job, int64_t begin, int64_t end, T* scratch) {
  WithPlan(job.plan, job.bundles_in_double, scratch, [&](const auto& plan, auto* own) {
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
