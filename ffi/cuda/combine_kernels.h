// The kernels of the combine family, as bodies for any kind of block.
#ifndef JAX_SIGLIB_CUDA_COMBINE_KERNELS_H_
#define JAX_SIGLIB_CUDA_COMBINE_KERNELS_H_

#include <cstdint>

#include "combine_job.h"
#include "combine_stages.h"
#include "in_flight.h"
#include "items.h"
#include "storage.h"
#include "sums.h"

namespace jax_siglib {
namespace cuda {

// The word without its last letter.
JAX_SIGLIB_KERNEL int32_t Parent(const Levels& levels, int32_t word) {
  return levels.by_dimension().Split(word).quotient;
}
JAX_SIGLIB_KERNEL int64_t Parent(const Levels& levels, int64_t word) {
  if (word < kMostItems) return Parent(levels, static_cast<int32_t>(word));
  return word / levels.dimension();
}

// The word, of so many letters, written backwards.
JAX_SIGLIB_KERNEL int64_t Backwards(const Levels& levels, int64_t word, int64_t letters) {
  int64_t back = 0;
  for (int64_t i = 0; i < letters; ++i) {
    const int64_t parent = Parent(levels, word);
    back = back * levels.dimension() + (word - parent * levels.dimension());
    word = parent;
  }
  return back;
}

// f(first) for this block's tiles of a level: the numbers of their first words.
template <class F>
JAX_SIGLIB_KERNEL void ForTiles(const CombineStage& stage, int64_t number, int64_t words,
                                int64_t of_tile, F&& f) {
  for (int64_t first = number * of_tile; first < words; first += stage.blocks * of_tile)
    f(first);
}

// A sum of products, of levels from the top down: an entry is made of its own word's in
// the terms, and of lower levels, so that a result may be a term.
struct CombineForward {
  using Job = CombineJob;

  template <class S, class Block>
  static JAX_SIGLIB_KERNEL void Run(const Block& block, const CombineJob& job, void*) {
    using T = typename Computed<S>::Type;
    const CombineStage& stage = job.stage;
    const Levels& levels = job.levels;
    ForItems(block, job.batch * stage.blocks, [&](int64_t item) {
      const int64_t element = item / stage.blocks, number = item % stage.blocks;
      auto at_element = [&](const Pointer& pointer) {
        return pointer.template At<const S>(job.lead, element);
      };
      const S* const term[] = {at_element(job.term[0]), at_element(job.term[1])};
      const Factors<S> factors{at_element(job.left[0]), at_element(job.right[0])};
      const Factors<S> other_factors{at_element(job.left[1]), at_element(job.right[1])};
      S* const out = job.out.template At<S>(job.lead, element);
      for (int32_t n = stage.to; n >= stage.from; --n) {
        const int64_t words = levels.Size(n), at = levels.Offset(n);
        ForTiles(stage, number, words, kProductWords, [&](int64_t first) {
          block.ForEach(AtMost(words - first, kProductWords), [&](int32_t i) {
            const int64_t word = first + i;
            T sum = Product(levels, n, words, word, factors);
            if (job.products > 1) sum += Product(levels, n, words, word, other_factors);
            Store(out, at + word,
                  sum + (Load(term[0], at + word) + Load(term[1], at + word)));
          });
        });
      }
      if (job.scalar_term && stage.from <= 1 && number == 0)
        block.ForEach(1, [&](int32_t) { Store(out, -1, job.linear ? T(0) : T(1)); });
    });
  }

 private:
  template <class S>
  struct Factors {
    const S *left, *right;
  };

