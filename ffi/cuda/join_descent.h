// The adjoint of a tile of a join: from its chains back to the root. The cotangent of S,
// and the tile's share of that of v; if dual, their tangents.
#ifndef JAX_SIGLIB_CUDA_JOIN_DESCENT_H_
#define JAX_SIGLIB_CUDA_JOIN_DESCENT_H_

#include <cstdint>

#include "join_tile.h"

namespace jax_siglib {
namespace cuda {

template <class S, bool kDual, bool kWhole, class Block>
class JoinDescent {
 public:
  using Tile = JoinTile<S, kDual, true, kWhole, Block>;
  using T = typename Tile::T;
  using Member = typename Tile::Member;

  JAX_SIGLIB_KERNEL explicit JoinDescent(Tile& tile)
      : tile_(tile), job_(tile.job()), levels_(tile.levels()), words_(tile.words()) {}

  // From the chains below the tile's highest level, the highest of which lie here.
  JAX_SIGLIB_KERNEL void Run(JoinChains here) const {
    // Of level N there are none.
    JoinChains above = here.Above(here.count * levels_.dimension());
    JAX_SIGLIB_ROLLED
    for (int32_t k = tile_.to() - 1; k >= tile_.from(); --k) {
      if (k + 1 == levels_.degree()) {
        if (kWhole || words_.linear())
          DescendFromTop<true>(here);
        else
          DescendFromTop<false>(here);
      } else {
        if (kWhole || words_.linear())
          AddChildren<true>(k, here, above);
        else
          AddChildren<false>(k, here, above);
        if (k > 0) Contract(k, here, above);
      }
      above = here;
      if (k > tile_.from()) here = here.Below(words_.Count(k - 1));
    }
    AddGroups();
  }

 private:
  // A number, and its tangent.
  struct Both {
    T x, t;
  };

  // f(product), product(x) being that of the row that begins at x with v, and with its
  // tangent. For the smallest dimensions v lies in registers; of 4 letters the loop is
  // unrolled as it is.
  template <class F>
  JAX_SIGLIB_KERNEL void WithProducts(const Member& m, int32_t by_letter, F&& f) const {
    const T *const v = tile_.V(m), *const t_v = tile_.TangentV(m);
    const int32_t d = levels_.dimension();
    if (by_letter != 1) {
      f([=](const T* x) { return Product(x, by_letter, v, t_v, d); });
    } else if (d == 2) {
      f(ProductOf<2>(v, t_v));
    } else if (d == 3) {
      f(ProductOf<3>(v, t_v));
    } else if (d == 5) {
      f(ProductOf<5>(v, t_v));
    } else {
      // To know that they are neighbours saves the GPU half the work.
      f([=](const T* x) { return Product(x, 1, v, t_v, d); });
    }
  }
  JAX_SIGLIB_KERNEL static Both Product(const T* x, int32_t by_letter, const T* v,
                                        const T* t_v, int32_t d) {
    Both sum{0, 0};
    JAX_SIGLIB_UNROLLED
    for (int32_t j = 0; j < d; ++j) {
      const T x_j = x[j * by_letter];
      sum.x += x_j * v[j];
      if (kDual) sum.t += x_j * t_v[j];
    }
    return sum;
  }
  template <int kD>
  struct ProductOf {
    T v[kD], t_v[kDual ? kD : 1];

    JAX_SIGLIB_KERNEL ProductOf(const T* from, const T* t_from) {
      JAX_SIGLIB_IN_FULL
      for (int j = 0; j < kD; ++j) v[j] = from[j];
      JAX_SIGLIB_IN_FULL
      for (int j = 0; kDual && j < kD; ++j) t_v[j] = t_from[j];
    }
    JAX_SIGLIB_KERNEL Both operator()(const T* x) const {
      Both sum{0, 0};
      JAX_SIGLIB_IN_FULL
      for (int j = 0; j < kD; ++j) {
        sum.x += x[j] * v[j];
        if (kDual) sum.t += x[j] * t_v[j];
      }
      return sum;
    }
  };

  // Puts down number r of chain c at the lower end of a step from level k+1 to level k:
  // where B was, at `here`, or for the stage below.
  JAX_SIGLIB_KERNEL void Put(int32_t k, const Member& m, int32_t c, int32_t r, T* here, T y,
                             T t_y) const {
    // Two kinds of memory: one pointer to either would be a slow one.
    if (!kWhole && k == tile_.from()) {
      const int64_t size = levels_.Size(k);
      T* const to = static_cast<T*>(job_.to_below) + tile_.Index(m) * tile_.HandedOver(k) +
                    c * job_.at.order * size + tile_.first() + r;
      *to = y;
      if (kDual) to[size] = t_y;
    } else {
      *here = y;
      if (kDual) here[job_.at.chain_total] = t_y;
    }
  }

