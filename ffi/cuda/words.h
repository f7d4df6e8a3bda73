// The words that a block works on: all those above a range of words of a root level.
// Letters are added at the end of a word (appending a segment) or in front of it, so these
// are the words that begin, or end, with one of the range's. A Horner chain never leaves
// them.
//
// A level's words are counted twice: by their number among the block's, which is where
// chains and scratch are indexed, and by their place in the level. Either way, of appended
// letters the last, of prepended ones the first runs over d neighbours, or d distant ones:
//
//               number of the child of `parent` by `letter`       place of number i
//   appending   parent * d + letter                               first * d^(k - root) + i
//   prepending  letter * (number of parents) + parent             i / range * d^root
//                                                                   + first + i % range
#ifndef JAX_SIGLIB_CUDA_WORDS_H_
#define JAX_SIGLIB_CUDA_WORDS_H_

#include <cstdint>

#include "block.h"
#include "divisor.h"
#include "levels.h"

namespace jax_siglib {
namespace cuda {

// With kWhole they are known to be all words of all levels.
template <bool kWhole>
class Words {
 public:
  struct Ancestry {
    int64_t place;
    int32_t letter;
  };

  JAX_SIGLIB_KERNEL Words(const Levels& levels, bool prepend, int32_t root, int64_t first,
                          int32_t range, const Divisor& by_range)
      : levels_(levels),
        prepend_(prepend),
        all_(range == levels.Size(root)),
        root_(root),
        first_(first),
        range_(range),
        piece_(levels.Size(root)),
        by_range_(by_range) {}

  // Whether a level's places are side by side, like the words' numbers.
  JAX_SIGLIB_KERNEL bool linear() const { return kWhole || all_ || !prepend_; }

  JAX_SIGLIB_KERNEL int32_t Count(int32_t k) const {
    if (kWhole) return static_cast<int32_t>(levels_.Size(k));
    return range_ * static_cast<int32_t>(levels_.Size(k - root_));
  }
  // Of all levels from the root's up to k, without k.
  JAX_SIGLIB_KERNEL int32_t CountBelow(int32_t k) const {
    if (kWhole) return static_cast<int32_t>(levels_.Offset(k) + 1);
    return range_ * static_cast<int32_t>(levels_.Offset(k - root_) + 1);
  }

  // Numbers of the children of so many parents.
  struct Children {
    int32_t by_parent, by_letter;
    JAX_SIGLIB_KERNEL int32_t At(int32_t parent, int32_t letter) const {
      return parent * by_parent + letter * by_letter;
    }
  };
  JAX_SIGLIB_KERNEL Children ChildrenOf(int32_t parents) const {
    if (prepend_) return {1, parents};
    return {levels_.dimension(), 1};
  }

  // Places in a level, in two parts: one for all its words, one for each of their numbers.
  JAX_SIGLIB_KERNEL int64_t FirstPlace(int32_t k) const {
    if (kWhole) return 0;
    return prepend_ ? first_ : first_ * levels_.Size(k - root_);
  }
  // With kLinear, which is known to hold, the second is the number.
  template <bool kLinear>
  JAX_SIGLIB_KERNEL auto PlaceFromFirst(int32_t i) const {
    if constexpr (kLinear) {
      return i;
    } else {
      if (linear()) return int64_t{i};
      const Divisor::Parts parts = by_range_.Split(i);
      return parts.quotient * piece_ + parts.rest;
    }
  }

  // How the root's word at `place` came to its letters: the place of its first k ones (in
  // the order of their addition) and the letter added last.
  JAX_SIGLIB_KERNEL Ancestry Ancestor(int64_t place, int32_t k) const {
    if (prepend_) {
      const int64_t ancestor = place % levels_.Size(k);
      return {ancestor, static_cast<int32_t>(ancestor / levels_.Size(k - 1))};
    }
    const int64_t ancestor = place / levels_.Size(root_ - k);
    return {ancestor, static_cast<int32_t>(ancestor % levels_.dimension())};
  }

 private:
  const Levels& levels_;
  bool prepend_;
  bool all_;
  int32_t root_;
  int64_t first_;
  int32_t range_;
  int64_t piece_;
  Divisor by_range_;
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_WORDS_H_
