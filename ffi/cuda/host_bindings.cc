// The module jax_siglib._cuda_on_host: the CUDA kernels, run on the CPU for tests. Its
// operations are called as those of jax_siglib._ext, on numpy arrays.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "../ndarrays.h"
#include "branch_job.h"
#include "calls.h"
#include "divisor.h"
#include "join_stages.h"
#include "on_host.h"
#include "path_stages.h"
#include "ptx_executor.h"
#include "storage.h"

namespace jax_siglib {
namespace cuda {
namespace {

using Operand = NdOperand;
using Output = NdOutput;

// How the next calls are run; see HostExecutor.
bool in_order = true;
int64_t most_blocks = 1 << 20;
int64_t threads_of_block = 0;
Limits limits;
// If there are, the calls are carried out by these.
std::unique_ptr<PtxKernels> ptx_kernels;
// Of the last call.
int64_t launches = 0;
std::vector<PtxExecutor::Done> counted;

template <class Call>
void Carry(Call&& call) {
  std::string error;
  if (ptx_kernels != nullptr) {
    PtxExecutor executor(*ptx_kernels, in_order, most_blocks);
    executor.limits = limits;
    error = call(executor);
    counted = executor.done();
    launches = static_cast<int64_t>(counted.size());
  } else {
    HostExecutor executor(in_order, most_blocks, threads_of_block);
    executor.limits = limits;
    error = call(executor);
    launches = executor.launches();
  }
  if (!error.empty()) throw nb::value_error(error.c_str());
}

void CallSigJoin(const Operand& sig, const Operand& displacement, int64_t dimension,
                 int64_t degree, bool prepend, int64_t, const Output& out) {
  Carry([&](Executor& executor) {
    return SigJoin(Read(sig), Read(displacement), Read(out), dimension, degree, prepend,
                   executor);
  });
}

void CallSigJoinJvp(const Operand& sig, const Operand& displacement, const Operand& t_sig,
                    const Operand& t_displacement, int64_t dimension, int64_t degree,
                    bool prepend, int64_t, const Output& t_out) {
  Carry([&](Executor& executor) {
    return SigJoinJvp(Read(sig), Read(displacement), Read(t_sig), Read(t_displacement),
                      Read(t_out), dimension, degree, prepend, executor);
  });
}

void CallSigJoinBackprop(const Operand& d_out, const Operand& sig,
                         const Operand& displacement, int64_t dimension, int64_t degree,
                         bool prepend, int64_t, const Output& d_sig,
                         const Output& d_displacement) {
  Carry([&](Executor& executor) {
    return SigJoinBackprop(Read(d_out), Read(sig), Read(displacement), Read(d_sig),
                           Read(d_displacement), dimension, degree, prepend, executor);
  });
}

void CallSigJoinHvp(const Operand& d_out, const Operand& sig, const Operand& displacement,
                    const Operand& t_sig, const Operand& t_displacement, int64_t dimension,
                    int64_t degree, bool prepend, int64_t, const Output& d_sig,
                    const Output& d_displacement) {
  Carry([&](Executor& executor) {
    return SigJoinHvp(Read(d_out), Read(sig), Read(displacement), Read(t_sig),
                      Read(t_displacement), Read(d_sig), Read(d_displacement), dimension,
                      degree, prepend, executor);
  });
}

void CallSig(const Operand& path, int64_t degree, int64_t, const Output& out) {
  Carry([&](Executor& executor) { return Sig(Read(path), Read(out), degree, executor); });
}

void CallSigJvp(const Operand& path, const Operand& t_path, int64_t degree, int64_t,
                const Output& t_out) {
  Carry([&](Executor& executor) {
    return SigJvp(Read(path), Read(t_path), Read(t_out), degree, executor);
  });
}

void CallSigBackprop(const Operand& path, const Operand& sig, const Operand& sig_derivs,
                     int64_t degree, int64_t, const Output& d_path) {
  Carry([&](Executor& executor) {
    return SigBackprop(Read(path), Read(sig), Read(sig_derivs), Read(d_path), degree,
                       executor);
  });
}

void CallSigHvp(const Operand& sig_derivs, const Operand& path, const Operand& t_path,
                int64_t degree, int64_t, const Output& d_path) {
  Carry([&](Executor& executor) {
    return SigHvp(Read(sig_derivs), Read(path), Read(t_path), Read(d_path), degree,
                  executor);
  });
}

void CallSigCombine(const Operand& sig1, const Operand& sig2, int64_t dimension,
                    int64_t degree, int64_t, const Output& out) {
  Carry([&](Executor& executor) {
    return SigCombine(Read(sig1), Read(sig2), Read(out), dimension, degree, executor);
  });
}

void CallSigCombineJvp(const Operand& sig1, const Operand& sig2, const Operand& t_sig1,
                       const Operand& t_sig2, int64_t dimension, int64_t degree, int64_t,
                       const Output& t_out) {
  Carry([&](Executor& executor) {
    return SigCombineJvp(Read(sig1), Read(sig2), Read(t_sig1), Read(t_sig2), Read(t_out),
                         dimension, degree, executor);
  });
}

void CallSigCombineBackprop(const Operand& deriv, const Operand& sig1, const Operand& sig2,
                            int64_t dimension, int64_t degree, int64_t,
                            const Output& d_sig1, const Output& d_sig2) {
  Carry([&](Executor& executor) {
    return SigCombineBackprop(Read(deriv), Read(sig1), Read(sig2), Read(d_sig1),
                              Read(d_sig2), dimension, degree, executor);
  });
}

void CallSigCombineHvp(const Operand& deriv, const Operand& sig1, const Operand& sig2,
                       const Operand& t_sig1, const Operand& t_sig2, int64_t dimension,
                       int64_t degree, int64_t, const Output& d_sig1,
                       const Output& d_sig2) {
  Carry([&](Executor& executor) {
    return SigCombineHvp(Read(deriv), Read(sig1), Read(sig2), Read(t_sig1), Read(t_sig2),
                         Read(d_sig1), Read(d_sig2), dimension, degree, executor);
  });
}

void CallSigInverse(const Operand& sig, int64_t dimension, int64_t degree, int64_t,
                    bool linear, const Output& out) {
  Carry([&](Executor& executor) {
    return SigInverse(Read(sig), Read(out), dimension, degree, linear, executor);
  });
}

void CallSigStream(const Operand& initial, const Operand& path, int64_t degree,
                   bool prepend, int64_t, const Output& out) {
  Carry([&](Executor& executor) {
    return SigStream(Read(initial), Read(path), Read(out), degree, prepend, executor);
  });
}

void CallSigStreamJvp(const Operand& initial, const Operand& path, const Operand& t_initial,
                      const Operand& t_path, int64_t degree, bool prepend, int64_t,
                      const Output& t_out) {
  Carry([&](Executor& executor) {
    return SigStreamJvp(Read(initial), Read(path), Read(t_initial), Read(t_path),
                        Read(t_out), degree, prepend, executor);
  });
}

void CallSigStreamBackprop(const Operand& stream_derivs, const Operand& initial,
                           const Operand& path, const Operand& rows, int64_t degree,
                           bool prepend, int64_t, const Output& d_initial,
                           const Output& d_path) {
  Carry([&](Executor& executor) {
    return SigStreamBackprop(Read(stream_derivs), Read(initial), Read(path), Read(rows),
                             Read(d_initial), Read(d_path), degree, prepend, executor);
  });
}

void CallSigStreamHvp(const Operand& stream_derivs, const Operand& initial,
                      const Operand& path, const Operand& t_initial, const Operand& t_path,
                      int64_t degree, bool prepend, int64_t, const Output& d_initial,
                      const Output& d_path) {
  Carry([&](Executor& executor) {
    return SigStreamHvp(Read(stream_derivs), Read(initial), Read(path), Read(t_initial),
                        Read(t_path), Read(d_initial), Read(d_path), degree, prepend,
                        executor);
  });
}

nb::dict Describe(const Launch& launch) {
  nb::dict out;
  out["blocks"] = launch.blocks;
  out["threads"] = launch.threads;
  out["workspace"] = launch.workspace;
  out["shared_bytes"] = launch.shared_bytes;
  out["global_bytes"] = launch.global_bytes();
  return out;
}

// The launches of the last call by PTX, and what was counted.
std::vector<nb::dict> DescribeCounted() {
  std::vector<nb::dict> out;
  for (const PtxExecutor::Done& done : counted) {
    nb::dict entry = Describe(done.launch);
    entry["kernel"] = done.kernel;
    entry["instructions"] = done.counts.instructions;
    entry["lanes"] = done.counts.lanes;
    entry["sectors"] = done.counts.sectors;
    entry["rounds"] = done.counts.rounds;
    out.push_back(entry);
  }
  return out;
}

// The stages of a join and their launches.
std::vector<nb::dict> DescribeJoin(int64_t dimension, int64_t degree, bool prepend,
                                   int64_t batch, bool dual, bool adjoint,
                                   int64_t entry_bytes) {
  const Levels levels(dimension, degree);
  const JoinKind kind{dual, adjoint, entry_bytes};
  std::vector<nb::dict> out;
  for (const JoinStage& stage : PlanJoin(limits, levels, prepend, batch, kind)) {
    nb::dict entry = Describe(PlanJoinLaunch(limits, levels, prepend, stage, batch, kind));
    entry["from"] = stage.from;
    entry["to"] = stage.to;
    entry["words"] = stage.words;
    entry["tiles"] = stage.tiles;
    entry["crew"] = stage.crew;
    entry["elements"] = stage.elements;
    entry["depth"] = stage.depth;
    entry["rows"] = stage.rows;
    entry["groups"] = stage.groups;
    out.push_back(entry);
  }
  return out;
}

// The stage of a path and its launch.
nb::dict DescribePath(int64_t dimension, int64_t degree, int64_t batch, int64_t points,
                      bool dual, bool adjoint, int64_t entry_bytes) {
  const Levels levels(dimension, degree);
  const PathKind kind{dual, adjoint, entry_bytes};
  const PathStage stage = PlanPath(limits, levels, batch, points, kind);
  nb::dict entry = Describe(PlanPathLaunch(limits, levels, stage, batch, kind));
  entry["root"] = stage.root;
  entry["tiles"] = stage.tiles;
  entry["slots"] = stage.slots;
  entry["steps"] = stage.steps;
  entry["groups"] = stage.groups;
  return entry;
}

// The branches of a path and their launch; of side 0 if it has none.
nb::dict DescribeBranches(int64_t dimension, int64_t degree, int64_t batch, int64_t points,
                          bool dual, bool adjoint, int64_t entry_bytes) {
  const Levels levels(dimension, degree);
  const PathKind kind{dual, adjoint, entry_bytes};
  const BranchPlan plan = PlanBranches(limits, levels, batch, points, kind);
  nb::dict entry;
  if (plan.side > 0)
    entry = Describe(PlanBranchLaunch(limits, plan, dimension, batch, kind));
  entry["side"] = plan.side;
  entry["slices"] = plan.slices;
  entry["items"] = plan.items;
  entry["width"] = plan.width;
  entry["elements"] = plan.elements;
  entry["tiles"] = plan.tiles;
  entry["slots"] = plan.slots;
  entry["steps"] = plan.steps;
  entry["back"] = plan.back;
  entry["groups"] = plan.groups;
  entry["each"] = plan.each;
  entry["exact"] = plan.exact;
  entry["fours"] = plan.fours;
  entry["places"] = plan.places;
  entry["letter_pitch"] = plan.letter_pitch;
  return entry;
}

template <class S>
float WidenBits(uint16_t bits) {
  return Widen(S{bits});
}
template <class S>
uint16_t RoundToBits(float x) {
  S half;
  Round(x, &half);
  return half.bits;
}

}  // namespace
}  // namespace cuda
}  // namespace jax_siglib

