// A tile of a join: its chains from the root up, and the adjoint's down again. The
// recurrences, and the names, are those of ffi/README.md.
#ifndef JAX_SIGLIB_CUDA_JOIN_TILE_H_
#define JAX_SIGLIB_CUDA_JOIN_TILE_H_

#include <cstdint>
#include <type_traits>

#include "join_job.h"
#include "storage.h"
#include "words.h"

namespace jax_siglib {
namespace cuda {

// S is what arrays hold. With kDual everything has a tangent; then the adjoint is that of
// sig_join_hvp, which writes the tangents alone.
template <class S, bool kDual, bool kAdjoint, class Block>
class JoinTile {
 public:
  using T = typename Computed<S>::Type;

  // Item number `item` of batch x tiles.
  JAX_SIGLIB_KERNEL JoinTile(const Block& block, const JoinJob& job, int64_t item,
                             T* workspace)
      : block_(block),
        job_(job),
        levels_(job.levels),
        from_(job.stage.from),
        to_(job.stage.to),
        element_(job.stage.tiles == 1 ? item : item / job.stage.tiles),
        tile_(item - element_ * job.stage.tiles),
        first_(tile_ * job.stage.words),
        range_(static_cast<int32_t>(Least(job.stage.words, levels_.Size(from_) - first_))),
        by_range_(range_ == job.stage.words ? job.by_words : Divisor(range_)),
        words_(levels_, job.prepend, from_, first_, range_, by_range_),
        at_(job.at),
        v_(workspace),
        t_v_(workspace + levels_.dimension()),
        inverse_(workspace + at_.inverses),
        chains_(workspace + at_.chains),
        twins_(workspace + at_.twins),
        staged_(workspace + at_.staged),
        sums_(workspace + at_.sums) {}

  // The displacement, and the chains at the root: each from the path down to level 0 alone.
  JAX_SIGLIB_KERNEL void Begin() const {
    const S* const v = job_.displacement.At<const S>(job_.lead, element_);
    const S* const t_v = job_.t_displacement.At<const S>(job_.lead, element_);
    const int32_t d = levels_.dimension();
    block_.ForEach(d, [&](int32_t j) {
      v_[j] = Load(v, j);
      if (kDual) t_v_[j] = Load(t_v, j);
    });
    block_.ForEach(levels_.degree(),
                   [&](int32_t c) { inverse_[c] = T(1) / static_cast<T>(c + 1); });
    const S* const s = job_.sig.At<const S>(job_.lead, element_);
    const S* const t_s = job_.t_sig.At<const S>(job_.lead, element_);
    block_.ForEach((levels_.degree() - from_) * range_, [&](int32_t i) {
      const auto parts = by_range_.Split(i);
      const int32_t n = from_ + 1 + parts.quotient;
      T b = 1, t_b = 0;
      JAX_SIGLIB_ROLLED
      for (int32_t k = 1; k <= from_; ++k) {
        const auto step = words_.Ancestor(first_ + parts.rest, k);
        const T inverse = inverse_[n - k];
        const int64_t at = levels_.Offset(k) + step.place;
        const T v_k = v_[step.letter] * inverse;
        if (kDual) {
          // The tangent of B_0 is zero by nature: not to be multiplied with an infinity.
          const T moved = b * (t_v_[step.letter] * inverse);
          t_b = Load(t_s, at) + (k == 1 ? moved : t_b * v_k + moved);
        }
        b = Load(s, at) + b * v_k;
      }
      chains_[i] = b;
      if (kDual) chains_[at_.chain_total + i] = t_b;
    });
  }

