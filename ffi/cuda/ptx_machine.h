// A GPU of one multiprocessor that carries out PTX, a block after another, a warp at a
// time, and counts what it does. Lanes of a warp go apart at branches; those furthest
// behind in the code go first, and so they meet again.
#ifndef JAX_SIGLIB_CUDA_PTX_MACHINE_H_
#define JAX_SIGLIB_CUDA_PTX_MACHINE_H_

#include <array>
#include <cstdint>
#include <vector>

#include "ptx.h"

namespace jax_siglib {
namespace cuda {
namespace ptx {

constexpr int kLanes = 32;

// Instructions of warps, and of lanes; the sectors of memory, of 32 bytes, that they touch;
// the rounds that shared memory takes for them, as words meet in its banks.
struct Counts {
  int64_t instructions = 0, lanes = 0, sectors = 0, rounds = 0;
};

struct Grid {
  std::vector<int64_t> order;  // of all blocks
  int64_t threads = 0, shared_bytes = 0;
  std::vector<const void*> parameters;
};

class Machine {
 public:
  explicit Machine(const std::vector<Function>& functions) : functions_(functions) {}

  // Carries out a kernel. What it should not do is complained of: to divide by 0, to leave
  // shared memory, an address of the wrong kind or out of line.
  Counts Launch(const Function& kernel, const Grid& grid);

 private:
  using Register = std::array<uint64_t, kLanes>;

  // A warp in a function.
  struct Frame {
    const Function* function;
    int64_t warp;
    uint32_t alive, waiting;  // lanes; at a barrier
    std::array<int32_t, kLanes> at;
    std::vector<Register> registers;
    std::vector<char> local;
    std::vector<Register> arguments;  // of a function that is called
  };

  Frame Begin(const Function& function, int64_t warp, uint32_t lanes) const;
  bool Run(Frame& frame);
  void CarryOut(Frame& frame, const Instruction& in, uint32_t lanes);
  void Pack(Frame& frame, const Instruction& in, uint32_t lanes) const;
  void Call(Frame& frame, const Instruction& in, uint32_t lanes);
  void Access(Frame& frame, const Instruction& in, uint32_t lanes);
  void Count(const Instruction& in, const uint64_t* addresses, int count);
  uint64_t ValueOf(const Frame& frame, const Operand& operand, int lane) const;
  uint64_t AddressOf(const Frame& frame, const Instruction& in, int lane) const;
  bool IsShared(uint64_t address) const;

  const std::vector<Function>& functions_;
  const Grid* grid_ = nullptr;
  int64_t block_ = 0;
  uint64_t shared_ = 0;  // where the block's shared memory starts
  Counts counts_;
};

}  // namespace ptx
}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_PTX_MACHINE_H_
