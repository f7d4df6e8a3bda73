// sig and its tangent for a tile of a path's signature. Level N is a matrix product with
// time as its inner index, S_N = sum over t of B_t ⊗ v_t, done for a block of steps at a
// time.
#ifndef JAX_SIGLIB_CUDA_PATH_FORWARD_H_
#define JAX_SIGLIB_CUDA_PATH_FORWARD_H_

#include <cstdint>

#include "path_tile.h"

namespace jax_siglib {
namespace cuda {

template <class S, bool kDual, class Block>
class PathForwardTile : public PathTile<S, kDual, false, Block> {
  using Base = PathTile<S, kDual, false, Block>;
  using typename Base::Dual;

 public:
  using Base::Base;
  using typename Base::T;

  JAX_SIGLIB_KERNEL void Run() const {
    this->Begin();
    T* const top = this->memory_ + this->at_.top;
    this->block_.ForEach(this->rows_ * this->d_, [&](int32_t i) { top[i] = 0; });
    const int64_t steps = this->job_.points - 1;
    JAX_SIGLIB_ROLLED
    for (int64_t first = 0; first < steps; first += this->job_.stage.steps) {
      const int32_t count = static_cast<int32_t>(
          steps - first < this->job_.stage.steps ? steps - first : this->job_.stage.steps);
      this->LoadIncrements(first, count);
      JAX_SIGLIB_ROLLED
      for (int32_t step = 0; step < count; ++step) this->template Step<false>(step);
      AddProduct(top, count);
    }
    Write(top);
  }

 private:
  // top += B^T v over a block's steps; or its tangent, tB^T v + B^T tv.
  JAX_SIGLIB_KERNEL void AddProduct(T* top, int32_t count) const {
    const int32_t d = this->d_, rows = this->rows_;
    const int32_t across = (d + kSide - 1) / kSide, down = (rows + kSide - 1) / kSide;
    const Divisor by_across(across);
    const bool has_t_b = this->degree_ > 1;  // the tangent of B_0 is zero by nature
    this->block_.ForEach(across * down, [&](int32_t i) {
      const Divisor::Parts at = by_across.Split(i);
      const int32_t row = at.quotient * kSide, letter = at.rest * kSide;
      T sum[kSide][kSide] = {};
      JAX_SIGLIB_ROLLED
      for (int32_t step = 0; step < count; ++step) {
        const Dual b = this->OfSteps(this->at_.b, step), v = this->Increments(step);
        T b_r[kSide], v_j[kSide], t_b_r[kSide] = {}, t_v_j[kSide] = {};
        for (int a = 0; a < kSide; ++a) {
          const int32_t r = row + a < rows ? row + a : rows - 1;
          const int32_t j = letter + a < d ? letter + a : d - 1;
          b_r[a] = b.x[r];
          v_j[a] = v.x[j];
          if (kDual) {
            t_b_r[a] = b.t[r];
            t_v_j[a] = v.t[j];
          }
        }
        for (int a = 0; a < kSide; ++a)
          for (int e = 0; e < kSide; ++e) {
            sum[a][e] += b_r[a] * (kDual ? t_v_j[e] : v_j[e]);
            if (kDual && has_t_b) sum[a][e] += t_b_r[a] * v_j[e];
          }
      }
      for (int a = 0; a < kSide; ++a)
        for (int e = 0; e < kSide; ++e)
          if (row + a < rows && letter + e < d)
            top[(row + a) * d + letter + e] += sum[a][e];
    });
  }

  // The tile of the result: all levels, or, of the tangent, all tangents.
  JAX_SIGLIB_KERNEL void Write(const T* top) const {
    S* const out = this->job_.out.template At<S>(this->job_.lead, this->element_);
    const Levels& levels = this->levels_;
    const int32_t degree = this->degree_, root = this->root_;
    auto write = [&](int32_t k, const T* from) {
      const int32_t count = this->Words(k);
      const int64_t place = levels.Offset(k) + this->tile_ * count;
      this->block_.ForEach(count, [&](int32_t i) { Store(out, place + i, from[i]); });
    };
    write(degree, top);
    JAX_SIGLIB_ROLLED
    for (int32_t k = root + 1; k < degree; ++k) {
      const Dual s = this->Below(k);
      write(k, kDual ? s.t : s.x);
    }
    const Dual s = this->Ancestors(false);
    this->block_.ForEach(root + 1, [&](int32_t k) {
      if (!this->Owns(k)) return;
      if (k > 0)
        Store(out, levels.Offset(k) + this->Ancestor(k), kDual ? s.t[k - 1] : s.x[k - 1]);
      else if (this->job_.scalar_term)
        Store(out, -1, kDual ? T(0) : T(1));
    });
  }
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_PATH_FORWARD_H_
