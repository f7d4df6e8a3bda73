#include "handlers.h"

#include <xla/ffi/api/ffi.h>

#include <new>
#include <utility>

#include "calls.h"

namespace jax_siglib {
namespace {

namespace ffi = xla::ffi;

// XLA's own threads.
class XlaScheduler final : public Scheduler {
 public:
  explicit XlaScheduler(ffi::ThreadPool pool) : pool_(pool) {}
  int64_t threads() const override { return pool_.num_threads(); }
  void Schedule(std::function<void()> task) override { pool_.Schedule(std::move(task)); }

 private:
  ffi::ThreadPool pool_;
};

Dtype ReadDtype(ffi::DataType type) {
  switch (type) {
    case ffi::F16:
      return Dtype::kFloat16;
    case ffi::BF16:
      return Dtype::kBFloat16;
    case ffi::F32:
      return Dtype::kFloat32;
    case ffi::F64:
      return Dtype::kFloat64;
    default:
      return Dtype::kOther;
  }
}

Array Read(ffi::AnyBuffer buffer) {
  Array array;
  array.dtype = ReadDtype(buffer.element_type());
  array.data = buffer.untyped_data();
  const auto dimensions = buffer.dimensions();
  for (const int64_t size : dimensions) {
    array.shape.Append(size);
    array.stride.Append(0);
  }
  int64_t stride = 1;
  for (int i = array.shape.rank(); i-- > 0;) {
    array.stride[i] = stride;
    stride *= array.shape[i];
  }
  return array;
}

// Carries out call(threads); its complaint, or running out of memory, becomes the
// program's error.
template <class Call>
ffi::Error Carry(ffi::ThreadPool pool, int64_t n_jobs, Call&& call) {
  XlaScheduler scheduler(pool);
  try {
    const std::string error = call(Threads{scheduler, n_jobs});
    return error.empty() ? ffi::Error::Success() : ffi::Error::InvalidArgument(error);
  } catch (const std::bad_alloc&) {
    return ffi::Error(ffi::ErrorCode::kResourceExhausted,
                      "jax_siglib: not enough memory for scratch");
  }
}

using Result = ffi::Result<ffi::AnyBuffer>;

ffi::Error DoSigJoin(ffi::ThreadPool pool, int64_t dimension, int64_t degree, bool prepend,
                     int64_t n_jobs, ffi::AnyBuffer sig, ffi::AnyBuffer displacement,
                     Result out) {
  return Carry(pool, n_jobs, [&](Threads threads) {
    return SigJoin(Read(sig), Read(displacement), Read(*out), dimension, degree, prepend,
                   threads);
  });
}

ffi::Error DoSigJoinJvp(ffi::ThreadPool pool, int64_t dimension, int64_t degree,
                        bool prepend, int64_t n_jobs, ffi::AnyBuffer sig,
                        ffi::AnyBuffer displacement, ffi::AnyBuffer t_sig,
                        ffi::AnyBuffer t_displacement, Result t_out) {
  return Carry(pool, n_jobs, [&](Threads threads) {
    return SigJoinJvp(Read(sig), Read(displacement), Read(t_sig), Read(t_displacement),
                      Read(*t_out), dimension, degree, prepend, threads);
  });
}

ffi::Error DoSigJoinBackprop(ffi::ThreadPool pool, int64_t dimension, int64_t degree,
                             bool prepend, int64_t n_jobs, ffi::AnyBuffer ct_out,
                             ffi::AnyBuffer sig, ffi::AnyBuffer displacement, Result ct_sig,
                             Result ct_displacement) {
  return Carry(pool, n_jobs, [&](Threads threads) {
    return SigJoinBackprop(Read(ct_out), Read(sig), Read(displacement), Read(*ct_sig),
                           Read(*ct_displacement), dimension, degree, prepend, threads);
  });
}

ffi::Error DoSigJoinHvp(ffi::ThreadPool pool, int64_t dimension, int64_t degree,
                        bool prepend, int64_t n_jobs, ffi::AnyBuffer ct_out,
                        ffi::AnyBuffer sig, ffi::AnyBuffer displacement,
                        ffi::AnyBuffer t_sig, ffi::AnyBuffer t_displacement, Result ct_sig,
                        Result ct_displacement) {
  return Carry(pool, n_jobs, [&](Threads threads) {
    return SigJoinHvp(Read(ct_out), Read(sig), Read(displacement), Read(t_sig),
                      Read(t_displacement), Read(*ct_sig), Read(*ct_displacement),
                      dimension, degree, prepend, threads);
  });
}

ffi::Error DoSig(ffi::ThreadPool pool, int64_t degree, int64_t n_jobs, ffi::AnyBuffer path,
                 Result out) {
  return Carry(pool, n_jobs, [&](Threads threads) {
    return Sig(Read(path), Read(*out), degree, threads);
  });
}

ffi::Error DoSigJvp(ffi::ThreadPool pool, int64_t degree, int64_t n_jobs,
                    ffi::AnyBuffer path, ffi::AnyBuffer t_path, Result t_out) {
  return Carry(pool, n_jobs, [&](Threads threads) {
    return SigJvp(Read(path), Read(t_path), Read(*t_out), degree, threads);
  });
}

ffi::Error DoSigBackprop(ffi::ThreadPool pool, int64_t degree, int64_t n_jobs,
                         ffi::AnyBuffer ct_out, ffi::AnyBuffer path, ffi::AnyBuffer sig,
                         Result ct_path) {
  return Carry(pool, n_jobs, [&](Threads threads) {
    return SigBackprop(Read(path), Read(sig), Read(ct_out), Read(*ct_path), degree,
                       threads);
  });
}

ffi::Error DoSigHvp(ffi::ThreadPool pool, int64_t degree, int64_t n_jobs,
                    ffi::AnyBuffer ct_out, ffi::AnyBuffer path, ffi::AnyBuffer t_path,
                    Result ct_path) {
  return Carry(pool, n_jobs, [&](Threads threads) {
    return SigHvp(Read(ct_out), Read(path), Read(t_path), Read(*ct_path), degree, threads);
  });
}

ffi::Error DoSigCombine(ffi::ThreadPool pool, int64_t dimension, int64_t degree,
                        int64_t n_jobs, ffi::AnyBuffer sig1, ffi::AnyBuffer sig2,
                        Result out) {
  return Carry(pool, n_jobs, [&](Threads threads) {
    return SigCombine(Read(sig1), Read(sig2), Read(*out), dimension, degree, threads);
  });
}

ffi::Error DoSigCombineJvp(ffi::ThreadPool pool, int64_t dimension, int64_t degree,
                           int64_t n_jobs, ffi::AnyBuffer sig1, ffi::AnyBuffer sig2,
                           ffi::AnyBuffer t_sig1, ffi::AnyBuffer t_sig2, Result t_out) {
  return Carry(pool, n_jobs, [&](Threads threads) {
    return SigCombineJvp(Read(sig1), Read(sig2), Read(t_sig1), Read(t_sig2), Read(*t_out),
                         dimension, degree, threads);
  });
}

ffi::Error DoSigCombineBackprop(ffi::ThreadPool pool, int64_t dimension, int64_t degree,
                                int64_t n_jobs, ffi::AnyBuffer ct_out, ffi::AnyBuffer sig1,
                                ffi::AnyBuffer sig2, Result ct_sig1, Result ct_sig2) {
  return Carry(pool, n_jobs, [&](Threads threads) {
    return SigCombineBackprop(Read(ct_out), Read(sig1), Read(sig2), Read(*ct_sig1),
                              Read(*ct_sig2), dimension, degree, threads);
  });
}

ffi::Error DoSigCombineHvp(ffi::ThreadPool pool, int64_t dimension, int64_t degree,
                           int64_t n_jobs, ffi::AnyBuffer ct_out, ffi::AnyBuffer sig1,
                           ffi::AnyBuffer sig2, ffi::AnyBuffer t_sig1,
                           ffi::AnyBuffer t_sig2, Result ct_sig1, Result ct_sig2) {
  return Carry(pool, n_jobs, [&](Threads threads) {
    return SigCombineHvp(Read(ct_out), Read(sig1), Read(sig2), Read(t_sig1), Read(t_sig2),
                         Read(*ct_sig1), Read(*ct_sig2), dimension, degree, threads);
  });
}

ffi::Error DoSigInverse(ffi::ThreadPool pool, int64_t dimension, int64_t degree,
                        int64_t n_jobs, bool linear, ffi::AnyBuffer sig, Result out) {
  return Carry(pool, n_jobs, [&](Threads threads) {
    return SigInverse(Read(sig), Read(*out), dimension, degree, linear, threads);
  });
}

// What all joins, all products, and all functions of paths, are bound with.
auto JoinCall() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::ThreadPool>()
      .Attr<int64_t>("dimension")
      .Attr<int64_t>("degree")
      .Attr<bool>("prepend")
      .Attr<int64_t>("n_jobs");
}

auto CombineCall() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::ThreadPool>()
      .Attr<int64_t>("dimension")
      .Attr<int64_t>("degree")
      .Attr<int64_t>("n_jobs");
}

