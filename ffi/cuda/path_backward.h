// The adjoint of sig for a tile of a path's signature, and the tangent of that. Going back,
// the joins are undone from the last to the first. The cotangent g of level N never
// changes, so that its part is two matrix products for a block of steps: y_t = g v_t, and
// ct_v_t += B_t^T g. Below, cotangents are carried as S is, each a sum of two numbers.
#ifndef JAX_SIGLIB_CUDA_PATH_BACKWARD_H_
#define JAX_SIGLIB_CUDA_PATH_BACKWARD_H_

#include <cstdint>

#include "path_tile.h"

namespace jax_siglib {
namespace cuda {

template <class S, bool kDual, class Block>
class PathBackwardTile : public PathTile<S, kDual, true, Block> {
  using Base = PathTile<S, kDual, true, Block>;
  using typename Base::Dual;
  using typename Base::Pair;

 public:
  using Base::Base;
  using typename Base::T;

  // Adds to (or, for a slot's first tile, sets) ct_v of every step in `share`.
  JAX_SIGLIB_KERNEL void Run(T* share, bool first_tile) const {
    this->Begin();
    const int64_t steps = this->job_.points - 1, block = this->job_.stage.steps;
    if (kDual || this->job_.from_path) {
      JAX_SIGLIB_ROLLED
      for (int64_t first = 0; first < steps; first += block) {
        const int32_t count = Count(steps - first);
        this->LoadIncrements(first, count);
        JAX_SIGLIB_ROLLED
        for (int32_t step = 0; step < count; ++step) this->template Step<false>(step);
      }
    } else {
      LoadSignature();
    }
    LoadCotangents();
    JAX_SIGLIB_ROLLED
    for (int64_t end = steps; end > 0; end -= block) {
      const int32_t count = Count(end);
      this->LoadIncrements(end - count, count);
      ContractTop(count);
      JAX_SIGLIB_ROLLED
      for (int32_t step = count - 1; step >= 0; --step) {
        this->template Step<true>(step);
        StepBack(step);
      }
      AddTop(count);
      AddGroups(count);
      const T* const sums = this->memory_ + this->at_.sums;
      const int32_t d = this->d_, apart = this->job_.stage.groups * d;
      T* const mine = share + (end - count) * d;
      this->block_.ForEach(count * d, [&](int32_t i) {
        const Divisor::Parts at = this->levels_.by_dimension().Split(i);
        const T sum = sums[at.quotient * apart + at.rest];
        mine[i] = first_tile ? sum : mine[i] + sum;
      });
    }
  }

 private:
  JAX_SIGLIB_KERNEL int32_t Count(int64_t left) const {
    const int32_t block = this->job_.stage.steps;
    return left < block ? static_cast<int32_t>(left) : block;
  }
  JAX_SIGLIB_KERNEL Dual CtAncestors() const {
    T* const s = this->memory_ + this->at_.ct_ancestors;
    return {s, s + this->root_};
  }
  JAX_SIGLIB_KERNEL Dual LowCtAncestors() const {
    T* const low = CtAncestors().x + this->at_.order * this->root_;
    return {low, low + this->root_};
  }
  JAX_SIGLIB_KERNEL Dual CtBelow(int32_t k) const {
    T* const s = this->memory_ + this->at_.ct_below + this->levels_.Offset(k - this->root_);
    return {s, s + this->at_.below_total};
  }
  JAX_SIGLIB_KERNEL Dual LowCtBelow(int32_t k) const {
    const Dual s = CtBelow(k);
    const int64_t low = this->at_.order * this->at_.below_total;
    return {s.x + low, s.t + low};
  }
  // The adjoint's chains at level k.
  JAX_SIGLIB_KERNEL Dual Twins(int32_t k, int32_t step) const {
    if (k == this->degree_ - 1) return this->OfSteps(this->at_.y, step);
    T* const y = this->memory_ + this->at_.twins + this->at_.chain_offset(k);
    return {y, y + this->at_.chain_total};
  }
  JAX_SIGLIB_KERNEL T* Sums(int32_t step) const {
    return this->memory_ + this->at_.sums +
           static_cast<int64_t>(step) * this->job_.stage.groups * this->d_;
  }
  JAX_SIGLIB_KERNEL int32_t TopPitch() const { return this->d_ | 1; }

