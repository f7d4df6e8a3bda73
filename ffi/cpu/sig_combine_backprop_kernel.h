// The adjoint of left (x) right. For every level n of the cotangent g and every split of
// its words u x at k letters,
//
//   ct_left_k[u] += <g_n[u .], right_{n-k}>     ct_right_{n-k}[x] += <g_n[. x], left_k>
//
// A range of g that fits the first-level cache is read for all its splits before the next
// one. Splits in front of its rows (k < p) are long sums along them. At the row's first
// letter (k = p), W rows share one reading of the factor and one writing of its cotangent.
// Within the rows (k > p), W of them are laid side by side: an entry of them becomes one
// vector, and no arithmetic knows about lanes.
#ifndef JAX_SIGLIB_CPU_SIG_COMBINE_BACKPROP_KERNEL_H_
#define JAX_SIGLIB_CPU_SIG_COMBINE_BACKPROP_KERNEL_H_

#include <cstring>

#include "bundle_lanes.h"
#include "combine_job.h"
#include "kernels.h"
#include "simd.h"
#include "sum_lanes.h"
#include "unroll.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

template <class T>
class CombineAdjoint {
 public:
  using Simd = Vec<T>;
  using V = typename Simd::V;
  static constexpr int W = Simd::kLanes;

  CombineAdjoint(const CombineJob<T>& job, T* scratch)
      : job_(job), plan_(job.plan), a_(job.plan.algebra()) {
    const int64_t row = RowSize(), words = RowSize() / a_.dimension() + W;
    constexpr int64_t kVector = CombinePlan<T>::kVector;
    static_assert(sizeof(Front) <= 64);
    fronts_ = reinterpret_cast<Front*>(scratch);
    scratch += (a_.degree() + 1) * kVector;
    front_sums_ = scratch;
    scratch += (a_.degree() + 1) * kVector;
    rows_ = scratch;
    scratch += (row + kVector) * kVector;
    sums_ = scratch;
    scratch += (row + kVector) * kVector;
    left_lanes_ = scratch;
    scratch += words * kVector;
    ct_lanes_ = scratch;
    scratch += words * kVector;
    g_copy_ = scratch;
  }

  void Element(int64_t b, JoinPhase phase, int64_t tile) {
    const int64_t top = a_.degree(), lower = a_.offset(top);
    g_ = g_lower_ = job_.batch.At(job_.ct_out, b);
    left_ = job_.batch.At(job_.left[0], b);
    right_ = job_.batch.At(job_.right[0], b);
    ct_left_ = shared_left_ = job_.batch.At(job_.ct_left, b);
    ct_right_ = shared_right_ = job_.batch.At(job_.ct_right, b);
    T* const of_tiles = job_.shared + b * plan_.shared_scratch();
    if (phase == JoinPhase::kHead) {
      // What the lower levels of g are is asked for by the tail once more.
      if (ct_left_ == g_) std::memcpy(GOfTail(of_tiles), g_, lower * sizeof(T));
      return Begin(g_);
    }
    ClearSums();
    if (phase == JoinPhase::kTile) {
      T* const own = of_tiles + 2 * tile * plan_.tile_scratch();
      shared_left_ = own;
      shared_right_ = own + plan_.tile_scratch();
      std::fill_n(own, 2 * plan_.tile_scratch(), T(0));
      DoLevel(top, tile, plan_.tiles());
      return AddSums();
    }
    if (phase == JoinPhase::kTail) {
      if (ct_left_ == g_) g_lower_ = GOfTail(of_tiles);
      AddTiles(of_tiles);
    } else {
      if (ct_left_ == g_) {
        std::memcpy(g_copy_, g_, lower * sizeof(T));
        g_lower_ = g_copy_;
      }
      Begin(g_lower_);
      DoLevel(top, 0, 1);
    }
    for (int64_t n = top - 1; n >= 2; --n) DoLevel(n, 0, 1);
    AddSums();
    if (!job_.scalar_term) return;
    ct_left_[-1] = T(0);
    ct_right_[-1] = T(0);
  }

