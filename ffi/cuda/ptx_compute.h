// What single instructions of PTX compute, of values as registers have them: bits, those
// beyond the type's size zero.
#ifndef JAX_SIGLIB_CUDA_PTX_COMPUTE_H_
#define JAX_SIGLIB_CUDA_PTX_COMPUTE_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "ptx.h"
#include "storage.h"

namespace jax_siglib {
namespace cuda {
namespace ptx {

inline uint64_t Cut(const Type& type, uint64_t x) {
  return type.bytes == 8 ? x : x & ((uint64_t{1} << 8 * type.bytes) - 1);
}

// To 64 bits.
inline uint64_t Extend(const Type& type, uint64_t x) {
  const int unused = 64 - 8 * type.bytes;
  return type.kind == Type::kSigned
             ? static_cast<uint64_t>(static_cast<int64_t>(x << unused) >> unused)
             : Cut(type, x);
}

template <class T>
T FromBits(uint64_t x) {
  T value;
  std::memcpy(&value, &x, sizeof(T));
  return value;
}
template <class T>
uint64_t Bits(T value) {
  uint64_t x = 0;
  std::memcpy(&x, &value, sizeof(T));
  return x;
}

template <class T>
bool Compare(Comparison comparison, T a, T b) {
  switch (comparison) {
    case Comparison::kEq:
      return a == b;
    case Comparison::kNe:
      return a != b;
    case Comparison::kLt:
      return a < b;
    case Comparison::kLe:
      return a <= b;
    case Comparison::kGt:
      return a > b;
    case Comparison::kGe:
      return a >= b;
  }
  return false;
}

template <class T>
uint64_t ComputeFloat(const Instruction& in, T a, T b, T c) {
  switch (in.op) {
    case Op::kAdd:
      return Bits<T>(a + b);
    case Op::kSub:
      return Bits<T>(a - b);
    case Op::kMul:
      return Bits<T>(a * b);
    case Op::kFma:
      return Bits<T>(std::fma(a, b, c));
    case Op::kDiv:
      return Bits<T>(a / b);
    case Op::kRcp:
      return Bits<T>(1 / a);
    case Op::kNeg:
      return Bits<T>(-a);
    case Op::kSetp:
      return Compare(in.comparison, a, b);
    default:
      Complain("no such operation on floats: " + in.text);
  }
}

// Of operands as 64 bits, T with their sign or without.
template <class T>
uint64_t ComputeInteger(const Instruction& in, uint64_t a, uint64_t b, uint64_t c) {
  const auto x = static_cast<T>(a), y = static_cast<T>(b);
  const auto bits = static_cast<uint64_t>(8 * in.type.bytes);
  switch (in.op) {
    case Op::kAdd:
      return a + b;
    case Op::kSub:
      return a - b;
    case Op::kMul:
    case Op::kMulWide:
      return a * b;
    case Op::kMulHigh: {
      using Wide = std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>;
      return static_cast<uint64_t>((Wide{x} * y) >> bits);
    }
    case Op::kMad:
      return a * b + c;
    case Op::kDiv:
    case Op::kRem:
      if (b == 0) Complain("division by zero: " + in.text);
      return static_cast<uint64_t>(in.op == Op::kDiv ? x / y : x % y);
    case Op::kMin:
      return static_cast<uint64_t>(std::min(x, y));
    case Op::kMax:
      return static_cast<uint64_t>(std::max(x, y));
    case Op::kNeg:
      return uint64_t{0} - a;
    case Op::kNot:
      return bits == 8 ? a ^ 1 : ~a;
    case Op::kAnd:
      return a & b;
    case Op::kOr:
      return a | b;
    case Op::kXor:
      return a ^ b;
    case Op::kShl:
      return b >= bits ? 0 : a << b;
    case Op::kShr:
      if (b >= bits && !std::is_signed_v<T>) return 0;
      return static_cast<uint64_t>(x >> std::min(b, bits - 1));
    case Op::kSetp:
      return Compare(in.comparison, x, y);
    default:
      Complain("no such operation on integers: " + in.text);
  }
}

inline uint64_t Convert(const Instruction& in, uint64_t x) {
  const Type &to = in.type, &from = in.from;
  if (from.IsFloat() || to.IsFloat()) {
    // Of what there is, every step is exact but the last.
    double value;
    if (from.kind == Type::kBFloat)
      value = Widen(BFloat16{static_cast<uint16_t>(x)});
    else if (from.kind == Type::kFloat)
      value = from.bytes == 2   ? Widen(Float16{static_cast<uint16_t>(x)})
              : from.bytes == 4 ? FromBits<float>(x)
                                : FromBits<double>(x);
    else if (from.bytes == 4 && from.kind == Type::kSigned)
      value = static_cast<double>(static_cast<int64_t>(Extend(from, x)));
    else
      Complain("no such conversion: " + in.text);
    if (to.kind == Type::kFloat && to.bytes == 8) return Bits(value);
    const float narrow = static_cast<float>(value);
    if (to.kind == Type::kFloat && to.bytes == 4) return Bits(narrow);
    if (from.bytes == 4 && to.kind == Type::kBFloat) {
      BFloat16 half;
      Round(narrow, &half);
      return half.bits;
    }
    if (from.bytes == 4 && to.kind == Type::kFloat) {
      Float16 half;
      Round(narrow, &half);
      return half.bits;
    }
    Complain("no such conversion: " + in.text);
  }
  return Cut(to, Extend(from, x));
}

inline uint64_t Compute(const Instruction& in, uint64_t a, uint64_t b, uint64_t c) {
  if (in.op == Op::kMov) return Cut(in.type, a);
  if (in.op == Op::kSelp) return Cut(in.type, (c & 1) != 0 ? a : b);
  if (in.op == Op::kCvt) return Convert(in, a);
  const Type& type = in.type;
  if (type.kind == Type::kFloat)
    return type.bytes == 4 ? ComputeFloat(in, FromBits<float>(a), FromBits<float>(b),
                                          FromBits<float>(c))
                           : ComputeFloat(in, FromBits<double>(a), FromBits<double>(b),
                                          FromBits<double>(c));
  // A number of places to shift by has no sign.
  const Type by = in.op == Op::kShl || in.op == Op::kShr ? Type{Type::kUnsigned, 4} : type;
  const uint64_t x =
      type.kind == Type::kSigned
          ? ComputeInteger<int64_t>(in, Extend(type, a), Extend(by, b), Extend(type, c))
          : ComputeInteger<uint64_t>(in, Extend(type, a), Extend(by, b), Extend(type, c));
  return in.op == Op::kMulWide ? x : in.op == Op::kSetp ? x & 1 : Cut(type, x);
}

}  // namespace ptx
}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_PTX_COMPUTE_H_
