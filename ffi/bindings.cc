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
#include "ndarrays.h"

namespace nb = nanobind;

namespace jax_siglib {
namespace {

using Operand = NdOperand;
using Output = NdOutput;

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
