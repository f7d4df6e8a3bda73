// The calls of the stream family: the signatures of all beginnings of a path. Small ones go
// branch by branch, all steps in a launch; others step after step, each of them the
// launches of a join (cpu/sig_stream.h is the same on a CPU).
#include "branch_job.h"
#include "calls.h"
#include "in_floats.h"
#include "join_run.h"
#include "operands.h"
#include "step_executor.h"

namespace jax_siglib {
namespace cuda {
namespace {

// Reads a call of the family in float or double, and takes its steps.
class Stream : public Operands {
 public:
  Stream(const char* operation, int core, const Array& result, const Array& path,
         int64_t degree, bool prepend, Executor& executor)
      : Operands(operation, core, result),
        algebra_(Reader::Last(path), degree),
        dtype_(result.dtype),
        bytes_(ComputedBytes(result.dtype)),
        prepend_(prepend),
        executor_(executor),
        of_step_(executor),
        d_(Reader::Last(path)),
        steps_(Reader::Last(path, 1) - 1),
        lower_(degree > 0 ? algebra_.offset(degree) : 0) {
    if (steps_ < 0) reader().Complain("path has no points");
  }

  void Path(const char* name, const Array& array, Pointer& pointer, int64_t& stride) {
    reader().Expect(name, array, 0, d_);
    reader().Expect(name, array, 1, steps_ + 1);
    Read(name, array, 2, pointer);
    stride = BetweenRows(array);
  }
  void PathResult(const char* name, const Array& array) {
    reader().Expect(name, array, 0, d_);
    reader().Expect(name, array, 1, steps_ + 1);
    Write(name, array, 2, ct_path);
  }
  // A signature, whole, or (`lower`) perhaps without its top level and scalar term.
  void Sig(const char* name, const Array& array, bool lower, Pointer& pointer) {
    Read(name, array, 1, pointer, Skip(name, array, algebra_, lower));
  }
  void SigResult(const char* name, const Array& array, Pointer& pointer) {
    const int64_t skip = Skip(name, array, algebra_, false);
    scalar_term_ = skip == 1;
    Write(name, array, 1, pointer, skip);
  }
  void LowerResult(const char* name, const Array& array, Pointer& pointer) {
    reader().Expect(name, array, 0, lower_);
    Write(name, array, 1, pointer);
  }
  void Rows(const char* name, const Array& array, bool lower, Pointer& pointer,
            int64_t& stride) {
    reader().Expect(name, array, 1, steps_);
    Read(name, array, 2, pointer, Skip(name, array, algebra_, lower));
    stride = BetweenRows(array);
  }
  void RowsResult(const char* name, const Array& array) {
    reader().Expect(name, array, 1, steps_);
    const int64_t skip = Skip(name, array, algebra_, false);
    scalar_term_ = skip == 1;
    Write(name, array, 2, out, skip);
    out_stride = Reader::Last(array);
  }

  std::string Forward() {
    if (!Ready()) return error_;
    if (algebra_.degree() == 0) return SetScalars(1);
    if (InBranches(Kernel::kBranchStream, {false, false, bytes_, true})) return "";
    const Pointer v = Steps(path, point_stride);
    JoinJob join = Join(algebra_.degree(), scalar_term_);
    join.sig = initial;
    for (int64_t i = 0; i < steps_; ++i) {
      join.displacement = At(v, Row(i) * d_);
      join.out = At(out, Row(i) * out_stride);
      Run(join, Kernel::kJoinForward, {false, false, 0});
      join.sig = join.out;
    }
    return "";
  }

  std::string Tangent() {
    if (!Ready()) return error_;
    if (algebra_.degree() == 0) return SetScalars(0);
    if (InBranches(Kernel::kBranchStreamTangent, {true, false, bytes_, true})) return "";
    const Pointer v = Steps(path, point_stride), t_v = Steps(t_path, t_point_stride);
    JoinJob tangent = Join(algebra_.degree(), scalar_term_);
    tangent.sig = initial;
    tangent.t_sig = t_initial;
    JoinJob join = Join(algebra_.degree() - 1, false);
    join.sig = initial;
    join.out = Scratch(lower_);
    for (int64_t i = 0; i < steps_; ++i) {
      tangent.displacement = join.displacement = At(v, Row(i) * d_);
      tangent.t_displacement = At(t_v, Row(i) * d_);
      tangent.out = At(out, Row(i) * out_stride);
      Run(tangent, Kernel::kJoinTangent, {true, false, 0});
      tangent.t_sig = tangent.out;
      if (lower_ == 0) continue;
      Run(join, Kernel::kJoinForward, {false, false, 0});
      tangent.sig = join.sig = join.out;
    }
    return "";
  }

