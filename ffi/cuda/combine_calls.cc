// The calls of the combine family.
#include "calls.h"
#include "combine_stages.h"
#include "operands.h"

namespace jax_siglib {
namespace cuda {
namespace {

// Reads a call of the family: `result` has the layout of the signature it is, and so says
// whether there is a scalar term.
class CombineOperands : public Operands {
 public:
  CombineOperands(const char* operation, const Array& result, int64_t dimension,
                  int64_t degree)
      : Operands(operation, 1, result), algebra_(dimension, degree), dtype_(result.dtype) {
    job.levels = Levels(dimension, degree);
  }

  // A signature, whole, or (`lower`) perhaps without its top level and scalar term.
  void Sig(const char* name, const Array& array, bool lower, Pointer& pointer) {
    Read(name, array, 1, pointer, Skip(name, array, algebra_, lower));
  }
  void Result(const char* name, const Array& array, bool lower, Pointer& pointer) {
    const int64_t skip = Skip(name, array, algebra_, lower);
    job.scalar_term = skip == 1;
    job.top_level = Reader::Last(array) >= algebra_.length();
    Write(name, array, 1, pointer, skip);
  }
  // All of these arrays have one length.
  void SameLength(const char* name, const Array& array, const Array& like) {
    reader().Expect(name, array, 0, Reader::Last(like));
  }

  // The job without its stages; nothing is launched for a batch without elements.
  bool Ready(std::string& error) {
    error = Layout(job.lead, job.batch);
    return error.empty() && job.batch > 0;
  }

  // From the top down, for the result may be a term: levels of their own, and together
  // those of which a tile holds all.
  void RunForward(Executor& executor) {
    job.stage.to = job.levels.degree();
    if (!WholeElements(executor.limits, job.levels, job.batch))
      for (; TilesOf(job.levels.Size(job.stage.to), kProductWords) > 1 ||
             job.levels.Offset(job.stage.to + 1) > executor.limits.most_whole;
           --job.stage.to) {
        const int32_t to = job.stage.to;
        job.stage.from = to;
        job.stage.blocks = TilesOf(job.levels.Size(to), kProductWords);
        RunProduct(executor);
        if (to == 1) return;
      }
    job.stage.from = 1;
    job.stage.blocks = 1;
    RunProduct(executor);
  }

  // The right factor's first, for ct_left may be ct_out; that from the bottom up.
  void RunAdjoint(Executor& executor) {
    const int32_t to = job.levels.degree() - !job.top_level;
    job.stage.to = to;
    job.stage.left = job.stage.right = true;
    if (to < 1 || WholeElements(executor.limits, job.levels, job.batch))
      return RunSums(executor);
    job.stage.left = false;
    for (int32_t k = 1; k <= to; ++k)
      job.stage.blocks = std::max(
          job.stage.blocks, TilesOf(job.levels.Size(k), RightTile(job.levels, k).words));
    RunSums(executor);
    job.stage.left = true;
    job.stage.right = false;
    for (int32_t k = 1; k <= to; ++k) {
      job.stage.from = job.stage.to = k;
      job.stage.blocks = TilesOf(job.levels.Size(k), LeftTile(job.levels, k).words);
      RunSums(executor);
    }
  }

  void RunInverse(Executor& executor) {
    job.stage.to = job.levels.degree();
    if (!WholeElements(executor.limits, job.levels, job.batch))
      for (int32_t k = 1; k <= job.stage.to; ++k)
        job.stage.blocks =
            std::max(job.stage.blocks, k == 1 || job.levels.dimension() == 1
                                           ? TilesOf(job.levels.Size(k), kProductWords)
                                           : InverseTileOf(job.levels, k).tiles);
    Run(Kernel::kCombineInverse, executor,
        PlanInverseLaunch(executor.limits, job.stage, job.batch, ComputedBytes(dtype_)));
  }

  CombineJob job;

 private:
  void RunProduct(Executor& executor) {
    Run(Kernel::kCombineForward, executor,
        PlanProductLaunch(executor.limits, job.levels, job.stage, job.batch));
  }
  void RunSums(Executor& executor) {
    Run(Kernel::kCombineAdjoint, executor,
        PlanAdjointLaunch(executor.limits, job.levels, job.stage, job.batch));
  }

  void Run(Kernel kernel, Executor& executor, const Launch& launch) {
    void* const workspace =
        launch.global_bytes() > 0 ? executor.Allocate(launch.global_bytes()) : nullptr;
    executor.Run(kernel, dtype_, job, launch, workspace);
  }

