// How the work on signatures of one (dimension, degree) is cut up, and where its
// scratch lies. Nothing here depends on the instruction set, nor on the number of
// threads: the same cuts are made however many there are, so results do not depend on
// n_jobs to the last bit.
//
// Small signatures are done whole. A large one is cut at a `split` level p: the head,
// levels 1..p, is a small signature; the rest falls into tiles, each all that lies
// above a range of words of level p. Appending, a tile's words begin with the range's
// words, prepending they end with them; a Horner chain never leaves its tile.
#ifndef JAX_SIGLIB_CPU_JOIN_PLAN_H_
#define JAX_SIGLIB_CPU_JOIN_PLAN_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "../tensor_algebra.h"

namespace jax_siglib {

// Whether appending in a dimension has kernels of its own (with_steps.h).
constexpr bool IsStaticDimension(int64_t d) {
  return (d >= 1 && d <= 10) || d == 12 || d == 16 || d == 20;
}

// A range of words of one level.
struct WordRange {
  int64_t begin;
  int64_t length;
};

// Where the chains of the levels from..to of a range lie. At level k there are N-k of
// them, one for each n > k, in whole vectors of the widest instruction set.
template <class T>
class ChainLayout {
 public:
  static constexpr int64_t kVector = 64 / sizeof(T);

  ChainLayout(const TensorAlgebra& algebra, int64_t from, int64_t to, int64_t length)
      : from_(from), offset_(to >= from ? to - from + 1 : 0), stride_(offset_.size()) {
    for (int64_t k = from; k <= to; ++k) {
      const int64_t rows = length * algebra.size(k - from);
      // One vector more than needed, for loads that start anywhere in a chain.
      stride_[k - from] = (rows + kVector - 1) / kVector * kVector;
      offset_[k - from] = total_;
      total_ += stride_[k - from] * (algebra.degree() - k) + kVector;
    }
  }

  int64_t offset(int64_t level) const { return offset_[level - from_]; }
  int64_t stride(int64_t level) const { return stride_[level - from_]; }
  int64_t total() const { return total_; }

 private:
  int64_t from_;
  int64_t total_ = 0;
  std::vector<int64_t> offset_;
  std::vector<int64_t> stride_;
};

template <class T>
class JoinPlan {
 public:
  JoinPlan(int64_t dimension, int64_t degree, bool prepend, bool may_split)
      : algebra_(dimension, degree),
        prepend_(prepend),
        split_(may_split ? ChooseSplit(algebra_, prepend) : 0),
        tile_words_(ChooseTileWords(algebra_, split_, prepend)),
        tiles_((algebra_.size(split_) + tile_words_ - 1) / tile_words_),
        head_(algebra_, 0, split_ == 0 ? -1 : split_, 1),
        tile_(algebra_, split_, degree - 1, tile_words_),
        inverse_(degree + 1) {
    for (int64_t c = 0; c <= degree; ++c) inverse_[c] = T(1) / static_cast<T>(c + 1);
  }

  const TensorAlgebra& algebra() const { return algebra_; }
  bool prepend() const { return prepend_; }
  bool is_split() const { return split_ > 0; }
  int64_t split() const { return split_; }
  int64_t tiles() const { return tiles_; }
  WordRange tile(int64_t i) const {
    const int64_t begin = i * tile_words_;
    return {begin, std::min(tile_words_, algebra_.size(split_) - begin)};
  }
  const ChainLayout<T>& head_chains() const { return head_; }
  const ChainLayout<T>& tile_chains() const { return tile_; }
  const T* inverse() const { return inverse_.data(); }

  // Entries of scratch for one worker: the chains up and their adjoint (or tangent)
  // counterpart, and the sums for the displacement. In a kernel of second order both have
  // tangents behind them.
  int64_t worker_scratch(int64_t order = 1) const {
    return 2 * order * tile_.total() + 2 * sum_scratch() + displacement_scratch();
  }
  // A vector for each entry of the displacement, and never too few for two copies of it.
  int64_t sum_scratch() const {
    return (algebra_.dimension() + 3) * ChainLayout<T>::kVector;
  }
  // Entries for a worker that folds a path: the above, two displacements, and the
  // residual and its cotangent; of second order, as many tangents of these.
  int64_t path_scratch(int64_t order = 1) const {
    return worker_scratch(order) +
           2 * order * (displacement_scratch() + residual_scratch());
  }
  int64_t displacement_scratch() const { return Align(algebra_.dimension()); }
  int64_t residual_scratch() const { return Align(algebra_.offset(algebra_.degree())); }
  // Entries of scratch that the tiles of one signature share: the head's chains, twice
  // as above, and each tile's share of the displacement's cotangent.
  int64_t shared_scratch(int64_t order = 1) const {
    if (!is_split()) return 0;
    return Align(2 * order * head_.total() + tiles_ * displacement_scratch());
  }

 private:
  // Entries of a tile, and of the largest signature that is not cut.
  static constexpr int64_t kTileEntries = (128 << 10) / sizeof(T);
  // Prepending, a tile is read and written in pieces as long as its range of words: four
  // pages of them, if there are enough to go round, and at most kPieces of them.
  static constexpr int64_t kLongestPiece = 16384 / sizeof(T);
  static constexpr int64_t kPrependTiles = 8;
  static constexpr int64_t kPieces = 128;

  static int64_t Align(int64_t entries) {
    constexpr int64_t kVector = ChainLayout<T>::kVector;
    return (entries + kVector - 1) / kVector * kVector;
  }

  static int64_t ChooseSplit(const TensorAlgebra& a, bool prepend) {
    const int64_t top = a.degree();
    if (top < 2 || a.length() <= kTileEntries) return 0;
    const bool fused = !prepend && IsStaticDimension(a.dimension());
    const int64_t highest = fused ? top - 2 : top - 1;
    int64_t p = 0;
    if (prepend) {
      while (p < highest &&
             (a.size(p) < kPrependTiles * kLongestPiece || a.size(top - p) > kPieces))
        ++p;
    } else {
      while (p < highest && a.size(top - p) > kTileEntries / ChainLayout<T>::kVector) ++p;
    }
    return p;
  }

  static int64_t ChooseTileWords(const TensorAlgebra& a, int64_t split, bool prepend) {
    if (split == 0) return 1;
    int64_t words;
    if (prepend) {
      words = std::min(kLongestPiece,
                       Align((a.size(split) + kPrependTiles - 1) / kPrependTiles));
    } else {
      constexpr int64_t kVector = ChainLayout<T>::kVector;
      const int64_t fit = kTileEntries / a.size(a.degree() - split);
      words = std::max(fit / kVector * kVector, kVector);
    }
    return std::min(a.size(split), words);
  }

  TensorAlgebra algebra_;
  bool prepend_;
  int64_t split_;
  int64_t tile_words_;
  int64_t tiles_;
  ChainLayout<T> head_;
  ChainLayout<T> tile_;
  std::vector<T> inverse_;
};

}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_JOIN_PLAN_H_
