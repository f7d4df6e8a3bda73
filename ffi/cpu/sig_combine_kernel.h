// sig_combine and its tangent: sums of products of two signatures, level by level from the
// top down, each entry written once. So the result may be written over a term.
#ifndef JAX_SIGLIB_CPU_SIG_COMBINE_KERNEL_H_
#define JAX_SIGLIB_CPU_SIG_COMBINE_KERNEL_H_

#include <cstring>

#include "combine_job.h"
#include "combine_static.h"
#include "kernels.h"
#include "simd.h"
#include "unroll.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

// left_k (x) right_{n-k} for a split in front of the row: a number times a row of right's,
// which is the same behind every first letter.
template <class T>
struct Split {
  const T* left;
  int64_t apart;  // entries of left from one first letter to the next
  const T* right;
  const T *begin, *end;  // of level n - k of right

  // On to the next row.
  void Advance(int64_t row) {
    right += row;
    if (right != end) return;
    right = begin;
    ++left;
  }
};

// left_{n-i} (x) right_i, i letters within the row: each entry behind the row's word times
// all of right_i. Right repeats itself along the row, left stays the same for d^i entries.
template <class T>
struct Tail {
  // Where a vector of the row lies: the first of its entries of left, and how far its first
  // entry is into right_i.
  struct Place {
    int32_t left, right;
  };
  const T* left[4];               // behind the words of rows that are done together
  const T* right;                 // two copies, or as much of the second as is loaded
  const PermuteIndex<T>* spread;  // by Place::right: which entry of left is for which lane
  const Place* places;            // by the number of the vector
  bool even;                      // whether a vector has one entry of left only
};

template <class T>
class CombineKernel {
 public:
  using Simd = Vec<T>;
  using V = typename Simd::V;
  static constexpr int W = Simd::kLanes;

  CombineKernel(const CombineJob<T>& job, T* scratch)
      : job_(job), plan_(job.plan), a_(job.plan.algebra()) {
    using Place = typename Tail<T>::Place;
    static_assert(sizeof(Place) == sizeof(T) * CombinePlan<T>::kPlaceEntries);
    static_assert(sizeof(Split<T>) <= 64 && sizeof(Tail<T>) <= 64);
    const int64_t letters = plan_.row_letters(a_.degree());
    splits_ = Take<Split<T>>(scratch, job.products * a_.degree());
    tails_ = Take<Tail<T>>(scratch, job.products * letters);
    const int64_t vectors = (a_.size(letters) + W - 1) / W;
    for (int64_t i = 1; i < letters; ++i) {
      const int64_t size = a_.size(i);
      auto* const spread = Take<PermuteIndex<T>>(scratch, size);
      auto* const places = Take<Place>(scratch, vectors);
      for (int64_t v = 0, left = 0, at = 0; v < vectors; ++v) {
        places[v] = {static_cast<int32_t>(left), static_cast<int32_t>(at)};
        if (v <= size) {  // after that they come again
          for (int l = 0, to = 0, next = static_cast<int>(size - at); l < W; ++l) {
            if (l == next) {
              ++to;
              next += static_cast<int>(size);
            }
            spread[at].Set(l, to);
          }
        }
        for (at += W; at >= size; at -= size) ++left;
      }
      for (int x = 0; x < job.products; ++x) {
        Tail<T>& tail = TailOf(x, i);
        tail.spread = spread;
        tail.places = places;
        tail.right = Take<T>(scratch, size + W);
        tail.even = size % W == 0;
      }
    }
    copies_ = scratch;
  }

  void Element(int64_t b, JoinPhase phase, int64_t tile) {
    out_ = job_.batch.At(job_.out, b);
    for (int x = 0; x < 2; ++x) term_[x] = job_.batch.At(job_.term[x], b);
    for (int x = 0; x < job_.products; ++x) {
      left_[x] = job_.batch.At(job_.left[x], b);
      right_[x] = job_.batch.At(job_.right[x], b);
    }
    CopyRights();
    const int64_t top = a_.degree();
    if (phase != JoinPhase::kTail)
      DoLevel(top, tile, phase == JoinPhase::kTile ? plan_.tiles() : 1);
    if (phase == JoinPhase::kTile) return;
    for (int64_t n = top - 1; n >= 1; --n) DoLevel(n, 0, 1);
    if (job_.scalar_term) out_[-1] = job_.scalar;
  }

 private:
  template <class X>
  static X* Take(T*& scratch, int64_t count) {
    X* const taken = reinterpret_cast<X*>(scratch);
    scratch += CombinePlan<T>::Align((count * sizeof(X) + sizeof(T) - 1) / sizeof(T));
    return taken;
  }

  // i letters behind the split; product number x.
  Tail<T>& TailOf(int x, int64_t i) { return tails_[(i - 1) * job_.products + x]; }