  // The cotangent of the running signature becomes that of `initial`.
  std::string Adjoint() {
    if (!Ready()) return error_;
    if (InBranches(Kernel::kBranchStreamAdjoint, {false, true, bytes_, true})) return "";
    Fill(At(ct_initial, -scalar_term_), algebra_.length() + scalar_term_, 0);
    if (algebra_.degree() == 0 || steps_ == 0) return ClearPath();
    const Pointer v = Steps(path, point_stride), ct_v = Scratch(steps_ * d_);
    JoinJob join = Join(algebra_.degree(), scalar_term_);
    join.ct_out = join.out = ct_initial;
    for (int64_t i = steps_; i-- > 0;) {
      Add(At(ct_out, Row(i) * ct_out_stride), ct_initial, algebra_.length());
      join.sig = i == 0 ? initial : At(stream, Row(i - 1) * stream_stride);
      join.displacement = At(v, Row(i) * d_);
      join.ct_displacement = At(ct_v, Row(i) * d_);
      Run(join, Kernel::kJoinAdjoint, {false, true, 0});
    }
    return ToPoints(ct_v);
  }

  // The rows' levels below N and their tangents are made first and kept. The cotangent's
  // tangent is zero at level N: of what that hands down, below level N, the join of degree
  // N-1 knows all.
  std::string AdjointTangent() {
    if (!Ready()) return error_;
    Fill(ct_initial, lower_, 0);
    // Increments that are added up have no second derivative.
    if (lower_ == 0 || steps_ == 0) return ClearPath();
    const Pointer v = Steps(path, point_stride), t_v = Steps(t_path, t_point_stride);
    const Pointer rows = Scratch(steps_ * lower_), t_rows = Scratch(steps_ * lower_);
    // What step i starts from.
    auto before = [&](int64_t i) { return i == 0 ? initial : At(rows, i * lower_); };
    auto t_before = [&](int64_t i) { return i == 0 ? t_initial : At(t_rows, i * lower_); };
    JoinJob join = Join(algebra_.degree() - 1, false);
    for (int64_t i = 0; i + 1 < steps_; ++i) {
      join.displacement = At(v, Row(i) * d_);
      join.t_displacement = At(t_v, Row(i) * d_);
      join.sig = before(i);
      join.t_sig = t_before(i);
      join.out = At(rows, (i + 1) * lower_);
      Run(join, Kernel::kJoinForward, {false, false, 0});
      join.out = At(t_rows, (i + 1) * lower_);
      Run(join, Kernel::kJoinTangent, {true, false, 0});
    }

    const Pointer ct_sig = Scratch(algebra_.length()), bent = Scratch(lower_);
    const Pointer ct_v = Scratch(steps_ * d_), ct_w = Scratch(steps_ * d_);
    JoinJob back = Join(algebra_.degree(), false);  // the cotangent
    back.ct_out = back.out = ct_sig;
    back.ct_displacement = Scratch(d_);             // not looked at
    JoinJob bend = Join(algebra_.degree(), false);  // how that changes with the join
    bend.top_level = false;
    bend.ct_out = ct_sig;
    bend.out = bent;
    JoinJob carry = Join(algebra_.degree() - 1, false);  // its tangent so far
    carry.ct_out = carry.out = ct_initial;
    Fill(ct_sig, algebra_.length(), 0);
    for (int64_t i = steps_; i-- > 0;) {
      const int64_t t = Row(i);
      back.displacement = bend.displacement = carry.displacement = At(v, t * d_);
      back.sig = bend.sig = carry.sig = before(i);
      bend.t_displacement = At(t_v, t * d_);
      bend.t_sig = t_before(i);
      bend.ct_displacement = At(ct_v, t * d_);
      carry.ct_displacement = At(ct_w, t * d_);
      Add(At(ct_out, t * ct_out_stride), ct_sig, algebra_.length());
      Run(bend, Kernel::kJoinAdjointTangent, {true, true, 0});
      Run(carry, Kernel::kJoinAdjoint, {false, true, 0});
      Add(bent, ct_initial, lower_);
      Run(back, Kernel::kJoinAdjoint, {false, true, 0});
    }
    Add(ct_w, ct_v, steps_ * d_);
    return ToPoints(ct_v);
  }

