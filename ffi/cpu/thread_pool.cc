#include "thread_pool.h"

#include <deque>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace jax_siglib {
namespace {

class ThreadPool final : public Scheduler {
 public:
  int64_t threads() const override { return MaxThreads(); }

  void Schedule(std::function<void()> task) override {
    bool asleep;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      Start();
      tasks_.push_back(std::move(task));
      waiting_.store(static_cast<int64_t>(tasks_.size()), std::memory_order_release);
      asleep = asleep_ > 0;
    }
    if (asleep) wake_.notify_one();
  }

 private:
  void Start() {
    if (started_) return;
    started_ = true;
    for (int64_t i = 1; i < threads(); ++i) std::thread([this] { Run(); }).detach();
  }

  void Run() {
    for (;;) {
      // A call is often followed by the next within microseconds, and waking a sleeping
      // thread takes tens of them: look for a while before going to sleep.
      for (int i = 0; i < kLooks && waiting_.load(std::memory_order_acquire) == 0; ++i)
        Pause();
      std::function<void()> task;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        ++asleep_;
        wake_.wait(lock, [this] { return !tasks_.empty(); });
        --asleep_;
        task = std::move(tasks_.front());
        tasks_.pop_front();
        waiting_.store(static_cast<int64_t>(tasks_.size()), std::memory_order_release);
      }
      task();
    }
  }

  static constexpr int kLooks = 10000;  // 100 to 300 microseconds

  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<int64_t> waiting_{0};  // tasks_.size(), to be read without the mutex
  int64_t asleep_ = 0;
  std::deque<std::function<void()>> tasks_;
  bool started_ = false;
};

// Never destroyed: its threads may outlive main.
std::atomic<ThreadPool*> pool{nullptr};

// A forked child has none of the threads, and perhaps a locked mutex; it gets a new
// pool. The old one is left as it is.
void ForgetPool() { pool.store(nullptr); }

}  // namespace

int64_t MaxThreads() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return CPU_COUNT(&set);
#endif
  return std::max<int64_t>(std::thread::hardware_concurrency(), 1);
}

Scheduler& ProcessThreadPool() {
  ThreadPool* current = pool.load(std::memory_order_acquire);
  if (current != nullptr) return *current;
  static std::mutex mutex;
  std::lock_guard<std::mutex> lock(mutex);
  current = pool.load(std::memory_order_acquire);
  if (current == nullptr) {
#if defined(__unix__) || defined(__APPLE__)
    static const int registered = pthread_atfork(nullptr, nullptr, ForgetPool);
    (void)registered;
#endif
    current = new ThreadPool;
    pool.store(current, std::memory_order_release);
  }
  return *current;
}

}  // namespace jax_siglib
