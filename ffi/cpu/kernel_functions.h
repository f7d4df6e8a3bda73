// The kernels of the instruction set that is being compiled, each defined by the file of
// its name in kernels/, for float and double.
#ifndef JAX_SIGLIB_CPU_KERNEL_FUNCTIONS_H_
#define JAX_SIGLIB_CPU_KERNEL_FUNCTIONS_H_

#include "kernels.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

template <class T>
void SigJoin(const SigJoinJob<T>& job, JoinPhase phase, int64_t begin, int64_t end,
             T* scratch);
template <class T>
void SigJoinJvp(const SigJoinJob<T>& job, JoinPhase phase, int64_t begin, int64_t end,
                T* scratch);
template <class T>
void SigJoinBackprop(const SigJoinJob<T>& job, JoinPhase phase, int64_t begin, int64_t end,
                     T* scratch);
template <class T>
void SigJoinHvp(const SigJoinJob<T>& job, JoinPhase phase, int64_t begin, int64_t end,
                T* scratch);
template <class T>
void Sig(const SigJob<T>& job, int64_t begin, int64_t end, T* scratch);
template <class T>
void SigJvp(const SigJob<T>& job, int64_t begin, int64_t end, T* scratch);
template <class T>
void SigBackprop(const SigJob<T>& job, int64_t begin, int64_t end, T* scratch);
template <class T>
void SigHvp(const SigJob<T>& job, int64_t begin, int64_t end, T* scratch);
template <class T>
void SigBundle(const SigJob<T>& job, int64_t begin, int64_t end, T* scratch);
template <class T>
void SigJvpBundle(const SigJob<T>& job, int64_t begin, int64_t end, T* scratch);
template <class T>
void SigBackpropBundle(const SigJob<T>& job, int64_t begin, int64_t end, T* scratch);
template <class T>
void SigCombine(const CombineJob<T>& job, JoinPhase phase, int64_t begin, int64_t end,
                T* scratch);
template <class T>
void SigCombineBackprop(const CombineJob<T>& job, JoinPhase phase, int64_t begin,
                        int64_t end, T* scratch);
template <class T>
void SigInverse(const InverseJob<T>& job, int64_t begin, int64_t end);
template <class T>
int64_t MultiplyAdds(int64_t rounds, T* sum);

// half_kernels.cc
void WidenFloat16(const uint16_t* from, int64_t n, float* to);
void WidenBFloat16(const uint16_t* from, int64_t n, float* to);
void RoundToFloat16(const float* from, int64_t n, uint16_t* to);
void RoundToBFloat16(const float* from, int64_t n, uint16_t* to);

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_KERNEL_FUNCTIONS_H_
