// A tile of a join: what it reads at first, and its chains from the root up. The
// recurrences, and the names, are those of ffi/README.md.
#ifndef JAX_SIGLIB_CUDA_JOIN_TILE_H_
#define JAX_SIGLIB_CUDA_JOIN_TILE_H_

#include <cstdint>

#include "in_flight.h"
#include "join_job.h"
#include "storage.h"
#include "words.h"

namespace jax_siglib {
namespace cuda {

// Where the chains of one level lie among an element's: `number` of them, of `count` words.
struct JoinChains {
  int64_t first, others;
  int32_t count, number;

  JAX_SIGLIB_KERNEL JoinChains Above(int32_t their_count) const {
    return {first + count, others + int64_t{number - 1} * count, their_count, number - 1};
  }
  JAX_SIGLIB_KERNEL JoinChains Below(int32_t their_count) const {
    return {first - their_count, others - int64_t{number} * their_count, their_count,
            number + 1};
  }
  JAX_SIGLIB_KERNEL int64_t At(int32_t c, int32_t i) const {
    return c == 0 ? first + i : others + int64_t{c - 1} * count + i;
  }
};

// S is what arrays hold. With kDual everything has a tangent; then the adjoint is that of
// sig_join_hvp, which writes the tangents alone. With kWhole the tile is all of a
// signature, and a block may have several of them.
template <class S, bool kDual, bool kAdjoint, bool kWhole, class Block>
class JoinTile {
 public:
  using T = typename Computed<S>::Type;

  // A member of the crew of one of the elements in the block's hands.
  struct Member {
    int32_t element;        // of the block's
    int32_t number;         // in the crew
    int32_t group, letter;  // the first of its share
    T* own;                 // its element's part of the workspace
    // Its element of what the highest level is read from, sig, t_sig or d_out, and of the
    // result.
    const S* in;
    S* out;
  };

  // Item number `item` of a stage: some elements, or a tile of one.
  JAX_SIGLIB_KERNEL JoinTile(const Block& block, const JoinJob& job, int64_t item,
                             T* workspace)
      : job_(job),
        levels_(job.levels),
        from_(kWhole ? 0 : job.stage.from),
        to_(kWhole ? job.levels.degree() : job.stage.to),
        first_element_(kWhole ? item * job.stage.elements : item / job.stage.tiles),
        elements_(kWhole ? static_cast<int32_t>(
                               Least(job.stage.elements, job.batch - first_element_))
                         : 1),
        tile_(kWhole ? 0 : item - first_element_ * job.stage.tiles),
        first_(tile_ * job.stage.words),
        range_(kWhole ? 1
                      : static_cast<int32_t>(
                            Least(job.stage.words, levels_.Size(from_) - first_))),
        words_(levels_, job.prepend, from_, first_, range_,
               kWhole || range_ == job.stage.words || !job.prepend ? job.by_words
                                                                   : Divisor(range_)),
        inverse_(workspace),
        members_(block, elements_ * job.stage.crew) {}

  // What is read of the levels below the tile's highest and of the displacement, all at
  // once, and the chains at the root.
  JAX_SIGLIB_KERNEL void Begin() {
    members_.ForEach([&](int32_t i, Member& m) {
      const auto at = kWhole ? job_.by_crew.Split(i) : Divisor::Parts{0, i};
      m.element = at.quotient;
      m.number = at.rest;
      m.own = inverse_ + job_.at.own + at.quotient * job_.at.apart;
      m.in = Of<const S>(kAdjoint ? job_.ct_out : kDual ? job_.t_sig : job_.sig, m);
      m.out = Of<S>(job_.out, m);
      Share(m.number, m.group, m.letter);
      const int32_t crew = job_.stage.crew, degree = levels_.degree();
      if (!kWhole && from_ > 0) LoadPath(m);
      LoadLower(m);
      if (kAdjoint && !kWhole && to_ < degree) LoadAbove(m);
      if (m.element == 0) {
        JAX_SIGLIB_ROLLED
        for (int32_t c = m.number; c < degree; c += crew)
          inverse_[c] = T(1) / static_cast<T>(c + 1);
      }
      if (kWhole || (from_ == 0 && to_ > 0)) {
        const JoinChains root = Root();
        JAX_SIGLIB_ROLLED
        for (int32_t c = m.number; c < degree; c += crew) {
          Chains(m)[root.At(c, 0)] = 1;
          if (kDual) TangentChains(m)[root.At(c, 0)] = 0;
        }
      }
      if (kAdjoint) {
        T* const sums = m.own + job_.at.sums;
        JAX_SIGLIB_ROLLED
        for (int32_t j = m.number; j < job_.stage.groups * levels_.dimension(); j += crew)
          sums[j] = 0;
      }
      if (m.number == 0 && job_.scalar_term && (kWhole || from_ == 0))
        Store(m.out, -1, T(kDual || kAdjoint ? 0 : 1));
    });
    if (!kWhole && from_ > 0) FollowPath();
  }

