// How the work on the product of two signatures is cut up, and how much scratch it takes.
// Nothing here depends on the number of threads: results do not depend on n_jobs to the
// last bit.
//
// Level n of S1 (x) S2 is a matrix of rows: its words of length p = n - j, and for each of
// them the words of j letters that follow it. A split of a word at k <= p letters pairs
// one number of S1 with a row of S2, so rows are what the inner loops run along; the
// splits within a row (k > p), the row's tails, are for the kernels to find a way through.
//
// Rows are taken a range at a time, small enough for the first-level cache. Where level
// n - 1 is large, the same range is done behind every first letter before the next one, so
// that what it needs of level n - 1 of S2 stays in the cache meanwhile.
#ifndef JAX_SIGLIB_CPU_COMBINE_PLAN_H_
#define JAX_SIGLIB_CPU_COMBINE_PLAN_H_

#include <algorithm>
#include <cstdint>

#include "../tensor_algebra.h"

namespace jax_siglib {

template <class T>
class CombinePlan {
 public:
  CombinePlan(int64_t dimension, int64_t degree, bool may_split)
      : algebra_(dimension, degree),
        row_(1),
        adjoint_row_(dimension >= 16  ? 1
                     : dimension >= 4 ? 2
                     : dimension == 3 ? 3
                                      : 4) {
    int64_t size = dimension;
    while (dimension > 1 && size < kRow) {
      size *= dimension;
      ++row_;
    }
    is_split_ = may_split && degree >= 2 && algebra_.length() > kWholeEntries;
  }

  const TensorAlgebra& algebra() const { return algebra_; }
  bool is_split() const { return is_split_; }
  int64_t tiles() const { return is_split_ ? kTiles : 1; }

  // Letters in a row of level n: of the product, at most row_letters(), and of its adjoint,
  // where rows side by side fill the lanes of a vector.
  int64_t row_letters() const { return row_; }
  int64_t row_letters(int64_t n) const { return std::min(row_, n); }
  int64_t adjoint_row_letters(int64_t n) const {
    // A level that is cut into tiles has two letters, or more, in front of its rows.
    const int64_t most = is_split_ ? std::max<int64_t>(n - 2, 1) : n - 1;
    int64_t j = std::min(adjoint_row_, most);
    while (j > 1 && algebra_.size(n - j) < kSideBySide) --j;
    return j;
  }
  // The most letters in a row of any level.
  int64_t adjoint_row_letters() const {
    return std::max<int64_t>(std::min(adjoint_row_, algebra_.degree() - 1), 1);
  }

  // f(begin, end) for ranges of the p - 1 letters of level n that stand between the first
  // letter and the last j = n - p: all of them, or those of a tile.
  template <class F>
  void ForEachRange(int64_t n, int64_t j, int64_t tile, int64_t tiles, F&& f) const {
    const int64_t words = algebra_.size(n - j - 1);
    int64_t begin = 0, end = words, step = words;
    if (tiles > 1) {
      begin = words * tile / tiles;
      end = words * (tile + 1) / tiles;
    }
    if (words * algebra_.size(j) > 2 * kRangeEntries) step = Fit(algebra_.size(j));
    for (; begin < end; begin += step) f(begin, std::min(begin + step, end));
  }

  // f(begin, end) for ranges of the words of length n - j, a range behind every first
  // letter in turn, or where that would be too little, across them.
  template <class F>
  void ForEachAdjointRange(int64_t n, int64_t j, int64_t tile, int64_t tiles, F&& f) const {
    const int64_t row = algebra_.size(j), words = algebra_.size(n - j), step = Fit(row);
    if (n - j == 1 || (tiles == 1 && algebra_.size(n - j - 1) <= step)) {
      const int64_t end = words * (tile + 1) / tiles;
      for (int64_t w = words * tile / tiles; w < end; w += step)
        f(w, std::min(w + step, end));
      return;
    }
    const int64_t rest = algebra_.size(n - j - 1);
    ForEachRange(n, j, tile, tiles, [&](int64_t begin, int64_t end) {
      for (int64_t first = 0; first < algebra_.dimension(); ++first)
        f(first * rest + begin, first * rest + end);
    });
  }

  // Entries of scratch for one worker.
  int64_t worker_scratch() const {
    // Splits in front of the rows and tails, at most 64 bytes each.
    int64_t entries = 4 * (algebra_.degree() + row_) * kVector;
    // For each tail a vector's lane numbers for every place in it, where each vector of a
    // row lies, and two copies of the factor.
    const int64_t letters = row_letters(algebra_.degree());
    const int64_t vectors = algebra_.size(letters) / kNarrowest + 1;
    for (int64_t i = 1; i < letters; ++i) {
      const int64_t size = algebra_.size(i);
      entries +=
          size * kVector + Align(vectors * kPlaceEntries) + 2 * Align(size + kVector);
      entries += 2 * kRowsTogether * behind_scratch();
    }
    return entries;
  }
  // Of which for the entries behind a row's word.
  int64_t behind_scratch() const {
    return Align(algebra_.size(row_letters(algebra_.degree()) - 1) + kVector);
  }
  int64_t adjoint_worker_scratch() const {
    const int64_t j = adjoint_row_letters(), degree = algebra_.degree();
    // In vectors: rows side by side; what they are contracted with, and the contraction;
    // sums for every word shorter than a row, and for every split in front of it, with
    // where that is.
    const int64_t vectors =
        2 * (Size(j) + kVector) + 2 * (Size(j - 1) + kVector) + 2 * (degree + 1);
    // And the lower levels of a cotangent that is written over.
    return vectors * kVector + Align(algebra_.offset(degree));
  }

  // What a tile adds to levels that it shares with other tiles, for each of the two
  // signatures: below N - 1, or where that is nothing, level 1.
  int64_t shared_levels() const { return std::max<int64_t>(algebra_.degree() - 2, 1); }
  int64_t tile_scratch() const { return Align(algebra_.offset(shared_levels() + 1)); }
  // The above for every tile, and the lower levels of a cotangent that is written over.
  int64_t shared_scratch() const {
    if (!is_split_) return 0;
    return 2 * kTiles * tile_scratch() + Align(algebra_.offset(algebra_.degree()));
  }

  static constexpr int64_t kVector = 64 / sizeof(T);  // the widest
  static constexpr int64_t kPlaceEntries = 8 / sizeof(T);
  static int64_t Align(int64_t entries) {
    return (entries + kVector - 1) / kVector * kVector;
  }

 private:
  static constexpr int64_t kTiles = 16;
  static constexpr int64_t kWholeEntries = (128 << 10) / sizeof(T);
  static constexpr int64_t kRangeEntries = 16384 / sizeof(T);
  static constexpr int64_t kRow = 64;
  static constexpr int64_t kRowsTogether = 4;
  static constexpr int64_t kSideBySide = 8;
  static constexpr int64_t kNarrowest = 16 / sizeof(T);

  // How many rows of so many entries are a range.
  static int64_t Fit(int64_t row) {
    int64_t rows = kSideBySide;
    while (2 * rows * row <= kRangeEntries) rows *= 2;
    return rows;
  }

  int64_t Size(int64_t k) const { return k <= algebra_.degree() ? algebra_.size(k) : 1; }

  TensorAlgebra algebra_;
  int64_t row_;
  int64_t adjoint_row_;
  bool is_split_;
};

}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_COMBINE_PLAN_H_