  // Where the tails read right_i, for every level.
  void CopyRights() {
    const int64_t letters = plan_.row_letters(a_.degree());
    for (int64_t i = 1; i < letters; ++i)
      for (int x = 0; x < job_.products; ++x) {
        T* const to = const_cast<T*>(TailOf(x, i).right);
        const T* const from = right_[x] + a_.offset(i);
        const int64_t size = a_.size(i);
        for (int64_t c = 0; c < size; c += W)
          Simd::Store(to + c, Simd::LoadFirst(from + c, Simd::FirstLanes(size - c)));
        for (int64_t c = 0; c < W; c += size)  // only now: the above writes past the end
          for (int64_t l = 0; l < size && c + l < W; ++l) to[size + c + l] = to[l];
      }
  }

  void DoLevel(int64_t n, int64_t tile, int64_t tiles) {
    const int64_t j = plan_.row_letters(n), p = n - j, d = a_.dimension();
    if (p == 0) return DoRange<1>(n, 0, 0, 1);
    plan_.ForEachRange(n, j, tile, tiles, [&](int64_t begin, int64_t end) {
      int64_t first = 0;
      for (; first + 4 <= d; first += 4) DoRange<4>(n, first, begin, end);
      if (first + 2 <= d) {
        DoRange<2>(n, first, begin, end);
        first += 2;
      }
      if (first < d) DoRange<1>(n, first, begin, end);
    });
  }

  // Rows begin..end behind kRows first letters from `first` on.
  template <int kRows>
  void DoRange(int64_t n, int64_t first, int64_t begin, int64_t end) {
    const int64_t j = plan_.row_letters(n), p = n - j, row = a_.size(j);
    const int64_t rest = p > 0 ? a_.size(p - 1) : 1;
    int splits = 0;
    for (int64_t k = 1; k <= p; ++k)
      for (int x = 0; x < job_.products; ++x) {
        const int64_t words = a_.size(p - k), apart = a_.size(k - 1);
        const int64_t u = begin == 0 ? 0 : begin / words, w = begin - u * words;
        const T* const right = right_[x] + a_.offset(n - k);
        splits_[splits++] = {left_[x] + a_.offset(k) + first * apart + u, apart,
                             right + w * row, right, right + a_.size(n - k)};
      }
    for (int64_t w = begin; w < end; ++w) {
      for (int64_t i = 1; i < j; ++i)
        for (int x = 0; x < job_.products; ++x)
          for (int64_t r = 0; r < kRows; ++r)
            TailOf(x, i).left[r] =
                Behind(x, n - i, (first + r) * rest + w, j - i, (i - 1) * kRows + r);
      DoRows<kRows>(a_.offset(n) + (first * rest + w) * row, rest * row, row, splits,
                    (j - 1) * job_.products, w + 1 < end);
      for (int s = 0; s < splits; ++s) splits_[s].Advance(row);
    }
  }

  // The d^letters entries of a level of left that lie behind the word w; if a vector that
  // begins with the last of them might end outside of left, a copy of them.
  const T* Behind(int x, int64_t level, int64_t w, int64_t letters, int64_t copy) {
    const int64_t size = a_.size(letters), at = a_.offset(level) + w * size;
    const T* const from = left_[x] + at;
    if (at + size + W <= a_.offset(a_.degree())) return from;
    T* const to = copies_ + (copy * job_.products + x) * plan_.behind_scratch();
    for (int64_t i = 0; i < size; ++i) to[i] = from[i];
    return to;
  }

  // Rows of which the first begins at `at`. `more`: whether each is followed by one that is
  // still to be done, or done again.
  template <int kRows>
  void DoRows(int64_t at, int64_t apart, int64_t row, int splits, int64_t tails,
              bool more) const {
    const int64_t vectors = row / W;
    int64_t v = 0;
    DoWhole<kRows, 8 / kRows>(at, apart, v, vectors, row, splits, tails);
    if (v * W < row) DoVectors<kRows, 1, true>(at, apart, v, row, splits, tails, more);
  }

  // Vectors v, v + 1, ... of each row that are whole, so many at a time and then fewer.
  template <int kRows, int kVectors>
  JAX_SIGLIB_INLINE void DoWhole(int64_t at, int64_t apart, int64_t& v, int64_t vectors,
                                 int64_t row, int splits, int64_t tails) const {
    for (; v + kVectors <= vectors; v += kVectors)
      DoVectors<kRows, kVectors, false>(at, apart, v, row, splits, tails, false);
    if constexpr (kVectors > 1)
      DoWhole<kRows, kVectors / 2>(at, apart, v, vectors, row, splits, tails);
  }

