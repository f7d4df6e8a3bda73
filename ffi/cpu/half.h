// Calls in half precision, float16 and bfloat16: done in float, and rounded once.
//
// The operands of some elements of the batch at a time are widened into scratch, the same
// call is made on them in float, and its results are rounded into place. So whatever has
// kernels for float has half precision too, with no error but that of the last rounding
// added to float's.
#ifndef JAX_SIGLIB_CPU_HALF_H_
#define JAX_SIGLIB_CPU_HALF_H_

#include <cstddef>
#include <functional>
#include <string>
#include <tuple>
#include <utility>

#include "calls.h"

namespace jax_siglib {

// The call on arrays of floats in the place of those of the half type, all with one
// dimension for the batch.
using FloatCall = std::function<std::string(const Array* floats, Threads threads)>;

constexpr int kMaxArrays = 16;

// The last `results` of the arrays are results, and the very last of them has `core`
// dimensions beside those of the batch. The first result may take the place in scratch of
// operand number `over`, if that is not negative.
std::string CarryOutInFloats(const Array* const* arrays, int count, int results, int core,
                             int over, Threads threads, const FloatCall& call);

// Calls f with the arrays one by one.
template <class F, std::size_t... i>
std::string CallWith(const Array* arrays, std::index_sequence<i...>, const F& f) {
  return f(arrays[i]...);
}

// The same for a function of this library: f(arrays..., statics..., threads).
template <int kResults, int kCore, int kOver = -1, class F, class... Arrays,
          class... Statics>
std::string InFloats(F f, const std::tuple<const Arrays&...>& arrays, Threads threads,
                     Statics... statics) {
  constexpr int kArrays = sizeof...(Arrays);
  static_assert(kArrays <= kMaxArrays, "more arrays than CarryOutInFloats takes");
  static_assert(kOver < kArrays - kResults, "only an operand's place can be taken");
  return std::apply(
      [&](const auto&... array) {
        const Array* const all[] = {&array...};
        return CarryOutInFloats(
            all, kArrays, kResults, kCore, kOver, threads,
            [&](const Array* floats, Threads inner) {
              return CallWith(floats, std::make_index_sequence<kArrays>(),
                              [&](const auto&... x) { return f(x..., statics..., inner); });
            });
      },
      arrays);
}

}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CPU_HALF_H_
