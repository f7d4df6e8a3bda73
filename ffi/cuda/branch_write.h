// Tiles of level N on their way to the result. A branch's numbers lie side by side there,
// so that threads, each writing its own, would write far apart from their neighbours. So
// they go through the workspace, some rows of all tiles at a time, and neighbours write
// neighbours.
#ifndef JAX_SIGLIB_CUDA_BRANCH_WRITE_H_
#define JAX_SIGLIB_CUDA_BRANCH_WRITE_H_

#include <cstdint>

#include "branch_path.h"

namespace jax_siglib {
namespace cuda {

template <class T, int kSide, bool kDual, bool kStream, class Block>
class BranchWrite : public BranchPath<T, kSide, kDual, false, kStream, Block> {
  using Base = BranchPath<T, kSide, kDual, false, kStream, Block>;

 public:
  using Base::Base;

 protected:
  // Finds where the tiles begin in the result, for all WriteTops that come.
  JAX_SIGLIB_KERNEL void PlaceTops() const {
    const PathJob& path = this->job_.path;
    this->block_.ForEach(this->Count(), [&](int32_t i) {
      const BranchPlace place = this->Place(i);
      Places()[i] = path.out.Offset(path.lead, place.element) + this->FirstOfTop(place);
    });
  }

  // Of letters that are added behind a word (those in front are written as they are: there
  // neighbours are neighbours). `out` is the result, of a stream a row of it.
  template <class S, class Own>
  JAX_SIGLIB_KERNEL void WriteTops(Own& own, S* out) const {
    const int32_t d = this->levels_.dimension(), count = this->Count();
    const int32_t threads = (this->plan_.width + 31) / 32 * 32;
    JAX_SIGLIB_IN_FULL
    for (int first = 0; first < kSide; first += kRows) {
      own.ForEach([&](int32_t i, auto& mine) {
        T* const to = Tops() + i * kPitch;
        JAX_SIGLIB_IN_FULL
        for (int a = first; a < kSide && a < first + kRows; ++a) JAX_SIGLIB_IN_FULL
        for (int e = 0; e < kSide; ++e) to[(a - first) * kSide + e] = mine.top[a][e];
      });
      // A thread has the same entry of every so many tiles.
      this->block_.ForEach(threads, [&](int32_t t) {
        const int32_t at = t % kTogether, a = first + at / kSide, e = at % kSide;
        if (at >= kRows * kSide || a >= kSide) return;
        const int64_t entry = static_cast<int64_t>(a) * d + e;
        JAX_SIGLIB_UNROLLED
        for (int32_t i = t / kTogether; i < count; i += threads / kTogether) {
          if (!IsThere(i, a, e)) continue;
          Store(out, Places()[i] + entry,
                static_cast<typename Computed<S>::Type>(Tops()[i * kPitch + at]));
        }
      });
    }
  }

 private:
  static constexpr int kRows = TopRows(kSide, sizeof(T));
  static constexpr int kPitch = TopPitch(kSide, sizeof(T));
  // Threads for the rows of a tile: a warp, or a part of one.
  static constexpr int kTogether = kRows * kSide <= 4 ? 4 : kRows * kSide <= 16 ? 16 : 32;
  static_assert(kRows * kSide <= 32, "");

  JAX_SIGLIB_KERNEL bool IsThere(int32_t i, int32_t a, int32_t e) const {
    if (this->levels_.dimension() == this->plan_.slices * kSide) return true;
    const BranchPlace place = this->Place(i);
    return a < this->Rows(place) && e < this->Letters(place);
  }
  JAX_SIGLIB_KERNEL int64_t* Places() const {
    return reinterpret_cast<int64_t*>(this->memory_ + this->job_.at.places);
  }
  JAX_SIGLIB_KERNEL T* Tops() const { return this->memory_ + this->job_.at.tops; }
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_BRANCH_WRITE_H_