  // A member's sum for ct_v.
  JAX_SIGLIB_KERNEL T& Sum(const Member& m, int32_t group, int32_t letter) const {
    return m.own[job_.at.sums + group * levels_.dimension() + letter];
  }

  // Level N, which has one chain, g, and is most of the work: some rows at a time, which
  // are brought into the workspace on the way. The result may be g.
  template <bool kLinear>
  JAX_SIGLIB_KERNEL void DescendFromTop(const JoinChains& here) const {
    const int32_t k = levels_.degree() - 1, d = levels_.dimension();
    JAX_SIGLIB_ROLLED
    for (int32_t first = 0; first < here.count; first += job_.stage.rows) {
      const int32_t left = here.count - first;
      const int32_t rows = left < job_.stage.rows ? left : job_.stage.rows;
      // Staged rows (prepending: letters) are an odd number of entries apart, so that
      // neighbours lie in different banks of shared memory.
      const int32_t apart = job_.prepend ? 1 : d | 1,
                    by_letter = job_.prepend ? rows | 1 : 1;
      StageRows<kLinear>(here, first, rows, apart, by_letter);
      if (k == 0) continue;
      tile_.Together([&](const Member& m) {
        T* const to = tile_.Chains(m) + here.first + first;
        WithProducts(m, by_letter, [&](auto&& product) {
          JAX_SIGLIB_ROLLED
          for (int32_t r = m.number; r < rows; r += job_.stage.crew) {
            const Both y = product(m.own + job_.at.staged + r * apart);
            Put(k, m, 0, first + r, to + r, y.x, y.t);
          }
        });
      });
    }
  }

  template <bool kLinear>
  JAX_SIGLIB_KERNEL void StageRows(const JoinChains& here, int32_t first, int32_t rows,
                                   int32_t apart, int32_t by_letter) const {
    const int32_t degree = levels_.degree();
    const int64_t start = tile_.Start(degree, here.Above(0));
    const auto children = words_.ChildrenOf(here.count);
    tile_.Together([&](const Member& m) {
      const bool writes = job_.top_level && (kDual || m.out != m.in);
      // Zeros by nature are left out: the tangent of B_0.
      const bool adds = !kDual || degree > 1;
      const T* const b =
          (kDual ? tile_.TangentChains(m) : tile_.Chains(m)) + here.first + first;
      tile_.ForLetters(m, [&](int32_t group, int32_t letter) {
        T* const staged = m.own + job_.at.staged + letter * by_letter;
        T sum = Sum(m, group, letter);
        const int64_t at = start + (kLinear ? children.At(first, letter) : 0);
        const S* const g = m.in + at;
        S* const out = m.out + at;
        auto place = [&](int32_t r) {
          if constexpr (kLinear)
            return r * children.by_parent;
          else
            return words_.template PlaceFromFirst<false>(children.At(first + r, letter));
        };
        auto some = [&](int32_t r, auto number) {
          constexpr int kNumber = decltype(number)::value;
          const int32_t groups = job_.stage.groups;
          T g_r[kNumber];
          JAX_SIGLIB_IN_FULL
          for (int u = 0; u < kNumber; ++u) g_r[u] = Load(g, place(r + u * groups));
          if (writes) {
            JAX_SIGLIB_IN_FULL
            for (int u = 0; u < kNumber; ++u)
              Store(out, place(r + u * groups), kDual ? T(0) : g_r[u]);
          }
          JAX_SIGLIB_IN_FULL
          for (int u = 0; u < kNumber; ++u) {
            staged[(r + u * groups) * apart] = g_r[u];
            if (adds) sum += b[r + u * groups] * g_r[u];
          }
        };
        InFlightTogether<kLinear ? kInFlight : 4>(group, rows, job_.stage.groups, some);
        Sum(m, group, letter) = sum;
      });
    });
  }

