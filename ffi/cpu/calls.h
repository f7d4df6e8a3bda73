// The operations on arrays, as both doors (XLA's handlers and the direct calls for
// numpy and torch) enter them: shapes are checked, the batch is laid out, and the
// kernels run on as many threads as asked for.
#ifndef JAX_SIGLIB_CPU_CALLS_H_
#define JAX_SIGLIB_CPU_CALLS_H_

#include <cstdint>
#include <string>

#include "batch.h"
#include "parallel_for.h"

namespace jax_siglib {

enum class Dtype { kFloat16, kBFloat16, kFloat32, kFloat64, kOther };

// An array in memory; strides in entries, 0 along a broadcast dimension. The last
// dimension is dense.
struct Array {
  Dtype dtype = Dtype::kOther;
  void* data = nullptr;
  Dims shape;
  Dims stride;
};

struct Threads {
  Scheduler& scheduler;
  int64_t n_jobs;
};

// Empty if the call was carried out, else what is wrong with it. They throw only
// std::bad_alloc. Results must be dense and overlap no operand, unless they are it.

// out = join(sig, displacement)
std::string SigJoin(const Array& sig, const Array& displacement, const Array& out,
                    int64_t dimension, int64_t degree, bool prepend, Threads threads);

// In the next two sig may lack its top level (and its scalar term): it is not read.
std::string SigJoinJvp(const Array& sig, const Array& displacement, const Array& t_sig,
                       const Array& t_displacement, const Array& t_out, int64_t dimension,
                       int64_t degree, bool prepend, Threads threads);
std::string SigJoinBackprop(const Array& ct_out, const Array& sig,
                            const Array& displacement, const Array& ct_sig,
                            const Array& ct_displacement, int64_t dimension, int64_t degree,
                            bool prepend, Threads threads);

// The derivative of sig_join_backprop along (t_sig, t_displacement). sig, t_sig and the
// result ct_sig may each lack their top level (and their scalar term): neither is read, and
// it is zero.
std::string SigJoinHvp(const Array& ct_out, const Array& sig, const Array& displacement,
                       const Array& t_sig, const Array& t_displacement, const Array& ct_sig,
                       const Array& ct_displacement, int64_t dimension, int64_t degree,
                       bool prepend, Threads threads);

// out = sig1 (x) sig2, and its derivatives, in which sig1, sig2, and the tangents and
// results of the last, may lack their top levels (and their scalar terms), as above.
std::string SigCombine(const Array& sig1, const Array& sig2, const Array& out,
                       int64_t dimension, int64_t degree, Threads threads);
std::string SigCombineJvp(const Array& sig1, const Array& sig2, const Array& t_sig1,
                          const Array& t_sig2, const Array& t_out, int64_t dimension,
                          int64_t degree, Threads threads);
std::string SigCombineBackprop(const Array& ct_out, const Array& sig1, const Array& sig2,
                               const Array& ct_sig1, const Array& ct_sig2,
                               int64_t dimension, int64_t degree, Threads threads);
std::string SigCombineHvp(const Array& ct_out, const Array& sig1, const Array& sig2,
                          const Array& t_sig1, const Array& t_sig2, const Array& ct_sig1,
                          const Array& ct_sig2, int64_t dimension, int64_t degree,
                          Threads threads);

// out = the antipode of sig, but for a scalar term, which is 1 or, if it is `linear`, 0.
std::string SigInverse(const Array& sig, const Array& out, int64_t dimension,
                       int64_t degree, bool linear, Threads threads);

// Paths are (..., points, dimension).
std::string Sig(const Array& path, const Array& out, int64_t degree, Threads threads);
std::string SigJvp(const Array& path, const Array& t_path, const Array& t_out,
                   int64_t degree, Threads threads);
// sig may lack its top level (and its scalar term). In half precision it is not read.
std::string SigBackprop(const Array& path, const Array& sig, const Array& ct_out,
                        const Array& ct_path, int64_t degree, Threads threads);
// The derivative along t_path of sig_backprop, as a function of the path alone.
std::string SigHvp(const Array& ct_out, const Array& path, const Array& t_path,
                   const Array& ct_path, int64_t degree, Threads threads);

}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_CALLS_H_
