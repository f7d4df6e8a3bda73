// How the items of a call are shared among threads, each with scratch of its own.
#ifndef JAX_SIGLIB_CPU_RUN_H_
#define JAX_SIGLIB_CPU_RUN_H_

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <new>

#include "calls.h"
#include "parallel_for.h"

namespace jax_siglib {

// Below this many entries to write (10 to 20 microseconds) a call stays on one thread,
// and no thread is given less than the second figure at a time.
constexpr int64_t kSerialEntries = 192 << 10;
constexpr int64_t kGrainEntries = 16 << 10;

// With this interval of work (some milliseconds) between them, looking for an interrupt
// costs nothing.
constexpr int64_t kInterruptEntries = 8 << 20;

// Where a call is made only to learn what scratch it takes (CountScratch in calls.h):
// bytes held now, and the most so far.
struct ScratchCount {
  int64_t now = 0, most = 0;
};
inline thread_local ScratchCount* scratch_count = nullptr;

// A worker's scratch, or all that the workers share. Small amounts lie on the stack.
template <class T>
class Scratch {
 public:
  explicit Scratch(int64_t entries) : data_(small_) {
    const std::size_t bytes =
        (static_cast<std::size_t>(entries) * sizeof(T) + 63) / 64 * 64;
    if (scratch_count != nullptr) {
      counted_ = static_cast<int64_t>(bytes);
      scratch_count->now += counted_;
      scratch_count->most = std::max(scratch_count->most, scratch_count->now);
      return;
    }
    if (entries <= kSmall) return;
    data_ = static_cast<T*>(std::aligned_alloc(64, bytes));
    if (data_ == nullptr) throw std::bad_alloc();
  }
  ~Scratch() {
    if (scratch_count != nullptr) scratch_count->now -= counted_;
    if (data_ != small_) std::free(data_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  T* data() { return data_; }

 private:
  static constexpr int64_t kSmall = 32768 / sizeof(T);
  alignas(64) T small_[kSmall];
  T* data_;
  int64_t counted_ = 0;
};

// Runs body(begin, end, scratch) over [0, n) items of `entries` results each. A body that
// makes calls of its own says so, for their scratch to be counted.
template <class T, class Body>
void Run(Threads threads, int64_t n, int64_t entries, int64_t scratch_entries,
         const Body& body, bool makes_calls = false) {
  if (n == 0) return;
  const int64_t each = std::max<int64_t>(entries, 1);
  int64_t workers = 1, grain = n;
  if (threads.n_jobs != 1 && n > 1 && n > kSerialEntries / each) {
    workers = ResolveJobs(threads.n_jobs, threads.scheduler.threads());
    const int64_t share = (n + 4 * workers - 1) / (4 * workers);
    grain = std::max<int64_t>({share, kGrainEntries / each, 1});
    workers = std::min(workers, (n + grain - 1) / grain);
  }
  Scratch<T> scratch(workers * scratch_entries);
  if (scratch_count != nullptr) {
    if (!makes_calls) return;
    ScratchCount& outer = *scratch_count;
    ScratchCount each_worker;
    scratch_count = &each_worker;
    body(0, 1, scratch.data());
    scratch_count = &outer;
    outer.most = std::max(outer.most, outer.now + workers * each_worker.most);
    return;
  }
  if (threads.interrupt == nullptr) {
    return ParallelFor(threads.scheduler, workers, n, grain,
                       [&](int64_t begin, int64_t end, int64_t slot) {
                         body(begin, end, scratch.data() + slot * scratch_entries);
                       });
  }
  const int64_t piece = std::max<int64_t>(kInterruptEntries / each, 1);
  ParallelFor(
      threads.scheduler, workers, n, grain, [&](int64_t begin, int64_t end, int64_t slot) {
        for (int64_t i = begin; i < end; i += piece) {
          if (i > 0 && threads.interrupt->Requested()) return;
          body(i, std::min(end, i + piece), scratch.data() + slot * scratch_entries);
        }
      });
}

}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_RUN_H_
