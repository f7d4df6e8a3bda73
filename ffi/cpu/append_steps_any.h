// AppendSteps for a dimension known at run time only: rows of d entries, one after
// another, in vectors of W lanes and a masked rest. Same functions, same meaning.
#ifndef JAX_SIGLIB_CPU_APPEND_STEPS_ANY_H_
#define JAX_SIGLIB_CPU_APPEND_STEPS_ANY_H_

#include "level.h"
#include "simd.h"
#include "sum_lanes.h"
#include "unroll.h"

namespace jax_siglib {
namespace JAX_SIGLIB_ISA {

template <class Type>
class AppendStepsAny {
 public:
  using T = Type;
  using Simd = Vec<T>;
  using V = typename Simd::V;
  static constexpr int W = Simd::kLanes;
  static constexpr bool kFusesTopTwo = false;
  static constexpr bool kCalled = false;  // of themselves they are

  // sum: d vectors of scratch. The displacement's cotangent is collected in the first d
  // entries; behind them v is repeated, for vectors that reach from one row into the next.
  AppendStepsAny(const T* v, int64_t dimension, T* sum)
      : v_(v), d_(dimension), sum_(sum), repeated_(sum + PadToVector<T>(dimension)) {
    if (d_ < W) return;
    for (int64_t j = 0; j < d_ + W; ++j) repeated_[j] = v[j < d_ ? j : j - d_];
  }

  void ClearSum() {
    for (int64_t j = 0; j < d_; ++j) sum_[j] = T(0);
  }

  template <bool kPadded>
  JAX_SIGLIB_STEP void Expand(T* dst, const T* s, const T* b, T factor,
                              Level<T> level) const {
    if (d_ % W == 0)
      ExpandWholeRows<kPadded>(dst, s, b, factor, level);
    else if (d_ > W)
      ExpandStraight<kPadded>(dst, s, b, factor, level);
    else
      ExpandShortRows(dst, s, b, factor, level);
  }

  template <bool kOut>
  JAX_SIGLIB_STEP void ExpandLevel(T* out, const T* s, const T* b, int64_t stride,
                                   T* b_next, int64_t next_stride, Level<T> level) const {
    // The chains first: out may be s.
    for (int64_t c = 1; c < level.chains; ++c)
      Expand<true>(b_next + (c - 1) * next_stride, s, b + c * stride, level.inverse[c],
                   level);
    if constexpr (kOut) Expand<false>(out, s, b, T(1), level);
  }

  JAX_SIGLIB_STEP void ExpandLevelTangent(const AppendStepsAny& t_steps, T* out, const T* s,
                                          T* t_out, const T* t_s, DualChains<T> b,
                                          DualChains<T> next, Level<T> level) const {
    for (int64_t c = 1; c < level.chains; ++c) {
      const T factor = level.inverse[c];
      const T* const rows = b.data + c * b.stride;
      T* const to = next.tangent + (c - 1) * next.stride;
      Expand<true>(to, t_s, b.tangent + c * b.stride, factor, level);
      t_steps.template Expand<true>(to, to, rows, factor, level);
      if (next.data != nullptr)
        Expand<true>(next.data + (c - 1) * next.stride, s, rows, factor, level);
    }
    // out may be s, and t_out may be t_s.
    if (t_out != nullptr) {
      Expand<false>(t_out, t_s, b.tangent, T(1), level);
      t_steps.template Expand<false>(t_out, t_out, b.data, T(1), level);
    }
    if (out != nullptr) Expand<false>(out, s, b.data, T(1), level);
  }

  JAX_SIGLIB_STEP void ContractLevel(T* ct, const T* g, const T* y, int64_t y_stride,
                                     const T* b, int64_t b_stride, T* y_next,
                                     int64_t next_stride, Level<T> level) {
    if (ct == nullptr)
      Contract<false>(nullptr, g, b, T(1), y_next, level);
    else
      Contract<true>(ct, g, b, T(1), y_next, level);
    for (int64_t c = 1; c < level.chains; ++c) {
      const T* const x = y + (c - 1) * y_stride;
      Contract<false>(nullptr, x, b + c * b_stride, level.inverse[c],
                      y_next + c * next_stride, level);
      Add(ct, x, level);
    }
  }