  // Of a level below N all at once: its cotangent, and what it has for ct_v.
  template <bool kLinear>
  JAX_SIGLIB_KERNEL void AddChildren(int32_t k, const JoinChains& here,
                                     const JoinChains& above) const {
    const auto children = words_.ChildrenOf(here.count);
    const int64_t start = tile_.Start(k + 1, above);
    const int64_t lower = job_.at.ct_lower + above.first - words_.Count(tile_.from());
    tile_.Together([&](const Member& m) {
      const T* const g = m.own + lower;
      const int64_t tangent = job_.at.chain_total;
      const T* const chains = tile_.Chains(m);
      S* const out = m.out + start;
      tile_.ForLetters(m, [&](int32_t group, int32_t letter) {
        if (group >= here.count) return;
        T sum = Sum(m, group, letter);
        JAX_SIGLIB_ROLLED
        for (int32_t r = group; r < here.count; r += job_.stage.groups) {
          const int32_t child = children.At(r, letter);
          // Zeros by nature are left out: the tangents of B_0 and of g.
          const T g_r = g[child], b_0 = chains[here.first + (kDual ? tangent : 0) + r];
          if (!kDual || k > 0) sum += b_0 * g_r;
          T ct = kDual ? T(0) : g_r;
          auto add = [&](int32_t c, const T* b, const T* x) {
            T part = *b * x[kDual ? tangent : 0];
            if (kDual && k > 0) part += b[tangent] * *x;
            sum += part * tile_.Inverse(c);
            ct += x[kDual ? tangent : 0];
          };
          const T *b = chains + here.others + r, *x = chains + above.others + child;
          add(1, b, chains + above.first + child);
          JAX_SIGLIB_ROLLED
          for (int32_t c = 2; c < here.number; ++c, x += above.count)
            add(c, b += here.count, x);
          Store(out, words_.template PlaceFromFirst<kLinear>(child), ct);
        }
        Sum(m, group, letter) = sum;
      });
    });
  }

  // And its chains a level further down.
  JAX_SIGLIB_KERNEL void Contract(int32_t k, const JoinChains& here,
                                  const JoinChains& above) const {
    const auto children = words_.ChildrenOf(here.count);
    const int64_t lower = job_.at.ct_lower + above.first - words_.Count(tile_.from());
    tile_.Together([&](const Member& m) {
      T* const chains = tile_.Chains(m);
      WithProducts(m, children.by_letter, [&](auto&& product) {
        JAX_SIGLIB_ROLLED
        for (int32_t r = m.number; r < here.count; r += job_.stage.crew) {
          const int32_t child = children.At(r, 0);
          // The tangent of g is zero by nature.
          const Both y = product(m.own + lower + child);
          Put(k, m, 0, r, chains + here.first + r, y.x, y.t);
          const T *x = chains + above.first + child, *next = chains + above.others + child;
          T* to = chains + here.others + r;
          JAX_SIGLIB_ROLLED
          for (int32_t c = 1; c < here.number; ++c) {
            Both z = product(x);
            if (kDual) z.t += product(x + job_.at.chain_total).x;
            const T inverse = tile_.Inverse(c);
            Put(k, m, c, r, to, z.x * inverse, z.t * inverse);
            x = next;
            next += above.count;
            to += here.count;
          }
        }
      });
    });
  }

  // The groups' sums, some at a time, and then where they are asked for.
  JAX_SIGLIB_KERNEL void AddGroups() const {
    constexpr int32_t kAtATime = 8;
    const int32_t d = levels_.dimension();
    JAX_SIGLIB_ROLLED
    for (int32_t groups = job_.stage.groups; groups > 0;) {
      const int32_t parts = (groups + kAtATime - 1) / kAtATime;
      const bool last = parts == 1;
      tile_.Together([&](const Member& m) {
        T* const sums = m.own + job_.at.sums;
        JAX_SIGLIB_ROLLED
        for (int32_t i = m.number; i < parts * d; i += job_.stage.crew) {
          T sum = sums[i];
          JAX_SIGLIB_IN_FULL
          for (int32_t u = 1; u < kAtATime; ++u)
            if (i + u * parts * d < groups * d) sum += sums[i + u * parts * d];
          if (!last)
            sums[i] = sum;
          else if (job_.shares == nullptr)
            Store(tile_.template Of<S>(job_.ct_displacement, m), i, sum);
          else
            static_cast<T*>(job_.shares)[(tile_.Index(m) * job_.all_shares +
                                          job_.first_share + tile_.tile()) *
                                             d +
                                         i] = sum;
        }
      });
      groups = last ? 0 : parts;
    }
  }

  Tile& tile_;
  const JoinJob& job_;
  const Levels& levels_;
  const Words<kWhole>& words_;
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_JOIN_DESCENT_H_