  // Vectors v, v + 1, ... of each row.
  template <int kRows, int kVectors, bool kPartial>
  JAX_SIGLIB_INLINE void DoVectors(int64_t at, int64_t apart, int64_t v, int64_t row,
                                   int splits, int64_t tails, bool more) const {
    const auto mask = Simd::FirstLanes(kPartial ? row - v * W : W);
    const auto load = [&](const T* p) JAX_SIGLIB_LAMBDA {
      return kPartial ? Simd::LoadFirst(p, mask) : Simd::Load(p);
    };
    V sum[kRows][kVectors];
    Unroll<0, kRows>([&](auto r) JAX_SIGLIB_LAMBDA {
      Unroll<0, kVectors>([&](auto c) JAX_SIGLIB_LAMBDA {
        const int64_t q = at + r.value * apart + (v + c.value) * W;
        sum[r.value][c.value] = Simd::Add(load(term_[0] + q), load(term_[1] + q));
      });
    });
    for (int s = 0; s < splits; ++s) {
      const Split<T>& split = splits_[s];
      const T* const from = split.right + v * W;
      V right[kVectors];
      Unroll<0, kVectors>(
          [&](auto c) JAX_SIGLIB_LAMBDA { right[c.value] = load(from + c.value * W); });
      Unroll<0, kRows>([&](auto r) JAX_SIGLIB_LAMBDA {
        const V left = Simd::Set1(split.left[r.value * split.apart]);
        Unroll<0, kVectors>([&](auto c) JAX_SIGLIB_LAMBDA {
          sum[r.value][c.value] = Simd::MulAdd(left, right[c.value], sum[r.value][c.value]);
        });
      });
    }
    for (int64_t t = 0; t < tails; ++t) {
      const Tail<T>& tail = tails_[t];
      Unroll<0, kVectors>([&](auto c) JAX_SIGLIB_LAMBDA {
        const auto place = tail.places[v + c.value];
        const V right = Simd::Load(tail.right + place.right);
        if (tail.even) {
          Unroll<0, kRows>([&](auto r) JAX_SIGLIB_LAMBDA {
            sum[r.value][c.value] = Simd::MulAdd(Simd::Set1(tail.left[r.value][place.left]),
                                                 right, sum[r.value][c.value]);
          });
        } else {
          const PermuteIndex<T>& spread = tail.spread[place.right];
          Unroll<0, kRows>([&](auto r) JAX_SIGLIB_LAMBDA {
            const V left =
                Simd::Permute(Simd::Load(tail.left[r.value] + place.left), spread);
            sum[r.value][c.value] = Simd::MulAdd(left, right, sum[r.value][c.value]);
          });
        }
      });
    }
    Unroll<0, kRows>([&](auto r) JAX_SIGLIB_LAMBDA {
      Unroll<0, kVectors>([&](auto c) JAX_SIGLIB_LAMBDA {
        T* const to = out_ + at + r.value * apart + (v + c.value) * W;
        if constexpr (!kPartial) {
          Simd::Store(to, sum[r.value][c.value]);
        } else if (more) {
          Simd::Store(to, Simd::Select(mask, sum[r.value][c.value], Simd::Load(to)));
        } else {
          Simd::StoreFirst(to, sum[r.value][c.value], mask);
        }
      });
    });
  }

  const CombineJob<T>& job_;
  const CombinePlan<T>& plan_;
  const TensorAlgebra& a_;
  Split<T>* splits_;
  Tail<T>* tails_;
  T* copies_;
  // Of the element that is being worked on.
  const T *term_[2], *left_[CombineJob<T>::kMostProducts],
      *right_[CombineJob<T>::kMostProducts];
  T* out_;
};

// Whether dimension and degree are the first of these, D and N, and all is done.
template <class T, int D, int... kDegrees>
bool DoStatic(const CombineJob<T>& job, int64_t begin, int64_t end) {
  const TensorAlgebra& a = job.plan.algebra();
  if (a.dimension() != D) return false;
  return ([&] {
    using Static = StaticCombine<T, D, kDegrees>;
    if constexpr (Static::kFits) {
      if (a.degree() != kDegrees) return false;
      for (int64_t b = begin; b < end; ++b) {
        T* const out = job.batch.At(job.out, b);
        Static::Do(job.batch.At(job.term[0], b), job.batch.At(job.term[1], b), out);
        if (job.scalar_term) out[-1] = job.scalar;
      }
      return true;
    }
    return false;
  }() || ...);
}

template <class T>
void SigCombineForward(const CombineJob<T>& job, JoinPhase phase, int64_t begin,
                       int64_t end, T* scratch) {
  if (phase == JoinPhase::kHead) return;
#if defined(__AVX2__)
  if (phase == JoinPhase::kWhole && job.products == 1 &&
      (DoStatic<T, 2, 3, 4, 5, 6>(job, begin, end) ||
       DoStatic<T, 3, 3, 4>(job, begin, end) || DoStatic<T, 4, 3>(job, begin, end) ||
       DoStatic<T, 5, 3>(job, begin, end) || DoStatic<T, 6, 3>(job, begin, end) ||
       DoStatic<T, 7, 3>(job, begin, end) || DoStatic<T, 8, 3>(job, begin, end)))
    return;
#endif
  CombineKernel<T> kernel(job, scratch);
  const int64_t tiles = phase == JoinPhase::kTile ? job.plan.tiles() : 1;
  for (int64_t i = begin; i < end; ++i) kernel.Element(i / tiles, phase, i % tiles);
}

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_SIG_COMBINE_KERNEL_H_
