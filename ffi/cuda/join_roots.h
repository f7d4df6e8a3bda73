// sig_join and its adjoint of small signatures, many in a block: whole signatures are read
// and written as they lie in memory; in between a thread has a word, its root, and all that
// begins with it (join_subtree.h). What it needs of the levels below, the path to the root,
// each thread works out by itself.
#ifndef JAX_SIGLIB_CUDA_JOIN_ROOTS_H_
#define JAX_SIGLIB_CUDA_JOIN_ROOTS_H_

#include <cstdint>
#include <type_traits>

#include "join_job.h"
#include "join_subtree.h"
#include "roots_plan.h"
#include "roots_share.h"
#include "storage.h"

namespace jax_siglib {
namespace cuda {

template <class S, bool kAdjoint, int kD, int kDepth, bool kPrepend, class Block>
class JoinOfRoots {
 public:
  using T = typename Computed<S>::Type;

  // The elements from number `first` on that are this block's.
  JAX_SIGLIB_KERNEL JoinOfRoots(const Block& block, const JoinJob& job, int64_t first,
                                T* workspace)
      : block_(block),
        job_(job),
        levels_(job.levels),
        first_(first),
        elements_(static_cast<int32_t>(job.batch - first < job.stage.elements
                                           ? job.batch - first
                                           : job.stage.elements)),
        root_(job.stage.root),
        roots_(job.stage.crew),
        scalar_(job.scalar_term ? 1 : 0),
        rows_(workspace),
        v_(workspace + job.at.own),
        lower_(workspace + job.at.path),
        sums_(workspace + job.at.sums) {}

  JAX_SIGLIB_KERNEL void Run() const {
    block_.ForEach(kThreadsOfRoots, [&](int32_t t) {
      const Share share(job_, first_, elements_, t);
      share.template Bring<S>(kAdjoint ? job_.ct_out : job_.sig, Whole(), rows_);
      share.template Bring<S>(job_.sig, Beside(), lower_);
      ForRoot(t, [&](int32_t e, int32_t w) { BringLetters(e, w); });
    });
    block_.ForEach(kThreadsOfRoots, [&](int32_t t) {
      ForRoot(t, [&](int32_t e, int32_t w) {
        if (kAdjoint)
          GoBack(e, w);
        else
          Go(e, w);
        if (scalar_ == 1 && w == 0) *Entry(e, 0, 0) = T(kAdjoint ? 0 : 1);
      });
    });
    if (kAdjoint && (root_ > 1 || Grouped())) {
      block_.ForEach(kThreadsOfRoots, [&](int32_t t) {
        ForRoot(t, [&](int32_t e, int32_t w) { AddUp(e, w); });
      });
    }
    block_.ForEach(kThreadsOfRoots, [&](int32_t t) {
      Share(job_, first_, elements_, t)
          .template TakeAway<S>(rows_, InPlace() ? Lower() : Whole(), job_.out);
      if (kAdjoint) ForRoot(t, [&](int32_t e, int32_t w) { TakeLettersAway(e, w); });
    });
  }

 private:
  static constexpr int kMost = MostRoot(kD, kDepth);
  static constexpr int kPath = kMost > 0 ? kMost : 1;
  using Share = RootsShare<T, kD, kDepth, kPrepend>;
  using Rows = typename Share::Rows;
  static constexpr bool kGaps = Share::kGaps;
  using Letters = JoinLetters<T, kD>;
  using Subtree = JoinSubtree<T, kD, kDepth, kPrepend, Share::kGap>;

  JAX_SIGLIB_KERNEL static constexpr RootsLayout Layout() { return Share::Layout(); }

  // The path from a root down: m letters less, its word, of level r - m, the letter that
  // was added to reach it, and S and v there.
  struct Path {
    int32_t word[kPath], letter[kPath];
    T s[kPath], v[kPath];
  };

  JAX_SIGLIB_KERNEL static constexpr T Inverse(int c) { return T(1) / T(c); }

  // f(element, root) of thread t, if it has one.
  template <class F>
  JAX_SIGLIB_KERNEL void ForRoot(int32_t t, F&& f) const {
    if (t >= elements_ * roots_) return;
    const auto at = job_.by_crew.Split(t);
    f(at.quotient, at.rest);
  }

