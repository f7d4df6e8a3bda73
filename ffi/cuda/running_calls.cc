// The calls of the stream family: the signatures of all beginnings of a path. Step after
// step, each of them the launches of a join (cpu/sig_stream.h is the same on a CPU).
#include <functional>
#include <utility>

#include "calls.h"
#include "join_run.h"
#include "operands.h"

namespace jax_siglib {
namespace cuda {
namespace {

// Gives one step the scratch of the last one, which has been run by then.
class StepExecutor final : public Executor {
 public:
  explicit StepExecutor(Executor& executor) : executor_(executor) {
    limits = executor.limits;
  }

  void NextStep() { used_ = 0; }

  void* Allocate(int64_t bytes) override {
    if (used_ == memory_.size()) memory_.push_back({nullptr, 0});
    Memory& memory = memory_[used_++];
    if (memory.bytes < bytes) memory = {executor_.Allocate(bytes), bytes};
    return memory.data;
  }
  void Run(Kernel kernel, Dtype dtype, const JoinJob& job, const Launch& launch,
           void* workspace) override {
    executor_.Run(kernel, dtype, job, launch, workspace);
  }
  void Run(Kernel kernel, Dtype dtype, const PathJob& job, const Launch& launch,
           void* workspace) override {
    executor_.Run(kernel, dtype, job, launch, workspace);
  }
  void Run(Kernel kernel, Dtype dtype, const BranchJob& job,
           const Launch& launch) override {
    executor_.Run(kernel, dtype, job, launch);
  }
  void Run(Kernel kernel, Dtype dtype, const CombineJob& job, const Launch& launch,
           void* workspace) override {
    executor_.Run(kernel, dtype, job, launch, workspace);
  }
  void Run(Kernel kernel, Dtype dtype, const RowsJob& job, const Launch& launch,
           void* workspace) override {
    executor_.Run(kernel, dtype, job, launch, workspace);
  }

 private:
  struct Memory {
    void* data;
    int64_t bytes;
  };

  Executor& executor_;
  std::vector<Memory> memory_;
  size_t used_ = 0;
};

// Calls of half types, done in float: operands are widened first, results rounded last.
class InFloats {
 public:
  InFloats(Executor& executor, Dtype dtype) : executor_(executor), dtype_(dtype) {}

  // `core` dimensions belong to the operand, those in front to the batch.
  Array Operand(const Array& array, int core) {
    const Array wide = Dense(array, core, true);
    if (error_.empty()) Convert(Kernel::kRowsWiden, core, array, wide);
    return wide;
  }
  Array Result(const Array& array, int core) {
    const Array wide = Dense(array, core, false);
    results_.push_back({array, wide, core});
    return wide;
  }

  // After the call, of which this is the complaint.
  std::string Finish(const std::function<std::string()>& call) {
    if (!error_.empty()) return error_;
    const std::string error = call();
    if (!error.empty()) return error;
    for (const Rounded& result : results_)
      Convert(Kernel::kRowsRound, result.core, result.wide, result.array);
    return error_;
  }

 private:
  struct Rounded {
    Array array, wide;
    int core;
  };

  // In scratch, without what is only broadcast.
  Array Dense(const Array& array, int core, bool operand) {
    Array wide = array;
    const int rank = array.shape.rank();
    if (array.dtype != dtype_ || rank < core || array.stride.rank() != rank) {
      error_ = "an operand has another dtype, or too few dimensions";
      return wide;
    }
    wide.dtype = Dtype::kFloat32;
    int64_t entries = 1;
    for (int i = rank; i-- > 0;) {
      if (operand && i < rank - core && array.stride[i] == 0 && array.shape[i] > 1)
        wide.shape[i] = 1;
      wide.stride[i] = entries;
      entries *= wide.shape[i];
    }
    wide.data = entries > 0 ? executor_.Allocate(entries * 4) : nullptr;
    return wide;
  }

  void Convert(Kernel kernel, int core, const Array& from, const Array& to) {
    // The batch of the one in scratch, which is the one without broadcast dimensions.
    const Array& dense = kernel == Kernel::kRowsWiden ? to : from;
    const int lead = dense.shape.rank() - core;
    Dims shape, from_stride, to_stride;
    for (int i = 0; i < lead; ++i) {
      shape.Append(dense.shape[i]);
      from_stride.Append(dense.shape[i] == 1 ? 0 : from.stride[i]);
      to_stride.Append(dense.shape[i] == 1 ? 0 : to.stride[i]);
    }
    Batch batch(shape);
    batch.Collapse({&from_stride, &to_stride});
    RowsJob job;
    job.lead.rank = batch.shape().rank();
    if (job.lead.rank > kMaxLead) {
      error_ = "too many leading dimensions that do not merge";
      return;
    }
    for (int i = 0; i < job.lead.rank; ++i) {
      job.lead.shape[i] = batch.shape()[i];
      job.from.stride[i] = from_stride[i];
      job.to.stride[i] = to_stride[i];
    }
    job.batch = batch.size();
    job.from.data = from.data;
    job.to.data = to.data;
    job.entries = Reader::Last(dense);
    if (core == 2) {
      job.rows = Reader::Last(dense, 1);
      job.from_stride = BetweenRows(from);
      job.to_stride = BetweenRows(to);
    }
    if (job.batch * job.Tiles() > 0)
      executor_.Run(kernel, dtype_, job, PlanRowsLaunch(executor_.limits, job), nullptr);
  }

  Executor& executor_;
  Dtype dtype_;
  std::vector<Rounded> results_;
  std::string error_;
};

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
