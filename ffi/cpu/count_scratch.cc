// What a call takes of memory, by making it as if.
#include "calls.h"
#include "run.h"

namespace jax_siglib {

int64_t CountScratch(const std::function<std::string()>& call, std::string* error) {
  ScratchCount count;
  scratch_count = &count;
  *error = call();
  scratch_count = nullptr;
  return count.most;
}

}  // namespace jax_siglib
