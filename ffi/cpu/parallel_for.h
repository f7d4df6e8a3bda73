// Loops over the items of a call on several threads.
#ifndef JAX_SIGLIB_CPU_PARALLEL_FOR_H_
#define JAX_SIGLIB_CPU_PARALLEL_FOR_H_

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

namespace jax_siglib {

// Somewhere to run tasks: XLA's own pool inside a jitted program, the library's
// (thread_pool.h) in a call on numpy or torch arrays.
class Scheduler {
 public:
  virtual ~Scheduler() = default;
  virtual int64_t threads() const = 0;
  virtual void Schedule(std::function<void()> task) = 0;
};

// Tells the processor that the thread is only looking at memory.
inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// How many threads n_jobs asks for: a positive number of them, or all but -1-n_jobs.
inline int64_t ResolveJobs(int64_t n_jobs, int64_t max_threads) {
  const int64_t all = std::max<int64_t>(max_threads, 1);
  return n_jobs > 0 ? std::min(n_jobs, all) : std::max<int64_t>(all + 1 + n_jobs, 1);
}

// body(begin, end, slot) for chunks of [0, n) of `grain` items, on at most `workers`
// threads, the calling one among them. Each thread has its own slot < workers. body
// must not throw.
//
// The caller takes chunks like everyone else and then waits for those that others have
// taken, never for a task that has not started: inside XLA it may itself be on one of
// the pool's threads, with nobody left to start any.
template <class Body>
void ParallelFor(Scheduler& scheduler, int64_t workers, int64_t n, int64_t grain,
                 const Body& body) {
  const int64_t chunks = (n + grain - 1) / grain;
  workers = std::min(workers, chunks);
  if (workers <= 1) {
    if (n > 0) body(int64_t{0}, n, int64_t{0});
    return;
  }
  struct State {
    std::atomic<int64_t> next{0}, slots{0}, pending;
    int64_t chunks, n, grain;
    const Body* body;
    std::mutex mutex;
    std::condition_variable done;
  };
  // Shared: a task that starts late finds no chunk left, but still looks.
  auto state = std::make_shared<State>();
  state->pending = chunks;
  state->chunks = chunks;
  state->n = n;
  state->grain = grain;
  state->body = &body;
  auto work = [](State& s) {
    int64_t slot = -1;
    for (int64_t c; (c = s.next.fetch_add(1, std::memory_order_relaxed)) < s.chunks;) {
      if (slot < 0) slot = s.slots.fetch_add(1, std::memory_order_relaxed);
      (*s.body)(c* s.grain, std::min(s.n, (c + 1) * s.grain), slot);
      if (s.pending.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        std::lock_guard<std::mutex> lock(s.mutex);
        s.done.notify_one();
      }
    }
  };
  for (int64_t i = 1; i < workers; ++i) scheduler.Schedule([state, work] { work(*state); });
  work(*state);
  // The others are nearly done too, as a rule; sleeping costs more than looking.
  for (int i = 0; i < 4000; ++i) {
    if (state->pending.load(std::memory_order_acquire) == 0) return;
    Pause();
  }
  std::unique_lock<std::mutex> lock(state->mutex);
  state->done.wait(lock,
                   [&] { return state->pending.load(std::memory_order_acquire) == 0; });
}

}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_PARALLEL_FOR_H_