 private:
  // A split in front of the rows: the word of left that is being paired, its cotangent, and
  // how far into level n - k of right its rows have come.
  struct Front {
    const T* left;
    T* ct_left;
    const T* right;
    T* ct_right;
    int64_t at, size;
  };

  int64_t RowSize() const {
    return a_.size(std::min(plan_.adjoint_row_letters(), a_.degree()));
  }

  T* GOfTail(T* of_tiles) const {
    return of_tiles + plan_.shared_scratch() -
           CombinePlan<T>::Align(a_.offset(a_.degree()));
  }

  // What no product adds to: the levels of g itself.
  void Begin(const T* g) {
    const int64_t top = a_.degree(), lower = a_.offset(top);
    for (T* const to : {ct_left_, ct_right_}) {
      if (job_.has_terms) {
        if (to != g) std::memcpy(to, g, lower * sizeof(T));
      } else {
        std::fill_n(to, lower + (job_.top_level ? a_.size(top) : 0), T(0));
      }
    }
    // No product reaches further down.
    if (top == 1 && job_.has_terms)
      for (T* const to : {ct_left_, ct_right_})
        std::memmove(to, g_, a_.size(1) * sizeof(T));
  }

  void ClearSums() {
    for (int64_t i = 0; i < (RowSize() + W) * W; ++i) sums_[i] = T(0);
  }

  // The sums over the lanes for the short words, to where they belong.
  void AddSums() {
    const int64_t letters = plan_.adjoint_row_letters();
    for (int64_t i = 1; i < letters; ++i) {
      T* const to = CtRight(i);
      const T* const from = SumsOf(i);
      for (int64_t c = 0; c < a_.size(i); ++c) to[c] += SumLanes(Simd::Load(from + c * W));
    }
  }

  // Sums for words of i letters, a vector for each.
  T* SumsOf(int64_t i) const { return sums_ + a_.offset(i) * W; }

  void AddTiles(const T* of_tiles) {
    const int64_t size = a_.offset(std::min(plan_.shared_levels() + 1, a_.degree()));
    for (int64_t t = 0; t < plan_.tiles(); ++t) {
      const T* const own = of_tiles + 2 * t * plan_.tile_scratch();
      for (int64_t i = 0; i < size; ++i) {
        ct_left_[i] += own[i];
        ct_right_[i] += own[plan_.tile_scratch() + i];
      }
    }
  }

  // Where cotangents of a level are added up: of tiles, each its own below level N - 1.
  T* CtLeft(int64_t level) const { return Ct(level, shared_left_, ct_left_); }
  T* CtRight(int64_t level) const { return Ct(level, shared_right_, ct_right_); }
  T* Ct(int64_t level, T* shared, T* ct) const {
    return (level <= plan_.shared_levels() ? shared : ct) + a_.offset(level);
  }

  void DoLevel(int64_t n, int64_t tile, int64_t tiles) {
    if (n < 2) return;
    const int64_t j = plan_.adjoint_row_letters(n), p = n - j, row = a_.size(j);
    const bool is_top = n == a_.degree();
    const T* const g = (is_top ? g_ : g_lower_) + a_.offset(n);
    const bool copies = is_top && job_.has_terms;
    T* const to_left = ct_left_ + a_.offset(n);
    T* const to_right = ct_right_ + a_.offset(n);
    plan_.ForEachAdjointRange(n, j, tile, tiles, [&](int64_t begin, int64_t end) {
      InFront(g, n, p, row, begin, end);
      for (int64_t w = begin; w < end; w += W) {
        const int64_t count = std::min<int64_t>(W, end - w);
        if (j == 1) {
          Block(g + w * row, n, w, count);
        } else {
          SideBySide(g + w * row, n, j, w, count);
        }
      }
      if (!copies) return;
      const std::size_t bytes = (end - begin) * row * sizeof(T);
      if (to_left != g) std::memcpy(to_left + begin * row, g + begin * row, bytes);
      std::memcpy(to_right + begin * row, g + begin * row, bytes);
    });
  }

