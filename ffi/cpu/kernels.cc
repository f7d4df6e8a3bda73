// Every kernel, for the instruction set this file is compiled for: CMakeLists.txt
// compiles it once for each, with JAX_SIGLIB_ISA naming the namespace.
#include "kernels.h"

#include "sig_join_kernel.h"
#include "sig_kernel.h"
#include "with_steps.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {
namespace {

template <class T>
void SigJoin(const SigJoinJob<T>& job, JoinPhase phase, int64_t begin, int64_t end,
             T* scratch) {
  if (phase == JoinPhase::kWhole && WithStaticSize<T>(job.plan, [&](auto size) {
        using Size = decltype(size);
        SigJoinStaticForward<typename Size::Steps, Size::dimension, Size::degree>(
            job, begin, end);
      }))
    return;
  WithSteps<T>(job.plan, [&](auto steps) {
    SigJoinForward<typename decltype(steps)::type>(job, phase, begin, end, scratch);
  });
}

template <class T>
void SigJoinJvp(const SigJoinJob<T>& job, JoinPhase phase, int64_t begin, int64_t end,
                T* scratch) {
  WithSteps<T>(job.plan, [&](auto steps) {
    SigJoinTangent<typename decltype(steps)::type>(job, phase, begin, end, scratch);
  });
}

template <class T>
void SigJoinBackprop(const SigJoinJob<T>& job, JoinPhase phase, int64_t begin, int64_t end,
                     T* scratch) {
  if (phase == JoinPhase::kWhole && WithStaticSize<T>(job.plan, [&](auto size) {
        using Size = decltype(size);
        SigJoinStaticAdjoint<typename Size::Steps, Size::dimension, Size::degree>(
            job, begin, end);
      }))
    return;
  WithSteps<T>(job.plan, [&](auto steps) {
    SigJoinAdjoint<typename decltype(steps)::type>(job, phase, begin, end, scratch);
  });
}

template <class T>
void Sig(const SigJob<T>& job, int64_t begin, int64_t end, T* scratch) {
  WithSteps<T>(job.plan, [&](auto steps) {
    SigForward<typename decltype(steps)::type>(job, begin, end, scratch);
  });
}

template <class T>
void SigJvp(const SigJob<T>& job, int64_t begin, int64_t end, T* scratch) {
  WithSteps<T>(job.plan, [&](auto steps) {
    SigTangent<typename decltype(steps)::type>(job, begin, end, scratch);
  });
}

template <class T>
void SigBackprop(const SigJob<T>& job, int64_t begin, int64_t end, T* scratch) {
  WithSteps<T>(job.plan, [&](auto steps) {
    SigAdjoint<typename decltype(steps)::type>(job, begin, end, scratch);
  });
}

template <class T>
constexpr Kernels<T> MakeKernels() {
  return {SigJoin<T>, SigJoinJvp<T>, SigJoinBackprop<T>, Sig<T>, SigJvp<T>, SigBackprop<T>};
}

#define JAX_SIGLIB_STRING_(x) #x
#define JAX_SIGLIB_STRING(x) JAX_SIGLIB_STRING_(x)

}  // namespace

extern const KernelTable kKernels;
const KernelTable kKernels = {JAX_SIGLIB_STRING(JAX_SIGLIB_ISA), MakeKernels<float>(),
                              MakeKernels<double>()};

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib
