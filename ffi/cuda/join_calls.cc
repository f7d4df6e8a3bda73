// The calls of the join family.
#include <algorithm>

#include "calls.h"
#include "join_run.h"
#include "operands.h"

namespace jax_siglib {
namespace cuda {
namespace {

// The kernel for a stage of one tile for each signature.
Kernel Whole(Kernel kernel, const JoinStage& stage) {
  switch (kernel) {
    case Kernel::kJoinForward:
      return stage.depth > 0 ? Kernel::kJoinForwardRoots : Kernel::kJoinForwardWhole;
    case Kernel::kJoinTangent:
      return Kernel::kJoinTangentWhole;
    case Kernel::kJoinAdjoint:
      return stage.depth > 0 ? Kernel::kJoinAdjointRoots : Kernel::kJoinAdjointWhole;
    case Kernel::kJoinAdjointTangent:
      return Kernel::kJoinAdjointTangentWhole;
    default:
      return kernel;
  }
}

}  // namespace

void RunJoin(JoinJob& job, Dtype dtype, Kernel kernel, JoinKind kind, Executor& executor) {
  if (job.batch == 0) return;
  kind.entry_bytes = ComputedBytes(dtype);
  kind.half = dtype == Dtype::kFloat16 || dtype == Dtype::kBFloat16;
  const Levels& levels = job.levels;
  const int64_t d = levels.dimension(), order = kind.dual ? 2 : 1;
  const auto stages = PlanJoin(executor.limits, levels, job.prepend, job.batch, kind);
  job.all_shares = 0;
  for (const JoinStage& stage : stages) job.all_shares += stage.tiles;
  if (kind.adjoint && job.all_shares > 1)
    job.shares = executor.Allocate(job.batch * job.all_shares * d * kind.entry_bytes);
  job.first_share = 0;
  for (const JoinStage& stage : stages) {
    job.stage = stage;
    job.at = PlanJoinWorkspace(levels, job.prepend, stage, kind);
    job.by_words = Divisor(stage.words);
    job.by_crew = Divisor(stage.crew);
    job.by_groups = Divisor(stage.groups);
    if (stage.depth > 0) {
      const int64_t beside = LevelsBeside(kind.adjoint, levels.degree(), stage.root);
      job.by_whole =
          Divisor(static_cast<int32_t>(levels.Length() + (job.scalar_term ? 1 : 0)));
      job.by_beside = Divisor(std::max(1, static_cast<int32_t>(levels.Offset(beside + 1))));
    }
    job.from_above = job.to_below;
    job.to_below = nullptr;
    if (kind.adjoint && stage.from > 0) {
      const int64_t chains =
          order * (levels.degree() - stage.from) * levels.Size(stage.from);
      job.to_below = executor.Allocate(job.batch * chains * kind.entry_bytes);
    }
    const Launch launch =
        PlanJoinLaunch(executor.limits, levels, job.prepend, stage, job.batch, kind);
    void* const workspace =
        launch.global_bytes() > 0 ? executor.Allocate(launch.global_bytes()) : nullptr;
    executor.Run(
        IsWhole(levels, stage) && workspace == nullptr ? Whole(kernel, stage) : kernel,
        dtype, job, launch, workspace);
    job.first_share += stage.tiles;
  }
  if (job.shares == nullptr) return;
  job.stage.groups = SumsGroups(d, job.all_shares);
  const Launch launch = PlanSumsLaunch(executor.limits, d, job.batch, job.stage.groups);
  void* const workspace =
      launch.global_bytes() > 0 ? executor.Allocate(launch.global_bytes()) : nullptr;
  executor.Run(Kernel::kJoinSums, dtype, job, launch, workspace);
}

namespace {

// Reads a call of the family: `result` has the layout of the signature it is, and so says
// whether there is a scalar term.
class JoinOperands : public Operands {
 public:
  JoinOperands(const char* operation, const Array& result, int64_t dimension,
               int64_t degree, bool prepend)
      : Operands(operation, 1, result), algebra_(dimension, degree) {
    job.levels = Levels(dimension, degree);
    job.prepend = prepend;
  }