  // f(r) with the roots' level as a constant.
  template <int kRoot = 0, class F>
  JAX_SIGLIB_KERNEL void WithRoot(F&& f) const {
    if constexpr (kRoot < kMost) {
      if (root_ != kRoot) return WithRoot<kRoot + 1>(f);
    }
    f(std::integral_constant<int, kRoot>());
  }

  JAX_SIGLIB_KERNEL int32_t Size(int32_t k) const {
    return static_cast<int32_t>(levels_.Size(k));
  }
  JAX_SIGLIB_KERNEL int32_t Offset(int32_t k) const {
    return static_cast<int32_t>(levels_.Offset(k));
  }

  // The number of level 1's first entry, of signatures and of what there is of S beside
  // them.
  JAX_SIGLIB_KERNEL int32_t FirstOfWhole() const { return kGaps ? Layout().lead : scalar_; }
  JAX_SIGLIB_KERNEL static constexpr int32_t FirstBeside() { return Layout().lead; }

  // Of signatures, of what there is of S beside them, and of the same levels of signatures.
  JAX_SIGLIB_KERNEL Rows Whole() const {
    const int32_t length = Offset(levels_.degree() + 1);
    return {length + scalar_, scalar_, Layout().Pitch(length, scalar_, roots_),
            FirstOfWhole() - scalar_, job_.by_whole};
  }
  JAX_SIGLIB_KERNEL Rows Beside() const {
    const int32_t length = Offset(LevelsBeside(kAdjoint, levels_.degree(), root_) + 1);
    return {length, 0, Layout().Pitch(length, 0, roots_), FirstBeside(), job_.by_beside};
  }
  JAX_SIGLIB_KERNEL Rows Lower() const {
    return {Beside().count, 0, Whole().pitch, FirstOfWhole(), job_.by_beside};
  }
  JAX_SIGLIB_KERNEL T* Entry(int32_t e, int32_t k, int32_t word) const {
    return rows_ + Whole().Place(e, scalar_ + Offset(k) + word);
  }
  JAX_SIGLIB_KERNEL const T* V(int32_t e) const { return v_ + e * levels_.dimension(); }

  // -- from memory, and to it

  // Whether the result is the cotangent's own array, where level N is already.
  JAX_SIGLIB_KERNEL bool InPlace() const {
    return kAdjoint && job_.out.data == job_.ct_out.data;
  }
  JAX_SIGLIB_KERNEL void BringLetters(int32_t e, int32_t w) const {
    const S* const v = job_.displacement.At<const S>(job_.lead, first_ + e);
    T* const to = v_ + e * levels_.dimension();
    JAX_SIGLIB_ROLLED
    for (int32_t j = w; j < levels_.dimension(); j += roots_) to[j] = Load(v, j);
  }
  JAX_SIGLIB_KERNEL void TakeLettersAway(int32_t e, int32_t w) const {
    if (InPlace() && scalar_ == 1 && w == 0)
      Store(job_.out.At<S>(job_.lead, first_ + e), -1, T(0));
    S* const ct_v = job_.ct_displacement.At<S>(job_.lead, first_ + e);
    const int32_t d = levels_.dimension();
    JAX_SIGLIB_ROLLED
    for (int32_t j = w; j < d; j += roots_) {
      const T* const found = Grouped() ? OfGroups(e) : OfLetters(e, 0);
      const int32_t apart = Grouped() ? d : d | 1;
      T sum = 0;
      JAX_SIGLIB_UNROLLED
      for (int32_t i = 0; i < job_.stage.groups; ++i) sum += found[i * apart + j];
      Store(ct_v, j, sum);
    }
  }

  // -- the path

  // Of a root of level kRoot, the path down.
  template <int kRoot>
  JAX_SIGLIB_KERNEL void Follow(int32_t e, int32_t w, Path& path) const {
    const int32_t d = levels_.dimension();
    JAX_SIGLIB_IN_FULL
    for (int m = 0; m < kRoot; ++m) {
      const int32_t word = w;
      int32_t letter = 0;
      if constexpr (!kPrepend) {
        w = kD > 0 ? w / (kD > 0 ? kD : 1) : levels_.by_dimension().Split(w).quotient;
        letter = word - w * d;
      } else {
        const int32_t size = Size(kRoot - m - 1);
        if constexpr (kD > 0) {
          JAX_SIGLIB_IN_FULL
          for (int j = 1; j < kD; ++j) letter += w >= j * size ? 1 : 0;
        } else {
          letter = w / size;
        }
        w -= letter * size;
      }
      path.word[m] = word;
      path.letter[m] = letter;
      path.s[m] = lower_[Beside().Place(e, Offset(kRoot - m) + word)];
      path.v[m] = V(e)[letter];
    }
  }