  // The chains at all levels of the tile below its highest, where those of the highest of
  // them lie. With kOut also the results: S, or, if dual, its tangent.
  template <bool kOut>
  JAX_SIGLIB_KERNEL JoinChains Rise() {
    JoinChains here = Root();
    JAX_SIGLIB_ROLLED
    for (int32_t k = from_; k < to_ - 1; ++k) {
      const JoinChains above = here.Above(here.count * levels_.dimension());
      if (!kOut || kWhole || words_.linear())
        RiseFrom<kOut, true>(k, here, above);
      else
        RiseFrom<kOut, false>(k, here, above);
      here = above;
    }
    if (kOut && to_ > 0) {
      if (kWhole || words_.linear())
        Finish<true>(here);
      else
        Finish<false>(here);
    }
    return here;
  }

  // f(member) by all members of the elements' crews, which is a phase.
  template <class F>
  JAX_SIGLIB_KERNEL void Together(F&& f) {
    members_.ForEach([&](int32_t, Member& m) { f(m); });
  }

  // f(group, letter) for a member's share of them. Its neighbours take neighbouring words.
  template <class F>
  JAX_SIGLIB_KERNEL void ForLetters(const Member& m, F&& f) const {
    const int32_t all = job_.stage.groups * levels_.dimension();
    int32_t i = m.number, group = m.group, letter = m.letter;
    if (i >= all) return;
    JAX_SIGLIB_ROLLED
    for (;;) {
      f(group, letter);
      i += job_.stage.crew;
      if (i >= all) return;
      Share(i, group, letter);
    }
  }

  JAX_SIGLIB_KERNEL const JoinJob& job() const { return job_; }
  JAX_SIGLIB_KERNEL const Levels& levels() const { return levels_; }
  JAX_SIGLIB_KERNEL const Words<kWhole>& words() const { return words_; }
  JAX_SIGLIB_KERNEL int32_t from() const { return from_; }
  JAX_SIGLIB_KERNEL int32_t to() const { return to_; }
  JAX_SIGLIB_KERNEL int64_t first() const { return first_; }
  JAX_SIGLIB_KERNEL int64_t tile() const { return tile_; }
  // 1 / (c + 1).
  JAX_SIGLIB_KERNEL T Inverse(int32_t c) const { return inverse_[c]; }
  JAX_SIGLIB_KERNEL T* Chains(const Member& m) const { return m.own + job_.at.chains; }
  JAX_SIGLIB_KERNEL T* TangentChains(const Member& m) const {
    return Chains(m) + job_.at.chain_total;
  }
  JAX_SIGLIB_KERNEL const T* V(const Member& m) const { return m.own; }
  JAX_SIGLIB_KERNEL const T* TangentV(const Member& m) const {
    return m.own + levels_.dimension();
  }
  // Chains of level k of an element, between stages.
  JAX_SIGLIB_KERNEL int64_t HandedOver(int32_t k) const {
    return job_.at.order * (levels_.degree() - k) * levels_.Size(k);
  }
  // Where the tile's words of level k, the chains of which lie there, start in a signature.
  JAX_SIGLIB_KERNEL int64_t Start(int32_t k, const JoinChains& there) const {
    return kWhole ? there.first - 1 : levels_.Offset(k) + words_.FirstPlace(k);
  }
  JAX_SIGLIB_KERNEL int64_t Index(const Member& m) const {
    return first_element_ + m.element;
  }
  template <class A>
  JAX_SIGLIB_KERNEL A* Of(const Pointer& pointer, const Member& m) const {
    return pointer.At<A>(job_.lead, Index(m));
  }

 private:
  // A number, its tangent, and g.
  struct Loaded {
    T x, t, g;
  };

  JAX_SIGLIB_KERNEL static int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }

  JAX_SIGLIB_KERNEL JoinChains Root() const {
    // Going back, a stage below the highest has those of its highest level too.
    const int32_t end = kAdjoint && !kWhole && to_ < levels_.degree() ? to_ + 1 : to_;
    return {0, words_.CountBelow(end), range_, levels_.degree() - from_};
  }

  // Item i of groups x letters.
  JAX_SIGLIB_KERNEL void Share(int32_t i, int32_t& group, int32_t& letter) const {
    const auto at = (job_.prepend ? job_.by_groups : levels_.by_dimension()).Split(i);
    group = job_.prepend ? at.rest : at.quotient;
    letter = job_.prepend ? at.quotient : at.rest;
  }

