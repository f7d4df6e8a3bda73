// Division by a number that is the same for many dividends, as a multiplication: a GPU has
// no instruction to divide integers.
//
// With s the least power for which d <= 2^s, and m = floor(2^(31+s) / d) + 1, which fits
// 32 bits: m d exceeds 2^(31+s) by at most d <= 2^s, so floor(n m / 2^(31+s)) is floor(n /
// d) for all n < 2^31: the upper half of 2 n times m, which is one instruction, moved by s.
// (Granlund & Montgomery, "Division by invariant integers using multiplication", PLDI
// 1994.)
#ifndef JAX_SIGLIB_CUDA_DIVISOR_H_
#define JAX_SIGLIB_CUDA_DIVISOR_H_

#include <cstdint>

#include "block.h"

namespace jax_siglib {
namespace cuda {

class Divisor {
 public:
  struct Parts {
    int32_t quotient, rest;
  };

  JAX_SIGLIB_BOTH Divisor() : Divisor(1) {}
  JAX_SIGLIB_BOTH explicit Divisor(int32_t d) : value_(d), shift_(0) {
    while ((int64_t{1} << shift_) < d) ++shift_;
    multiplier_ = static_cast<uint32_t>(
        (uint64_t{1} << (31 + shift_)) / static_cast<uint64_t>(d) + 1);
  }

  // Of n >= 0.
  JAX_SIGLIB_BOTH Parts Split(int32_t n) const {
    const uint64_t product =
        static_cast<uint64_t>(2 * static_cast<uint32_t>(n)) * multiplier_;
    const int32_t quotient =
        static_cast<int32_t>(static_cast<uint32_t>(product >> 32) >> shift_);
    return {quotient, n - quotient * value_};
  }

 private:
  int32_t value_;
  uint32_t multiplier_;
  int32_t shift_;
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_DIVISOR_H_