  // Splits at k < p letters, for rows begin..end of level n: along those behind a word of
  // p - 1 letters, everything goes on evenly.
  void InFront(const T* g, int64_t n, int64_t p, int64_t row, int64_t begin, int64_t end) {
    const int64_t d = a_.dimension();
    for (int64_t k = 1; k < p; ++k) {
      const int64_t words = a_.size(p - k), u = begin == 0 ? 0 : begin / words;
      fronts_[k] = {left_ + a_.offset(k) + u,  CtLeft(k) + u,
                    right_ + a_.offset(n - k), CtRight(n - k),
                    (begin - u * words) * row, a_.size(n - k)};
      Simd::Store(front_sums_ + k * W, Simd::Zero());
    }
    int64_t w = begin;
    for (int64_t next = begin - begin % d + d; p > 1 && w < end; next += d) {
      const int64_t until = std::min(next, end), length = (until - w) * row;
      for (int64_t k = 1; k < p; ++k) {
        Front& front = fronts_[k];
        T* const sum = front_sums_ + k * W;
        const V here = Pair(g + w * row, front.right + front.at, front.ct_right + front.at,
                            *front.left, length);
        Simd::Store(sum, Simd::Add(Simd::Load(sum), here));
        front.at += length;
        if (front.at < front.size && until < end) continue;
        *front.ct_left += SumLanes(Simd::Load(sum));
        Simd::Store(sum, Simd::Zero());
        if (front.at < front.size) continue;
        front.at = 0;
        ++front.left;
        ++front.ct_left;
      }
      w = until;
    }
  }

  // ct_right += left g; returns <g, right>, by lanes.
  static V Pair(const T* g, const T* right, T* ct_right, T left, int64_t n) {
    const V factor = Simd::Set1(left);
    V sum[2] = {Simd::Zero(), Simd::Zero()};
    int64_t i = 0;
    for (; i + 2 * W <= n; i += 2 * W)
      Unroll<0, 2>([&](auto c) JAX_SIGLIB_LAMBDA {
        const int64_t at = i + c.value * W;
        const V x = Simd::Load(g + at);
        sum[c.value] = Simd::MulAdd(x, Simd::Load(right + at), sum[c.value]);
        Simd::Store(ct_right + at, Simd::MulAdd(factor, x, Simd::Load(ct_right + at)));
      });
    for (; i < n; i += W) {
      const auto mask = Simd::FirstLanes(n - i);
      const V x = Simd::LoadFirst(g + i, mask);
      sum[0] = Simd::MulAdd(x, Simd::LoadFirst(right + i, mask), sum[0]);
      Simd::StoreFirst(ct_right + i,
                       Simd::MulAdd(factor, x, Simd::LoadFirst(ct_right + i, mask)), mask);
    }
    return Simd::Add(sum[0], sum[1]);
  }

  // Rows of one letter: the only split left is in front of it.
  void Block(const T* g, int64_t n, int64_t w, int64_t count) {
    const int64_t row = a_.dimension();
    const T* const left = left_ + a_.offset(n - 1) + w;
    const T* const right = right_;
    T* const ct_left = CtLeft(n - 1) + w;
    T* const ct_right = CtRight(1);
    if (count < W) {
      for (int64_t l = 0; l < count; ++l)
        ct_left[l] += SumLanes(Pair(g + l * row, right, ct_right, left[l], row));
      return;
    }
    V sum[W];
    Unroll<0, W>([&](auto l) JAX_SIGLIB_LAMBDA { sum[l.value] = Simd::Zero(); });
    for (int64_t i = 0; i < row; i += W) {
      const auto mask = Simd::FirstLanes(row - i);
      const V y = Simd::LoadFirst(right + i, mask);
      V ct[2] = {Simd::LoadFirst(ct_right + i, mask), Simd::Zero()};
      Unroll<0, W>([&](auto l) JAX_SIGLIB_LAMBDA {
        const V x = Simd::LoadFirst(g + l.value * row + i, mask);
        sum[l.value] = Simd::MulAdd(x, y, sum[l.value]);
        ct[l.value % 2] = Simd::MulAdd(Simd::Set1(left[l.value]), x, ct[l.value % 2]);
      });
      Simd::StoreFirst(ct_right + i, Simd::Add(ct[0], ct[1]), mask);
    }
    Simd::Store(ct_left, Simd::Add(Simd::Load(ct_left), SumEach<T, W>(sum)));
  }

