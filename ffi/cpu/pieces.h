// sig of few but long paths: each is cut into pieces, which go side by side as other
// paths do (bundle_plan.h), and by Chen's identity the product of their signatures is that
// of the path. The cuts depend on the batch, the path and the number of lanes, not on that
// of threads; so neither does any bit of the result.
#ifndef JAX_SIGLIB_CPU_PIECES_H_
#define JAX_SIGLIB_CPU_PIECES_H_

#include <algorithm>
#include <cstdint>

#include "bundle_plan.h"
#include "kernels.h"
#include "long_path.h"
#include "run.h"

namespace jax_siglib {

// a = a (x) b, level by level from the top down.
template <class T>
void CombineInPlace(const TensorAlgebra& algebra, T* a, const T* b) {
  for (int64_t n = algebra.degree(); n >= 1; --n) {
    T* const out = a + algebra.offset(n);
    for (int64_t k = n - 1; k >= 1; --k) {
      const T* const left = a + algebra.offset(k);
      const T* const right = b + algebra.offset(n - k);
      const int64_t words = algebra.size(k), row = algebra.size(n - k);
      for (int64_t i = 0; i < words; ++i)
        for (int64_t j = 0; j < row; ++j) out[i * row + j] += left[i] * right[j];
    }
    const T* const right = b + algebra.offset(n);
    for (int64_t i = 0; i < algebra.size(n); ++i) out[i] += right[i];
  }
}

template <class T>
class SigPieces {
 public:
  SigPieces(const SigJob<T>& job, int64_t lanes)
      : job_(job),
        lanes_(lanes),
        n_(job.batch.size()),
        length_(job.plan.algebra().length()),
        bundles_(job.plan.algebra()) {
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
  // And if they fit in as much memory as a bundle may take.
  bool Pays() const {
    return length_ <= kMostEntries / (n_ * (pieces_ + 1)) &&
           bundles_.template Pays<T>(n_ * pieces_, steps_ + 1, lanes_, false);
  }

  void Run(const Kernels<T>& kernels, Threads threads) {
    const int64_t slots = pieces_ + (rest_ > 0 ? 1 : 0), each = slots * length_;
    Scratch<T> sigs(n_ * each);
    Dims shape = job_.batch.shape();
    Operand<T> out;
    out.data = sigs.data();
    out.stride = shape;
    int64_t stride = each;
    for (int i = shape.rank(); i-- > 0; stride *= shape[i]) out.stride[i] = stride;

    Dims of_pieces = shape;
    of_pieces.Append(pieces_);
    const Batch batch(of_pieces);
    SigJob<T> job(job_.plan, batch, false, steps_ + 1);
    job.point_stride = job_.point_stride;
    job.path = job_.path;
    job.path.stride.Append(steps_ * job_.point_stride);
    job.out = out;
    job.out.stride.Append(length_);
    jax_siglib::Run<T>(threads, (batch.size() + lanes_ - 1) / lanes_,
                       length_ * steps_ * lanes_, bundles_.template scratch<T>(lanes_),
                       [&](int64_t begin, int64_t end, T* scratch) {
                         kernels.sig_bundle(job, begin, end, scratch);
                       });

    SigJob<T> last(job_.plan, job_.batch, false, rest_ + 1);
    last.point_stride = job_.point_stride;
    last.path = job_.path;
    last.path.data += pieces_ * steps_ * job_.point_stride;
    last.out = out;
    last.out.data += pieces_ * length_;
    jax_siglib::Run<T>(threads, n_, each, LongPathScratch(job_.plan, last.points, 1),
                       [&](int64_t begin, int64_t end, T* scratch) {
                         if (rest_ > 0) kernels.sig(last, begin, end, scratch);
                         for (int64_t b = begin; b < end; ++b) {
                           T* const first = job_.batch.At(out, b);
                           for (int64_t i = 1; i < slots; ++i)
                             CombineInPlace(job_.plan.algebra(), first,
                                            first + i * length_);
                           T* const to = job_.batch.At(job_.out, b);
                           std::copy_n(first, length_, to);
                           if (job_.scalar_term) to[-1] = T(1);
                         }
                       });
  }

 private:
  // Of a piece, at least; and bundles of pieces of one path, at most, so that there is
  // something to do for several threads.
  static constexpr int64_t kLeastSteps = 64;
  static constexpr int64_t kMostBundles = 4;
  static constexpr int64_t kMostEntries = (64 << 20) / static_cast<int64_t>(sizeof(T));

  const SigJob<T>& job_;
  int64_t lanes_;
  int64_t n_;
  int64_t length_;
  BundlePlan bundles_;
  int64_t pieces_, steps_, rest_;
};

}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_PIECES_H_
