#include "dispatch.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace jax_siglib {
namespace {

const KernelTable* chosen = nullptr;

#if defined(JAX_SIGLIB_HAS_avx2) || defined(JAX_SIGLIB_HAS_avx512)
// Not every compiler's __builtin_cpu_supports knows the name "f16c".
bool HasF16c() {
  unsigned int a, b, c, d;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}
#endif

}  // namespace

std::vector<const KernelTable*> UsableKernels() {
  std::vector<const KernelTable*> usable = {&baseline::kKernels};
#if defined(JAX_SIGLIB_HAS_avx2) || defined(JAX_SIGLIB_HAS_avx512)
  // These builtins ask the operating system too: it must save the wide registers.
  __builtin_cpu_init();
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                        __builtin_cpu_supports("bmi2") && HasF16c();
#if defined(JAX_SIGLIB_HAS_avx2)
  if (has_avx2) usable.push_back(&avx2::kKernels);
#endif
#if defined(JAX_SIGLIB_HAS_avx512)
  if (has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
    usable.push_back(&avx512::kKernels);
#endif
#endif
  return usable;
}

void ChooseKernels() {
  const std::vector<const KernelTable*> usable = UsableKernels();
  chosen = usable.back();
  const char* const wanted = std::getenv("JAX_SIGLIB_ISA");
  if (wanted == nullptr || *wanted == '\0') return;
  std::string names;
  for (const KernelTable* table : usable) {
    if (std::string(wanted) == table->name) {
      chosen = table;
      return;
    }
    names += std::string(names.empty() ? "" : ", ") + table->name;
  }
  throw std::invalid_argument("JAX_SIGLIB_ISA: expected one of " + names +
                              " (what this processor can run), got '" + wanted + "'");
}

const KernelTable& ChosenKernels() { return *chosen; }

}  // namespace jax_siglib
