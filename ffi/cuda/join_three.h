// sig_join and its adjoint for small signatures of degree 3, many in a block. A thread has
// all words that begin (prepending: end) with one letter, whose chains it keeps in
// registers; nothing but whole signatures is read from memory, or written to it. The
// recurrences, and the names, are those of ffi/README.md.
#ifndef JAX_SIGLIB_CUDA_JOIN_THREE_H_
#define JAX_SIGLIB_CUDA_JOIN_THREE_H_

#include <cstdint>

#include "in_flight.h"
#include "join_job.h"
#include "storage.h"

namespace jax_siglib {
namespace cuda {

template <class S, bool kAdjoint, class Block>
class JoinThree {
 public:
  using T = typename Computed<S>::Type;

  // The elements from number `first` on that are this block's.
  JAX_SIGLIB_KERNEL JoinThree(const Block& block, const JoinJob& job, int64_t first,
                              T* workspace)
      : block_(block),
        job_(job),
        first_(first),
        elements_(static_cast<int32_t>(job.batch - first < job.stage.elements
                                           ? job.batch - first
                                           : job.stage.elements)),
        d_(job.levels.dimension()),
        scalar_(job.scalar_term ? 1 : 0),
        length_(static_cast<int32_t>(job.levels.Length()) + scalar_),
        rows_(workspace),
        v_(workspace + job.at.own),
        lower_(workspace + job.at.path),
        sums_(workspace + job.at.sums) {}

  JAX_SIGLIB_KERNEL void Run() const {
    block_.ForEach(kThreadsOfThree, [&](int32_t t) {
      Bring(kAdjoint ? job_.ct_out : job_.sig, scalar_, length_, rows_, t);
      Bring(job_.displacement, 0, d_, v_, t);
      if (kAdjoint && t < elements_ * d_) BringLower(t);
    });
    block_.ForEach(elements_ * d_, [&](int32_t t) {
      const auto at = job_.by_crew.Split(t);
      const int32_t e = at.quotient, i = at.rest;
      T* const row = rows_ + e * length_ + scalar_;
      if (kAdjoint)
        GoBack(row, lower_ + e * (d_ + d_ * d_), v_ + e * d_, sums_ + t * (d_ | 1), i);
      else
        Go(row, v_ + e * d_, i);
      if (scalar_ == 1 && i == 0) row[-1] = T(kAdjoint ? 0 : 1);
    });
    block_.ForEach(kThreadsOfThree, [&](int32_t t) {
      const int32_t n = elements_ * length_;
      S* const out = job_.out.At<S>(job_.lead, first_) - scalar_;
      if (SideBySide(job_.out, length_)) {
        ManyInFlight<kInFlight>(
            t, n, kThreadsOfThree, [&](int32_t i) { return rows_[i]; },
            [&](int32_t i, T x) { Store(out, i, x); });
      } else {
        JAX_SIGLIB_ROLLED
        for (int32_t i = t; i < n; i += kThreadsOfThree) {
          const int32_t e = i / length_;
          Store(job_.out.At<S>(job_.lead, first_ + e) - scalar_, i - e * length_, rows_[i]);
        }
      }
      if (kAdjoint && t < elements_ * d_) {
        const auto at = job_.by_crew.Split(t);
        const int32_t e = at.quotient, j = at.rest;
        T sum = 0;
        JAX_SIGLIB_ROLLED
        for (int32_t i = 0; i < d_; ++i) sum += sums_[(e * d_ + i) * (d_ | 1) + j];
        Store(job_.ct_displacement.At<S>(job_.lead, first_ + e), j, sum);
      }
    });
  }

 private:
  // Whether the elements lie one behind the other, with so many entries each.
  JAX_SIGLIB_KERNEL bool SideBySide(const Pointer& pointer, int32_t count) const {
    return job_.lead.rank <= 1 && (pointer.stride[0] == count || elements_ == 1);
  }

  // Thread t's share of so many entries of each element, of which `skip` lie in front.
  JAX_SIGLIB_KERNEL void Bring(const Pointer& from, int32_t skip, int32_t count, T* to,
                               int32_t t) const {
    const S* const in = from.At<const S>(job_.lead, first_) - skip;
    auto keep = [&](int32_t i, T x) { to[i] = x; };
    if (SideBySide(from, count)) {
      ManyInFlight<kInFlight>(
          t, elements_ * count, kThreadsOfThree, [&](int32_t i) { return Load(in, i); },
          keep);
      return;
    }
    auto load = [&](int32_t i) {
      const int32_t e = i / count;
      return Load(from.At<const S>(job_.lead, first_ + e) - skip, i - e * count);
    };
    InFlight<2>(t, elements_ * count, kThreadsOfThree, load, keep);
  }

