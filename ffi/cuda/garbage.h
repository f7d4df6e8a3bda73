// Memory as a GPU's is before anything is written there.
#ifndef JAX_SIGLIB_CUDA_GARBAGE_H_
#define JAX_SIGLIB_CUDA_GARBAGE_H_

#include <cstdint>
#include <cstring>
#include <memory>

namespace jax_siglib {
namespace cuda {

// Of these bits every number type makes a NaN. For every type, as `new` gives it.
inline std::unique_ptr<char[]> Garbage(int64_t bytes) {
  std::unique_ptr<char[]> memory(new char[bytes]);
  std::memset(memory.get(), 0xff, bytes);
  return memory;
}

}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_GARBAGE_H_
