// The module jax_siglib._ext: XLA's handlers, and the same operations for arrays that
// are not JAX's. jax_siglib/_arrays.py has checked the arguments and allocated the
// results; what is checked here again keeps a mistake there from becoming a crash.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>
#include <xla/ffi/api/c_api.h>

#include <stdexcept>

#include "cpu/calls.h"
#include "cpu/dispatch.h"
#include "cpu/handlers.h"
#include "cpu/thread_pool.h"

namespace nb = nanobind;

namespace jax_siglib {
namespace {

using Operand = nb::ndarray<nb::ro, nb::device::cpu>;
using Output = nb::ndarray<nb::device::cpu>;

Dtype ReadDtype(nb::dlpack::dtype type) {
  const auto is = [&](nb::dlpack::dtype_code code, int bits) {
    return type.code == static_cast<uint8_t>(code) && type.bits == bits && type.lanes == 1;
  };
  if (is(nb::dlpack::dtype_code::Float, 32)) return Dtype::kFloat32;
  if (is(nb::dlpack::dtype_code::Float, 64)) return Dtype::kFloat64;
  if (is(nb::dlpack::dtype_code::Float, 16)) return Dtype::kFloat16;
  // numpy has no bfloat16 of its own, and cannot hand on that of others: _arrays.py
  // sends it as its bits.
  if (is(nb::dlpack::dtype_code::UInt, 16)) return Dtype::kBFloat16;
  return Dtype::kOther;
}

template <class NdArray>
Array Read(const NdArray& from) {
  Array array;
  array.dtype = ReadDtype(from.dtype());
  array.data = const_cast<void*>(static_cast<const void*>(from.data()));
  const int rank = static_cast<int>(from.ndim());
  if (rank > Dims::kMaxRank) throw nb::value_error("jax_siglib: too many dimensions");
  bool empty = false;
  for (int i = 0; i < rank; ++i) {
    array.shape.Append(static_cast<int64_t>(from.shape(i)));
    array.stride.Append(from.stride(i));
    empty = empty || from.shape(i) == 0;
  }
  // Strides of an array without entries mean nothing.
  if (!empty && rank > 0 && array.shape[rank - 1] > 1 && array.stride[rank - 1] != 1)
    throw nb::value_error("jax_siglib: the last dimension is not dense");
  return array;
}

template <class Call>
void Carry(int64_t n_jobs, Call&& call) {
  std::string error;
  {
    nb::gil_scoped_release release;
    error = call(Threads{ProcessThreadPool(), n_jobs});
  }
  if (!error.empty()) throw nb::value_error(error.c_str());
}

void CallSigJoin(const Operand& sig, const Operand& displacement, int64_t dimension,
                 int64_t degree, bool prepend, int64_t n_jobs, const Output& out) {
  const Array s = Read(sig), v = Read(displacement), o = Read(out);
  Carry(n_jobs, [&](Threads threads) {
    return SigJoin(s, v, o, dimension, degree, prepend, threads);
  });
}

void CallSigJoinJvp(const Operand& sig, const Operand& displacement, const Operand& t_sig,
                    const Operand& t_displacement, int64_t dimension, int64_t degree,
                    bool prepend, int64_t n_jobs, const Output& t_out) {
  const Array s = Read(sig), v = Read(displacement), t_s = Read(t_sig),
              t_v = Read(t_displacement), o = Read(t_out);
  Carry(n_jobs, [&](Threads threads) {
    return SigJoinJvp(s, v, t_s, t_v, o, dimension, degree, prepend, threads);
  });
}

void CallSigJoinBackprop(const Operand& d_out, const Operand& sig,
                         const Operand& displacement, int64_t dimension, int64_t degree,
                         bool prepend, int64_t n_jobs, const Output& d_sig,
                         const Output& d_displacement) {
  const Array g = Read(d_out), s = Read(sig), v = Read(displacement), ct_s = Read(d_sig),
              ct_v = Read(d_displacement);
  Carry(n_jobs, [&](Threads threads) {
    return SigJoinBackprop(g, s, v, ct_s, ct_v, dimension, degree, prepend, threads);
  });
}

void CallSigJoinHvp(const Operand& d_out, const Operand& sig, const Operand& displacement,
                    const Operand& t_sig, const Operand& t_displacement, int64_t dimension,
                    int64_t degree, bool prepend, int64_t n_jobs, const Output& d_sig,
                    const Output& d_displacement) {
  const Array g = Read(d_out), s = Read(sig), v = Read(displacement), t_s = Read(t_sig),
              t_v = Read(t_displacement), ct_s = Read(d_sig), ct_v = Read(d_displacement);
  Carry(n_jobs, [&](Threads threads) {
    return SigJoinHvp(g, s, v, t_s, t_v, ct_s, ct_v, dimension, degree, prepend, threads);
  });
}

void CallSig(const Operand& path, int64_t degree, int64_t n_jobs, const Output& out) {
  const Array p = Read(path), o = Read(out);
  Carry(n_jobs, [&](Threads threads) { return Sig(p, o, degree, threads); });
}

void CallSigJvp(const Operand& path, const Operand& t_path, int64_t degree, int64_t n_jobs,
                const Output& t_out) {
  const Array p = Read(path), t_p = Read(t_path), o = Read(t_out);
  Carry(n_jobs, [&](Threads threads) { return SigJvp(p, t_p, o, degree, threads); });
}

void CallSigBackprop(const Operand& path, const Operand& sig, const Operand& sig_derivs,
                     int64_t degree, int64_t n_jobs, const Output& d_path) {
  const Array p = Read(path), s = Read(sig), g = Read(sig_derivs), ct = Read(d_path);
  Carry(n_jobs, [&](Threads threads) { return SigBackprop(p, s, g, ct, degree, threads); });
}

void CallSigHvp(const Operand& sig_derivs, const Operand& path, const Operand& t_path,
                int64_t degree, int64_t n_jobs, const Output& d_path) {
  const Array g = Read(sig_derivs), p = Read(path), t_p = Read(t_path), ct = Read(d_path);
  Carry(n_jobs, [&](Threads threads) { return SigHvp(g, p, t_p, ct, degree, threads); });
}

void CallSigCombine(const Operand& sig1, const Operand& sig2, int64_t dimension,
                    int64_t degree, int64_t n_jobs, const Output& out) {
  const Array s1 = Read(sig1), s2 = Read(sig2), o = Read(out);
  Carry(n_jobs,
        [&](Threads threads) { return SigCombine(s1, s2, o, dimension, degree, threads); });
}

void CallSigCombineJvp(const Operand& sig1, const Operand& sig2, const Operand& t_sig1,
                       const Operand& t_sig2, int64_t dimension, int64_t degree,
                       int64_t n_jobs, const Output& t_out) {
  const Array s1 = Read(sig1), s2 = Read(sig2), t_s1 = Read(t_sig1), t_s2 = Read(t_sig2),
              o = Read(t_out);
  Carry(n_jobs, [&](Threads threads) {
    return SigCombineJvp(s1, s2, t_s1, t_s2, o, dimension, degree, threads);
  });
}

void CallSigCombineBackprop(const Operand& deriv, const Operand& sig1, const Operand& sig2,
                            int64_t dimension, int64_t degree, int64_t n_jobs,
                            const Output& d_sig1, const Output& d_sig2) {
  const Array g = Read(deriv), s1 = Read(sig1), s2 = Read(sig2), ct_s1 = Read(d_sig1),
              ct_s2 = Read(d_sig2);
  Carry(n_jobs, [&](Threads threads) {
    return SigCombineBackprop(g, s1, s2, ct_s1, ct_s2, dimension, degree, threads);
  });
}

void CallSigCombineHvp(const Operand& deriv, const Operand& sig1, const Operand& sig2,
                       const Operand& t_sig1, const Operand& t_sig2, int64_t dimension,
                       int64_t degree, int64_t n_jobs, const Output& d_sig1,
                       const Output& d_sig2) {
  const Array g = Read(deriv), s1 = Read(sig1), s2 = Read(sig2), t_s1 = Read(t_sig1),
              t_s2 = Read(t_sig2), ct_s1 = Read(d_sig1), ct_s2 = Read(d_sig2);
  Carry(n_jobs, [&](Threads threads) {
    return SigCombineHvp(g, s1, s2, t_s1, t_s2, ct_s1, ct_s2, dimension, degree, threads);
  });
}

void CallSigInverse(const Operand& sig, int64_t dimension, int64_t degree, int64_t n_jobs,
                    bool linear, const Output& out) {
  const Array s = Read(sig), o = Read(out);
  Carry(n_jobs, [&](Threads threads) {
    return SigInverse(s, o, dimension, degree, linear, threads);
  });
}

nb::dict Registrations() {
  nb::dict targets;
#define JAX_SIGLIB_TARGET(name, operation) \
  targets["jax_siglib_" operation "_v1"] = \
      nb::capsule(reinterpret_cast<void*>(name##Handler));
  JAX_SIGLIB_FOR_EACH_OPERATION(JAX_SIGLIB_TARGET)
#undef JAX_SIGLIB_TARGET
  return targets;
}

}  // namespace
}  // namespace jax_siglib

NB_MODULE(_ext, m) {
  using namespace jax_siglib;
  ChooseKernels();
  m.def("registrations", Registrations);
#define JAX_SIGLIB_CALL(name, operation) m.def(operation, Call##name);
  JAX_SIGLIB_FOR_EACH_OPERATION(JAX_SIGLIB_CALL)
#undef JAX_SIGLIB_CALL
  m.def("instruction_set", [] { return std::string(ChosenKernels().name); });
  m.def("instruction_sets", [] {
    std::vector<std::string> names;
    for (const KernelTable* table : UsableKernels()) names.push_back(table->name);
    return names;
  });
  // For benchmarks: does this many rounds of multiply-adds in registers, float32, and
  // returns how many they were.
  m.def("multiply_adds", [](int64_t rounds) {
    float sum;
    const int64_t count = ChosenKernels().f32.multiply_adds(rounds, &sum);
    if (!(sum >= 0)) throw std::runtime_error("jax_siglib: multiply_adds went wrong");
    return count;
  });
  m.def("max_threads", MaxThreads);
  m.def("ffi_api_version",
        [] { return nb::make_tuple(XLA_FFI_API_MAJOR, XLA_FFI_API_MINOR); });
}
