// The module jax_siglib._ext: XLA's handlers, and the same operations for arrays that
// are not JAX's. jax_siglib/_arrays.py has checked the arguments and allocated the
// results; what is checked here again keeps a mistake there from becoming a crash.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>
#include <xla/ffi/api/c_api.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

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

// Python notes a Ctrl-C, but raises KeyboardInterrupt only when asked to, on its main
// thread; elsewhere the question has no effect.
class PythonInterrupt : public Interrupt {
 public:
  bool Requested() override {
    if (requested_ || std::this_thread::get_id() != caller_) return requested_;
    const auto now = std::chrono::steady_clock::now();
    if (now - asked_ < std::chrono::milliseconds(50)) return false;
    asked_ = now;
    nb::gil_scoped_acquire acquire;
    requested_ = PyErr_CheckSignals() != 0;
    return requested_;
  }

 private:
  const std::thread::id caller_ = std::this_thread::get_id();
  std::chrono::steady_clock::time_point asked_ = std::chrono::steady_clock::now();
  std::atomic<bool> requested_{false};
};

template <class Call>
void Carry(int64_t n_jobs, Call&& call) {
  PythonInterrupt interrupt;
  std::string error;
  {
    nb::gil_scoped_release release;
    error = call(Threads{ProcessThreadPool(), n_jobs, &interrupt});
  }
  if (PyErr_Occurred()) throw nb::python_error();
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

// Bytes of scratch for a call on arrays of these shapes, in the order of calls.h.
int64_t ScratchBytes(const std::string& operation, const std::string& dtype,
                     const std::vector<std::vector<int64_t>>& shapes, int64_t dimension,
                     int64_t degree, bool prepend, int64_t n_jobs) {
  double nothing = 0;  // not looked at
  std::vector<Array> a;
  for (const std::vector<int64_t>& shape : shapes)
    a.push_back(DenseArray(DtypeNamed(dtype), &nothing, shape));
  const Threads threads{ProcessThreadPool(), n_jobs};
  const auto is = [&](const char* name, std::size_t arrays) {
    return operation == name && a.size() == arrays;
  };
  std::string error;
  const int64_t bytes = CountScratch(
      [&]() -> std::string {
        if (is("sig", 2)) return Sig(a[0], a[1], degree, threads);
        if (is("sig_jvp", 3)) return SigJvp(a[0], a[1], a[2], degree, threads);
        if (is("sig_backprop", 4))
          return SigBackprop(a[0], a[1], a[2], a[3], degree, threads);
        if (is("sig_hvp", 4)) return SigHvp(a[0], a[1], a[2], a[3], degree, threads);
        if (is("sig_join", 3))
          return SigJoin(a[0], a[1], a[2], dimension, degree, prepend, threads);
        if (is("sig_join_jvp", 5))
          return SigJoinJvp(a[0], a[1], a[2], a[3], a[4], dimension, degree, prepend,
                            threads);
        if (is("sig_join_backprop", 5))
          return SigJoinBackprop(a[0], a[1], a[2], a[3], a[4], dimension, degree, prepend,
                                 threads);
        if (is("sig_join_hvp", 7))
          return SigJoinHvp(a[0], a[1], a[2], a[3], a[4], a[5], a[6], dimension, degree,
                            prepend, threads);
        return "no operation " + operation + " of so many arrays";
      },
      &error);
  if (!error.empty()) throw nb::value_error(error.c_str());
  return bytes;
}

void CallSigStream(const Operand& initial, const Operand& path, int64_t degree,
                   bool prepend, int64_t n_jobs, const Output& out) {
  const Array s = Read(initial), p = Read(path), o = Read(out);
  Carry(n_jobs,
        [&](Threads threads) { return SigStream(s, p, o, degree, prepend, threads); });
}

void CallSigStreamJvp(const Operand& initial, const Operand& path, const Operand& t_initial,
                      const Operand& t_path, int64_t degree, bool prepend, int64_t n_jobs,
                      const Output& t_out) {
  const Array s = Read(initial), p = Read(path), t_s = Read(t_initial), t_p = Read(t_path),
              o = Read(t_out);
  Carry(n_jobs, [&](Threads threads) {
    return SigStreamJvp(s, p, t_s, t_p, o, degree, prepend, threads);
  });
}

void CallSigStreamBackprop(const Operand& stream_derivs, const Operand& initial,
                           const Operand& path, const Operand& stream, int64_t degree,
                           bool prepend, int64_t n_jobs, const Output& d_initial,
                           const Output& d_path) {
  const Array g = Read(stream_derivs), s = Read(initial), p = Read(path), r = Read(stream),
              ct_s = Read(d_initial), ct_p = Read(d_path);
  Carry(n_jobs, [&](Threads threads) {
    return SigStreamBackprop(g, s, p, r, ct_s, ct_p, degree, prepend, threads);
  });
}

void CallSigStreamHvp(const Operand& stream_derivs, const Operand& initial,
                      const Operand& path, const Operand& t_initial, const Operand& t_path,
                      int64_t degree, bool prepend, int64_t n_jobs, const Output& d_initial,
                      const Output& d_path) {
  const Array g = Read(stream_derivs), s = Read(initial), p = Read(path),
              t_s = Read(t_initial), t_p = Read(t_path), ct_s = Read(d_initial),
              ct_p = Read(d_path);
  Carry(n_jobs, [&](Threads threads) {
    return SigStreamHvp(g, s, p, t_s, t_p, ct_s, ct_p, degree, prepend, threads);
  });
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
  m.def("scratch_bytes", ScratchBytes);
  m.def("max_threads", MaxThreads);
  m.def("ffi_api_version",
        [] { return nb::make_tuple(XLA_FFI_API_MAJOR, XLA_FFI_API_MINOR); });
}