  Pointer initial, path, t_initial, t_path, stream, ct_out, out, ct_initial, ct_path;
  // Entries between points, and between rows.
  int64_t point_stride = 0, t_point_stride = 0;
  int64_t out_stride = 0, stream_stride = 0, ct_out_stride = 0;

 private:
  // Whether there is anything to do.
  bool Ready() {
    error_ = Layout(lead_, batch_);
    return error_.empty() && batch_ > 0;
  }

  // All steps in one launch, where that pays and there are such kernels.
  bool InBranches(Kernel kernel, const PathKind& kind) {
    if (algebra_.degree() < 2 || steps_ == 0 ||
        batch_ > executor_.limits.most_of_row / algebra_.length())
      return false;
    BranchJob job;
    job.path.levels = Levels(d_, algebra_.degree());
    job.plan = PlanBranches(executor_.limits, job.path.levels, batch_, steps_ + 1, kind);
    if (job.plan.side == 0) return false;
    job.at = BranchWorkspace(job.plan, d_, kind);
    job.dtype = dtype_;
    job.path.lead = lead_;
    job.path.batch = batch_;
    job.path.scalar_term = scalar_term_;
    job.path.points = steps_ + 1;
    job.path.path = path;
    job.path.point_stride = point_stride;
    job.path.t_path = t_path;
    job.path.t_point_stride = t_point_stride;
    job.path.sig = stream;
    job.path.ct_out = ct_out;
    job.path.out = out;
    job.path.ct_path = ct_path;
    job.path.stage.slots = job.plan.slots;
    job.stream = {prepend_,   initial,       t_initial,     ct_initial,
                  out_stride, stream_stride, ct_out_stride, nullptr};
    if (kind.adjoint) {
      const int64_t parts = (job.plan.side + job.plan.root) * int64_t{job.plan.items};
      job.path.shares = executor_.Allocate(batch_ * job.plan.slots * steps_ * d_ * bytes_);
      job.stream.parts = executor_.Allocate(batch_ * parts * bytes_);
    }
    executor_.Run(kernel, dtype_, job,
                  PlanBranchLaunch(executor_.limits, job.plan, d_, batch_, kind));
    if (!kind.adjoint) return true;
    executor_.Run(
        Kernel::kBranchGather, dtype_, job,
        PlanGatherLaunch(executor_.limits, batch_, algebra_.offset(algebra_.degree())));
    executor_.Run(
        Kernel::kPathSums, dtype_, job.path,
        PlanPathSumsLaunch(executor_.limits, batch_, (steps_ + 1) * d_, job.plan.slots),
        nullptr);
    return true;
  }

  // The row that step number i leads to; its segment begins at the point of this number.
  int64_t Row(int64_t i) const { return prepend_ ? steps_ - 1 - i : i; }

  Pointer At(Pointer pointer, int64_t entries) const {
    pointer.data = static_cast<char*>(pointer.data) + entries * bytes_;
    return pointer;
  }

  // So many entries for each element.
  Pointer Scratch(int64_t entries) {
    Pointer pointer;
    if (entries > 0) pointer.data = executor_.Allocate(batch_ * entries * bytes_);
    int64_t stride = entries;
    for (int i = lead_.rank; i-- > 0; stride *= lead_.shape[i]) pointer.stride[i] = stride;
    return pointer;
  }

