// The tangent and the adjoint of sig for few but long paths, in pieces (pieces.h). Both
// want the signatures of the pieces below level N, which are made first; then the rules of
// products are followed from piece to piece. Of degree 2 and up.
#ifndef JAX_SIGLIB_CPU_PIECES_DERIVATIVES_H_
#define JAX_SIGLIB_CPU_PIECES_DERIVATIVES_H_

#include "pieces.h"

namespace jax_siglib {

// Signatures of the pieces below the top level, in rows of that many entries.
template <class T>
class LowerSigs {
 public:
  LowerSigs(const SigJob<T>& job, const Pieces<T>& cut, const Kernels<T>& kernels,
            Threads threads)
      : plan_(job.plan.algebra().dimension(), job.plan.algebra().degree() - 1, false,
              false),
        cut_(cut),
        sigs_(cut.paths() * cut.slots() * algebra().length()) {
    cut.Run(threads, kernels.sig_bundle, plan_, [&](SigJob<T>& piece, const auto& part) {
      piece.path = part.Points(job.path, job.point_stride);
      piece.out = part.Of(cut.Rows(sigs_.data(), algebra().length()), algebra().length());
    });
  }

  const TensorAlgebra& algebra() const { return plan_.algebra(); }
  // Of path b.
  T* Of(int64_t b) { return sigs_.data() + b * cut_.slots() * algebra().length(); }

 private:
  JoinPlan<T> plan_;
  const Pieces<T>& cut_;
  Scratch<T> sigs_;
};

template <class T>
void SigJvpOfPieces(const SigJob<T>& job, const Pieces<T>& cut, const Kernels<T>& kernels,
                    Threads threads) {
  const TensorAlgebra& algebra = job.plan.algebra();
  const int64_t length = algebra.length(), slots = cut.slots();
  LowerSigs<T> sigs(job, cut, kernels, threads);
  const int64_t lower = sigs.algebra().length();
  Scratch<T> t_sigs(cut.paths() * slots * length);
  cut.Run(threads, kernels.sig_jvp_bundle, job.plan,
          [&](SigJob<T>& piece, const auto& part) {
            piece.path = part.Points(job.path, job.point_stride);
            piece.t_path = part.Points(job.t_path, job.t_point_stride);
            piece.t_out = part.Of(cut.Rows(t_sigs.data(), length), length);
          });
  const Products<T> products(algebra, kernels), below(sigs.algebra(), kernels);
  Run<T>(threads, cut.paths(), slots * length,
         std::max(products.plan().worker_scratch(), below.plan().worker_scratch()),
         [&](int64_t begin, int64_t end, T* scratch) {
           for (int64_t b = begin; b < end; ++b) {
             T* const sig = sigs.Of(b);
             T* const t_sig = t_sigs.data() + b * slots * length;
             for (int64_t i = 1; i < slots; ++i) {
               products.CombineTangents(sig, t_sig, sig + i * lower, t_sig + i * length,
                                        scratch);
               below.Combine(sig, sig + i * lower, scratch);
             }
             T* const to = job.batch.At(job.t_out, b);
             std::copy_n(t_sig, length, to);
             if (job.scalar_term) to[-1] = T(0);
           }
         });
}

// The signature of the job is not needed: it is that of its path.
template <class T>
void SigBackpropOfPieces(const SigJob<T>& job, const Pieces<T>& cut,
                         const Kernels<T>& kernels, Threads threads) {
  const TensorAlgebra& algebra = job.plan.algebra();
  const int64_t d = algebra.dimension(), length = algebra.length(), slots = cut.slots();
  LowerSigs<T> sigs(job, cut, kernels, threads);
  const int64_t lower = sigs.algebra().length();
  // Of the pieces before each slot, together; the cotangents of the pieces' signatures; and
  // those of their first points, each of which is the last of another piece too.
  Scratch<T> before(cut.paths() * slots * lower), cts(cut.paths() * slots * length);
  Scratch<T> firsts(cut.paths() * slots * d);
  const Products<T> products(algebra, kernels), below(sigs.algebra(), kernels);
  Run<T>(threads, cut.paths(), slots * length,
         std::max(products.plan().adjoint_worker_scratch(), below.plan().worker_scratch()),
         [&](int64_t begin, int64_t end, T* scratch) {
           for (int64_t b = begin; b < end; ++b) {
             const T* const sig = sigs.Of(b);
             T* const left = before.data() + b * slots * lower;
             T* const ct = cts.data() + b * slots * length;
             std::copy_n(sig, lower, left + lower);
             for (int64_t i = 2; i < slots; ++i) {
               std::copy_n(left + (i - 1) * lower, lower, left + i * lower);
               below.Combine(left + i * lower, sig + (i - 1) * lower, scratch);
             }
             // That of all slots so far becomes that of the first.
             std::copy_n(job.batch.At(job.ct_out, b), length, ct);
             for (int64_t i = slots - 1; i >= 1; --i)
               products.Pull(ct, left + i * lower, sig + i * lower, ct + i * length,
                             scratch);
           }
         });
  cut.Run(threads, kernels.sig_backprop_bundle, job.plan,
          [&](SigJob<T>& piece, const auto& part) {
            piece.path = part.Points(job.path, job.point_stride);
            piece.sig = part.Of(cut.template Rows<const T>(sigs.Of(0), lower), lower);
            piece.ct_out = part.Of(cut.template Rows<const T>(cts.data(), length), length);
            piece.ct_path = part.Points(job.ct_path, d);
            piece.ct_first = part.Of(cut.Rows(firsts.data(), d), d);
          });
  Run<T>(threads, cut.paths(), slots * d, 0, [&](int64_t begin, int64_t end, T*) {
    for (int64_t b = begin; b < end; ++b) {
      const T* const first = firsts.data() + b * slots * d;
      T* const point = job.batch.At(job.ct_path, b);
      std::copy_n(first, d, point);
      for (int64_t i = 1; i < slots; ++i)
        for (int64_t j = 0; j < d; ++j) point[i * cut.steps() * d + j] += first[i * d + j];
    }
  });
}

}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_PIECES_DERIVATIVES_H_
