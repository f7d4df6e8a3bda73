// A thread's share of what join_roots.h reads and writes: rows of entries, between arrays,
// where they lie side by side, and the workspace, where there may be gaps (roots_plan.h).
#ifndef JAX_SIGLIB_CUDA_ROOTS_SHARE_H_
#define JAX_SIGLIB_CUDA_ROOTS_SHARE_H_

#include <cstdint>
#include <type_traits>

#include "divisor.h"
#include "in_flight.h"
#include "join_job.h"
#include "roots_plan.h"
#include "storage.h"

namespace jax_siglib {
namespace cuda {

template <class T, int kD, int kDepth, bool kPrepend>
class RootsShare {
 public:
  JAX_SIGLIB_KERNEL static constexpr RootsLayout Layout() {
    return LayoutOfRoots(kD, kDepth, kPrepend, sizeof(T));
  }
  static constexpr int32_t kGap = LayoutOfRoots(kD, kDepth, kPrepend, sizeof(T)).gap;
  static constexpr bool kGaps = kGap > 0;

  // So many entries of each element: in an array, from so many in front of level 1 on, and
  // in the workspace, as far apart as `pitch`, as numbers `first`, first + 1, ... there.
  struct Rows {
    int32_t count, in_front, pitch, first;
    Divisor by_count;
    JAX_SIGLIB_KERNEL int32_t Place(int32_t e, int32_t i) const {
      return e * pitch + Layout().Place(first + i);
    }
  };

  // Of thread t of a block that has so many elements, from number `first` on.
  JAX_SIGLIB_KERNEL RootsShare(const JoinJob& job, int64_t first, int32_t elements,
                               int32_t t)
      : job_(job), first_(first), elements_(elements), t_(t) {}

  template <class S>
  JAX_SIGLIB_KERNEL void Bring(const Pointer& from, const Rows& rows, T* to) const {
    Go<const S>(from, rows,
                [&](const S* in, int32_t place, auto number, const Apart& apart) {
                  constexpr int32_t kNumber = decltype(number)::value;
                  T x[kNumber];
                  JAX_SIGLIB_IN_FULL
                  for (int32_t u = 0; u < kNumber; ++u)
                    if (u > 0 || apart.there) x[u] = Load(in, u * apart.in_array);
                  JAX_SIGLIB_IN_FULL
                  for (int32_t u = 0; u < kNumber; ++u)
                    if (u > 0 || apart.there) to[place + u * apart.in_workspace] = x[u];
                });
  }
  template <class S>
  JAX_SIGLIB_KERNEL void TakeAway(const T* from, const Rows& rows,
                                  const Pointer& to) const {
    Go<S>(to, rows, [&](S* out, int32_t place, auto number, const Apart& apart) {
      JAX_SIGLIB_IN_FULL
      for (int32_t u = 0; u < decltype(number)::value; ++u)
        if (u > 0 || apart.there)
          Store(out, u * apart.in_array, from[place + u * apart.in_workspace]);
    });
  }

 private:
  // How far entries lie apart that a thread reads, or writes, together; and whether the
  // first of them is there.
  struct Apart {
    int32_t in_array, in_workspace;
    bool there;
  };

  // The first entry of a row that is number t of those that take one each. Where there are
  // gaps they begin in front of it, so that none is between neighbours, who would meet in
  // the banks.
  JAX_SIGLIB_KERNEL static int32_t FirstOf(int32_t t, const Rows& rows) {
    return kGaps ? t - rows.first : t;
  }
  JAX_SIGLIB_KERNEL static bool IsThere(int32_t i) { return !kGaps || i >= 0; }

  // some(in the array, in the workspace, number, apart) for all of the share, each time so
  // many entries.
  template <class A, class Some>
  JAX_SIGLIB_KERNEL void Go(const Pointer& pointer, const Rows& rows, Some&& some) const {
    const int32_t count = rows.count;
    auto of = [&](int32_t e) {
      return pointer.At<A>(job_.lead, first_ + e) - rows.in_front;
    };
    // As one row, if they are side by side; row by row, by warps where there are enough,
    // if rows are long, or so far apart that their distance is more than a number of 32
    // bits; otherwise several rows at a time: entry by entry or, where there are gaps, a
    // warp has some entries of every fourth row.
    const int64_t stride = pointer.stride[0];
    const bool one_stride = job_.lead.rank <= 1;
    if (kGaps && elements_ >= kThreadsOfRoots / 32 && count >= kInFlight * 32)
      return RowByRow<32>(elements_, count, rows, of, some);
    const bool one_row = !kGaps && one_stride && stride == count && rows.pitch == count;
    if (one_row || !one_stride || 2 * count >= kInFlight * kThreadsOfRoots ||
        stride >= kMostItems >> 8)
      return RowByRow<kThreadsOfRoots>(one_row ? 1 : elements_,
                                       one_row ? elements_ * count : count, rows, of, some);
    A* const array = of(0);
    const int32_t apart = static_cast<int32_t>(stride);
    if constexpr (kGaps) {
      constexpr int32_t kTogether = kThreadsOfRoots / 32;  // rows
      JAX_SIGLIB_ROLLED
      for (int32_t i = FirstOf(t_ % 32, rows); i < count; i += 32)
        InFlightTogether<kInFlight>(
            t_ / 32, IsThere(i) ? elements_ : 0, kTogether, [&](int32_t e, auto number) {
              some(array + (e * apart + i), rows.Place(e, i), number,
                   Apart{kTogether * apart, kTogether * rows.pitch, true});
            });
    } else {
      JAX_SIGLIB_UNROLLED
      for (int32_t i = t_; i < elements_ * count; i += kThreadsOfRoots) {
        const auto at = rows.by_count.Split(i);
        some(array + (at.quotient * apart + at.rest), rows.Place(at.quotient, at.rest),
             std::integral_constant<int32_t, 1>(), Apart{0, 0, true});
      }
    }
  }

  // The same for so many rows of `length` entries, kThreads threads for each.
  template <int32_t kThreads, class Of, class Some>
  JAX_SIGLIB_KERNEL void RowByRow(int32_t number, int32_t length, const Rows& rows, Of&& of,
                                  Some&& some) const {
    JAX_SIGLIB_ROLLED
    for (int32_t e = t_ / kThreads; e < number; e += kThreadsOfRoots / kThreads) {
      auto* const array = of(e);
      InFlightTogether<kInFlight>(
          FirstOf(t_ % kThreads, rows), length, kThreads, [&](int32_t i, auto number) {
            some(array + i, rows.Place(e, i), number,
                 Apart{kThreads, Layout().Place(kThreads), IsThere(i)});
          });
    }
  }

  const JoinJob& job_;
  int64_t first_;
  int32_t elements_, t_;
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_ROOTS_SHARE_H_