  // S at the end of the path, levels below N. Its low parts are zero from the start.
  JAX_SIGLIB_KERNEL void LoadSignature() const {
    const S* const sig =
        this->job_.sig.template At<const S>(this->job_.lead, this->element_);
    const Dual after = this->Ancestors(true);
    this->block_.ForEach(this->root_, [&](int32_t i) {
      after.x[i] = Load(sig, this->levels_.Offset(i + 1) + this->Ancestor(i + 1));
    });
    JAX_SIGLIB_ROLLED
    for (int32_t k = this->root_ + 1; k < this->degree_; ++k) {
      const int32_t count = this->Words(k);
      const int64_t place = this->levels_.Offset(k) + this->tile_ * count;
      const Dual s = this->Below(k);
      this->block_.ForEach(count, [&](int32_t i) { s.x[i] = Load(sig, place + i); });
    }
  }

  // The tile's part of the signature's cotangent. Its tangents, and all low parts, are
  // zero.
  JAX_SIGLIB_KERNEL void LoadCotangents() const {
    const S* const g =
        this->job_.ct_out.template At<const S>(this->job_.lead, this->element_);
    const Levels& levels = this->levels_;
    T* const carried = this->memory_ + this->at_.ct_ancestors;
    this->block_.ForEach(static_cast<int32_t>(this->at_.twins - this->at_.ct_ancestors),
                         [&](int32_t i) { carried[i] = 0; });
    const Dual ancestors = CtAncestors();
    this->block_.ForEach(this->root_, [&](int32_t i) {
      const int32_t k = i + 1;
      if (this->Owns(k)) ancestors.x[i] = Load(g, levels.Offset(k) + this->Ancestor(k));
    });
    JAX_SIGLIB_ROLLED
    for (int32_t k = this->root_ + 1; k < this->degree_; ++k) {
      const int32_t count = this->Words(k);
      const int64_t place = levels.Offset(k) + this->tile_ * count;
      const Dual s = CtBelow(k);
      this->block_.ForEach(count, [&](int32_t i) { s.x[i] = Load(g, place + i); });
    }
    T* const top = this->memory_ + this->at_.top;
    const int64_t count = this->Words(this->degree_);
    const int64_t place = levels.Offset(this->degree_) + this->tile_ * count;
    this->block_.ForEach(static_cast<int32_t>(count), [&](int32_t i) {
      const Divisor::Parts at = levels.by_dimension().Split(i);
      top[at.quotient * TopPitch() + at.rest] = Load(g, place + i);
    });
  }

  // y = g v for every step of the block; its tangent is g tv. Clears the sums.
  JAX_SIGLIB_KERNEL void ContractTop(int32_t count) const {
    const T* const top = this->memory_ + this->at_.top;
    const int32_t d = this->d_, rows = this->rows_;
    const int32_t across = (count + kSide - 1) / kSide;
    const Divisor by_rows(rows);
    this->block_.ForEach(across * rows, [&](int32_t i) {
      const Divisor::Parts at = by_rows.Split(i);
      const int32_t r = at.rest, step = at.quotient * kSide;
      T sum[kSide] = {}, t_sum[kSide] = {};
      JAX_SIGLIB_ROLLED
      for (int32_t j = 0; j < d; ++j) {
        const T g = top[r * TopPitch() + j];
        for (int a = 0; a < kSide; ++a) {
          const Dual v = this->Increments(step + a < count ? step + a : count - 1);
          sum[a] += g * v.x[j];
          if (kDual) t_sum[a] += g * v.t[j];
        }
      }
      for (int a = 0; a < kSide; ++a) {
        if (step + a >= count) continue;
        const Dual y = this->OfSteps(this->at_.y, step + a);
        y.x[r] = sum[a];
        if (kDual) y.t[r] = t_sum[a];
      }
    });
    T* const sums = Sums(0);
    this->block_.ForEach(count * this->job_.stage.groups * d,
                         [&](int32_t i) { sums[i] = 0; });
  }

