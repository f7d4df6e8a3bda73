#include "handlers.h"

#include <xla/ffi/api/ffi.h>

#include <exception>
#include <new>
#include <string>
#include <utility>

#include "../xla_arrays.h"
#include "calls.h"
#include "stream.h"

namespace jax_siglib {
namespace cuda {
namespace {

namespace ffi = xla::ffi;

// Carries out call(executor) on XLA's stream, with scratch from XLA.
template <class Call>
ffi::Error Carry(cudaStream_t stream, ffi::ScratchAllocator& scratch, bool may_be_captured,
                 Call&& call) {
  StreamExecutor executor(stream, [&](int64_t bytes) -> void* {
    if (may_be_captured) StreamExecutor::RefuseCapture(stream);
    return scratch.Allocate(static_cast<size_t>(bytes), 16).value_or(nullptr);
  });
  try {
    const std::string error = call(executor);
    return error.empty() ? ffi::Error::Success() : ffi::Error::InvalidArgument(error);
  } catch (const std::bad_alloc&) {
    return ffi::Error(ffi::ErrorCode::kResourceExhausted,
                      "jax_siglib: not enough GPU memory for scratch");
  } catch (const std::exception& error) {
    return ffi::Error::Internal(std::string("jax_siglib: ") + error.what());
  }
}

// What XLA may record into a CUDA graph, to play it again later: calls that need no
// scratch, which would be someone else's by then. (Of vectors of thousands of letters they
// do, and refuse to be recorded.)
constexpr bool kCapturable = true;

using Result = ffi::Result<ffi::AnyBuffer>;

ffi::Error DoSigJoin(cudaStream_t stream, ffi::ScratchAllocator scratch, int64_t dimension,
                     int64_t degree, bool prepend, int64_t, ffi::AnyBuffer sig,
                     ffi::AnyBuffer displacement, Result out) {
  return Carry(stream, scratch, kCapturable, [&](Executor& executor) {
    return SigJoin(Read(sig), Read(displacement), Read(*out), dimension, degree, prepend,
                   executor);
  });
}

ffi::Error DoSigJoinJvp(cudaStream_t stream, ffi::ScratchAllocator scratch,
                        int64_t dimension, int64_t degree, bool prepend, int64_t,
                        ffi::AnyBuffer sig, ffi::AnyBuffer displacement,
                        ffi::AnyBuffer t_sig, ffi::AnyBuffer t_displacement, Result t_out) {
  return Carry(stream, scratch, kCapturable, [&](Executor& executor) {
    return SigJoinJvp(Read(sig), Read(displacement), Read(t_sig), Read(t_displacement),
                      Read(*t_out), dimension, degree, prepend, executor);
  });
}

ffi::Error DoSigJoinBackprop(cudaStream_t stream, ffi::ScratchAllocator scratch,
                             int64_t dimension, int64_t degree, bool prepend, int64_t,
                             ffi::AnyBuffer ct_out, ffi::AnyBuffer sig,
                             ffi::AnyBuffer displacement, Result ct_sig,
                             Result ct_displacement) {
  return Carry(stream, scratch, !kCapturable, [&](Executor& executor) {
    return SigJoinBackprop(Read(ct_out), Read(sig), Read(displacement), Read(*ct_sig),
                           Read(*ct_displacement), dimension, degree, prepend, executor);
  });
}

ffi::Error DoSigJoinHvp(cudaStream_t stream, ffi::ScratchAllocator scratch,
                        int64_t dimension, int64_t degree, bool prepend, int64_t,
                        ffi::AnyBuffer ct_out, ffi::AnyBuffer sig,
                        ffi::AnyBuffer displacement, ffi::AnyBuffer t_sig,
                        ffi::AnyBuffer t_displacement, Result ct_sig,
                        Result ct_displacement) {
  return Carry(stream, scratch, !kCapturable, [&](Executor& executor) {
    return SigJoinHvp(Read(ct_out), Read(sig), Read(displacement), Read(t_sig),
                      Read(t_displacement), Read(*ct_sig), Read(*ct_displacement),
                      dimension, degree, prepend, executor);
  });
}

ffi::Error DoSig(cudaStream_t stream, ffi::ScratchAllocator scratch, int64_t degree,
                 int64_t, ffi::AnyBuffer path, Result out) {
  return Carry(stream, scratch, kCapturable, [&](Executor& executor) {
    return Sig(Read(path), Read(*out), degree, executor);
  });
}

ffi::Error DoSigJvp(cudaStream_t stream, ffi::ScratchAllocator scratch, int64_t degree,
                    int64_t, ffi::AnyBuffer path, ffi::AnyBuffer t_path, Result t_out) {
  return Carry(stream, scratch, kCapturable, [&](Executor& executor) {
    return SigJvp(Read(path), Read(t_path), Read(*t_out), degree, executor);
  });
}

ffi::Error DoSigBackprop(cudaStream_t stream, ffi::ScratchAllocator scratch, int64_t degree,
                         int64_t, ffi::AnyBuffer ct_out, ffi::AnyBuffer path,
                         ffi::AnyBuffer sig, Result ct_path) {
  return Carry(stream, scratch, !kCapturable, [&](Executor& executor) {
    return SigBackprop(Read(path), Read(sig), Read(ct_out), Read(*ct_path), degree,
                       executor);
  });
}

ffi::Error DoSigHvp(cudaStream_t stream, ffi::ScratchAllocator scratch, int64_t degree,
                    int64_t, ffi::AnyBuffer ct_out, ffi::AnyBuffer path,
                    ffi::AnyBuffer t_path, Result ct_path) {
  return Carry(stream, scratch, !kCapturable, [&](Executor& executor) {
    return SigHvp(Read(ct_out), Read(path), Read(t_path), Read(*ct_path), degree, executor);
  });
}

ffi::Error DoSigCombine(cudaStream_t stream, ffi::ScratchAllocator scratch,
                        int64_t dimension, int64_t degree, int64_t, ffi::AnyBuffer sig1,
                        ffi::AnyBuffer sig2, Result out) {
  return Carry(stream, scratch, kCapturable, [&](Executor& executor) {
    return SigCombine(Read(sig1), Read(sig2), Read(*out), dimension, degree, executor);
  });
}

ffi::Error DoSigCombineJvp(cudaStream_t stream, ffi::ScratchAllocator scratch,
                           int64_t dimension, int64_t degree, int64_t, ffi::AnyBuffer sig1,
                           ffi::AnyBuffer sig2, ffi::AnyBuffer t_sig1,
                           ffi::AnyBuffer t_sig2, Result t_out) {
  return Carry(stream, scratch, kCapturable, [&](Executor& executor) {
    return SigCombineJvp(Read(sig1), Read(sig2), Read(t_sig1), Read(t_sig2), Read(*t_out),
                         dimension, degree, executor);
  });
}

ffi::Error DoSigCombineBackprop(cudaStream_t stream, ffi::ScratchAllocator scratch,
                                int64_t dimension, int64_t degree, int64_t,
                                ffi::AnyBuffer ct_out, ffi::AnyBuffer sig1,
                                ffi::AnyBuffer sig2, Result ct_sig1, Result ct_sig2) {
  return Carry(stream, scratch, kCapturable, [&](Executor& executor) {
    return SigCombineBackprop(Read(ct_out), Read(sig1), Read(sig2), Read(*ct_sig1),
                              Read(*ct_sig2), dimension, degree, executor);
  });
}

ffi::Error DoSigCombineHvp(cudaStream_t stream, ffi::ScratchAllocator scratch,
                           int64_t dimension, int64_t degree, int64_t,
                           ffi::AnyBuffer ct_out, ffi::AnyBuffer sig1, ffi::AnyBuffer sig2,
                           ffi::AnyBuffer t_sig1, ffi::AnyBuffer t_sig2, Result ct_sig1,
                           Result ct_sig2) {
  return Carry(stream, scratch, kCapturable, [&](Executor& executor) {
    return SigCombineHvp(Read(ct_out), Read(sig1), Read(sig2), Read(t_sig1), Read(t_sig2),
                         Read(*ct_sig1), Read(*ct_sig2), dimension, degree, executor);
  });
}

ffi::Error DoSigInverse(cudaStream_t stream, ffi::ScratchAllocator scratch,
                        int64_t dimension, int64_t degree, int64_t, bool linear,
                        ffi::AnyBuffer sig, Result out) {
  return Carry(stream, scratch, kCapturable, [&](Executor& executor) {
    return SigInverse(Read(sig), Read(*out), dimension, degree, linear, executor);
  });
}

ffi::Error DoSigStream(cudaStream_t stream, ffi::ScratchAllocator scratch, int64_t degree,
                       bool prepend, int64_t, ffi::AnyBuffer initial, ffi::AnyBuffer path,
                       Result out) {
  return Carry(stream, scratch, !kCapturable, [&](Executor& executor) {
    return SigStream(Read(initial), Read(path), Read(*out), degree, prepend, executor);
  });
}

ffi::Error DoSigStreamJvp(cudaStream_t stream, ffi::ScratchAllocator scratch,
                          int64_t degree, bool prepend, int64_t, ffi::AnyBuffer initial,
                          ffi::AnyBuffer path, ffi::AnyBuffer t_initial,
                          ffi::AnyBuffer t_path, Result t_out) {
  return Carry(stream, scratch, !kCapturable, [&](Executor& executor) {
    return SigStreamJvp(Read(initial), Read(path), Read(t_initial), Read(t_path),
                        Read(*t_out), degree, prepend, executor);
  });
}

ffi::Error DoSigStreamBackprop(cudaStream_t stream, ffi::ScratchAllocator scratch,
                               int64_t degree, bool prepend, int64_t, ffi::AnyBuffer ct_out,
                               ffi::AnyBuffer initial, ffi::AnyBuffer path,
                               ffi::AnyBuffer rows, Result ct_initial, Result ct_path) {
  return Carry(stream, scratch, !kCapturable, [&](Executor& executor) {
    return SigStreamBackprop(Read(ct_out), Read(initial), Read(path), Read(rows),
                             Read(*ct_initial), Read(*ct_path), degree, prepend, executor);
  });
}

ffi::Error DoSigStreamHvp(cudaStream_t stream, ffi::ScratchAllocator scratch,
                          int64_t degree, bool prepend, int64_t, ffi::AnyBuffer ct_out,
                          ffi::AnyBuffer initial, ffi::AnyBuffer path,
                          ffi::AnyBuffer t_initial, ffi::AnyBuffer t_path,
                          Result ct_initial, Result ct_path) {
  return Carry(stream, scratch, !kCapturable, [&](Executor& executor) {
    return SigStreamHvp(Read(ct_out), Read(initial), Read(path), Read(t_initial),
                        Read(t_path), Read(*ct_initial), Read(*ct_path), degree, prepend,
                        executor);
  });
}

// What all calls, and all joins, are bound with. n_jobs, the CPU's threads, is not looked
// at.
auto GpuCall() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::PlatformStream<cudaStream_t>>()
      .Ctx<ffi::ScratchAllocator>();
}

auto JoinCall() {
  return GpuCall()
      .Attr<int64_t>("dimension")
      .Attr<int64_t>("degree")
      .Attr<bool>("prepend")
      .Attr<int64_t>("n_jobs");
}

auto CombineCall() {
  return GpuCall()
      .Attr<int64_t>("dimension")
      .Attr<int64_t>("degree")
      .Attr<int64_t>("n_jobs");
}

auto StreamCall() {
  return GpuCall().Attr<int64_t>("degree").Attr<bool>("prepend").Attr<int64_t>("n_jobs");
}

auto PathCall() { return GpuCall().Attr<int64_t>("degree").Attr<int64_t>("n_jobs"); }

}  // namespace
}  // namespace cuda
}  // namespace jax_siglib

