// The antipode: every word, written backwards, gets the coordinate of the word, negated if
// its length is odd.
//
// A word of k letters is read as u m v, with u and v of q letters each; backwards it is
// v' m' u'. So for every m a matrix, its rows u apart by d^{k-q} and its columns v side by
// side, is transposed, and its rows and columns change places among themselves. It is done
// in blocks of vectors, which read and write pieces of a row of d^q entries.
#ifndef JAX_SIGLIB_CPU_SIG_INVERSE_KERNEL_H_
#define JAX_SIGLIB_CPU_SIG_INVERSE_KERNEL_H_

#include <algorithm>
#include <cstdint>

#include "interleave.h"
#include "inverse_job.h"
#include "kernels.h"
#include "simd.h"
#include "unroll.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

// The words of some letters in the order of their numbers, and those numbers backwards.
class BackwardWords {
 public:
  BackwardWords(const TensorAlgebra& algebra, int64_t letters)
      : algebra_(algebra), letters_(letters) {}

  int64_t Of(int64_t word) const {
    int64_t back = 0;
    for (int64_t i = 0; i < letters_; ++i) {
      back = back * algebra_.dimension() + word % algebra_.dimension();
      word /= algebra_.dimension();
    }
    return back;
  }

  // From that of a word to that of the next one: a carry runs to the right.
  int64_t Next(int64_t back) const {
    const int64_t d = algebra_.dimension();
    for (int64_t i = letters_; i-- > 0;) {
      const int64_t place = algebra_.size(i);
      if (back / place % d + 1 < d) return back + place;
      back -= (d - 1) * place;
    }
    return back;
  }

 private:
  const TensorAlgebra& algebra_;
  int64_t letters_;
};

template <class T>
class InverseKernel {
 public:
  using Simd = Vec<T>;
  using V = typename Simd::V;
  static constexpr int W = Simd::kLanes;

  explicit InverseKernel(const InverseJob<T>& job) : job_(job), a_(job.algebra) {}

  void Element(int64_t b, int64_t part) const {
    const T* const from = job_.batch.At(job_.sig, b);
    T* const to = job_.batch.At(job_.out, b);
    for (int64_t k = 1; k <= a_.degree(); ++k) {
      const T sign = k % 2 == 0 ? T(1) : T(-1);
      DoLevel(k, part, sign, from + a_.offset(k), to + a_.offset(k));
    }
    if (part == 0 && job_.scalar_term) to[-1] = job_.scalar;
  }

 private:
  // Letters on either side for rows of two cache lines or so.
  static constexpr int64_t kRow = 128 / sizeof(T);

  void DoLevel(int64_t k, int64_t part, T sign, const T* from, T* to) const {
    int64_t q = 0;
    while (q < k / 2 && a_.size(q) < kRow && a_.dimension() > 1) ++q;
    const int64_t row = a_.size(q), middle = a_.size(k - 2 * q), apart = a_.size(k - q);
    const int64_t parts = std::min(job_.parts, middle);
    if (part >= parts) return;
    // Words of one letter are the same backwards. With two, d < kRow and row < kRow * d.
    int64_t table[kRow * kRow];
    if (q > 1) {
      const BackwardWords outer(a_, q);
      for (int64_t u = 0, back = 0; u < row; ++u, back = outer.Next(back)) table[u] = back;
    }
    const BackwardWords words(a_, k - 2 * q);
    const int64_t end = middle * (part + 1) / parts;
    int64_t m = middle * part / parts;
    for (int64_t back = words.Of(m); m < end; ++m, back = words.Next(back)) {
      const T* const x = from + m * row;
      T* const y = to + back * row;
      if (q > 1) {
        Transpose(x, y, row, apart, sign,
                  [&](int64_t u) JAX_SIGLIB_LAMBDA { return table[u]; });
      } else {
        Transpose(x, y, row, apart, sign, [](int64_t u) JAX_SIGLIB_LAMBDA { return u; });
      }
    }
  }

  template <class Backwards>
  static JAX_SIGLIB_INLINE void Transpose(const T* from, T* to, int64_t row, int64_t apart,
                                          T sign, Backwards&& backwards) {
    if (row < W) {
      for (int64_t u = 0; u < row; ++u)
        for (int64_t v = 0; v < row; ++v)
          to[backwards(v) * apart + backwards(u)] = sign * from[u * apart + v];
      return;
    }
    const V factor = Simd::Set1(sign);
    // The last block in either direction overlaps with the one before.
    for (int64_t i = 0; i < row; i += W) {
      const int64_t c = std::min(i, row - W);  // columns of the result
      for (int64_t j = 0; j < row; j += W) {
        const int64_t v = std::min(j, row - W);
        V x[W];
        Unroll<0, W>([&](auto l) JAX_SIGLIB_LAMBDA {
          x[l.value] =
              Simd::Mul(Simd::Load(from + backwards(c + l.value) * apart + v), factor);
        });
        Deinterleave<T, W>(x);
        Unroll<0, W>([&](auto l) JAX_SIGLIB_LAMBDA {
          Simd::Store(to + backwards(v + l.value) * apart + c, x[l.value]);
        });
      }
    }
  }

  const InverseJob<T>& job_;
  const TensorAlgebra& a_;
};

template <class T>
void SigInverseItems(const InverseJob<T>& job, int64_t begin, int64_t end) {
  const InverseKernel<T> kernel(job);
  for (int64_t i = begin; i < end; ++i) kernel.Element(i / job.parts, i % job.parts);
}

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_SIG_INVERSE_KERNEL_H_