  template <bool kCarry>
  JAX_SIGLIB_STEP void ContractLevelTangent(const AppendStepsAny& t_steps, const T* g,
                                            T* ct, T* t_ct, DualChains<T> y,
                                            DualChains<T> b, DualChains<T> next,
                                            Level<T> level) {
    const bool carries = kCarry && t_ct != nullptr;
    if (carries) Contract<false>(nullptr, t_ct, b.data, T(1), next.tangent, level);
    ContractTwice(t_steps, g, b.tangent, T(1), next.data, next.tangent, carries, level);
    for (int64_t c = 1; c < level.chains; ++c) {
      const int64_t from = (c - 1) * y.stride, at = c * b.stride, to = c * next.stride;
      const T* const t_x = y.tangent + from;
      if (!kCarry && c == 1) {
        Contract<true>(t_ct, t_x, b.data + at, level.inverse[c], next.tangent + to, level);
      } else {
        Contract<false>(nullptr, t_x, b.data + at, level.inverse[c], next.tangent + to,
                        level);
        Add(t_ct, t_x, level);
      }
      ContractTwice(t_steps, y.data + from, b.tangent + at, level.inverse[c],
                    next.data + to, next.tangent + to, true, level);
      if constexpr (kCarry) Add(ct, y.data + from, level);
    }
  }

  void AddDisplacement(T* ct_v) const {
    for (int64_t j = 0; j < d_; ++j) ct_v[j] += sum_[j];
  }

 private:
  struct Product {
    V rows, v;
  };

  // Straight through the children, whose vectors hold entries of two rows at most.
  template <bool kPadded>
  JAX_SIGLIB_INLINE void ExpandStraight(T* dst, const T* s, const T* b, T factor,
                                        Level<T> level) const {
    // Locals: the compiler must assume that storing a vector may change any member.
    const T* const repeated = repeated_;
    const int64_t d = d_, entries = level.rows * d;
    const V factors = Simd::Set1(factor);
    int64_t column = 0;
    auto vector = [&](int64_t i) JAX_SIGLIB_LAMBDA {
      Prefetch(s + i);
      if constexpr (!kPadded) PrefetchToWrite(dst + i);
      const int64_t left = d - column;
      // The last row has no next one, and the vector that starts in it does not need it.
      const V rows =
          Simd::Select(Simd::FirstLanes(left), Simd::Set1(b[0]), Simd::Set1(b[left < W]));
      const V v = Simd::Mul(Simd::Load(repeated + column), factors);
      column += W;
      if (column >= d) {
        column -= d;
        ++b;
      }
      return Product{rows, v};
    };
    int64_t i = 0;
    for (; i + W <= entries; i += W) {
      const Product p = vector(i);
      Simd::Store(dst + i, Simd::MulAdd(p.rows, p.v, Simd::Load(s + i)));
    }
    if (i < entries) {
      const auto rest = Simd::FirstLanes(entries - i);
      const Product p = vector(i);
      Simd::StoreFirst(dst + i, Simd::MulAdd(p.rows, p.v, Simd::LoadFirst(s + i, rest)),
                       rest);
    }
  }

  // Row by row, for rows of whole vectors.
  template <bool kPadded>
  JAX_SIGLIB_INLINE void ExpandWholeRows(T* dst, const T* s, const T* b, T factor,
                                         Level<T> level) const {
    const T* const v = v_;
    const int64_t d = d_;
    const V factors = Simd::Set1(factor);
    for (int64_t j = 0; j < d; j += W) {
      // A strip of W columns, so that v stays in a register: one strip for d = W.
      const V values = Simd::Mul(Simd::Load(v + j), factors);
      for (int64_t row = 0; row < level.rows; ++row) {
        const int64_t at = row * d + j;
        Prefetch(s + at);
        if constexpr (!kPadded) PrefetchToWrite(dst + at);
        Simd::Store(dst + at, Simd::MulAdd(Simd::Set1(b[row]), values, Simd::Load(s + at)));
      }
    }
  }

  // Row by row, for rows shorter than a vector.
  JAX_SIGLIB_INLINE void ExpandShortRows(T* dst, const T* s, const T* b, T factor,
                                         Level<T> level) const {
    const int64_t d = d_;
    const auto lanes = Simd::FirstLanes(d);
    const V v = Simd::Mul(Simd::LoadFirst(v_, lanes), Simd::Set1(factor));
    for (int64_t row = 0; row < level.rows; ++row) {
      Simd::StoreFirst(dst, Simd::MulAdd(Simd::Set1(b[row]), v, Simd::LoadFirst(s, lanes)),
                       lanes);
      dst += d;
      s += d;
    }
  }