  // S along the way to each root, and the letters' part of v.
  JAX_SIGLIB_KERNEL void LoadPath(const Member& m) const {
    const S* const v = Of<const S>(job_.displacement, m);
    const S* const t_v = Of<const S>(job_.t_displacement, m);
    const S* const s = Of<const S>(job_.sig, m);
    const S* const t_s = Of<const S>(job_.t_sig, m);
    T* const path = m.own + job_.at.path;
    const int32_t count = from_ * range_;
    JAX_SIGLIB_ROLLED
    for (int32_t i = m.number; i < count; i += job_.stage.crew) {
      const int32_t k = i / range_ + 1;
      const auto step = words_.Ancestor(first_ + i % range_, k);
      const int64_t at = levels_.Offset(k) + step.place;
      path[i] = Load(s, at);
      path[count + i] = Load(v, step.letter);
      if (kDual) {
        path[2 * count + i] = Load(t_s, at);
        path[3 * count + i] = Load(t_v, step.letter);
      }
    }
  }

  // v, and S (of the adjoint also g) of the levels above the root's.
  JAX_SIGLIB_KERNEL void LoadLower(const Member& m) const {
    const S* const s = kDual || kAdjoint ? Of<const S>(job_.sig, m) : m.in;
    const S* const t_s = kDual && !kAdjoint ? m.in : Of<const S>(job_.t_sig, m);
    const S* const g = m.in;
    LoadV(m);
    // So many words of the levels, from number `below` on, that lie from `start` on.
    auto bring = [&](int32_t below, int32_t count, int64_t start, bool is_s, auto&& place) {
      T* const to = Chains(m) + range_ + below;
      T* const to_g = m.own + job_.at.ct_lower + below;
      auto load = [&](int32_t i) {
        const auto at = place(i);
        return Loaded{is_s ? Load(s + start, at) : T(0),
                      kDual && is_s ? Load(t_s + start, at) : T(0),
                      kAdjoint ? Load(g + start, at) : T(0)};
      };
      InFlight<4>(m.number, count, job_.stage.crew, load, [&](int32_t i, const Loaded& x) {
        if (is_s) to[i] = x.x;
        if (is_s && kDual) to[job_.at.chain_total + i] = x.t;
        if (kAdjoint) to_g[i] = x.g;
      });
    };
    auto number = [](int32_t i) { return i; };
    if constexpr (kWhole) {
      // They lie here as they do there.
      bring(0, words_.CountBelow(to_) - 1, 0, true, number);
    } else {
      JAX_SIGLIB_ROLLED
      for (int32_t k = kAdjoint && to_ < levels_.degree() ? to_ : to_ - 1; k > from_; --k) {
        const int32_t below = words_.CountBelow(k) - range_;
        const int64_t start = levels_.Offset(k) + words_.FirstPlace(k);
        if (words_.linear())
          bring(below, words_.Count(k), start, k < to_, number);
        else
          bring(below, words_.Count(k), start, k < to_,
                [&](int32_t i) { return words_.template PlaceFromFirst<false>(i); });
      }
    }
  }

  JAX_SIGLIB_KERNEL void LoadV(const Member& m) const {
    const S* const v = Of<const S>(job_.displacement, m);
    const S* const t_v = Of<const S>(job_.t_displacement, m);
    const int32_t d = levels_.dimension();
    JAX_SIGLIB_ROLLED
    for (int32_t j = m.number; j < d; j += job_.stage.crew) {
      m.own[j] = Load(v, j);
      if (kDual) m.own[d + j] = Load(t_v, j);
    }
  }

  // The adjoint's chains at the tile's highest level, from the stage above.
  JAX_SIGLIB_KERNEL void LoadAbove(const Member& m) const {
    JoinChains above = Root();
    JAX_SIGLIB_ROLLED
    for (int32_t k = from_; k < to_; ++k) above = above.Above(words_.Count(k + 1));
    const int64_t size = levels_.Size(to_);
    const T* const z = static_cast<const T*>(job_.from_above) + Index(m) * HandedOver(to_) +
                       words_.FirstPlace(to_);
    JAX_SIGLIB_ROLLED
    for (int32_t c = 0; c < above.number; ++c) {
      const T* const z_c = z + c * job_.at.order * size;
      JAX_SIGLIB_ROLLED
      for (int32_t i = m.number; i < above.count; i += job_.stage.crew) {
        const int64_t at = words_.template PlaceFromFirst<false>(i);
        Chains(m)[above.At(c, i)] = z_c[at];
        if (kDual) TangentChains(m)[above.At(c, i)] = z_c[size + at];
      }
    }
  }

