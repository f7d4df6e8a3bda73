// Few but long paths: each is cut into pieces, which go side by side as other paths do
// (bundle_plan.h), and by Chen's identity the product of their signatures is that of the
// path. The cuts depend on the batch, the path and the number of lanes, not on that of
// threads; so neither does any bit of the result. Derivatives: pieces_derivatives.h.
#ifndef JAX_SIGLIB_CPU_PIECES_H_
#define JAX_SIGLIB_CPU_PIECES_H_

#include <algorithm>
#include <cstdint>

#include "bundle_plan.h"
#include "kernels.h"
#include "run.h"

namespace jax_siglib {

// out += left (x) right, of so many words and entries.
template <class T>
void AddProduct(T* out, const T* left, int64_t words, const T* right, int64_t row) {
  for (int64_t i = 0; i < words; ++i)
    for (int64_t j = 0; j < row; ++j) out[i * row + j] += left[i] * right[j];
}

// a = a (x) b, level by level from the top down.
template <class T>
void CombineInPlace(const TensorAlgebra& algebra, T* a, const T* b) {
  for (int64_t n = algebra.degree(); n >= 1; --n) {
    T* const out = a + algebra.offset(n);
    for (int64_t k = n - 1; k >= 1; --k)
      AddProduct(out, a + algebra.offset(k), algebra.size(k), b + algebra.offset(n - k),
                 algebra.size(n - k));
    const T* const right = b + algebra.offset(n);
    for (int64_t i = 0; i < algebra.size(n); ++i) out[i] += right[i];
  }
}

// The paths of a job in slots, one for each piece: pieces of the same number of steps, and
// in the last slot what is left of them, if anything is.
template <class T>
class Pieces {
 public:
  Pieces(const SigJob<T>& job, int64_t lanes)
      : job_(job), lanes_(lanes), n_(job.batch.size()) {
    const int64_t steps = job.points - 1;
    pieces_ = lanes * std::clamp<int64_t>(steps / (lanes * kLeastSteps), 1, kMostBundles);
    steps_ = steps / pieces_;
    rest_ = steps - pieces_ * steps_;
  }

  // Whether to do it so: in place of a bundle that is not nearly full, if the pieces are so
  // long that putting them together is little beside them.
  static bool MayPay(const SigJob<T>& job, int64_t lanes) {
    const int64_t n = job.batch.size();
    return n > 0 && 4 * n <= 3 * lanes && job.points > lanes * kLeastSteps;
  }
  // And if their signatures fit in as much memory as a bundle may take.
  bool Pays(bool adjoint) const {
    const TensorAlgebra& algebra = job_.plan.algebra();
    return algebra.length() <= kMostEntries / (n_ * (pieces_ + 1)) &&
           BundlePlan(algebra).template Pays<T>(n_ * pieces_, steps_ + 1, lanes_, adjoint);
  }

  int64_t paths() const { return n_; }
  int64_t slots() const { return pieces_ + (rest_ > 0 ? 1 : 0); }
  int64_t steps() const { return steps_; }

  // All pieces or, after them, what is left of the paths.
  struct Part {
    bool rest;
    int64_t pieces, steps;

    // The operand of a part, from that of the path: so many entries apart.
    template <class U>
    Operand<U> Of(Operand<U> whole, int64_t apart) const {
      if (rest)
        whole.data += pieces * apart;
      else
        whole.stride.Append(apart);
      return whole;
    }
    // From points of the path.
    template <class U>
    Operand<U> Points(const Operand<U>& whole, int64_t point_stride) const {
      return Of(whole, steps * point_stride);
    }
  };

  // An operand in scratch, with a row of entries for each slot of each path.
  template <class U>
  Operand<U> Rows(U* data, int64_t entries) const {
    Operand<U> rows;
    rows.data = data;
    const Dims& shape = job_.batch.shape();
    rows.stride = shape;
    int64_t stride = slots() * entries;
    for (int i = shape.rank(); i-- > 0; stride *= shape[i]) rows.stride[i] = stride;
    return rows;
  }

  // Runs a kernel for bundles on both parts; give(job, part) says what to do with one.
  template <class Give>
  void Run(Threads threads, typename Kernels<T>::Path kernel, const JoinPlan<T>& plan,
           Give&& give) const {
    Dims shape = job_.batch.shape();
    shape.Append(pieces_);
    RunPart(threads, kernel, plan, Batch(shape), {false, pieces_, steps_}, steps_, give);
    if (rest_ > 0)
      RunPart(threads, kernel, plan, job_.batch, {true, pieces_, steps_}, rest_, give);
  }

 private:
  // Of a piece, at least; and bundles of pieces of one path, at most, so that there is
  // something to do for several threads.
  static constexpr int64_t kLeastSteps = 64;
  static constexpr int64_t kMostBundles = 4;
  static constexpr int64_t kMostEntries = (64 << 20) / static_cast<int64_t>(sizeof(T));

  template <class Give>
  void RunPart(Threads threads, typename Kernels<T>::Path kernel, const JoinPlan<T>& plan,
               const Batch& batch, const Part& part, int64_t steps, Give&& give) const {
    SigJob<T> job(plan, batch, false, steps + 1);
    job.point_stride = job_.point_stride;
    job.t_point_stride = job_.t_point_stride;
    give(job, part);
    jax_siglib::Run<T>(
        threads, (batch.size() + lanes_ - 1) / lanes_,
        plan.algebra().length() * steps * lanes_,
        BundlePlan(plan.algebra()).template scratch<T>(lanes_),
        [&](int64_t begin, int64_t end, T* scratch) { kernel(job, begin, end, scratch); });
  }

  const SigJob<T>& job_;
  int64_t lanes_;
  int64_t n_;
  int64_t pieces_, steps_, rest_;
};

// sig of the job's paths.
template <class T>
void SigOfPieces(const SigJob<T>& job, const Pieces<T>& cut, const Kernels<T>& kernels,
                 Threads threads) {
  const TensorAlgebra& algebra = job.plan.algebra();
  const int64_t length = algebra.length(), slots = cut.slots();
  Scratch<T> sigs(cut.paths() * slots * length);
  cut.Run(threads, kernels.sig_bundle, job.plan, [&](SigJob<T>& piece, const auto& part) {
    piece.path = part.Points(job.path, job.point_stride);
    piece.out = part.Of(cut.Rows(sigs.data(), length), length);
  });
  Run<T>(threads, cut.paths(), slots * length, 0, [&](int64_t begin, int64_t end, T*) {
    for (int64_t b = begin; b < end; ++b) {
      T* const first = sigs.data() + b * slots * length;
      for (int64_t i = 1; i < slots; ++i)
        CombineInPlace(algebra, first, first + i * length);
      T* const to = job.batch.At(job.out, b);
      std::copy_n(first, length, to);
      if (job.scalar_term) to[-1] = T(1);
    }
  });
}

}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_PIECES_H_
