// Tiles of level N between branches and arrays. A branch's numbers lie side by side there,
// so that threads, each at its own, would be far apart from their neighbours. So they go
// through the workspace, some rows of all tiles at a time, and neighbours read or write
// neighbours.
#ifndef JAX_SIGLIB_CUDA_BRANCH_TOPS_H_
#define JAX_SIGLIB_CUDA_BRANCH_TOPS_H_

#include <cstdint>
#include <type_traits>

#include "branch_path.h"

namespace jax_siglib {
namespace cuda {

template <class T, int kSide, bool kDual, bool kAdjoint, bool kStream, class Block>
class BranchTops : public BranchPath<T, kSide, kDual, kAdjoint, kStream, Block> {
  using Base = BranchPath<T, kSide, kDual, kAdjoint, kStream, Block>;

 public:
  using Base::Base;

 protected:
  // Finds where the tiles begin in an array of signatures, for all that is written there or
  // read from then on.
  JAX_SIGLIB_KERNEL void PlaceTops(const Pointer& array) const {
    this->block_.ForEach(this->Count(), [&](int32_t i) {
      const BranchPlace place = this->Place(i);
      Places()[i] =
          array.Offset(this->job_.path.lead, place.element) + this->FirstOfTop(place);
    });
  }

  // Both are for letters behind a word: of those in front neighbours are neighbours anyway.
  // `to` and `from` are where such an array begins, of a stream a row of it.
  template <class S, class Own>
  JAX_SIGLIB_KERNEL void WriteTops(Own& own, S* to) const {
    ForRows([&](auto first) {
      own.ForEach([&](int32_t i, auto& mine) {
        ForEntries(first,
                   [&](int a, int e, int at) { Tops()[i * kPitch + at] = mine.top[a][e]; });
      });
      ForThreads(first, [&](const Entry& entry, int32_t begin, int32_t apart) {
        JAX_SIGLIB_UNROLLED
        for (int32_t i = begin; i < this->Count(); i += apart)
          if (IsThere(i, entry))
            Store(to, Places()[i] + entry.behind,
                  static_cast<typename Computed<S>::Type>(Tops()[i * kPitch + entry.at]));
      });
    });
  }
  // Adds what it reads to the branches' tiles.
  template <class S, class Own>
  JAX_SIGLIB_KERNEL void AddTops(Own& own, const S* from) const {
    ForRows([&](auto first) {
      ForThreads(first, [&](const Entry& entry, int32_t begin, int32_t apart) {
        // Where there is none, the tile's first, for no use: see BranchPath.
        auto load = [&](int32_t i) {
          return from[Places()[i] + (IsThere(i, entry) ? entry.behind : 0)];
        };
        auto use = [&](int32_t i, const S& x) {
          Tops()[i * kPitch + entry.at] = static_cast<T>(Widen(x));
        };
        InFlight<4>(begin, this->Count(), apart, load, use);
      });
      own.ForEach([&](int32_t i, auto& mine) {
        const BranchPlace place = this->Place(i);
        const int32_t rows = this->Rows(place), letters = this->Letters(place);
        ForEntries(first, [&](int a, int e, int at) {
          if (a < rows && e < letters) mine.top[a][e] += Tops()[i * kPitch + at];
        });
      });
    });
  }

 private:
  static constexpr int kRows = TopRows(kSide, sizeof(T));
  static constexpr int kPitch = TopPitch(kSide, sizeof(T));
  // Threads for the rows of a tile: a warp, or a part of one.
  static constexpr int kTogether = kRows * kSide <= 4 ? 4 : kRows * kSide <= 16 ? 16 : 32;
  static_assert(kRows * kSide <= 32, "");

  // Of a tile, and where it lies behind the first one in the array, and among the rows.
  struct Entry {
    int32_t a, e;
    int64_t behind;
    int32_t at;
  };
  JAX_SIGLIB_KERNEL bool IsThere(int32_t i, const Entry& entry) const {
    if (this->levels_.dimension() == this->plan_.slices * kSide) return true;
    const BranchPlace place = this->Place(i);
    return entry.a < this->Rows(place) && entry.e < this->Letters(place);
  }
  JAX_SIGLIB_KERNEL int64_t* Places() const {
    return reinterpret_cast<int64_t*>(this->memory_ + this->job_.at.places);
  }
  JAX_SIGLIB_KERNEL T* Tops() const { return this->memory_ + this->job_.at.tops; }

  // f(std::integral_constant): the first of the rows that go together.
  template <int kFirst = 0, class F>
  JAX_SIGLIB_KERNEL static void ForRows(F&& f) {
    f(std::integral_constant<int, kFirst>());
    if constexpr (kFirst + kRows < kSide) ForRows<kFirst + kRows>(f);
  }
  // f(row, letter, place among those of the tile) for the entries of these.
  template <int kFirst, class F>
  JAX_SIGLIB_KERNEL static void ForEntries(std::integral_constant<int, kFirst>, F&& f) {
    JAX_SIGLIB_IN_FULL
    for (int a = kFirst; a < kSide && a < kFirst + kRows; ++a) JAX_SIGLIB_IN_FULL
    for (int e = 0; e < kSide; ++e) f(a, e, (a - kFirst) * kSide + e);
  }
  // And f(entry, first tile, tiles apart): a thread has the same entry of every so many.
  template <int kFirst, class F>
  JAX_SIGLIB_KERNEL void ForThreads(std::integral_constant<int, kFirst>, F&& f) const {
    const int32_t threads = (this->plan_.width + 31) / 32 * 32;
    this->block_.ForEach(threads, [&](int32_t t) {
      const int32_t at = t % kTogether, a = kFirst + at / kSide, e = at % kSide;
      if (at >= kRows * kSide || a >= kSide) return;
      const int64_t behind = static_cast<int64_t>(a) * this->levels_.dimension() + e;
      f(Entry{a, e, behind, at}, t / kTogether, threads / kTogether);
    });
  }
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_BRANCH_TOPS_H_