  JoinJob Join(int64_t degree, bool scalar_term) const {
    JoinJob join;
    join.levels = Levels(d_, degree);
    join.lead = lead_;
    join.batch = batch_;
    join.prepend = prepend_;
    join.scalar_term = scalar_term;
    return join;
  }
  // A join's own scratch is the next one's.
  void Run(JoinJob& join, Kernel kernel, const JoinKind& kind) {
    of_step_.NextStep();
    RunJoin(join, dtype_, kernel, kind, of_step_);
  }

  void RunRows(Kernel kernel, const Pointer& from, int64_t from_stride, const Pointer& to,
               int64_t to_stride, int64_t rows, int64_t entries, double constant = 0) {
    RowsJob job;
    job.lead = lead_;
    job.batch = batch_;
    job.rows = rows;
    job.entries = entries;
    job.from = from;
    job.to = to;
    job.from_stride = from_stride;
    job.to_stride = to_stride;
    job.constant = constant;
    if (job.Tiles() > 0)
      executor_.Run(kernel, dtype_, job, PlanRowsLaunch(executor_.limits, job), nullptr);
  }
  Pointer Steps(const Pointer& points, int64_t stride) {
    const Pointer steps = Scratch(steps_ * d_);
    RunRows(Kernel::kRowsSteps, points, stride, steps, d_, steps_, d_);
    return steps;
  }
  void Fill(const Pointer& to, int64_t entries, double constant) {
    RunRows(Kernel::kRowsFill, {}, 0, to, entries, 1, entries, constant);
  }
  void Add(const Pointer& from, const Pointer& to, int64_t entries) {
    RunRows(Kernel::kRowsAdd, from, entries, to, entries, 1, entries);
  }
  std::string ToPoints(const Pointer& ct_v) {
    RunRows(Kernel::kRowsEnds, ct_v, d_, ct_path, d_, steps_ + 1, d_);
    return "";
  }
  std::string ClearPath() {
    Fill(ct_path, (steps_ + 1) * d_, 0);
    return "";
  }
  // Of degree 0 there is the scalar term, if that.
  std::string SetScalars(double constant) {
    if (scalar_term_) Fill(At(out, -1), steps_, constant);
    return "";
  }