  // y = factor * x v and sum += factor * b^T x for x of `rows` rows; x is also copied
  // to ct if kCopy.
  template <bool kCopy>
  JAX_SIGLIB_STEP void Contract(T* ct, const T* x, const T* b, T factor, T* y,
                                Level<T> level) {
    const T* const v = v_;
    T* const sum = sum_;
    const int64_t d = d_;
    const V factors = Simd::Set1(factor);
    for (int64_t row = 0; row < level.rows; row += W) {
      T scale[W];
      const auto valid = Simd::FirstLanes(level.rows - row);
      Simd::Store(scale, Simd::Mul(Simd::KeepFirst(Simd::Load(b + row), valid), factors));
      V product[W];
      if (row + W <= level.rows)
        ContractRows<true>(x, v, sum, d, scale, product, W);
      else
        ContractRows<false>(x, v, sum, d, scale, product, level.rows - row);
      Simd::Store(y + row, Simd::Mul(SumEach<T, W>(product), factors));
      if constexpr (kCopy) {
        // By itself, straight through what has just been read.
        const int64_t entries = (row + W <= level.rows ? W : level.rows - row) * d;
        int64_t i = 0;
        for (; i + W <= entries; i += W) {
          PrefetchToWrite(ct + i);
          Simd::Store(ct + i, Simd::Load(x + i));
        }
        if (i < entries) {
          const auto rest = Simd::FirstLanes(entries - i);
          Simd::StoreFirst(ct + i, Simd::LoadFirst(x + i, rest), rest);
        }
        ct += W * d;
      }
      x += W * d;
    }
  }

  // ct += x, a level's children.
  JAX_SIGLIB_INLINE void Add(T* ct, const T* x, Level<T> level) const {
    const int64_t entries = level.rows * d_;
    for (int64_t i = 0; i < entries; i += W) {
      const auto lanes = Simd::FirstLanes(entries - i);
      Simd::StoreFirst(
          ct + i, Simd::Add(Simd::LoadFirst(ct + i, lanes), Simd::LoadFirst(x + i, lanes)),
          lanes);
    }
  }

  // y = factor * x v, t_y (+)= factor * x t_v and sum += factor * b^T x.
  JAX_SIGLIB_STEP void ContractTwice(const AppendStepsAny& t_steps, const T* x, const T* b,
                                     T factor, T* y, T* t_y, bool add, Level<T> level) {
    // Half as many rows at a time as in Contract: there are twice as many sums to keep.
    constexpr int H = W / 2;
    const int64_t d = d_;
    const V factors = Simd::Set1(factor);
    for (int64_t row = 0; row < level.rows; row += W) {
      T scale[W];
      const auto valid = Simd::FirstLanes(level.rows - row);
      Simd::Store(scale, Simd::Mul(Simd::KeepFirst(Simd::Load(b + row), valid), factors));
      V product[W], t_product[W];
      for (int h = 0; h < W; h += H) {
        if (row + h + H <= level.rows)
          ContractRowsTwice<true>(t_steps, x, scale + h, product + h, t_product + h, H);
        else
          ContractRowsTwice<false>(t_steps, x, scale + h, product + h, t_product + h,
                                   level.rows - row - h);
        x += H * d;
      }
      Simd::Store(y + row, Simd::Mul(SumEach<T, W>(product), factors));
      const V t_sums = Simd::Mul(SumEach<T, W>(t_product), factors);
      Simd::Store(t_y + row, add ? Simd::Add(Simd::Load(t_y + row), t_sums) : t_sums);
    }
  }

