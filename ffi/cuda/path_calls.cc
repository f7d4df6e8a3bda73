// The calls of the path family.
#include "../cpu/long_path.h"
#include "branch_job.h"
#include "calls.h"
#include "join_run.h"
#include "operands.h"
#include "path_stages.h"

namespace jax_siglib {
namespace cuda {
namespace {

// Reads a call of the family: the path and the signature's arrays say what is asked for.
class PathOperands : public Operands {
 public:
  PathOperands(const char* operation, int core, const Array& result, const Array& path,
               int64_t degree)
      : Operands(operation, core, result),
        algebra_(Reader::Last(path), degree),
        points_(Reader::Last(path, 1)),
        dtype_(result.dtype) {
    job.levels = Levels(Reader::Last(path), degree);
    job.points = points_;
    if (points_ < 1) reader().Complain("path has no points");
  }

  void Path(const char* name, const Array& array, Pointer& pointer, int64_t& stride) {
    Expect(name, array);
    Read(name, array, 2, pointer);
    const int rank = array.stride.rank();
    if (rank >= 2) stride = array.stride[rank - 2];
  }
  void PathResult(const char* name, const Array& array) {
    Expect(name, array);
    Write(name, array, 2, job.ct_path);
  }
  // A signature, whole, or (`lower`) perhaps without its top level and scalar term.
  void Sig(const char* name, const Array& array, bool lower, Pointer& pointer) {
    Read(name, array, 1, pointer, Skip(name, array, algebra_, lower));
  }
  void Result(const char* name, const Array& array) {
    const int64_t skip = Skip(name, array, algebra_, false);
    job.scalar_term = skip == 1;
    Write(name, array, 1, job.out, skip);
  }

  std::string Forward(bool dual, Executor& executor) {
    const std::string error = Layout(job.lead, job.batch);
    if (!error.empty() || job.batch == 0) return error;
    if (job.levels.degree() == 0) {
      SetScalars(dual, executor);
    } else {
      Run({dual, false, ComputedBytes(dtype_)}, executor);
    }
    return "";
  }

  std::string Backward(bool dual, Executor& executor) {
    const std::string error = Layout(job.lead, job.batch);
    if (!error.empty() || job.batch == 0) return error;
    const int64_t entries = points_ * algebra_.dimension();
    job.stage.slots = 0;
    if (job.levels.degree() > 0 && points_ > 1)
      Run({dual, true, ComputedBytes(dtype_)}, executor);
    executor.Run(Kernel::kPathSums, dtype_, job,
                 PlanPathSumsLaunch(executor.limits, job.batch, entries, job.stage.slots),
                 nullptr);
    return "";
  }

  PathJob job;

 private:
  // Branch by branch, or, where there are no branches, in tiles.
  void Run(PathKind kind, Executor& executor) {
    const PathKind narrow = kind;
    // As the CPU does long paths side by side.
    const bool wide = dtype_ == Dtype::kFloat32 && BundlesInDouble<float>(points_);
    if (wide) kind.entry_bytes = sizeof(double);
    BranchJob branches;
    branches.plan = PlanBranches(executor.limits, job.levels, job.batch, points_, kind);
    if (branches.plan.side == 0) return RunTiles(narrow, executor);
    job.stage.slots = branches.plan.slots;
    job.wide_shares = wide;
    AllocateShares(kind, executor);
    branches.path = job;
    branches.dtype = dtype_;
    branches.at = BranchWorkspace(branches.plan, algebra_.dimension(), kind);
    executor.Run(kind.adjoint
                     ? kind.dual ? Kernel::kBranchAdjointTangent : Kernel::kBranchAdjoint
                 : kind.dual ? Kernel::kBranchTangent
                             : Kernel::kBranchForward,
                 wide ? Dtype::kFloat64 : dtype_, branches,
                 PlanBranchLaunch(executor.limits, branches.plan, algebra_.dimension(),
                                  job.batch, kind));
  }