  // `count` <= W rows of j letters, behind the words from w on.
  void SideBySide(const T* g, int64_t n, int64_t j, int64_t w, int64_t count) {
    const int64_t row = a_.size(j);
    {
      // Into lanes, and on the way the split in front of the row, for right's cotangent.
      T left[W];
      for (int64_t l = 0; l < W; ++l)
        left[l] = l < count ? left_[a_.offset(n - j) + w + l] : T(0);
      T* const ct_right = CtRight(j);
      for (int64_t i = 0; i < row; i += W) {
        const auto mask = Simd::FirstLanes(row - i);
        V x[W];
        Unroll<0, W>([&](auto l) JAX_SIGLIB_LAMBDA {
          x[l.value] =
              l.value < count ? Simd::LoadFirst(g + l.value * row + i, mask) : Simd::Zero();
        });
        V ct[2] = {Simd::LoadFirst(ct_right + i, mask), Simd::Zero()};
        Unroll<0, W>([&](auto l) JAX_SIGLIB_LAMBDA {
          ct[l.value % 2] =
              Simd::MulAdd(Simd::Set1(left[l.value]), x[l.value], ct[l.value % 2]);
        });
        const V sum = Simd::Add(ct[0], ct[1]);
        if (i + W <= row) {
          Simd::Store(ct_right + i, sum);
        } else {
          Simd::StoreFirst(ct_right + i, sum, mask);
        }
        Deinterleave<T, W>(x);
        Unroll<0, W>([&](auto c) JAX_SIGLIB_LAMBDA {
          Simd::Store(rows_ + (i + c.value) * W, x[c.value]);
        });
      }
    }
    T* const ct_left = CtLeft(n - j) + w;
    Contract(1, row, right_ + a_.offset(j));
    for (int64_t l = 0; l < count; ++l) ct_left[l] += ct_lanes_[l];
    for (int64_t i = 1; i < j; ++i) {
      const int64_t words = a_.size(j - i), at = a_.offset(n - i) + w * words;
      ToLanes<T>(words, left_lanes_, [&](int l, int64_t r, int64_t left) JAX_SIGLIB_LAMBDA {
        return l < count ? LoadRow<T>(left_ + at + l * words + r, left) : Simd::Zero();
      });
      Accumulate(words, a_.size(i), SumsOf(i));
      Contract(words, a_.size(i), right_ + a_.offset(i));
      AddLanes(words, CtLeft(n - i) + w * words, count);
    }
  }

  // ct_lanes_[r] = sum of rows_[r, c] right[c], for r < words, c < size.
  void Contract(int64_t words, int64_t size, const T* right) const {
    int64_t r = 0;
    for (; r + 4 <= words; r += 4) {
      V sum[4];
      Unroll<0, 4>([&](auto u) JAX_SIGLIB_LAMBDA { sum[u.value] = Simd::Zero(); });
      const T* const from = rows_ + r * size * W;
      for (int64_t c = 0; c < size; ++c) {
        const V y = Simd::Set1(right[c]);
        Unroll<0, 4>([&](auto u) JAX_SIGLIB_LAMBDA {
          sum[u.value] =
              Simd::MulAdd(Simd::Load(from + (u.value * size + c) * W), y, sum[u.value]);
        });
      }
      Unroll<0, 4>([&](auto u) JAX_SIGLIB_LAMBDA {
        Simd::Store(ct_lanes_ + (r + u.value) * W, sum[u.value]);
      });
    }
    for (; r < words; ++r) {
      V sum[4];
      Unroll<0, 4>([&](auto u) JAX_SIGLIB_LAMBDA { sum[u.value] = Simd::Zero(); });
      const T* const from = rows_ + r * size * W;
      int64_t c = 0;
      for (; c + 4 <= size; c += 4)
        Unroll<0, 4>([&](auto u) JAX_SIGLIB_LAMBDA {
          sum[u.value] = Simd::MulAdd(Simd::Load(from + (c + u.value) * W),
                                      Simd::Set1(right[c + u.value]), sum[u.value]);
        });
      for (; c < size; ++c)
        sum[0] = Simd::MulAdd(Simd::Load(from + c * W), Simd::Set1(right[c]), sum[0]);
      Simd::Store(ct_lanes_ + r * W,
                  Simd::Add(Simd::Add(sum[0], sum[1]), Simd::Add(sum[2], sum[3])));
    }
  }