  // Sums of ct_v += B^T g for every step of the block; of second order tB^T g.
  JAX_SIGLIB_KERNEL void AddTop(int32_t count) const {
    if (kDual && this->degree_ == 1) return;  // the tangent of B_0 is zero by nature
    const T* const top = this->memory_ + this->at_.top;
    const int32_t d = this->d_, rows = this->rows_, groups = this->job_.stage.groups;
    const int32_t across = (d + kSide - 1) / kSide, down = (count + kSide - 1) / kSide;
    const Divisor by_across(across), by_down(down);
    this->block_.ForEach(across * down * groups, [&](int32_t i) {
      const Divisor::Parts outer = by_across.Split(i),
                           inner = by_down.Split(outer.quotient);
      const int32_t letter = outer.rest * kSide, step = inner.rest * kSide;
      const int32_t group = inner.quotient;
      T sum[kSide][kSide] = {};
      JAX_SIGLIB_ROLLED
      for (int32_t r = group; r < rows; r += groups) {
        T b[kSide], g[kSide];
        for (int a = 0; a < kSide; ++a) {
          const Dual b_a =
              this->OfSteps(this->at_.b, step + a < count ? step + a : count - 1);
          b[a] = kDual ? b_a.t[r] : b_a.x[r];
          g[a] = top[r * TopPitch() + (letter + a < d ? letter + a : d - 1)];
        }
        for (int a = 0; a < kSide; ++a)
          for (int e = 0; e < kSide; ++e) sum[a][e] += b[a] * g[e];
      }
      for (int a = 0; a < kSide; ++a)
        for (int e = 0; e < kSide; ++e)
          if (step + a < count && letter + e < d)
            Sums(step + a)[group * d + letter + e] += sum[a][e];
    });
  }

  // The adjoint of one step below level N: from y at level N-1 down to the root, and on to
  // the root's ancestors.
  JAX_SIGLIB_KERNEL void StepBack(int32_t step) const {
    JAX_SIGLIB_ROLLED
    for (int32_t k = this->degree_ - 2; k >= this->root_; --k) {
      Contract(k, step);
      // Not before the cotangents of level k+1 have been read.
      AddChains(k + 1, step);
    }
    if (this->root_ > 0) ContractAncestors(step);
  }

  // Contracts cotangents (chain 0) and chains of level k+1 with v, and with B for the sums.
  JAX_SIGLIB_KERNEL void Contract(int32_t k, int32_t step) const {
    const int32_t d = this->d_, rows = this->Words(k), children = this->Words(k + 1);
    const int32_t chains = this->degree_ - k, groups = this->job_.stage.groups;
    const int32_t contractions = k == 0 ? 0 : rows * chains;
    const Dual v = this->Increments(step), b = this->Chains(k, step);
    const Dual ct = CtBelow(k + 1), above = Twins(k + 1, step), y = Twins(k, step);
    T* const sums = Sums(step);
    const Divisor by_rows(rows);
    this->block_.ForEach(contractions + groups * d, [&](int32_t i) {
      if (i < contractions) {
        const Divisor::Parts at = by_rows.Split(i);
        const int32_t c = at.quotient, r = at.rest;
        const int64_t from = (c == 0 ? 0 : static_cast<int64_t>(c - 1) * children) + r * d;
        const T* const z = (c == 0 ? ct.x : above.x) + from;
        const T* const t_z = (c == 0 ? ct.t : above.t) + from;
        T sum = 0, t_sum = 0;
        JAX_SIGLIB_ROLLED
        for (int32_t j = 0; j < d; ++j) {
          sum += z[j] * v.x[j];
          if (kDual) t_sum += z[j] * v.t[j] + t_z[j] * v.x[j];
        }
        y.x[i] = sum * this->Inverse(c);
        if (kDual) y.t[i] = t_sum * this->Inverse(c);
        return;
      }
      const Divisor::Parts at = this->levels_.by_dimension().Split(i - contractions);
      const int32_t group = at.quotient, j = at.rest;
      T total = 0;
      JAX_SIGLIB_ROLLED
      for (int32_t r = group; r < rows; r += groups) {
        JAX_SIGLIB_ROLLED
        for (int32_t c = 0; c < chains; ++c) {
          const int64_t from =
              (c == 0 ? 0 : static_cast<int64_t>(c - 1) * children) + r * d + j;
          const int32_t at_b = c * rows + r;
          T sum;
          if (kDual) {
            sum = b.x[at_b] * (c == 0 ? ct.t : above.t)[from];
            // The tangent of B_0 is zero by nature.
            if (k > 0) sum += b.t[at_b] * (c == 0 ? ct.x : above.x)[from];
          } else {
            sum = b.x[at_b] * (c == 0 ? ct.x : above.x)[from];
          }
          total += sum * this->Inverse(c);
        }
      }
      sums[group * d + j] += total;
    });
  }