  // ContractRows with v and t_v, for W/2 (or count, which may be negative) rows.
  template <bool kFull>
  JAX_SIGLIB_INLINE void ContractRowsTwice(const AppendStepsAny& t_steps, const T* x,
                                           const T* scale, V* product, V* t_product,
                                           int64_t count) {
    constexpr int H = W / 2;
    const T *const v = v_, *const t_v = t_steps.v_;
    T* const sum = sum_;
    const int64_t d = d_;
    V dot[H], t_dot[H];
    Unroll<0, H>([&](auto r)
                     JAX_SIGLIB_LAMBDA { dot[r.value] = t_dot[r.value] = Simd::Zero(); });
    auto columns = [&](int64_t j, auto load, auto store) JAX_SIGLIB_LAMBDA {
      V part[2] = {load(sum + j), Simd::Zero()};
      const V values = load(v + j), t_values = load(t_v + j);
      const T* from = x + j;
      Unroll<0, H>([&](auto r) JAX_SIGLIB_LAMBDA {
        if (kFull || r.value < count) {
          const V value = load(from);
          Prefetch(from);
          dot[r.value] = Simd::MulAdd(value, values, dot[r.value]);
          t_dot[r.value] = Simd::MulAdd(value, t_values, t_dot[r.value]);
          part[r.value % 2] =
              Simd::MulAdd(value, Simd::Set1(scale[r.value]), part[r.value % 2]);
          from += d;
        }
      });
      store(sum + j, Simd::Add(part[0], part[1]));
    };
    int64_t j = 0;
    for (; j + W <= d; j += W)
      columns(
          j, [](const T* p) JAX_SIGLIB_LAMBDA { return Simd::Load(p); },
          [](T* p, V x) JAX_SIGLIB_LAMBDA { Simd::Store(p, x); });
    if (j < d) {
      const auto rest = Simd::FirstLanes(d - j);
      columns(
          j, [&](const T* p) JAX_SIGLIB_LAMBDA { return Simd::LoadFirst(p, rest); },
          [&](T* p, V x) JAX_SIGLIB_LAMBDA { Simd::StoreFirst(p, x, rest); });
    }
    Unroll<0, H>([&](auto r) JAX_SIGLIB_LAMBDA {
      product[r.value] = dot[r.value];
      t_product[r.value] = t_dot[r.value];
    });
  }

  // product[r] = x[r] * v, lane by lane, for W (or count) rows, and sum += scale^T x.
  template <bool kFull>
  static JAX_SIGLIB_INLINE void ContractRows(const T* x, const T* v, T* sum, int64_t d,
                                             const T (&scale)[W], V (&product)[W],
                                             int64_t count) {
    Unroll<0, W>([&](auto r) JAX_SIGLIB_LAMBDA { product[r.value] = Simd::Zero(); });
    int64_t j = 0;
    for (; j + W <= d; j += W) {
      // Four partial sums keep the chain of dependent additions short.
      V part[4] = {Simd::Load(sum + j), Simd::Zero(), Simd::Zero(), Simd::Zero()};
      const V values = Simd::Load(v + j);
      const T* from = x + j;
      Unroll<0, W>([&](auto r) JAX_SIGLIB_LAMBDA {
        if (kFull || r.value < count) {
          const V value = Simd::Load(from);
          Prefetch(from);
          product[r.value] = Simd::MulAdd(value, values, product[r.value]);
          part[r.value % 4] =
              Simd::MulAdd(value, Simd::Set1(scale[r.value]), part[r.value % 4]);
          from += d;
        }
      });
      Simd::Store(sum + j,
                  Simd::Add(Simd::Add(part[0], part[1]), Simd::Add(part[2], part[3])));
    }
    if (j < d) {
      const auto rest = Simd::FirstLanes(d - j);
      V part[4] = {Simd::LoadFirst(sum + j, rest), Simd::Zero(), Simd::Zero(),
                   Simd::Zero()};
      const V values = Simd::LoadFirst(v + j, rest);
      const T* from = x + j;
      Unroll<0, W>([&](auto r) JAX_SIGLIB_LAMBDA {
        if (kFull || r.value < count) {
          const V value = Simd::LoadFirst(from, rest);
          product[r.value] = Simd::MulAdd(value, values, product[r.value]);
          part[r.value % 4] =
              Simd::MulAdd(value, Simd::Set1(scale[r.value]), part[r.value % 4]);
          from += d;
        }
      });
      Simd::StoreFirst(sum + j,
                       Simd::Add(Simd::Add(part[0], part[1]), Simd::Add(part[2], part[3])),
                       rest);
    }
  }

  const T* v_;
  int64_t d_;
  T* sum_;
  T* repeated_;
};

}  // namespace JAX_SIGLIB_ISA
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_APPEND_STEPS_ANY_H_