  TensorAlgebra algebra_;
  Dtype dtype_;
};

}  // namespace

std::string SigCombine(const Array& sig1, const Array& sig2, const Array& out,
                       int64_t dimension, int64_t degree, Executor& executor) {
  if (!Fits(dimension, degree)) return "sig_combine: no GPU kernel for such a signature";
  CombineOperands call("sig_combine", out, dimension, degree);
  CombineJob& job = call.job;
  job.products = 1;
  call.Result("the result", out, false, job.out);
  call.SameLength("sig1", sig1, out);
  call.Sig("sig1", sig1, false, job.term[0]);
  call.SameLength("sig2", sig2, out);
  call.Sig("sig2", sig2, false, job.term[1]);
  std::string error;
  if (!call.Ready(error)) return error;
  job.left[0] = job.term[0];
  job.right[0] = job.term[1];
  call.RunForward(executor);
  return "";
}

std::string SigCombineJvp(const Array& sig1, const Array& sig2, const Array& t_sig1,
                          const Array& t_sig2, const Array& t_out, int64_t dimension,
                          int64_t degree, Executor& executor) {
  if (!Fits(dimension, degree))
    return "sig_combine_jvp: no GPU kernel for such a signature";
  CombineOperands call("sig_combine_jvp", t_out, dimension, degree);
  CombineJob& job = call.job;
  job.products = 2;
  job.linear = true;
  call.Result("the result", t_out, false, job.out);
  call.Sig("sig1", sig1, true, job.left[0]);
  call.Sig("sig2", sig2, true, job.right[1]);
  call.SameLength("t_sig1", t_sig1, t_out);
  call.Sig("t_sig1", t_sig1, false, job.term[0]);
  call.SameLength("t_sig2", t_sig2, t_out);
  call.Sig("t_sig2", t_sig2, false, job.term[1]);
  std::string error;
  if (!call.Ready(error)) return error;
  job.left[1] = job.term[0];
  job.right[0] = job.term[1];
  call.RunForward(executor);
  return "";
}

std::string SigCombineBackprop(const Array& ct_out, const Array& sig1, const Array& sig2,
                               const Array& ct_sig1, const Array& ct_sig2,
                               int64_t dimension, int64_t degree, Executor& executor) {
  if (!Fits(dimension, degree))
    return "sig_combine_backprop: no GPU kernel for such a signature";
  CombineOperands call("sig_combine_backprop", ct_sig2, dimension, degree);
  CombineJob& job = call.job;
  call.Result("d_sig2", ct_sig2, false, job.ct_right);
  call.SameLength("d_sig1", ct_sig1, ct_sig2);
  call.Result("d_sig1", ct_sig1, false, job.ct_left);
  call.SameLength("deriv", ct_out, ct_sig2);
  call.Sig("deriv", ct_out, false, job.ct_out);
  call.Sig("sig1", sig1, true, job.left[0]);
  call.Sig("sig2", sig2, true, job.right[0]);
  std::string error;
  if (!call.Ready(error)) return error;
  call.RunAdjoint(executor);
  return "";
}

// The product is bilinear: the derivative of its adjoint is the adjoint with tangents in
// the places of both signatures, which themselves are not read.
std::string SigCombineHvp(const Array& ct_out, const Array& sig1, const Array& sig2,
                          const Array& t_sig1, const Array& t_sig2, const Array& ct_sig1,
                          const Array& ct_sig2, int64_t dimension, int64_t degree,
                          Executor& executor) {
  if (!Fits(dimension, degree))
    return "sig_combine_hvp: no GPU kernel for such a signature";
  CombineOperands call("sig_combine_hvp", ct_sig2, dimension, degree);
  CombineJob& job = call.job;
  Pointer unread[2];
  job.has_terms = false;
  call.Result("d_sig2", ct_sig2, true, job.ct_right);
  call.SameLength("d_sig1", ct_sig1, ct_sig2);
  call.Result("d_sig1", ct_sig1, true, job.ct_left);
  call.Sig("deriv", ct_out, false, job.ct_out);
  call.Read("sig1", sig1, 1, unread[0]);
  call.Read("sig2", sig2, 1, unread[1]);
  call.Sig("t_sig1", t_sig1, true, job.left[0]);
  call.Sig("t_sig2", t_sig2, true, job.right[0]);
  std::string error;
  if (!call.Ready(error)) return error;
  call.RunAdjoint(executor);
  return "";
}

std::string SigInverse(const Array& sig, const Array& out, int64_t dimension,
                       int64_t degree, bool linear, Executor& executor) {
  if (!Fits(dimension, degree)) return "sig_inverse: no GPU kernel for such a signature";
  CombineOperands call("sig_inverse", out, dimension, degree);
  CombineJob& job = call.job;
  job.linear = linear;
  call.Result("the result", out, false, job.out);
  call.SameLength("sig", sig, out);
  call.Sig("sig", sig, false, job.term[0]);
  std::string error;
  if (!call.Ready(error)) return error;
  call.RunInverse(executor);
  return "";
}

}  // namespace cuda
}  // namespace jax_siglib