  // Adds to the cotangents of level k what the chains have brought there.
  JAX_SIGLIB_KERNEL void AddChains(int32_t k, int32_t step) const {
    const int32_t count = this->Words(k), chains = this->degree_ - k;
    const Dual ct = CtBelow(k), low = LowCtBelow(k), y = Twins(k, step);
    this->block_.ForEach(count, [&](int32_t i) {
      T sum = 0, t_sum = 0;
      JAX_SIGLIB_ROLLED
      for (int32_t c = 0; c < chains; ++c) {
        sum += y.x[c * count + i];
        if (kDual) t_sum += y.t[c * count + i];
      }
      ct.x[i] = Carry(ct.x[i], low.x + i, sum);
      if (kDual) ct.t[i] = Carry(ct.t[i], low.t + i, t_sum);
    });
  }

  // Each chain's way from the root to level 0, with the ancestors' own cotangents.
  JAX_SIGLIB_KERNEL void ContractAncestors(int32_t step) const {
    const int32_t d = this->d_, degree = this->degree_, root = this->root_;
    const Dual v = this->Increments(step), s = this->Ancestors(false);
    const Dual ct = CtAncestors(), low = LowCtAncestors(), at_root = Twins(root, step);
    // For each level of the root's ancestors, the chain of level n: what it leaves there
    // for their cotangent, and for the displacement's at their last letter.
    T* const sent = this->memory_ + this->at_.sent;
    T* const t_sent = sent + degree * root;
    T* const added = this->memory_ + this->at_.added;
    this->block_.ForEach(degree, [&](int32_t i) {
      const int32_t n = i + 1;
      const bool from_above = n > root;
      T x, t_x = 0;
      if (from_above) {
        x = at_root.x[n - root - 1];
        if (kDual) t_x = at_root.t[n - root - 1];
      } else {
        x = ct.x[n - 1];
        if (kDual) t_x = ct.t[n - 1];
      }
      JAX_SIGLIB_ROLLED
      for (int32_t k = from_above ? root : n; k >= 1; --k) {
        const int32_t letter = this->Letter(k);
        const T inverse = this->Inverse(n - k);
        const Pair b = this->AncestorChain(n, k - 1, s, v, T(1));
        sent[i * root + k - 1] = x;
        if (kDual) t_sent[i * root + k - 1] = t_x;
        T sum = kDual ? b.x * t_x : b.x * x;
        if (kDual && k > 1) sum += b.t * x;
        added[i * root + k - 1] = sum * inverse;
        if (kDual) t_x = (x * v.t[letter] + t_x * v.x[letter]) * inverse;
        x = x * v.x[letter] * inverse;
      }
    });
    T* const sums = Sums(step);
    this->block_.ForEach(root + d, [&](int32_t i) {
      if (i < root) {  // the ancestor of length i + 1
        T sum = 0, t_sum = 0;
        JAX_SIGLIB_ROLLED
        for (int32_t n = i + 2; n <= degree; ++n) {
          sum += sent[(n - 1) * root + i];
          if (kDual) t_sum += t_sent[(n - 1) * root + i];
        }
        ct.x[i] = Carry(ct.x[i], low.x + i, sum);
        if (kDual) ct.t[i] = Carry(ct.t[i], low.t + i, t_sum);
        return;
      }
      T sum = 0;
      JAX_SIGLIB_ROLLED
      for (int32_t k = 1; k <= root; ++k) {
        if (this->Letter(k) != i - root) continue;
        JAX_SIGLIB_ROLLED
        for (int32_t n = k; n <= degree; ++n) sum += added[(n - 1) * root + k - 1];
      }
      sums[i - root] += sum;
    });
  }

  // Every step's groups in pairs.
  JAX_SIGLIB_KERNEL void AddGroups(int32_t count) const {
    const int32_t d = this->d_;
    JAX_SIGLIB_ROLLED
    for (int32_t groups = this->job_.stage.groups; groups > 1;) {
      const int32_t half = (groups + 1) / 2, width = (groups - half) * d;
      const Divisor by_width(width);
      this->block_.ForEach(count * width, [&](int32_t i) {
        const Divisor::Parts at = by_width.Split(i);
        T* const sums = Sums(at.quotient);
        sums[at.rest] += sums[at.rest + half * d];
      });
      groups = half;
    }
  }
};

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_PATH_BACKWARD_H_