  // The chains at all levels of the tile below its highest. With kOut also the results: S,
  // or, if dual, its tangent.
  template <bool kOut>
  JAX_SIGLIB_KERNEL void Rise() const {
    const S* const s = job_.sig.At<const S>(job_.lead, element_);
    const S* const t_s = job_.t_sig.At<const S>(job_.lead, element_);
    S* const out = job_.out.At<S>(job_.lead, element_);
    const int32_t degree = levels_.degree();
    const T* b = chains_;
    JAX_SIGLIB_ROLLED
    for (int32_t k = from_; k < (kOut ? to_ : to_ - 1); ++k) {
      const int32_t parents = words_.Count(k), count = words_.Count(k + 1);
      const int64_t offset = levels_.Offset(k + 1);
      const Words::Places place_of(words_, k + 1);
      const int32_t chains = k + 1 < to_ ? degree - k : 1;
      const T* const t_b = b + at_.chain_total;
      T* const next = chains_ + at_.chain_offset(k + 1);
      T* const t_next = next + at_.chain_total;
      const Words::Children children(words_, parents);
      // S_N is asked for by the result alone, and by that of the tangent not at all.
      const bool needs_s = !kDual || k + 1 < degree;
      auto rise = [&](auto linear) {
        constexpr bool kLinear = decltype(linear)::value;
        auto load = [&](int32_t i) {
          const int64_t place = offset + place_of.template At<kLinear>(i);
          return Pair{needs_s ? Load(s, place) : T(0), kDual ? Load(t_s, place) : T(0)};
        };
        block_.ForEachLoaded(count, load, [&](int32_t i, const Pair& loaded) {
          const Words::Step at = children.Split(i);
          const int64_t place = offset + place_of.template At<kLinear>(i);
          const T s_i = loaded.x, t_s_i = loaded.t;
          const T v = v_[at.letter], t_v = kDual ? t_v_[at.letter] : T(0);
          if (kOut) {
            const T b_i = b[at.parent];
            if (kDual) {
              const T moved = b_i * t_v;
              Store(out, place, t_s_i + (k == 0 ? moved : t_b[at.parent] * v + moved));
            } else {
              Store(out, place, s_i + b_i * v);
            }
          }
          JAX_SIGLIB_ROLLED
          for (int32_t c = 1; c < chains; ++c) {
            const T inverse = inverse_[c];
            const int32_t p = c * parents + at.parent;
            const T v_c = v * inverse;
            next[(c - 1) * count + i] = s_i + b[p] * v_c;
            if (kDual) {
              const T moved = b[p] * (t_v * inverse);
              t_next[(c - 1) * count + i] = t_s_i + (k == 0 ? moved : t_b[p] * v_c + moved);
            }
          }
        });
      };
      if (place_of.linear())
        rise(std::true_type());
      else
        rise(std::false_type());
      b = next;
    }
  }

  // Writes the scalar term, which belongs to the first tile of the lowest stage.
  JAX_SIGLIB_KERNEL void SetScalar(T value) const {
    if (!job_.scalar_term || from_ != 0) return;
    S* const out = job_.out.At<S>(job_.lead, element_);
    block_.ForEach(1, [&](int64_t) { Store(out, -1, value); });
  }

  // From the chains of Rise back to the root: the cotangent of S, and the tile's share of
  // that of v; if dual, their tangents.
  JAX_SIGLIB_KERNEL void Descend() const {
    const int32_t d = levels_.dimension(), degree = levels_.degree();
    block_.ForEach(job_.stage.groups * d, [&](int32_t i) { sums_[i] = 0; });
    JAX_SIGLIB_ROLLED
    for (int32_t k = to_ - 1; k >= from_; --k) {
      const int32_t parents = words_.Count(k);
      const Above z = ChainsAbove(k + 1);
      const Below y = ChainsBelow(k);
      JAX_SIGLIB_ROLLED
      for (int32_t first = 0; first < parents; first += job_.stage.rows) {
        const int32_t rows =
            parents - first < job_.stage.rows ? parents - first : job_.stage.rows;
        StageRows(k, first, rows, z);
        ContractRows(k, first, rows, z, y, degree - k);
      }
    }
    AddGroups();
  }

 private:
  // A number, and its tangent.
  struct Pair {
    T x, t;
  };
  // Chains of the adjoint at the upper end of a step, chain 0 of which is staged: chain c
  // is number c-1 here. They lie by number, or, from the stage above, by place.
  struct Above {
    const T* z;
    int64_t stride;   // from chain to chain
    int64_t tangent;  // from a chain to its tangent
    bool by_place;
  };
  // And at the lower end.
  struct Below {
    T* y;
    int64_t stride, tangent;
  };

  JAX_SIGLIB_KERNEL static int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }

  JAX_SIGLIB_KERNEL int64_t HandedOver(int32_t k) const {
    return at_.order * (levels_.degree() - k) * levels_.Size(k);
  }