  // The chain of level r + q at level r, or of its own end, if that lies below.
  template <int kRoot>
  JAX_SIGLIB_KERNEL static T Chain(const Path& path, int q) {
    T b = 1;
    JAX_SIGLIB_IN_FULL
    for (int m = kRoot - 1; m >= (q < 0 ? -q : 0); --m)
      b = path.s[m] + b * (path.v[m] * Inverse(q + m + 1));
    return b;
  }

  // And chain c of the subtree.
  template <int kRoot>
  JAX_SIGLIB_KERNEL static T ToSubtree(const Path& path, int c) {
    return Chain<kRoot>(path, c + 1) * Subtree::OverFactorial(c + 1);
  }

  // Whether, of all roots that are the same word with m letters less, w is the first one:
  // it is the one that sees to what lies there.
  JAX_SIGLIB_KERNEL bool IsFirst(int m, int32_t word, int32_t w) const {
    return kPrepend ? w == word : w == word * Size(m);
  }

  // Where the root's subtree begins.
  JAX_SIGLIB_KERNEL void Begin(Subtree& subtree, int32_t e, int32_t w) const {
    JAX_SIGLIB_IN_FULL
    for (int k = 0; k < kDepth; ++k) {
      const int32_t i = Offset(root_ + k + 1) + (kPrepend ? w : w * Size(k + 1));
      subtree.at[k] = Whole().Place(e, scalar_ + i);
    }
  }

  // -- there

  JAX_SIGLIB_KERNEL void Go(int32_t e, int32_t w) const {
    T b[kDepth];
    WithRoot([&](auto root) {
      constexpr int kRoot = decltype(root)::value;
      Path path;
      Follow<kRoot>(e, w, path);
      JAX_SIGLIB_IN_FULL
      for (int m = 0; m < kRoot; ++m)
        if (IsFirst(m, path.word[m], w))
          *Entry(e, kRoot - m, path.word[m]) = Chain<kRoot>(path, -m);
      JAX_SIGLIB_IN_FULL
      for (int c = 0; c < kDepth; ++c) b[c] = ToSubtree<kRoot>(path, c);
    });
    Letters letters(levels_.dimension(), V(e), nullptr);
    Subtree subtree(letters, roots_);
    subtree.s = rows_;
    Begin(subtree, e, w);
    subtree.template Go<0>(0, b);
  }

  // -- back

  // What an element's roots have found: for the levels below theirs, r - 1 of them; each
  // for ct_v; and of that, if roots are many, the sums of each group.
  JAX_SIGLIB_KERNEL bool Grouped() const { return job_.stage.groups < roots_; }
  JAX_SIGLIB_KERNEL T* Found(int32_t e) const { return sums_ + e * job_.at.apart; }
  JAX_SIGLIB_KERNEL T* OfLetters(int32_t e, int32_t w) const {
    return Found(e) + (root_ > 1 ? root_ - 1 : 0) * roots_ + w * (levels_.dimension() | 1);
  }
  JAX_SIGLIB_KERNEL T* OfGroups(int32_t e) const { return OfLetters(e, roots_); }

  JAX_SIGLIB_KERNEL void GoBack(int32_t e, int32_t w) const {
    Letters letters(levels_.dimension(), V(e), OfLetters(e, w));
    Path path;
    T b[kDepth], y[kDepth];
    WithRoot([&](auto root) {
      constexpr int kRoot = decltype(root)::value;
      Follow<kRoot>(e, w, path);
      JAX_SIGLIB_IN_FULL
      for (int c = 0; c < kDepth; ++c) b[c] = ToSubtree<kRoot>(path, c);
    });
    Subtree subtree(letters, roots_);
    subtree.g = rows_;
    // As far from a level to the next as in signatures.
    subtree.s = lower_ + (Beside().Place(e, 0) - Whole().Place(e, scalar_));
    Begin(subtree, e, w);
    subtree.template GoBack<0>(0, b, y);
    WithRoot([&](auto root) { Return<decltype(root)::value>(e, w, path, y, letters); });
    letters.PutDown();
  }

