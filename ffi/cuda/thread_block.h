// A block whose threads are threads, with a barrier behind each phase as on a GPU: for a
// build with ThreadSanitizer, which says what a CPU that does one item after another
// cannot, whether two threads of a phase, or of blocks, meet in the same place.
#ifndef JAX_SIGLIB_CUDA_THREAD_BLOCK_H_
#define JAX_SIGLIB_CUDA_THREAD_BLOCK_H_

#include <pthread.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

namespace jax_siglib {
namespace cuda {

class ThreadBlock {
 public:
  ThreadBlock(int64_t index, int64_t count, int64_t threads, int64_t thread,
              pthread_barrier_t* barrier)
      : index_(index),
        count_(count),
        threads_(threads),
        thread_(thread),
        barrier_(barrier) {}

  int64_t index() const { return index_; }
  int64_t count() const { return count_; }
  int64_t threads() const { return threads_; }

  template <class F>
  void ForEach(int32_t n, F&& f) const {
    for (int64_t i = thread_; i < n; i += threads_) f(static_cast<int32_t>(i));
    pthread_barrier_wait(barrier_);
  }

  template <class State>
  class Own {
   public:
    Own(const ThreadBlock& block, int32_t n) : block_(block), n_(n) {}

    template <class F>
    void ForEach(F&& f) {
      if (block_.thread_ < n_) f(static_cast<int32_t>(block_.thread_), state_);
      pthread_barrier_wait(block_.barrier_);
    }

   private:
    const ThreadBlock& block_;
    int32_t n_;
    State state_;
  };

 private:
  int64_t index_, count_, threads_, thread_;
  pthread_barrier_t* barrier_;
};

// run(block, index) by `threads` threads of each of `blocks` blocks, a few of them at a
// time.
template <class Run>
void RunThreads(int64_t blocks, int64_t threads, Run&& run) {
  constexpr int64_t kBlocksAtATime = 3;
  for (int64_t first = 0; first < blocks; first += kBlocksAtATime) {
    const int64_t here = std::min(kBlocksAtATime, blocks - first);
    const std::unique_ptr<pthread_barrier_t[]> barriers(new pthread_barrier_t[here]);
    std::vector<std::thread> all;
    for (int64_t b = 0; b < here; ++b) {
      pthread_barrier_init(&barriers[b], nullptr, static_cast<unsigned>(threads));
      for (int64_t t = 0; t < threads; ++t)
        all.emplace_back([&, b, t] {
          run(ThreadBlock(first + b, blocks, threads, t, &barriers[b]), first + b);
        });
    }
    for (std::thread& thread : all) thread.join();
    for (int64_t b = 0; b < here; ++b) pthread_barrier_destroy(&barriers[b]);
  }
}

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_THREAD_BLOCK_H_