  // The chains at the root, each from the path down to level 0 alone.
  JAX_SIGLIB_KERNEL void FollowPath() {
    const JoinChains root = Root();
    Together([&](const Member& m) {
      const T* const path = m.own + job_.at.path;
      const int32_t count = from_ * range_;
      JAX_SIGLIB_ROLLED
      for (int32_t i = m.number; i < root.number * range_; i += job_.stage.crew) {
        const int32_t c = i / range_, word = i % range_;
        T b = 1, t_b = 0;
        JAX_SIGLIB_ROLLED
        for (int32_t k = 0; k < from_; ++k) {
          const T* const step = path + k * range_ + word;
          const T inverse = inverse_[from_ + c - k];
          if (kDual)
            t_b = step[2 * count] +
                  Moved(k, b, t_b, step[count] * inverse, step[3 * count] * inverse);
          b = *step + b * (step[count] * inverse);
        }
        Chains(m)[root.At(c, word)] = b;
        if (kDual) TangentChains(m)[root.At(c, word)] = t_b;
      }
    });
  }

  // The tangent of b v, with b of level k. That of B_0 is zero by nature: not to be
  // multiplied with an infinity.
  JAX_SIGLIB_KERNEL static T Moved(int32_t k, T b, T t_b, T v, T t_v) {
    const T moved = b * t_v;
    return k == 0 ? moved : t_b * v + moved;
  }

  // From level k to k+1 and its chains.
  template <bool kOut, bool kLinear>
  JAX_SIGLIB_KERNEL void RiseFrom(int32_t k, const JoinChains& here,
                                  const JoinChains& above) {
    const auto children = words_.ChildrenOf(here.count);
    const int64_t start = kOut ? Start(k + 1, above) : 0;
    Together([&](const Member& m) {
      const int64_t tangent = job_.at.chain_total;
      T* const chains = Chains(m);
      // S, and in the end chain 1.
      T* const next = chains + above.first;
      S* const out = kOut ? m.out + start : nullptr;
      ForLetters(m, [&](int32_t group, int32_t letter) {
        if (group >= here.count) return;
        const T v = V(m)[letter], t_v = kDual ? TangentV(m)[letter] : T(0);
        const T v_1 = v * inverse_[1], t_v_1 = t_v * inverse_[1];
        JAX_SIGLIB_ROLLED
        for (int32_t r = group; r < here.count; r += job_.stage.groups) {
          const int32_t child = children.At(r, letter);
          const T s = next[child], t_s = kDual ? next[tangent + child] : T(0);
          // Chain c gives chain c-1 of the child.
          auto put = [&](const T* b, T* to, T v_c, T t_v_c) {
            *to = s + *b * v_c;
            if (kDual) to[tangent] = t_s + Moved(k, *b, b[tangent], v_c, t_v_c);
          };
          if (kOut) {
            const T b = chains[here.first + r];
            const T x = kDual ? t_s + Moved(k, b, chains[here.first + tangent + r], v, t_v)
                              : s + b * v;
            Store(out, words_.template PlaceFromFirst<kLinear>(child), x);
          }
          const T* b = chains + here.others + r;
          put(b, next + child, v_1, t_v_1);
          T* to = chains + above.others + child;
          JAX_SIGLIB_ROLLED
          for (int32_t c = 2; c <= above.number; ++c, to += above.count)
            put(b += here.count, to, v * inverse_[c], t_v * inverse_[c]);
        }
      });
    });
  }

  // The tile's highest level, which is most of the work: S is read only here.
  template <bool kLinear>
  JAX_SIGLIB_KERNEL void Finish(const JoinChains& here) {
    const int32_t k = to_ - 1;
    const auto children = words_.ChildrenOf(here.count);
    const int64_t start = Start(to_, here.Above(0));
    Together([&](const Member& m) {
      const T* const b = Chains(m) + here.first;
      const T* const t_b = b + job_.at.chain_total;
      // Of the tangent S itself is not asked for.
      ForLetters(m, [&](int32_t group, int32_t letter) {
        const T v = V(m)[letter], t_v = kDual ? TangentV(m)[letter] : T(0);
        const int64_t at = start + (kLinear ? children.At(0, letter) : 0);
        const S* const s = m.in + at;
        S* const out = m.out + at;
        auto place = [&](int32_t r) {
          if constexpr (kLinear)
            return r * children.by_parent;
          else
            return words_.template PlaceFromFirst<false>(children.At(r, letter));
        };
        auto load = [&](int32_t r) { return Load(s, place(r)); };
        auto use = [&](int32_t r, T s_r) {
          Store(out, place(r), s_r + (kDual ? Moved(k, b[r], t_b[r], v, t_v) : b[r] * v));
        };
        ManyInFlight<kLinear ? kInFlight : 4>(group, here.count, job_.stage.groups, load,
                                              use);
      });
    });
  }

  const JoinJob& job_;
  const Levels& levels_;
  int32_t from_, to_;
  int64_t first_element_;
  int32_t elements_;
  int64_t tile_;
  int64_t first_;
  int32_t range_;
  Words<kWhole> words_;
  T* inverse_;
  typename Block::template Own<Member> members_;
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_JOIN_TILE_H_
