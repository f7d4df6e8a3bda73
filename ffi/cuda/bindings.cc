// The module jax_siglib._ext_cuda: XLA's handlers for GPUs, and the same operations for
// arrays that are not JAX's. jax_siglib/_cuda.py describes the arrays.
#include <cuda_runtime.h>
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>
#include <xla/ffi/api/c_api.h>

#include <cstdint>
#include <new>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "calls.h"
#include "handlers.h"
#include "stream.h"

namespace nb = nanobind;

namespace jax_siglib {
namespace cuda {
namespace {

// An array: its address, the name of its dtype, its shape and its strides in entries.
using Described =
    std::tuple<uintptr_t, std::string, std::vector<int64_t>, std::vector<int64_t>>;

Array Read(const Described& from) {
  const auto& [address, dtype, shape, stride] = from;
  Array array;
  array.data = reinterpret_cast<void*>(address);
  array.dtype = DtypeNamed(dtype);
  if (shape.size() > static_cast<size_t>(Dims::kMaxRank) || shape.size() != stride.size())
    throw nb::value_error("jax_siglib: too many dimensions");
  for (size_t i = 0; i < shape.size(); ++i) {
    array.shape.Append(shape[i]);
    array.stride.Append(stride[i]);
  }
  return array;
}

// Where a call runs: a stream of the current device, and a function that gives memory there
// which is not given to anyone else before the stream has come that far.
struct Where {
  uintptr_t stream;
  nb::callable allocate;
};

template <class Call>
void Carry(const Where& where, Call&& call) {
  StreamExecutor executor(reinterpret_cast<cudaStream_t>(where.stream), [&](int64_t bytes) {
    return reinterpret_cast<void*>(nb::cast<uintptr_t>(where.allocate(bytes)));
  });
  const std::string error = call(executor);
  if (!error.empty()) throw nb::value_error(error.c_str());
}

void CallSigJoin(const Described& sig, const Described& displacement, int64_t dimension,
                 int64_t degree, bool prepend, int64_t, const Described& out,
                 uintptr_t stream, nb::callable allocate) {
  Carry({stream, allocate}, [&](Executor& executor) {
    return SigJoin(Read(sig), Read(displacement), Read(out), dimension, degree, prepend,
                   executor);
  });
}

void CallSigJoinJvp(const Described& sig, const Described& displacement,
                    const Described& t_sig, const Described& t_displacement,
                    int64_t dimension, int64_t degree, bool prepend, int64_t,
                    const Described& t_out, uintptr_t stream, nb::callable allocate) {
  Carry({stream, allocate}, [&](Executor& executor) {
    return SigJoinJvp(Read(sig), Read(displacement), Read(t_sig), Read(t_displacement),
                      Read(t_out), dimension, degree, prepend, executor);
  });
}

void CallSigJoinBackprop(const Described& d_out, const Described& sig,
                         const Described& displacement, int64_t dimension, int64_t degree,
                         bool prepend, int64_t, const Described& d_sig,
                         const Described& d_displacement, uintptr_t stream,
                         nb::callable allocate) {
  Carry({stream, allocate}, [&](Executor& executor) {
    return SigJoinBackprop(Read(d_out), Read(sig), Read(displacement), Read(d_sig),
                           Read(d_displacement), dimension, degree, prepend, executor);
  });
}

void CallSigJoinHvp(const Described& d_out, const Described& sig,
                    const Described& displacement, const Described& t_sig,
                    const Described& t_displacement, int64_t dimension, int64_t degree,
                    bool prepend, int64_t, const Described& d_sig,
                    const Described& d_displacement, uintptr_t stream,
                    nb::callable allocate) {
  Carry({stream, allocate}, [&](Executor& executor) {
    return SigJoinHvp(Read(d_out), Read(sig), Read(displacement), Read(t_sig),
                      Read(t_displacement), Read(d_sig), Read(d_displacement), dimension,
                      degree, prepend, executor);
  });
}

void CallSig(const Described& path, int64_t degree, int64_t, const Described& out,
             uintptr_t stream, nb::callable allocate) {
  Carry({stream, allocate},
        [&](Executor& executor) { return Sig(Read(path), Read(out), degree, executor); });
}

void CallSigJvp(const Described& path, const Described& t_path, int64_t degree, int64_t,
                const Described& t_out, uintptr_t stream, nb::callable allocate) {
  Carry({stream, allocate}, [&](Executor& executor) {
    return SigJvp(Read(path), Read(t_path), Read(t_out), degree, executor);
  });
}

void CallSigBackprop(const Described& path, const Described& sig,
                     const Described& sig_derivs, int64_t degree, int64_t,
                     const Described& d_path, uintptr_t stream, nb::callable allocate) {
  Carry({stream, allocate}, [&](Executor& executor) {
    return SigBackprop(Read(path), Read(sig), Read(sig_derivs), Read(d_path), degree,
                       executor);
  });
}

void CallSigHvp(const Described& sig_derivs, const Described& path, const Described& t_path,
                int64_t degree, int64_t, const Described& d_path, uintptr_t stream,
                nb::callable allocate) {
  Carry({stream, allocate}, [&](Executor& executor) {
    return SigHvp(Read(sig_derivs), Read(path), Read(t_path), Read(d_path), degree,
                  executor);
  });
}

void CallSigCombine(const Described& sig1, const Described& sig2, int64_t dimension,
                    int64_t degree, int64_t, const Described& out, uintptr_t stream,
                    nb::callable allocate) {
  Carry({stream, allocate}, [&](Executor& executor) {
    return SigCombine(Read(sig1), Read(sig2), Read(out), dimension, degree, executor);
  });
}

void CallSigCombineJvp(const Described& sig1, const Described& sig2,
                       const Described& t_sig1, const Described& t_sig2, int64_t dimension,
                       int64_t degree, int64_t, const Described& t_out, uintptr_t stream,
                       nb::callable allocate) {
  Carry({stream, allocate}, [&](Executor& executor) {
    return SigCombineJvp(Read(sig1), Read(sig2), Read(t_sig1), Read(t_sig2), Read(t_out),
                         dimension, degree, executor);
  });
}

void CallSigCombineBackprop(const Described& deriv, const Described& sig1,
                            const Described& sig2, int64_t dimension, int64_t degree,
                            int64_t, const Described& d_sig1, const Described& d_sig2,
                            uintptr_t stream, nb::callable allocate) {
  Carry({stream, allocate}, [&](Executor& executor) {
    return SigCombineBackprop(Read(deriv), Read(sig1), Read(sig2), Read(d_sig1),
                              Read(d_sig2), dimension, degree, executor);
  });
}

void CallSigCombineHvp(const Described& deriv, const Described& sig1, const Described& sig2,
                       const Described& t_sig1, const Described& t_sig2, int64_t dimension,
                       int64_t degree, int64_t, const Described& d_sig1,
                       const Described& d_sig2, uintptr_t stream, nb::callable allocate) {
  Carry({stream, allocate}, [&](Executor& executor) {
    return SigCombineHvp(Read(deriv), Read(sig1), Read(sig2), Read(t_sig1), Read(t_sig2),
                         Read(d_sig1), Read(d_sig2), dimension, degree, executor);
  });
}

void CallSigInverse(const Described& sig, int64_t dimension, int64_t degree, int64_t,
                    bool linear, const Described& out, uintptr_t stream,
                    nb::callable allocate) {
  Carry({stream, allocate}, [&](Executor& executor) {
    return SigInverse(Read(sig), Read(out), dimension, degree, linear, executor);
  });
}

void CallSigStream(const Described& initial, const Described& path, int64_t degree,
                   bool prepend, int64_t, const Described& out, uintptr_t stream,
                   nb::callable allocate) {
  Carry({stream, allocate}, [&](Executor& executor) {
    return SigStream(Read(initial), Read(path), Read(out), degree, prepend, executor);
  });
}

void CallSigStreamJvp(const Described& initial, const Described& path,
                      const Described& t_initial, const Described& t_path, int64_t degree,
                      bool prepend, int64_t, const Described& t_out, uintptr_t stream,
                      nb::callable allocate) {
  Carry({stream, allocate}, [&](Executor& executor) {
    return SigStreamJvp(Read(initial), Read(path), Read(t_initial), Read(t_path),
                        Read(t_out), degree, prepend, executor);
  });
}

void CallSigStreamBackprop(const Described& stream_derivs, const Described& initial,
                           const Described& path, const Described& rows, int64_t degree,
                           bool prepend, int64_t, const Described& d_initial,
                           const Described& d_path, uintptr_t stream,
                           nb::callable allocate) {
  Carry({stream, allocate}, [&](Executor& executor) {
    return SigStreamBackprop(Read(stream_derivs), Read(initial), Read(path), Read(rows),
                             Read(d_initial), Read(d_path), degree, prepend, executor);
  });
}

void CallSigStreamHvp(const Described& stream_derivs, const Described& initial,
                      const Described& path, const Described& t_initial,
                      const Described& t_path, int64_t degree, bool prepend, int64_t,
                      const Described& d_initial, const Described& d_path, uintptr_t stream,
                      nb::callable allocate) {
  Carry({stream, allocate}, [&](Executor& executor) {
    return SigStreamHvp(Read(stream_derivs), Read(initial), Read(path), Read(t_initial),
                        Read(t_path), Read(d_initial), Read(d_path), degree, prepend,
                        executor);
  });
}

nb::dict Registrations() {
  nb::dict targets;
#define JAX_SIGLIB_TARGET(name, operation) \
  targets["jax_siglib_" operation "_v1"] = nb::capsule(reinterpret_cast<void*>(name##Cuda));
  JAX_SIGLIB_FOR_EACH_CUDA_OPERATION(JAX_SIGLIB_TARGET)
#undef JAX_SIGLIB_TARGET
  return targets;
}

// The GPUs here, or why there are none.
std::tuple<std::vector<std::string>, std::string> Devices() {
  std::vector<std::string> names;
  int count = 0;
  cudaError_t error = cudaGetDeviceCount(&count);
  for (int i = 0; error == cudaSuccess && i < count; ++i) {
    cudaDeviceProp properties;
    error = cudaGetDeviceProperties(&properties, i);
    if (error == cudaSuccess)
      names.push_back(std::string(properties.name) + ", compute capability " +
                      std::to_string(properties.major) + "." +
                      std::to_string(properties.minor));
  }
  return {names, error == cudaSuccess ? "" : cudaGetErrorString(error)};
}

}  // namespace
}  // namespace cuda
}  // namespace jax_siglib

NB_MODULE(_ext_cuda, m) {
  using namespace jax_siglib::cuda;
  m.def("registrations", Registrations);
#define JAX_SIGLIB_CALL(name, operation) m.def(operation, Call##name);
  JAX_SIGLIB_FOR_EACH_CUDA_OPERATION(JAX_SIGLIB_CALL)
#undef JAX_SIGLIB_CALL
  m.def("devices", Devices);
  m.def("toolkit",
        [] { return nb::make_tuple(CUDART_VERSION / 1000, CUDART_VERSION / 10 % 100); });
  m.def("architectures", [] { return std::string(JAX_SIGLIB_CUDA_ARCHITECTURES); });
  m.def("ffi_api_version",
        [] { return nb::make_tuple(XLA_FFI_API_MAJOR, XLA_FFI_API_MINOR); });
}