NB_MODULE(_cuda_on_host, m) {
  using namespace jax_siglib::cuda;
  namespace nb = nanobind;
  m.def("sig_join", CallSigJoin);
  m.def("sig_join_jvp", CallSigJoinJvp);
  m.def("sig_join_backprop", CallSigJoinBackprop);
  m.def("sig_join_hvp", CallSigJoinHvp);
  m.def("sig", CallSig);
  m.def("sig_jvp", CallSigJvp);
  m.def("sig_backprop", CallSigBackprop);
  m.def("sig_hvp", CallSigHvp);
  m.def("sig_combine", CallSigCombine);
  m.def("sig_combine_jvp", CallSigCombineJvp);
  m.def("sig_combine_backprop", CallSigCombineBackprop);
  m.def("sig_combine_hvp", CallSigCombineHvp);
  m.def("sig_inverse", CallSigInverse);
  m.def("sig_stream", CallSigStream);
  m.def("sig_stream_jvp", CallSigStreamJvp);
  m.def("sig_stream_backprop", CallSigStreamBackprop);
  m.def("sig_stream_hvp", CallSigStreamHvp);
  // For the calls that follow: the order of threads and blocks, the most blocks of a
  // launch, the threads of a block (0: as planned), small limits or the ordinary ones, and
  // whether paths go branch by branch where they can.
  auto configure = [](bool order, int64_t blocks, int64_t threads, bool small,
                      bool branches) {
    in_order = order;
    most_blocks = blocks;
    threads_of_block = threads;
    limits = Limits();
    if (!branches) limits.most_branches = 0;
    if (!small) return;
    limits.shared_bytes = 1024;
    limits.blocks_in_global = 7;
    limits.most_rows = limits.least_rows = 8;
    limits.wanted_tiles = 1;
    limits.most_top = limits.least_top = 32;
    limits.share_bytes = 2048;
    limits.most_whole = 32;
    limits.wanted_branch_blocks = 1;
    if (branches) limits.most_branches = 8;
  };
  m.def("configure", configure, nb::arg(), nb::arg(), nb::arg(), nb::arg(),
        nb::arg() = true);
  // And that this many elements are to be cut up as if they were so many.
  m.def("as_if", [](int64_t elements, int64_t batch) {
    for (int64_t* const wanted : {&limits.wanted_tiles, &limits.wanted_branch_blocks})
      *wanted = std::max<int64_t>(1, *wanted * elements / batch);
  });
  m.def("launches", [] { return launches; });
  // From now on the kernels of these files of PTX, or, if there are none, those compiled.
  m.def("read_ptx", [](const std::vector<std::string>& files) {
    ptx_kernels = files.empty() ? nullptr : std::make_unique<PtxKernels>(files);
  });
  m.def("counted", DescribeCounted);
  m.def("plan_join", DescribeJoin);
  m.def("plan_path", DescribePath);
  m.def("plan_branches", DescribeBranches);
  m.def("plan_launch", [](int64_t items, int64_t widest_phase, int64_t workspace) {
    return Describe(PlanLaunch(limits, items, widest_phase, workspace));
  });
  m.def("split", [](int64_t divisor, int64_t n) {
    const auto parts = Divisor(divisor).Split(n);
    return std::make_tuple(parts.quotient, parts.rest);
  });
  m.def("widen_float16", WidenBits<Float16>);
  m.def("widen_bfloat16", WidenBits<BFloat16>);
  m.def("round_float16", RoundToBits<Float16>);
  m.def("round_bfloat16", RoundToBits<BFloat16>);
}
