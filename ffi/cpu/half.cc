#include "half.h"

#include <atomic>
#include <mutex>
#include <new>
#include <vector>

#include "dispatch.h"
#include "kernels.h"
#include "run.h"

namespace jax_siglib {
namespace {

// Floats of scratch, more or less, for the elements that are done together; one element
// may take more. They stay in the cache from the widening to the rounding. Cuts do not
// depend on the number of threads, for what the kernels do with a large signature may
// depend on how many of them the call has.
constexpr int64_t kChunkEntries = 64 << 10;

int64_t Align(int64_t entries) { return (entries + 15) / 16 * 16; }

// f(begin, end) for [0, n) entries, in pieces if there are enough for several threads.
template <class F>
void InPieces(Threads threads, int64_t n, const F& f) {
  constexpr int64_t kPiece = kGrainEntries;
  if (n <= kPiece) return f(int64_t{0}, n);
  Run<float>(threads, (n + kPiece - 1) / kPiece, kPiece, 0,
             [&](int64_t begin, int64_t end, float*) {
               f(begin * kPiece, std::min(n, end * kPiece));
             });
}

// An array of a half type, seen as the elements of a batch one after another.
class HalfArray {
 public:
  // `shape` is that of the batch. Check that it Fits first.
  HalfArray(const Array& array, const Dims& shape) : batch_(Dims()) {
    const int rank = shape.rank();
    Dims sizes;
    for (int i = 0; i < rank; ++i) {
      if (shape[i] == 1) continue;
      sizes.Append(shape[i]);
      place_.stride.Append(array.shape[i] == 1 ? 0 : array.stride[i]);
    }
    batch_ = Batch(sizes);
    batch_.Collapse({&place_.stride});
    place_.data = static_cast<uint16_t*>(array.data);
    for (int i = rank; i < array.shape.rank(); ++i) core_.Append(array.shape[i]);
    row_ = core_[core_.rank() - 1];
    if (core_.rank() == 2) {
      rows_ = core_[0];
      row_stride_ = array.stride[rank];
      if (rows_ == 1 || row_stride_ == row_) {
        row_ *= rows_;
        rows_ = 1;
      }
    }
    const int last = place_.stride.rank() - 1;
    if (last >= 0 && place_.stride[last] == 0) shared_ = batch_.shape()[last];
    dense_ = rows_ == 1 && (last < 0 || (last == 0 && place_.stride[0] == row_));
    is_bfloat16_ = array.dtype == Dtype::kBFloat16;
  }

  // Whether it may stand in a call whose results have this batch and dtype.
  static bool Fits(const Array& array, const Dims& shape, Dtype dtype, bool is_result) {
    const int rank = shape.rank(), core = array.shape.rank() - rank;
    if (array.dtype != dtype || core < 1 || core > 2) return false;
    for (int i = 0; i < rank; ++i)
      if (array.shape[i] != shape[i] && (is_result || array.shape[i] != 1)) return false;
    return true;
  }

  const Dims& core() const { return core_; }
  int64_t entries() const { return rows_ * row_; }

  // How many elements of the batch are to be converted for begin..end: one if they are
  // all the same piece of memory.
  int64_t Elements(int64_t begin, int64_t end) const {
    return begin / shared_ == (end - 1) / shared_ ? 1 : end - begin;
  }

  // Whether no two neighbours are the same piece of memory.
  bool IsSpread() const { return shared_ == 1; }

  const uint16_t* At(int64_t element) const { return batch_.At(place_, element); }

  // Its elements as floats.
  Array Floats(float* data, int64_t elements) const {
    Array array;
    array.dtype = Dtype::kFloat32;
    array.data = data;
    array.shape.Append(elements);
    array.stride.Append(entries());
    for (int i = 0; i < core_.rank(); ++i) {
      array.shape.Append(core_[i]);
      array.stride.Append(i + 1 < core_.rank() ? core_[i + 1] : 1);
    }
    return array;
  }

  void Widen(int64_t begin, int64_t elements, float* to, Threads threads) const {
    if (scratch_count != nullptr) return;
    const HalfConversions& half = ChosenKernels().half;
    const auto widen = is_bfloat16_ ? half.widen_bfloat16 : half.widen_float16;
    ForEachRun(begin, elements, [&](const uint16_t* from, int64_t n) {
      InPieces(threads, n,
               [&](int64_t i, int64_t end) { widen(from + i, end - i, to + i); });
      to += n;
    });
  }

  void Round(int64_t begin, int64_t elements, const float* from, Threads threads) const {
    if (scratch_count != nullptr) return;
    const HalfConversions& half = ChosenKernels().half;
    const auto round = is_bfloat16_ ? half.round_bfloat16 : half.round_float16;
    ForEachRun(begin, elements, [&](uint16_t* to, int64_t n) {
      InPieces(threads, n,
               [&](int64_t i, int64_t end) { round(from + i, end - i, to + i); });
      from += n;
    });
  }

