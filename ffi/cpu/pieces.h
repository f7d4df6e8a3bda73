// Few but long paths: each is cut into pieces, which go side by side as other paths do
// (bundle_plan.h), and by Chen's identity the product of their signatures is that of the
// path. The cuts depend on the batch, the path and the number of lanes, not on that of
// threads; so neither does any bit of the result. Derivatives: pieces_derivatives.h.
#ifndef JAX_SIGLIB_CPU_PIECES_H_
#define JAX_SIGLIB_CPU_PIECES_H_

#include <algorithm>
#include <cstdint>

#include "bundle_plan.h"
#include "combine_job.h"
#include "kernels.h"
#include "run.h"

namespace jax_siglib {

// Products of signatures of pieces, one at a time, without scalar terms. Calls take
// plan().worker_scratch() entries.
template <class T>
class Products {
 public:
  Products(const TensorAlgebra& algebra, const Kernels<T>& kernels)
      : plan_(algebra.dimension(), algebra.degree(), false),
        one_(Dims()),
        kernels_(kernels) {}

  const CombinePlan<T>& plan() const { return plan_; }
  CombineJob<T> Job() const { return {plan_, one_, false}; }

  // a = a (x) b.
  void Combine(T* a, const T* b, T* scratch) const {
    CombineJob<T> job = Job();
    job.products = 1;
    job.term[0].data = job.left[0].data = job.out.data = a;
    job.term[1].data = job.right[0].data = b;
    kernels_.sig_combine(job, JoinPhase::kWhole, 0, 1, scratch);
  }

  // Its tangent but for a, which it leaves: t_a = t_a (x) b + a (x) t_b. Neither a's nor
  // b's top level is read.
  void CombineTangents(const T* a, T* t_a, const T* b, const T* t_b, T* scratch) const {
    CombineJob<T> job = Job();
    job.products = 2;
    job.term[0].data = job.left[0].data = job.out.data = t_a;
    job.term[1].data = job.right[1].data = t_b;
    job.right[0].data = b;
    job.left[1].data = a;
    kernels_.sig_combine(job, JoinPhase::kWhole, 0, 1, scratch);
  }

  // The cotangents of a and b, given that of a (x) b, which becomes that of a.
  void Pull(T* ct, const T* a, const T* b, T* ct_b, T* scratch) const {
    CombineJob<T> job = Job();
    job.ct_out.data = job.ct_left.data = ct;
    job.left[0].data = a;
    job.right[0].data = b;
    job.ct_right.data = ct_b;
    kernels_.sig_combine_backprop(job, JoinPhase::kWhole, 0, 1, scratch);
  }

 private:
  CombinePlan<T> plan_;
  Batch one_;
  const Kernels<T>& kernels_;
};

// The paths of a job in slots, one for each piece: pieces of the same number of steps, and
// in the last slot what is left of them, if anything is.
template <class T>
class Pieces {
 public:
  Pieces(const SigJob<T>& job, int64_t lanes)
      : job_(job), lanes_(lanes), n_(job.batch.size()) {
    const int64_t steps = job.points - 1;
    pieces_ = lanes * std::clamp<int64_t>(steps / (lanes * kSteps), 1, kMostBundles);
    steps_ = steps / pieces_;
    rest_ = steps - pieces_ * steps_;
  }

  // Whether to do it so: in place of a bundle that is not nearly full, if the pieces are so
  // long that putting them together is little beside them.
  static bool MayPay(const SigJob<T>& job, int64_t lanes) {
    const int64_t n = job.batch.size();
    const int64_t steps = job.plan.algebra().degree() > 5 ? kSteps : kLeastSteps;
    return n > 0 && 4 * n <= 3 * lanes && job.points > lanes * steps;
  }
  // And if their signatures fit in as much memory as a bundle may take.
  bool Pays() const {
    const TensorAlgebra& algebra = job_.plan.algebra();
    return algebra.length() <= kMostEntries / (n_ * (pieces_ + 1)) &&
           BundlePlan(algebra, 1, job_.adjoint())
               .template Pays<T>(n_ * pieces_, steps_ + 1, lanes_);
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
  // Of a piece, at least: before there are more of them than lanes, or to do it at all; of
  // high degrees a product takes as long as more steps. And bundles of pieces of one path,
  // at most, so that there is something to do for several threads.
  static constexpr int64_t kSteps = 64, kLeastSteps = 32;
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
        BundlePlan(plan.algebra(), 1, job.adjoint()).template scratch<T>(lanes_),
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
  const Products<T> products(algebra, kernels);
  Run<T>(threads, cut.paths(), slots * length, products.plan().worker_scratch(),
         [&](int64_t begin, int64_t end, T* scratch) {
           for (int64_t b = begin; b < end; ++b) {
             T* const first = sigs.data() + b * slots * length;
             for (int64_t i = 1; i < slots; ++i)
               products.Combine(first, first + i * length, scratch);
             T* const to = job.batch.At(job.out, b);
             std::copy_n(first, length, to);
             if (job.scalar_term) to[-1] = T(1);
           }
         });
}

}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_PIECES_H_