using xla::ffi::AnyBuffer;
using xla::ffi::Traits;

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    SigJoinCuda, jax_siglib::cuda::DoSigJoin,
    jax_siglib::cuda::JoinCall().Arg<AnyBuffer>().Arg<AnyBuffer>().Ret<AnyBuffer>(),
    {Traits::kCmdBufferCompatible});
XLA_FFI_DEFINE_HANDLER_SYMBOL(SigJoinJvpCuda, jax_siglib::cuda::DoSigJoinJvp,
                              jax_siglib::cuda::JoinCall()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Ret<AnyBuffer>(),
                              {Traits::kCmdBufferCompatible});
XLA_FFI_DEFINE_HANDLER_SYMBOL(SigJoinBackpropCuda, jax_siglib::cuda::DoSigJoinBackprop,
                              jax_siglib::cuda::JoinCall()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Ret<AnyBuffer>()
                                  .Ret<AnyBuffer>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(SigJoinHvpCuda, jax_siglib::cuda::DoSigJoinHvp,
                              jax_siglib::cuda::JoinCall()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Ret<AnyBuffer>()
                                  .Ret<AnyBuffer>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(
    SigCuda, jax_siglib::cuda::DoSig,
    jax_siglib::cuda::PathCall().Arg<AnyBuffer>().Ret<AnyBuffer>(),
    {Traits::kCmdBufferCompatible});
XLA_FFI_DEFINE_HANDLER_SYMBOL(
    SigJvpCuda, jax_siglib::cuda::DoSigJvp,
    jax_siglib::cuda::PathCall().Arg<AnyBuffer>().Arg<AnyBuffer>().Ret<AnyBuffer>(),
    {Traits::kCmdBufferCompatible});
XLA_FFI_DEFINE_HANDLER_SYMBOL(SigBackpropCuda, jax_siglib::cuda::DoSigBackprop,
                              jax_siglib::cuda::PathCall()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Ret<AnyBuffer>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(SigHvpCuda, jax_siglib::cuda::DoSigHvp,
                              jax_siglib::cuda::PathCall()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Ret<AnyBuffer>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(
    SigCombineCuda, jax_siglib::cuda::DoSigCombine,
    jax_siglib::cuda::CombineCall().Arg<AnyBuffer>().Arg<AnyBuffer>().Ret<AnyBuffer>(),
    {Traits::kCmdBufferCompatible});
XLA_FFI_DEFINE_HANDLER_SYMBOL(SigCombineJvpCuda, jax_siglib::cuda::DoSigCombineJvp,
                              jax_siglib::cuda::CombineCall()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Ret<AnyBuffer>(),
                              {Traits::kCmdBufferCompatible});
XLA_FFI_DEFINE_HANDLER_SYMBOL(SigCombineBackpropCuda,
                              jax_siglib::cuda::DoSigCombineBackprop,
                              jax_siglib::cuda::CombineCall()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Ret<AnyBuffer>()
                                  .Ret<AnyBuffer>(),
                              {Traits::kCmdBufferCompatible});
XLA_FFI_DEFINE_HANDLER_SYMBOL(SigCombineHvpCuda, jax_siglib::cuda::DoSigCombineHvp,
                              jax_siglib::cuda::CombineCall()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Ret<AnyBuffer>()
                                  .Ret<AnyBuffer>(),
                              {Traits::kCmdBufferCompatible});
XLA_FFI_DEFINE_HANDLER_SYMBOL(
    SigInverseCuda, jax_siglib::cuda::DoSigInverse,
    jax_siglib::cuda::CombineCall().Attr<bool>("linear").Arg<AnyBuffer>().Ret<AnyBuffer>(),
    {Traits::kCmdBufferCompatible});
XLA_FFI_DEFINE_HANDLER_SYMBOL(
    SigStreamCuda, jax_siglib::cuda::DoSigStream,
    jax_siglib::cuda::StreamCall().Arg<AnyBuffer>().Arg<AnyBuffer>().Ret<AnyBuffer>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(SigStreamJvpCuda, jax_siglib::cuda::DoSigStreamJvp,
                              jax_siglib::cuda::StreamCall()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Ret<AnyBuffer>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(SigStreamBackpropCuda, jax_siglib::cuda::DoSigStreamBackprop,
                              jax_siglib::cuda::StreamCall()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Ret<AnyBuffer>()
                                  .Ret<AnyBuffer>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(SigStreamHvpCuda, jax_siglib::cuda::DoSigStreamHvp,
                              jax_siglib::cuda::StreamCall()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Ret<AnyBuffer>()
                                  .Ret<AnyBuffer>());
