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

class Words {
 public:
  struct Step {
    int32_t parent, letter;
  };
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
        by_range_(by_range) {}

  JAX_SIGLIB_KERNEL int32_t Count(int32_t k) const {
    return static_cast<int32_t>(range_ * levels_.Size(k - root_));
  }

  // Splits numbers of words that have `parents` parents between them.
  class Children {
   public:
    JAX_SIGLIB_KERNEL Children(const Words& words, int32_t parents)
        : prepend_(words.prepend_),
          by_(prepend_ ? Divisor(parents) : words.levels_.by_dimension()) {}

    JAX_SIGLIB_KERNEL Step Split(int32_t i) const {
      const Divisor::Parts parts = by_.Split(i);
      if (prepend_) return {parts.rest, parts.quotient};
      return {parts.quotient, parts.rest};
    }

   private:
    bool prepend_;
    Divisor by_;
  };

  JAX_SIGLIB_KERNEL int32_t Child(int32_t parent, int32_t letter, int32_t parents) const {
    return prepend_ ? letter * parents + parent : parent * levels_.dimension() + letter;
  }

  JAX_SIGLIB_KERNEL int64_t Place(int32_t k, int32_t i) const {
    const Places place_of(*this, k);
    return place_of.linear() ? place_of.At<true>(i) : place_of.At<false>(i);
  }

  // Places of words of one level, with all that is the same for them worked out.
  class Places {
   public:
    JAX_SIGLIB_KERNEL Places(const Words& words, int32_t k)
        : linear_(words.all_ || !words.prepend_),
          first_(words.all_       ? 0
                 : words.prepend_ ? words.first_
                                  : words.first_ * words.levels_.Size(k - words.root_)),
          piece_(words.levels_.Size(words.root_)),
          by_range_(words.by_range_) {}

    // Whether they lie side by side, like the words' numbers.
    JAX_SIGLIB_KERNEL bool linear() const { return linear_; }
    template <bool kLinear>
    JAX_SIGLIB_KERNEL int64_t At(int32_t i) const {
      if (kLinear) return first_ + i;
      const Divisor::Parts parts = by_range_.Split(i);
      return first_ + parts.quotient * piece_ + parts.rest;
    }

   private:
    bool linear_;
    int64_t first_;
    int64_t piece_;
    const Divisor& by_range_;
  };

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
  Divisor by_range_;
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_WORDS_H_