  JAX_SIGLIB_KERNEL Above ChainsAbove(int32_t k) const {
    if (k == to_) {
      const T* const z = static_cast<const T*>(job_.from_above);
      const int64_t size = levels_.Size(k);
      return {z == nullptr ? z : z + element_ * HandedOver(k), at_.order * size, size,
              true};
    }
    const int64_t offset = at_.chain_offset(k);
    return {twins_ + offset, words_.Count(k), at_.chain_total, false};
  }

  JAX_SIGLIB_KERNEL Below ChainsBelow(int32_t k) const {
    if (k == from_) {
      if (k == 0) return {nullptr, 0, 0};  // nothing below
      const int64_t size = levels_.Size(k);
      T* const y = static_cast<T*>(job_.to_below) + element_ * HandedOver(k) + first_;
      return {y, at_.order * size, size};
    }
    const int64_t offset = at_.chain_offset(k);
    return {twins_ + offset, words_.Count(k), at_.chain_total};
  }

  // Where the child of row r (of those staged) by a letter is staged: r times the one plus
  // the letter times the other, an odd number of entries apart, so that neighbours lie in
  // different banks of shared memory.
  struct Apart {
    int32_t rows, letters;
  };
  JAX_SIGLIB_KERNEL Apart StagedApart(int32_t rows) const {
    if (job_.prepend) return {1, rows | 1};
    return {levels_.dimension() | 1, 1};
  }

  // Brings the children of some rows of level k, the cotangents g of level k+1, into the
  // workspace, and adds to them what chains have brought there. The result may be g.
  JAX_SIGLIB_KERNEL void StageRows(int32_t k, int32_t first, int32_t rows,
                                   const Above& z) const {
    const S* const g = job_.ct_out.At<const S>(job_.lead, element_);
    S* const out = job_.out.At<S>(job_.lead, element_);
    const int32_t d = levels_.dimension(), degree = levels_.degree();
    const int32_t parents = words_.Count(k);
    const int64_t offset = levels_.Offset(k + 1);
    const bool writes = k + 1 < degree || job_.top_level;
    const Words::Children children(words_, rows);
    const Words::Places place_of(words_, k + 1);
    const Apart apart = StagedApart(rows);
    auto stage = [&](auto linear) {
      constexpr bool kLinear = decltype(linear)::value;
      auto child_of = [&](const Words::Step& at) {
        return words_.Child(first + at.parent, at.letter, parents);
      };
      auto load = [&](int32_t i) {
        return Load(g, offset + place_of.template At<kLinear>(child_of(children.Split(i))));
      };
      block_.ForEachLoaded(rows * d, load, [&](int32_t i, T g_i) {
        const Words::Step at = children.Split(i);
        const int32_t child = child_of(at);
        const int64_t place = place_of.template At<kLinear>(child);
        staged_[at.parent * apart.rows + at.letter * apart.letters] = g_i;
        if (!writes) return;
        T sum = kDual ? T(0) : g_i;
        const int64_t z_i = (kDual ? z.tangent : 0) + (z.by_place ? place : child);
        JAX_SIGLIB_ROLLED
        for (int32_t c = 1; c < degree - k; ++c) sum += z.z[(c - 1) * z.stride + z_i];
        Store(out, offset + place, sum);
      });
    };
    if (place_of.linear())
      stage(std::true_type());
    else
      stage(std::false_type());
  }

