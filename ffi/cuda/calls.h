// The operations on arrays in a GPU's memory: what cpu/calls.h is for the CPU. Shapes are
// checked, the work is cut up, and the kernels are handed to an executor, which need not
// have run them when a call returns.
#ifndef JAX_SIGLIB_CUDA_CALLS_H_
#define JAX_SIGLIB_CUDA_CALLS_H_

#include <cstdint>
#include <string>

#include "../arrays.h"
#include "executor.h"

namespace jax_siglib {
namespace cuda {

// Empty if the call was carried out, else what is wrong with it; what an executor throws
// passes through. Operands and results are those of cpu/calls.h.

std::string SigJoin(const Array& sig, const Array& displacement, const Array& out,
                    int64_t dimension, int64_t degree, bool prepend, Executor& executor);
std::string SigJoinJvp(const Array& sig, const Array& displacement, const Array& t_sig,
                       const Array& t_displacement, const Array& t_out, int64_t dimension,
                       int64_t degree, bool prepend, Executor& executor);
std::string SigJoinBackprop(const Array& ct_out, const Array& sig,
                            const Array& displacement, const Array& ct_sig,
                            const Array& ct_displacement, int64_t dimension, int64_t degree,
                            bool prepend, Executor& executor);
std::string SigJoinHvp(const Array& ct_out, const Array& sig, const Array& displacement,
                       const Array& t_sig, const Array& t_displacement, const Array& ct_sig,
                       const Array& ct_displacement, int64_t dimension, int64_t degree,
                       bool prepend, Executor& executor);

std::string SigCombine(const Array& sig1, const Array& sig2, const Array& out,
                       int64_t dimension, int64_t degree, Executor& executor);
std::string SigCombineJvp(const Array& sig1, const Array& sig2, const Array& t_sig1,
                          const Array& t_sig2, const Array& t_out, int64_t dimension,
                          int64_t degree, Executor& executor);
std::string SigCombineBackprop(const Array& ct_out, const Array& sig1, const Array& sig2,
                               const Array& ct_sig1, const Array& ct_sig2,
                               int64_t dimension, int64_t degree, Executor& executor);
std::string SigCombineHvp(const Array& ct_out, const Array& sig1, const Array& sig2,
                          const Array& t_sig1, const Array& t_sig2, const Array& ct_sig1,
                          const Array& ct_sig2, int64_t dimension, int64_t degree,
                          Executor& executor);
std::string SigInverse(const Array& sig, const Array& out, int64_t dimension,
                       int64_t degree, bool linear, Executor& executor);

std::string Sig(const Array& path, const Array& out, int64_t degree, Executor& executor);
std::string SigJvp(const Array& path, const Array& t_path, const Array& t_out,
                   int64_t degree, Executor& executor);
std::string SigBackprop(const Array& path, const Array& sig, const Array& ct_out,
                        const Array& ct_path, int64_t degree, Executor& executor);
std::string SigHvp(const Array& ct_out, const Array& path, const Array& t_path,
                   const Array& ct_path, int64_t degree, Executor& executor);

std::string SigStream(const Array& initial, const Array& path, const Array& out,
                      int64_t degree, bool prepend, Executor& executor);
std::string SigStreamJvp(const Array& initial, const Array& path, const Array& t_initial,
                         const Array& t_path, const Array& t_out, int64_t degree,
                         bool prepend, Executor& executor);
std::string SigStreamBackprop(const Array& ct_out, const Array& initial, const Array& path,
                              const Array& stream, const Array& ct_initial,
                              const Array& ct_path, int64_t degree, bool prepend,
                              Executor& executor);
std::string SigStreamHvp(const Array& ct_out, const Array& initial, const Array& path,
                         const Array& t_initial, const Array& t_path,
                         const Array& ct_initial, const Array& ct_path, int64_t degree,
                         bool prepend, Executor& executor);

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_CALLS_H_