  void RunTiles(const PathKind& kind, Executor& executor) {
    job.stage = PlanPath(executor.limits, job.levels, job.batch, points_, kind);
    job.at = PathWorkspace(job.levels, job.stage, kind.dual, kind.adjoint);
    AllocateShares(kind, executor);
    const Launch launch =
        PlanPathLaunch(executor.limits, job.levels, job.stage, job.batch, kind);
    void* const workspace =
        launch.global_bytes() > 0 ? executor.Allocate(launch.global_bytes()) : nullptr;
    executor.Run(kind.adjoint
                     ? kind.dual ? Kernel::kPathAdjointTangent : Kernel::kPathAdjoint
                 : kind.dual ? Kernel::kPathTangent
                             : Kernel::kPathForward,
                 dtype_, job, launch, workspace);
  }

  void AllocateShares(const PathKind& kind, Executor& executor) {
    const int64_t of_slot = (points_ - 1) * algebra_.dimension() * kind.entry_bytes;
    if (kind.adjoint) job.shares = executor.Allocate(job.batch * job.stage.slots * of_slot);
  }

  // Of degree 0 there is the scalar term, if that. It is the join's, of any displacement:
  // that is given the path's first points.
  void SetScalars(bool dual, Executor& executor) {
    JoinJob join;
    join.levels = job.levels;
    join.lead = job.lead;
    join.batch = job.batch;
    join.scalar_term = job.scalar_term;
    join.displacement = job.path;
    join.t_displacement = job.t_path;
    join.out = job.out;
    RunJoin(join, dtype_, dual ? Kernel::kJoinTangent : Kernel::kJoinForward,
            {dual, false, ComputedBytes(dtype_)}, executor);
  }

  void Expect(const char* name, const Array& array) {
    reader().Expect(name, array, 0, algebra_.dimension());
    reader().Expect(name, array, 1, points_);
  }

  TensorAlgebra algebra_;
  int64_t points_;
  Dtype dtype_;
};

}  // namespace

std::string Sig(const Array& path, const Array& out, int64_t degree, Executor& executor) {
  if (!Fits(Reader::Last(path), degree)) return "sig: no GPU kernel for such a signature";
  PathOperands call("sig", 1, out, path, degree);
  call.Path("path", path, call.job.path, call.job.point_stride);
  call.Result("the result", out);
  return call.Forward(false, executor);
}

std::string SigJvp(const Array& path, const Array& t_path, const Array& t_out,
                   int64_t degree, Executor& executor) {
  if (!Fits(Reader::Last(path), degree))
    return "sig_jvp: no GPU kernel for such a signature";
  PathOperands call("sig_jvp", 1, t_out, path, degree);
  call.Path("path", path, call.job.path, call.job.point_stride);
  call.Path("t_path", t_path, call.job.t_path, call.job.t_point_stride);
  call.Result("the result", t_out);
  return call.Forward(true, executor);
}

std::string SigBackprop(const Array& path, const Array& sig, const Array& ct_out,
                        const Array& ct_path, int64_t degree, Executor& executor) {
  if (!Fits(Reader::Last(path), degree))
    return "sig_backprop: no GPU kernel for such a signature";
  PathOperands call("sig_backprop", 2, ct_path, path, degree);
  call.Path("path", path, call.job.path, call.job.point_stride);
  call.Sig("sig", sig, true, call.job.sig);
  call.Sig("sig_derivs", ct_out, false, call.job.ct_out);
  call.PathResult("d_path", ct_path);
  // A rounded signature would leave its rounding errors behind as the steps are undone.
  call.job.from_path = IsHalf(ct_path);
  return call.Backward(false, executor);
}

std::string SigHvp(const Array& ct_out, const Array& path, const Array& t_path,
                   const Array& ct_path, int64_t degree, Executor& executor) {
  if (!Fits(Reader::Last(path), degree))
    return "sig_hvp: no GPU kernel for such a signature";
  PathOperands call("sig_hvp", 2, ct_path, path, degree);
  call.Sig("sig_derivs", ct_out, false, call.job.ct_out);
  call.Path("path", path, call.job.path, call.job.point_stride);
  call.Path("t_path", t_path, call.job.t_path, call.job.t_point_stride);
  call.PathResult("d_path", ct_path);
  return call.Backward(true, executor);
}

}  // namespace cuda
}  // namespace jax_siglib