  // From the root down to level 0, with the cotangents of its chains.
  template <int kRoot>
  JAX_SIGLIB_KERNEL void Return(int32_t e, int32_t w, const Path& path,
                                const T (&y)[kDepth], Letters& letters) const {
    T ct[kPath], ct_v[kPath];
    JAX_SIGLIB_IN_FULL
    for (int m = 0; m < kRoot; ++m) ct[m] = ct_v[m] = 0;
    JAX_SIGLIB_IN_FULL
    for (int c = 0; c < kDepth; ++c)
      ReturnOf<kRoot>(path, c + 1, y[c] * Subtree::OverFactorial(c + 1), ct, ct_v);
    JAX_SIGLIB_IN_FULL
    for (int m = 0; m < kRoot; ++m)
      if (IsFirst(m, path.word[m], w))
        ReturnOf<kRoot>(path, -m, *Entry(e, kRoot - m, path.word[m]), ct, ct_v);
    JAX_SIGLIB_IN_FULL
    for (int m = 0; m < kRoot; ++m) {
      letters.template Add<false>(path.letter[m], ct_v[m]);
      // A root's word is its own; others it shares.
      if (m == 0)
        *Entry(e, kRoot, w) = ct[0];
      else
        Found(e)[(m - 1) * roots_ + w] = ct[m];
    }
  }

  // The adjoint of Chain.
  template <int kRoot>
  JAX_SIGLIB_KERNEL static void ReturnOf(const Path& path, int q, T z, T (&ct)[kPath],
                                         T (&ct_v)[kPath]) {
    const int end = q < 0 ? -q : 0;
    T below[kPath], b = 1;
    JAX_SIGLIB_IN_FULL
    for (int m = kRoot - 1; m >= end; --m) {
      below[m] = b;
      b = path.s[m] + b * (path.v[m] * Inverse(q + m + 1));
    }
    JAX_SIGLIB_IN_FULL
    for (int m = end; m < kRoot; ++m) {
      ct[m] += z;
      z *= Inverse(q + m + 1);
      ct_v[m] += below[m] * z;
      z *= path.v[m];
    }
  }

  // What the roots have found, for the words of levels below theirs, and for ct_v by
  // groups.
  JAX_SIGLIB_KERNEL void AddUp(int32_t e, int32_t w) const {
    const int32_t d = levels_.dimension(), groups = job_.stage.groups;
    const int32_t lower = root_ > 1 ? Offset(root_) : 0;
    JAX_SIGLIB_ROLLED
    for (int32_t i = w; i < lower; i += roots_) {
      int32_t k = 1;
      JAX_SIGLIB_ROLLED
      while (i >= Offset(k + 1)) ++k;
      const int32_t word = i - Offset(k), above = Size(root_ - k);
      const int32_t apart = kPrepend ? Size(k) : 1;
      const T* const found =
          Found(e) + (root_ - k - 1) * roots_ + (kPrepend ? word : word * above);
      T sum = 0;
      JAX_SIGLIB_UNROLLED
      for (int32_t j = 0; j < above; ++j) sum += found[j * apart];
      rows_[Whole().Place(e, scalar_ + i)] = sum;
    }
    JAX_SIGLIB_ROLLED
    for (int32_t i = w; Grouped() && i < groups * d; i += roots_) {
      const auto at = levels_.by_dimension().Split(i);
      T sum = 0;
      JAX_SIGLIB_UNROLLED
      for (int32_t j = at.quotient; j < roots_; j += groups)
        sum += OfLetters(e, j)[at.rest];
      OfGroups(e)[i] = sum;
    }
  }

  const Block& block_;
  const JoinJob& job_;
  const Levels& levels_;
  int64_t first_;
  int32_t elements_, root_, roots_, scalar_;
  T *rows_, *v_, *lower_, *sums_;
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_JOIN_ROOTS_H_