  // S of what the adjoint's thread t is to look at, of an array that may lack level 3.
  JAX_SIGLIB_KERNEL void BringLower(int32_t t) const {
    const auto part = job_.by_crew.Split(t);
    const Places at = Of(part.rest);
    const S* const s = job_.sig.At<const S>(job_.lead, first_ + part.quotient);
    T* const to = lower_ + part.quotient * (d_ + d_ * d_);
    // Before the others, as a load that they need not wait for.
    const T first = Load(s, part.rest);
    InFlight<4>(
        0, d_, 1, [&](int32_t j) { return Load(s, at.first + j * at.by_j); },
        [&](int32_t j, T x) { to[at.first + j * at.by_j] = x; });
    to[part.rest] = first;
  }

  // Where the words of level 2 and 3 that the letters i, j, k make in this order lie.
  struct Places {
    int32_t first, by_j;        // of level 2
    int32_t third, third_by_k;  // of level 3, the words of i alone; by j it is d
  };
  JAX_SIGLIB_KERNEL Places Of(int32_t i) const {
    if (job_.prepend) return {d_ + i, d_, d_ + d_ * d_ + i, d_ * d_};
    return {d_ + i * d_, 1, d_ + d_ * d_ + i * d_ * d_, 1};
  }

  // f(k) for the last letters that a thread with letter i adds. Of dimensions divided by 4
  // it begins with its own, or threads would meet in the banks of shared memory.
  template <class F>
  JAX_SIGLIB_KERNEL void ForLast(int32_t i, F&& f) const {
    int32_t k = d_ % 4 == 0 ? i : 0, end = d_;
    JAX_SIGLIB_ROLLED
    for (int32_t part = k > 0 ? 0 : 1; part < 2; ++part) {
      JAX_SIGLIB_UNROLLED
      for (; k < end; ++k) f(k);
      k = 0;
      end = i;
    }
  }

  // S -> S ⊗ exp(v), of the words of letter i.
  JAX_SIGLIB_KERNEL void Go(T* s, const T* v, int32_t i) const {
    const Places at = Of(i);
    const T v_i = v[i], s_i = s[i];
    const T b_2 = s_i + v_i * Half(), b_3 = s_i + v_i * Third();
    s[i] = s_i + v_i;
    JAX_SIGLIB_ROLLED
    for (int32_t j = 0; j < d_; ++j) {
      T* const second = s + at.first + j * at.by_j;
      const T v_j = v[j], s_j = *second;
      const T b = s_j + b_3 * (v_j * Half());
      *second = s_j + b_2 * v_j;
      T* const third = s + at.third + j * d_;
      ForLast(i, [&](int32_t k) { third[k * at.third_by_k] += b * v[k]; });
    }
  }

  // g -> the cotangent of S, of the words of letter i, and their part of that of v.
  JAX_SIGLIB_KERNEL void GoBack(T* g, const T* s, const T* v, T* sums, int32_t i) const {
    const Places at = Of(i);
    const T b_2 = s[i] + v[i] * Half(), b_3 = s[i] + v[i] * Third();
    T y_2 = 0, y_3 = 0;
    JAX_SIGLIB_ROLLED
    for (int32_t k = 0; k < d_; ++k) sums[k] = 0;
    JAX_SIGLIB_ROLLED
    for (int32_t j = 0; j < d_; ++j) {
      const int32_t second = at.first + j * at.by_j;
      const T v_j = v[j], g_j = g[second];
      const T b = s[second] + b_3 * (v_j * Half());
      const T* const third = g + at.third + j * d_;
      T y = 0;
      ForLast(i, [&](int32_t k) {
        const T g_k = third[k * at.third_by_k];
        y += g_k * v[k];
        sums[k] += b * g_k;
      });
      g[second] = g_j + y;
      sums[j] += b_2 * g_j + b_3 * (y * Half());
      y_2 += g_j * v_j;
      y_3 += y * v_j * Half();
    }
    const T g_i = g[i];
    g[i] = g_i + y_2 + y_3;
    sums[i] += g_i + y_2 * Half() + y_3 * Third();
  }

  JAX_SIGLIB_KERNEL static T Half() { return T(1) / T(2); }
  JAX_SIGLIB_KERNEL static T Third() { return T(1) / T(3); }

  const Block& block_;
  const JoinJob& job_;
  int64_t first_;
  int32_t elements_, d_, scalar_, length_;
  T *rows_, *v_, *lower_, *sums_;
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_JOIN_THREE_H_