  // The entry of a product for a word of level n, which has so many.
  template <class S>
  static JAX_SIGLIB_KERNEL auto Product(const Levels& levels, int32_t n, int64_t words,
                                        int64_t word, const Factors<S>& factors) {
    return words < kMostItems ? Product(levels, n, static_cast<int32_t>(word), factors)
                              : Product(levels, n, word, factors);
  }
  // All that lies below is counted by the same kind of number.
  template <class I, class S>
  static JAX_SIGLIB_KERNEL typename Computed<S>::Type Product(const Levels& levels,
                                                              int32_t n, I word,
                                                              const Factors<S>& factors) {
    const auto d = static_cast<I>(levels.dimension());
    typename Computed<S>::Type sum = 0;
    I front = word, back = 0, size = 1;
    JAX_SIGLIB_UNROLLED
    for (int32_t k = n - 1; k > 0; --k) {
      const I parent = Parent(levels, front);
      back += (front - parent * d) * size;
      size *= d;
      front = parent;
      sum += Load(factors.left, static_cast<I>(levels.Offset(k)) + front) *
             Load(factors.right, static_cast<I>(levels.Offset(n - k)) + back);
    }
    return sum;
  }
};

// A long sum: of pieces, in double, so that they lose no digits against one another.
template <class T>
class LongSum {
 public:
  // So many terms.
  template <int32_t kNumber>
  JAX_SIGLIB_KERNEL void Add(const T (&x)[kNumber]) {
    T sum = x[0];
    JAX_SIGLIB_IN_FULL
    for (int32_t i = 1; i < kNumber; ++i) sum += x[i];
    piece_ += sum;
    if ((terms_ += kNumber) >= kPiece) Flush();
  }
  JAX_SIGLIB_KERNEL double Get() {
    Flush();
    return sum_;
  }

 private:
  static constexpr int32_t kPiece = 32;

  JAX_SIGLIB_KERNEL void Flush() {
    sum_ += static_cast<double>(piece_);
    piece_ = 0;
    terms_ = 0;
  }

  T piece_ = 0;
  int32_t terms_ = 0;
  double sum_ = 0;
};

// The adjoint of a product. First the right factor's: a word v is given left[u] ct_out[uv]
// of all u. Then the left factor's, of levels from the bottom up: a word u is given
// ct_out[uv] right[v], of levels that are not written yet, so that ct_left may be ct_out.
struct CombineAdjoint {
  using Job = CombineJob;

  template <class S, class Block>
  static JAX_SIGLIB_KERNEL void Run(const Block& block, const CombineJob& job,
                                    void* workspace) {
    const CombineStage& stage = job.stage;
    double* const sums = static_cast<double*>(workspace);
    ForItems(block, job.batch * stage.blocks, [&](int64_t item) {
      const int64_t element = item / stage.blocks, number = item % stage.blocks;
      const S* const ct_out = job.ct_out.template At<const S>(job.lead, element);
      if (stage.right) {
        const S* const left = job.left[0].template At<const S>(job.lead, element);
        S* const result = job.ct_right.template At<S>(job.lead, element);
        for (int32_t k = stage.from; k <= stage.to; ++k)
          Level<false>(block, job, k, number, ct_out, left, result, sums);
        SetScalar(block, job, number, result);
      }
      if (stage.left) {
        const S* const right = job.right[0].template At<const S>(job.lead, element);
        S* const result = job.ct_left.template At<S>(job.lead, element);
        for (int32_t k = stage.from; k <= stage.to; ++k)
          Level<true>(block, job, k, number, ct_out, right, result, sums);
        SetScalar(block, job, number, result);
      }
    });
  }

 private:
  // Level k of the result, `other` being the other factor.
  template <bool kLeft, class S, class Block>
  static JAX_SIGLIB_KERNEL void Level(const Block& block, const CombineJob& job, int32_t k,
                                      int64_t number, const S* ct_out, const S* other,
                                      S* result, double* sums) {
    using T = typename Computed<S>::Type;
    const Levels& levels = job.levels;
    const int32_t degree = levels.degree();
    const AdjointTile tile = kLeft ? LeftTile(levels, k) : RightTile(levels, k);
    const int64_t words = levels.Size(k), at = levels.Offset(k);
    ForTiles(job.stage, number, words, tile.words, [&](int64_t first) {
      const int32_t here = AtMost(words - first, tile.words);
      block.ForEach(tile.words * tile.lanes, [&](int32_t i) {
        // Neighbours read what lies side by side.
        const int32_t lane = kLeft ? i & (tile.lanes - 1) : i / tile.words;
        const int32_t mine = kLeft ? i / tile.lanes : i & (tile.words - 1);
        const int64_t word = first + mine;
        LongSum<T> sum;
        if (mine < here) {
          JAX_SIGLIB_ROLLED
          for (int32_t m = 1; m <= degree - k; ++m) {
            const int64_t others = levels.Size(m);
            const S* const y = other + levels.Offset(m);
            const S* const g =
                ct_out + levels.Offset(k + m) + (kLeft ? word * others : word);
            InFlightTogether<kInFlight>(
                int64_t{lane}, others, int64_t{tile.lanes}, [&](int64_t x, auto number) {
                  T products[decltype(number)::value];
                  JAX_SIGLIB_IN_FULL
                  for (int32_t u = 0; u < decltype(number)::value; ++u, x += tile.lanes)
                    products[u] = Load(y, x) * Load(g, kLeft ? x : x * words);
                  sum.Add(products);
                });
          }
        }
        sums[lane * tile.words + mine] = sum.Get();
      });
      AddGroups(block, tile.lanes, tile.words, sums);
      block.ForEach(here, [&](int32_t i) {
        const T own = job.has_terms ? Load(ct_out, at + first + i) : T(0);
        Store(result, at + first + i, own + static_cast<T>(sums[i]));
      });
    });
  }

