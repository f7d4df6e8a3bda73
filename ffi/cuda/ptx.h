// PTX as nvcc writes it for these kernels, read for ptx_machine.h to carry out. What they
// do not use is not known here, and is complained of.
#ifndef JAX_SIGLIB_CUDA_PTX_H_
#define JAX_SIGLIB_CUDA_PTX_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace jax_siglib {
namespace cuda {
namespace ptx {

// Throws std::runtime_error.
[[noreturn]] void Complain(const std::string& what);

struct Type {
  enum Kind { kUnsigned, kSigned, kFloat, kBFloat } kind = kUnsigned;
  int bytes = 4;  // 1 for predicates
  bool IsFloat() const { return kind == kFloat || kind == kBFloat; }
};

enum class Op {
  kMov,
  kPack,  // a mov of several registers side by side, or to several
  kAdd,
  kSub,
  kMul,
  kMulWide,
  kMulHigh,
  kMad,
  kFma,
  kDiv,
  kRem,
  kMin,
  kMax,
  kNeg,
  kNot,
  kAnd,
  kOr,
  kXor,
  kShl,
  kShr,
  kSetp,
  kSelp,
  kCvt,
  kRcp,
  kLoad,
  kStore,
  kBranch,
  kBarrier,
  kCall,
  kReturn,
  kToGeneric  // of shared memory's addresses
};
enum class Comparison { kEq, kNe, kLt, kLe, kGt, kGe };
enum class Space { kGeneric, kGlobal, kShared, kLocal, kParam };

// A register, a number, or a name for an address: of a parameter of the function, of its
// local memory, of shared memory. An address is any of them and an offset, in `number`.
struct Operand {
  enum Kind {
    kRegister,
    kNumber,
    kThread,
    kBlock,
    kThreads,
    kBlocks,
    kParameter,
    kLocal,
    kShared
  } kind = kNumber;
  int index = 0;  // of the register, of the parameter
  uint64_t number = 0;
};

struct Instruction {
  Op op = Op::kMov;
  Type type, from;  // `from`: of what is converted
  Comparison comparison = Comparison::kEq;
  Space space = Space::kGeneric;
  int predicate = -1;  // a register, or none
  bool negated = false;
  std::vector<Operand> to, operands;  // the address of a load or a store comes first
  int target = -1;                    // of a branch, an instruction; of a call, a function
  std::string text;
};

struct Function {
  std::string name;  // demangled, without namespaces, result and arguments
  bool entry = false;
  std::vector<std::string> parameters;
  std::vector<int64_t> parameter_bytes;
  std::map<std::string, int> registers;
  std::map<std::string, int64_t> locals;
  int64_t local_bytes = 0;
  int result = -1;  // its register
  std::vector<Instruction> code;
};

// The functions of a file, by their numbers, which calls have for their targets.
std::vector<Function> ReadFile(const std::string& name);

}  // namespace ptx
}  // namespace cuda
}  // namespace jax_siglib

#endif  // JAX_SIGLIB_CUDA_PTX_H_