 private:
  // f(first entry, length) for everything that lies in one piece.
  template <class F>
  void ForEachRun(int64_t begin, int64_t elements, const F& f) const {
    if (dense_) return f(batch_.At(place_, begin), elements * row_);
    for (int64_t b = begin; b < begin + elements; ++b) {
      uint16_t* const element = batch_.At(place_, b);
      for (int64_t r = 0; r < rows_; ++r) f(element + r * row_stride_, row_);
    }
  }

  Batch batch_;
  Operand<uint16_t> place_;
  Dims core_;
  int64_t rows_ = 1, row_ = 0, row_stride_ = 0;
  int64_t shared_ = 1;  // elements in a row that lie in the same memory
  bool dense_ = false;
  bool is_bfloat16_ = false;
};

// Keeps what went wrong in any of the chunks.
class Outcome {
 public:
  void Complain(const std::string& error) {
    if (error.empty()) return;
    std::lock_guard<std::mutex> lock(mutex_);
    if (error_.empty()) error_ = error;
  }
  void RunOutOfMemory() { out_of_memory_ = true; }
  std::string Result() const {
    if (out_of_memory_) throw std::bad_alloc();
    return error_;
  }

 private:
  std::mutex mutex_;
  std::string error_;
  std::atomic<bool> out_of_memory_{false};
};

}  // namespace

std::string CarryOutInFloats(const Array* const* arrays, int count, int results, int core,
                             int over, Threads threads, const FloatCall& call) {
  const Array& result = *arrays[count - 1];
  Dims shape;
  for (int i = 0; i + core < result.shape.rank(); ++i) shape.Append(result.shape[i]);
  std::vector<HalfArray> halves;
  halves.reserve(count);
  int64_t each = 0, width = 0, points = 1;
  for (int i = 0; i < count; ++i) {
    if (!HalfArray::Fits(*arrays[i], shape, result.dtype, i >= count - results))
      return "an array in half precision has another dtype, or a shape that does not fit "
             "the batch";
    halves.emplace_back(*arrays[i], shape);
    const Dims& sizes = halves[i].core();
    each += halves[i].entries();
    width = std::max(width, sizes[sizes.rank() - 1]);
    if (sizes.rank() == 2) points = std::max(points, sizes[0]);
  }
  const int64_t n = Batch(shape).size();
  if (n == 0) return "";
  const int first_result = count - results;
  const bool in_place = over >= 0 && halves[over].IsSpread() &&
                        halves[over].entries() == halves[first_result].entries();
  if (in_place) each -= halves[over].entries();
  const int64_t chunk =
      std::clamp<int64_t>(kChunkEntries / std::max<int64_t>(each, 1), 1, n);
  const int64_t chunks = (n + chunk - 1) / chunk;
  int64_t total = 0, offsets[kMaxArrays];
  for (int i = 0; i < count; ++i) {
    const bool shares = in_place && i == first_result;
    offsets[i] = shares ? offsets[over] : total;
    if (!shares) total += Align(chunk * halves[i].entries());
  }

  // The threads share the chunks, or, where there are too few of them and they are large,
  // what there is to do in each.
  const int64_t work = width * std::min<int64_t>(points, 1 << 20);
  const bool inside =
      chunks == 1 || (threads.n_jobs != 1 && work > kSerialEntries &&
                      chunks < ResolveJobs(threads.n_jobs, threads.scheduler.threads()));
  const Threads serial{threads.scheduler, 1};
  const Threads outer = inside ? serial : threads, inner = inside ? threads : serial;

  Outcome outcome;
  Run<float>(
      outer, chunks, chunk * work, total,
      [&](int64_t first, int64_t last, float* scratch) {
        const uint16_t* widened[kMaxArrays] = {nullptr};  // what the chunk before left
        Array floats[kMaxArrays];
        for (int64_t c = first; c < last; ++c) {
          const int64_t begin = c * chunk, end = std::min(n, begin + chunk);
          for (int i = 0; i < count; ++i) {
            const bool is_result = i >= count - results;
            const int64_t elements =
                is_result ? end - begin : halves[i].Elements(begin, end);
            float* const data = scratch + offsets[i];
            floats[i] = halves[i].Floats(data, elements);
            if (is_result) continue;
            const uint16_t* const source = halves[i].At(begin);
            if (elements == 1 && widened[i] == source) continue;
            halves[i].Widen(begin, elements, data, inner);
            if (elements == 1 && !(in_place && i == over)) widened[i] = source;
          }
          try {
            outcome.Complain(call(floats, inner));
          } catch (const std::bad_alloc&) {  // no exception may leave a thread
            outcome.RunOutOfMemory();
          }
          for (int i = count - results; i < count; ++i)
            halves[i].Round(begin, end - begin, scratch + offsets[i], inner);
        }
      },
      /*makes_calls=*/true);
  return outcome.Result();
}

}  // namespace jax_siglib
