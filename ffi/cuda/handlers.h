// XLA custom calls on GPUs, under the names they have on the CPU (cpu/handlers.h).
#ifndef JAX_SIGLIB_CUDA_HANDLERS_H_
#define JAX_SIGLIB_CUDA_HANDLERS_H_

#include <xla/ffi/api/c_api.h>

// f(name) for every operation: the handler is name##Cuda, its target
// jax_siglib_<operation>_v1.
#define JAX_SIGLIB_FOR_EACH_CUDA_OPERATION(f)                                             \
  f(SigJoin, "sig_join") f(SigJoinJvp, "sig_join_jvp")                                    \
      f(SigJoinBackprop, "sig_join_backprop") f(SigJoinHvp, "sig_join_hvp") f(Sig, "sig") \
          f(SigJvp, "sig_jvp") f(SigBackprop, "sig_backprop") f(SigHvp, "sig_hvp")        \
              f(SigCombine, "sig_combine") f(SigCombineJvp, "sig_combine_jvp")            \
                  f(SigCombineBackprop, "sig_combine_backprop")                           \
                      f(SigCombineHvp, "sig_combine_hvp") f(SigInverse, "sig_inverse")    \
                          f(SigStream, "sig_stream") f(SigStreamJvp, "sig_stream_jvp")    \
                              f(SigStreamBackprop, "sig_stream_backprop")                 \
                                  f(SigStreamHvp, "sig_stream_hvp")

#define JAX_SIGLIB_DECLARE(name, operation) \
  extern "C" XLA_FFI_Error* name##Cuda(XLA_FFI_CallFrame* call_frame);
JAX_SIGLIB_FOR_EACH_CUDA_OPERATION(JAX_SIGLIB_DECLARE)
#undef JAX_SIGLIB_DECLARE

#endif  // JAX_SIGLIB_CUDA_HANDLERS_H_