  template <class S, class Block>
  static JAX_SIGLIB_KERNEL void SetScalar(const Block& block, const CombineJob& job,
                                          int64_t number, S* result) {
    using T = typename Computed<S>::Type;
    if (job.scalar_term && job.stage.from <= 1 && number == 0)
      block.ForEach(1, [&](int32_t) { Store(result, -1, T(0)); });
  }
};

// The antipode: every word, written backwards, gets the coordinate of the word, negated if
// its length is odd. Tiles are turned over in the workspace, so that rows are read, and
// rows are written.
struct CombineInverse {
  using Job = CombineJob;

  template <class S, class Block>
  static JAX_SIGLIB_KERNEL void Run(const Block& block, const CombineJob& job,
                                    void* workspace) {
    using T = typename Computed<S>::Type;
    const CombineStage& stage = job.stage;
    ForItems(block, job.batch * stage.blocks, [&](int64_t item) {
      const int64_t element = item / stage.blocks, number = item % stage.blocks;
      const S* const sig = job.term[0].template At<const S>(job.lead, element);
      S* const out = job.out.template At<S>(job.lead, element);
      for (int32_t k = stage.from; k <= stage.to; ++k)
        Level(block, job, k, number, sig + job.levels.Offset(k), out + job.levels.Offset(k),
              static_cast<T*>(workspace));
      if (job.scalar_term && number == 0)
        block.ForEach(1, [&](int32_t) { Store(out, -1, job.linear ? T(0) : T(1)); });
    });
  }

 private:
  template <class S, class T, class Block>
  static JAX_SIGLIB_KERNEL void Level(const Block& block, const CombineJob& job, int32_t k,
                                      int64_t number, const S* sig, S* out, T* staged) {
    const Levels& levels = job.levels;
    const T sign = k % 2 == 0 ? T(1) : T(-1);
    // Words of one letter, and of one kind of letters, are the same backwards.
    if (k == 1 || levels.dimension() == 1) {
      ForTiles(job.stage, number, levels.Size(k), kProductWords, [&](int64_t first) {
        block.ForEach(AtMost(levels.Size(k) - first, kProductWords), [&](int32_t i) {
          Store(out, first + i, sign * Load(sig, first + i));
        });
      });
      return;
    }
    const InverseTile tile = InverseTileOf(levels, k);
    const int32_t side = tile.side, letters = tile.letters;
    const int64_t apart = levels.Size(k - letters);
    ForTiles(job.stage, number, tile.tiles, 1, [&](int64_t t) {
      const int64_t middle = t / (tile.pieces * tile.pieces);
      const int64_t piece = t % (tile.pieces * tile.pieces);
      // The rows u of the operand's matrix, and its columns v. Only words of one letter are
      // cut into pieces, and they stay in theirs backwards.
      const int64_t u = piece / tile.pieces * kInverseEdge;
      const int64_t v = piece % tile.pieces * kInverseEdge;
      const int32_t rows = AtMost(side - u, kInverseEdge);
      const int32_t columns = AtMost(side - v, kInverseEdge);
      const S* const from = sig + u * apart + middle * side + v;
      block.ForEach(rows * columns, [&](int32_t i) {
        const int32_t row = i / columns, column = i - row * columns;
        staged[row * (kInverseEdge + 1) + column] = Load(from, row * apart + column);
      });
      S* const to = out + v * apart + Backwards(levels, middle, k - 2 * letters) * side + u;
      block.ForEach(rows * columns, [&](int32_t i) {
        const int32_t row = i / rows, column = i - row * rows;
        const int64_t x = letters == 1 ? column : Backwards(levels, column, letters);
        const int64_t y = letters == 1 ? row : Backwards(levels, row, letters);
        Store(to, row * apart + column, sign * staged[x * (kInverseEdge + 1) + y]);
      });
    });
  }
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_COMBINE_KERNELS_H_