  // A signature, whole, or (`lower`) perhaps without its top level and scalar term.
  void Sig(const char* name, const Array& array, bool lower, Pointer& pointer) {
    Read(name, array, 1, pointer, Skip(name, array, algebra_, lower));
  }
  void Result(const char* name, const Array& array, bool lower) {
    const int64_t skip = Skip(name, array, algebra_, lower);
    job.scalar_term = skip == 1;
    job.top_level = Reader::Last(array) >= algebra_.length();
    Write(name, array, 1, job.out, skip);
  }
  void Displacement(const char* name, const Array& array, Pointer& pointer) {
    reader().Expect(name, array, 0, algebra_.dimension());
    Read(name, array, 1, pointer);
  }
  void DisplacementResult(const char* name, const Array& array) {
    reader().Expect(name, array, 0, algebra_.dimension());
    Write(name, array, 1, job.ct_displacement);
  }
  // All of these arrays have one length.
  void SameLength(const char* name, const Array& array, const Array& like) {
    reader().Expect(name, array, 0, Reader::Last(like));
  }

  std::string Run(Dtype dtype, Kernel kernel, JoinKind kind, Executor& executor) {
    const std::string error = Layout(job.lead, job.batch);
    if (error.empty()) RunJoin(job, dtype, kernel, kind, executor);
    return error;
  }

  JoinJob job;

 private:
  TensorAlgebra algebra_;
};

}  // namespace

std::string SigJoin(const Array& sig, const Array& displacement, const Array& out,
                    int64_t dimension, int64_t degree, bool prepend, Executor& executor) {
  if (!Fits(dimension, degree)) return "sig_join: no GPU kernel for such a signature";
  JoinOperands call("sig_join", out, dimension, degree, prepend);
  call.Result("the result", out, false);
  call.SameLength("sig", sig, out);
  call.Sig("sig", sig, false, call.job.sig);
  call.Displacement("displacement", displacement, call.job.displacement);
  return call.Run(out.dtype, Kernel::kJoinForward, {false, false, 0}, executor);
}

std::string SigJoinJvp(const Array& sig, const Array& displacement, const Array& t_sig,
                       const Array& t_displacement, const Array& t_out, int64_t dimension,
                       int64_t degree, bool prepend, Executor& executor) {
  if (!Fits(dimension, degree)) return "sig_join_jvp: no GPU kernel for such a signature";
  JoinOperands call("sig_join_jvp", t_out, dimension, degree, prepend);
  call.Result("the result", t_out, false);
  call.Sig("sig", sig, true, call.job.sig);
  call.Displacement("displacement", displacement, call.job.displacement);
  call.SameLength("t_sig", t_sig, t_out);
  call.Sig("t_sig", t_sig, false, call.job.t_sig);
  call.Displacement("t_displacement", t_displacement, call.job.t_displacement);
  return call.Run(t_out.dtype, Kernel::kJoinTangent, {true, false, 0}, executor);
}

std::string SigJoinBackprop(const Array& ct_out, const Array& sig,
                            const Array& displacement, const Array& ct_sig,
                            const Array& ct_displacement, int64_t dimension, int64_t degree,
                            bool prepend, Executor& executor) {
  if (!Fits(dimension, degree))
    return "sig_join_backprop: no GPU kernel for such a signature";
  JoinOperands call("sig_join_backprop", ct_sig, dimension, degree, prepend);
  call.Result("d_sig", ct_sig, false);
  call.SameLength("d_out", ct_out, ct_sig);
  call.Sig("d_out", ct_out, false, call.job.ct_out);
  call.Sig("sig", sig, true, call.job.sig);
  call.Displacement("displacement", displacement, call.job.displacement);
  call.DisplacementResult("d_displacement", ct_displacement);
  return call.Run(ct_sig.dtype, Kernel::kJoinAdjoint, {false, true, 0}, executor);
}

std::string SigJoinHvp(const Array& ct_out, const Array& sig, const Array& displacement,
                       const Array& t_sig, const Array& t_displacement, const Array& ct_sig,
                       const Array& ct_displacement, int64_t dimension, int64_t degree,
                       bool prepend, Executor& executor) {
  if (!Fits(dimension, degree)) return "sig_join_hvp: no GPU kernel for such a signature";
  JoinOperands call("sig_join_hvp", ct_sig, dimension, degree, prepend);
  call.Result("d_sig", ct_sig, true);
  call.Sig("d_out", ct_out, false, call.job.ct_out);
  call.Sig("sig", sig, true, call.job.sig);
  call.Displacement("displacement", displacement, call.job.displacement);
  call.Sig("t_sig", t_sig, true, call.job.t_sig);
  call.Displacement("t_displacement", t_displacement, call.job.t_displacement);
  call.DisplacementResult("d_displacement", ct_displacement);
  return call.Run(ct_sig.dtype, Kernel::kJoinAdjointTangent, {true, true, 0}, executor);
}

}  // namespace cuda
}  // namespace jax_siglib
