// Kernels on a CPU, for tests: block after block and item after item, in the order asked
// for. Shared memory and scratch hold garbage at first, as they do on a GPU.
#ifndef JAX_SIGLIB_CUDA_ON_HOST_H_
#define JAX_SIGLIB_CUDA_ON_HOST_H_

#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <type_traits>
#include <vector>

#include "executor.h"

namespace jax_siglib {
namespace cuda {

class HostBlock {
 public:
  // `threads` may be other than were planned.
  HostBlock(int64_t index, int64_t count, int64_t threads, int64_t planned, bool backwards)
      : index_(index),
        count_(count),
        threads_(threads),
        planned_(planned),
        backwards_(backwards) {}

  int64_t index() const { return index_; }
  int64_t count() const { return count_; }
  int64_t threads() const { return threads_; }

  template <class F>
  void ForEach(int32_t n, F&& f) const {
    for (int64_t t = 0; t < threads_; ++t) {
      const int64_t thread = backwards_ ? threads_ - 1 - t : t;
      for (int64_t i = thread; i < n; i += threads_) f(static_cast<int32_t>(i));
    }
  }

  template <class State>
  class Own {
   public:
    // What they hold at first is garbage.
    Own(const HostBlock& block, int32_t n) : block_(block), states_(n) {
      static_assert(std::is_trivially_copyable_v<State>, "it is to lie in registers");
      if (n > block.planned_)
        throw std::logic_error("fewer threads than items with a state");
      std::memset(static_cast<void*>(states_.data()), 0xff, n * sizeof(State));
    }

    template <class F>
    void ForEach(F&& f) {
      block_.ForEach(static_cast<int32_t>(states_.size()),
                     [&](int32_t i) { f(i, states_[i]); });
    }

   private:
    const HostBlock& block_;
    std::vector<State> states_;
  };

 private:
  int64_t index_, count_, threads_, planned_;
  bool backwards_;
};

class HostExecutor final : public Executor {
 public:
  // Of another order than that of their numbers, threads run backwards and blocks shuffled.
  // No launch has more than `most_blocks` blocks, nor, if that is not 0, any other number
  // of threads.
  HostExecutor(bool in_order, int64_t most_blocks, int64_t threads)
      : in_order_(in_order), most_blocks_(most_blocks), threads_(threads) {}

  void* Allocate(int64_t bytes) override;
  void Run(Kernel kernel, Dtype dtype, const JoinJob& job, const Launch& launch,
           void* workspace) override;
  void Run(Kernel kernel, Dtype dtype, const PathJob& job, const Launch& launch,
           void* workspace) override;
  void Run(Kernel kernel, Dtype dtype, const BranchJob& job, const Launch& launch) override;
  void Run(Kernel kernel, Dtype dtype, const CombineJob& job, const Launch& launch,
           void* workspace) override;
  void Run(Kernel kernel, Dtype dtype, const RowsJob& job, const Launch& launch,
           void* workspace) override;

  int64_t launches() const { return launches_; }

 private:
  void RunRoots(Kernel kernel, Dtype dtype, const JoinJob& job, const Launch& launch);
  template <class Body, class S>
  void RunBody(const typename Body::Job& job, const Launch& launch, char* workspace);

  bool in_order_;
  int64_t most_blocks_, threads_;
  int64_t launches_ = 0;
  std::vector<std::unique_ptr<char[]>> memory_;
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_ON_HOST_H_