  TensorAlgebra algebra_;
  Dtype dtype_;
  int64_t bytes_;
  bool prepend_;
  Executor& executor_;
  StepExecutor of_step_;
  int64_t d_, steps_, lower_;
  bool scalar_term_ = false;
  Lead lead_;
  int64_t batch_ = 0;
  std::string error_;
};

}  // namespace

std::string SigStream(const Array& initial, const Array& path, const Array& out,
                      int64_t degree, bool prepend, Executor& executor) {
  if (!Fits(Reader::Last(path), degree))
    return "sig_stream: no GPU kernel for such a signature";
  if (IsHalf(out)) {
    InFloats floats(executor, out.dtype);
    const Array s = floats.Operand(initial, 1), p = floats.Operand(path, 2),
                o = floats.Result(out, 2);
    return floats.Finish([&] { return SigStream(s, p, o, degree, prepend, executor); });
  }
  Stream call("sig_stream", 2, out, path, degree, prepend, executor);
  call.RowsResult("the result", out);
  call.Sig("initial", initial, false, call.initial);
  call.Path("path", path, call.path, call.point_stride);
  return call.Forward();
}

std::string SigStreamJvp(const Array& initial, const Array& path, const Array& t_initial,
                         const Array& t_path, const Array& t_out, int64_t degree,
                         bool prepend, Executor& executor) {
  if (!Fits(Reader::Last(path), degree))
    return "sig_stream_jvp: no GPU kernel for such a signature";
  if (IsHalf(t_out)) {
    InFloats floats(executor, t_out.dtype);
    const Array s = floats.Operand(initial, 1), p = floats.Operand(path, 2),
                t_s = floats.Operand(t_initial, 1), t_p = floats.Operand(t_path, 2),
                o = floats.Result(t_out, 2);
    return floats.Finish(
        [&] { return SigStreamJvp(s, p, t_s, t_p, o, degree, prepend, executor); });
  }
  Stream call("sig_stream_jvp", 2, t_out, path, degree, prepend, executor);
  call.RowsResult("the result", t_out);
  call.Sig("initial", initial, true, call.initial);
  call.Path("path", path, call.path, call.point_stride);
  call.Sig("t_initial", t_initial, false, call.t_initial);
  call.Path("t_path", t_path, call.t_path, call.t_point_stride);
  return call.Tangent();
}

std::string SigStreamBackprop(const Array& ct_out, const Array& initial, const Array& path,
                              const Array& stream, const Array& ct_initial,
                              const Array& ct_path, int64_t degree, bool prepend,
                              Executor& executor) {
  const int64_t dimension = Reader::Last(path);
  if (!Fits(dimension, degree))
    return "sig_stream_backprop: no GPU kernel for such a signature";
  if (IsHalf(ct_path)) {
    // The rows that are given are rounded ones: they are worked out again.
    InFloats floats(executor, ct_path.dtype);
    const Array g = floats.Operand(ct_out, 2),
                s = floats.Operand(LowerOf(initial, dimension, degree), 1),
                p = floats.Operand(path, 2), ct_s = floats.Result(ct_initial, 1),
                ct_p = floats.Result(ct_path, 2);
    return floats.Finish([&]() -> std::string {
      const int64_t lower = degree > 0 ? degree - 1 : 0;
      const int64_t length = TensorAlgebra(dimension, lower).length();
      Array rows = ct_p;
      const int rank = rows.shape.rank();
      if (rank < 2 || rows.shape[rank - 2] < 1) return "path has no points";
      rows.shape[rank - 2] -= 1;
      rows.shape[rank - 1] = length;
      int64_t entries = 1;
      for (int i = rank; i-- > 0; entries *= rows.shape[i]) rows.stride[i] = entries;
      rows.data = entries > 0 ? executor.Allocate(entries * 4) : nullptr;
      const std::string error = SigStream(s, p, rows, lower, prepend, executor);
      if (!error.empty()) return error;
      return SigStreamBackprop(g, s, p, rows, ct_s, ct_p, degree, prepend, executor);
    });
  }
  Stream call("sig_stream_backprop", 2, ct_path, path, degree, prepend, executor);
  call.PathResult("d_path", ct_path);
  call.SigResult("d_initial", ct_initial, call.ct_initial);
  call.Rows("stream_derivs", ct_out, false, call.ct_out, call.ct_out_stride);
  call.Sig("initial", initial, true, call.initial);
  call.Path("path", path, call.path, call.point_stride);
  call.Rows("stream", stream, true, call.stream, call.stream_stride);
  return call.Adjoint();
}

std::string SigStreamHvp(const Array& ct_out, const Array& initial, const Array& path,
                         const Array& t_initial, const Array& t_path,
                         const Array& ct_initial, const Array& ct_path, int64_t degree,
                         bool prepend, Executor& executor) {
  const int64_t dimension = Reader::Last(path);
  if (!Fits(dimension, degree)) return "sig_stream_hvp: no GPU kernel for such a signature";
  if (IsHalf(ct_path)) {
    InFloats floats(executor, ct_path.dtype);
    const Array g = floats.Operand(ct_out, 2),
                s = floats.Operand(LowerOf(initial, dimension, degree), 1),
                p = floats.Operand(path, 2),
                t_s = floats.Operand(LowerOf(t_initial, dimension, degree), 1),
                t_p = floats.Operand(t_path, 2), ct_s = floats.Result(ct_initial, 1),
                ct_p = floats.Result(ct_path, 2);
    return floats.Finish([&] {
      return SigStreamHvp(g, s, p, t_s, t_p, ct_s, ct_p, degree, prepend, executor);
    });
  }
  Stream call("sig_stream_hvp", 2, ct_path, path, degree, prepend, executor);
  call.PathResult("d_path", ct_path);
  call.LowerResult("d_initial", ct_initial, call.ct_initial);
  call.Rows("stream_derivs", ct_out, false, call.ct_out, call.ct_out_stride);
  call.Sig("initial", initial, true, call.initial);
  call.Path("path", path, call.path, call.point_stride);
  call.Sig("t_initial", t_initial, true, call.t_initial);
  call.Path("t_path", t_path, call.t_path, call.t_point_stride);
  return call.AdjointTangent();
}

}  // namespace cuda
}  // namespace jax_siglib