  // Contracts the children of these rows with v, chain by chain, and with the rows' B for
  // the cotangent of v.
  JAX_SIGLIB_KERNEL void ContractRows(int32_t k, int32_t first, int32_t rows,
                                      const Above& z, const Below& y,
                                      int32_t chains) const {
    const int32_t d = levels_.dimension(), groups = job_.stage.groups;
    const int32_t parents = words_.Count(k);
    const int32_t contractions = k == 0 ? 0 : rows * chains;
    const T* const b = chains_ + at_.chain_offset(k) + first;
    const T* const t_b = b + at_.chain_total;
    const Divisor by_rows = rows == job_.stage.rows ? job_.by_rows : Divisor(rows);
    const Divisor& by_inner = job_.prepend ? job_.by_groups : levels_.by_dimension();
    const Apart apart = StagedApart(rows);
    // Entry (r, letter) of chain c > 0, or its tangent. Chain 0, g, is staged and has none.
    auto above = [&](int32_t c, int32_t r, int32_t letter, bool tangent) {
      const int32_t child = words_.Child(first + r, letter, parents);
      const int64_t at = z.by_place ? words_.Place(k + 1, child) : child;
      return z.z[(c - 1) * z.stride + (tangent ? z.tangent : 0) + at];
    };
    block_.ForEach(contractions + groups * d, [&](int32_t i) {
      if (i < contractions) {
        const auto at = by_rows.Split(i);
        const int32_t c = at.quotient, r = at.rest;
        const T inverse = inverse_[c];
        T sum = 0, t_sum = 0;
        if (c == 0) {
          const T* x = staged_ + r * apart.rows;
          JAX_SIGLIB_UNROLLED
          for (int32_t j = 0; j < d; ++j, x += apart.letters) {
            sum += *x * v_[j];
            if (kDual) t_sum += *x * t_v_[j];
          }
        } else {
          JAX_SIGLIB_ROLLED
          for (int32_t j = 0; j < d; ++j) {
            const T x = above(c, r, j, false);
            sum += x * v_[j];
            if (kDual) t_sum += x * t_v_[j] + above(c, r, j, true) * v_[j];
          }
        }
        y.y[c * y.stride + first + r] = sum * inverse;
        if (kDual) y.y[c * y.stride + y.tangent + first + r] = t_sum * inverse;
        return;
      }
      const auto at = by_inner.Split(i - contractions);
      const int32_t group = job_.prepend ? at.rest : at.quotient;
      const int32_t j = job_.prepend ? at.quotient : at.rest;
      // Zeros by nature are left out: the tangents of B_0 and of g.
      T total = 0;
      if (!kDual || k > 0) {
        const T* const weights = kDual ? t_b : b;
        const T* x = staged_ + group * apart.rows + j * apart.letters;
        JAX_SIGLIB_UNROLLED
        for (int32_t r = group; r < rows; r += groups, x += groups * apart.rows)
          total += weights[r] * *x;
      }
      JAX_SIGLIB_ROLLED
      for (int32_t c = 1; c < chains; ++c) {
        T sum = 0;
        JAX_SIGLIB_ROLLED
        for (int32_t r = group; r < rows; r += groups) {
          if (kDual) {
            if (k > 0) sum += t_b[c * parents + r] * above(c, r, j, false);
            sum += b[c * parents + r] * above(c, r, j, true);
          } else {
            sum += b[c * parents + r] * above(c, r, j, false);
          }
        }
        total += sum * inverse_[c];
      }
      sums_[group * d + j] += total;
    });
  }

  // The groups' sums in pairs, and then where they are asked for.
  JAX_SIGLIB_KERNEL void AddGroups() const {
    const int32_t d = levels_.dimension();
    JAX_SIGLIB_ROLLED
    for (int32_t groups = job_.stage.groups; groups > 1;) {
      const int32_t half = (groups + 1) / 2;
      block_.ForEach((groups - half) * d,
                     [&](int32_t i) { sums_[i] += sums_[i + half * d]; });
      groups = half;
    }
    T* const shares = static_cast<T*>(job_.shares);
    if (shares != nullptr) {
      T* const mine = shares + (element_ * job_.all_shares + job_.first_share + tile_) * d;
      block_.ForEach(d, [&](int32_t j) { mine[j] = sums_[j]; });
    } else {
      S* const ct_v = job_.ct_displacement.At<S>(job_.lead, element_);
      block_.ForEach(d, [&](int32_t j) { Store(ct_v, j, sums_[j]); });
    }
  }

  const Block& block_;
  const JoinJob& job_;
  const Levels& levels_;
  int32_t from_, to_;
  int64_t element_, tile_;
  int64_t first_;
  int32_t range_;
  Divisor by_range_;
  Words words_;
  const JoinWorkspace& at_;
  T *v_, *t_v_;
  T* inverse_;  // 1 / (c + 1)
  T *chains_, *twins_;
  T *staged_, *sums_;
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_JOIN_TILE_H_