auto PathCall() {
  return ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Attr<int64_t>("degree").Attr<int64_t>(
      "n_jobs");
}

}  // namespace
}  // namespace jax_siglib

using xla::ffi::AnyBuffer;

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    SigJoinHandler, jax_siglib::DoSigJoin,
    jax_siglib::JoinCall().Arg<AnyBuffer>().Arg<AnyBuffer>().Ret<AnyBuffer>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(SigJoinJvpHandler, jax_siglib::DoSigJoinJvp,
                              jax_siglib::JoinCall()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Ret<AnyBuffer>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(SigJoinBackpropHandler, jax_siglib::DoSigJoinBackprop,
                              jax_siglib::JoinCall()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Ret<AnyBuffer>()
                                  .Ret<AnyBuffer>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(SigJoinHvpHandler, jax_siglib::DoSigJoinHvp,
                              jax_siglib::JoinCall()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Ret<AnyBuffer>()
                                  .Ret<AnyBuffer>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(SigHandler, jax_siglib::DoSig,
                              jax_siglib::PathCall().Arg<AnyBuffer>().Ret<AnyBuffer>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(
    SigJvpHandler, jax_siglib::DoSigJvp,
    jax_siglib::PathCall().Arg<AnyBuffer>().Arg<AnyBuffer>().Ret<AnyBuffer>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(SigBackpropHandler, jax_siglib::DoSigBackprop,
                              jax_siglib::PathCall()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Ret<AnyBuffer>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(SigHvpHandler, jax_siglib::DoSigHvp,
                              jax_siglib::PathCall()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Ret<AnyBuffer>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(
    SigCombineHandler, jax_siglib::DoSigCombine,
    jax_siglib::CombineCall().Arg<AnyBuffer>().Arg<AnyBuffer>().Ret<AnyBuffer>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(SigCombineJvpHandler, jax_siglib::DoSigCombineJvp,
                              jax_siglib::CombineCall()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Ret<AnyBuffer>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(SigCombineBackpropHandler, jax_siglib::DoSigCombineBackprop,
                              jax_siglib::CombineCall()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Ret<AnyBuffer>()
                                  .Ret<AnyBuffer>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(SigCombineHvpHandler, jax_siglib::DoSigCombineHvp,
                              jax_siglib::CombineCall()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Ret<AnyBuffer>()
                                  .Ret<AnyBuffer>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(
    SigInverseHandler, jax_siglib::DoSigInverse,
    jax_siglib::CombineCall().Attr<bool>("linear").Arg<AnyBuffer>().Ret<AnyBuffer>());