  // sums[c] += sum of left_lanes_[r] rows_[r, c], for r < words, c < size.
  void Accumulate(int64_t words, int64_t size, T* sums) const {
    int64_t c = 0;
    for (; c + 4 <= size; c += 4) AccumulateSome<4>(words, size, c, sums);
    for (; c < size; ++c) AccumulateSome<1>(words, size, c, sums);
  }

  template <int kCount>
  JAX_SIGLIB_INLINE void AccumulateSome(int64_t words, int64_t size, int64_t c,
                                        T* sums) const {
    V sum[kCount];
    Unroll<0, kCount>([&](auto u) JAX_SIGLIB_LAMBDA {
      sum[u.value] = Simd::Load(sums + (c + u.value) * W);
    });
    for (int64_t r = 0; r < words; ++r) {
      const V x = Simd::Load(left_lanes_ + r * W);
      const T* const from = rows_ + (r * size + c) * W;
      Unroll<0, kCount>([&](auto u) JAX_SIGLIB_LAMBDA {
        sum[u.value] = Simd::MulAdd(x, Simd::Load(from + u.value * W), sum[u.value]);
      });
    }
    Unroll<0, kCount>([&](auto u) JAX_SIGLIB_LAMBDA {
      Simd::Store(sums + (c + u.value) * W, sum[u.value]);
    });
  }

  // Adds ct_lanes_ to `count` rows of `words` entries.
  void AddLanes(int64_t words, T* to, int64_t count) const {
    int64_t r = 0;
    for (; r + W <= words; r += W) {
      V x[W];
      Unroll<0, W>([&](auto c) JAX_SIGLIB_LAMBDA {
        x[c.value] = Simd::Load(ct_lanes_ + (r + c.value) * W);
      });
      Deinterleave<T, W>(x);
      Unroll<0, W>([&](auto l) JAX_SIGLIB_LAMBDA {
        T* const at = to + l.value * words + r;
        if (l.value < count) Simd::Store(at, Simd::Add(Simd::Load(at), x[l.value]));
      });
    }
    // Too few for a vector.
    for (; r < words; ++r)
      for (int64_t l = 0; l < count; ++l) to[l * words + r] += ct_lanes_[r * W + l];
  }

  static T SumLanes(V x) {
    T lanes[W];
    Simd::Store(lanes, x);
    for (int half = W / 2; half > 0; half /= 2)
      for (int l = 0; l < half; ++l) lanes[l] += lanes[l + half];
    return lanes[0];
  }

  const CombineJob<T>& job_;
  const CombinePlan<T>& plan_;
  const TensorAlgebra& a_;
  Front* fronts_;
  T* front_sums_;
  T* rows_;        // rows side by side, a vector for each entry
  T* sums_;        // likewise, for each word shorter than a row
  T* left_lanes_;  // likewise, for each word of left within the rows
  T* ct_lanes_;
  T* g_copy_;
  // Of the element that is being worked on.
  const T *g_, *g_lower_, *left_, *right_;
  T *ct_left_, *ct_right_, *shared_left_, *shared_right_;
};

template <class T>
void SigCombineAdjoint(const CombineJob<T>& job, JoinPhase phase, int64_t begin,
                       int64_t end, T* scratch) {
  CombineAdjoint<T> kernel(job, scratch);
  const int64_t tiles = phase == JoinPhase::kTile ? job.plan.tiles() : 1;
  for (int64_t i = begin; i < end; ++i) kernel.Element(i / tiles, phase, i % tiles);
}

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_SIG_COMBINE_BACKPROP_KERNEL_H_
