#include "ptx_machine.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "garbage.h"
#include "ptx_compute.h"

namespace jax_siglib {
namespace cuda {
namespace ptx {
namespace {

// f(lane) for those that are set.
template <class F>
void ForLanes(uint32_t lanes, F&& f) {
  for (; lanes != 0; lanes &= lanes - 1) f(__builtin_ctz(lanes));
}

// f(unit) for the units of memory, of so many bytes each, that accesses touch; their
// number.
template <class F>
int Distinct(const uint64_t* addresses, int count, int bytes, int unit, F&& f) {
  std::array<uint64_t, 8 * kLanes> units;  // of accesses of 32 bytes at the most
  int all = 0;
  for (int i = 0; i < count; ++i)
    for (uint64_t at = addresses[i] / unit; at <= (addresses[i] + bytes - 1) / unit; ++at)
      if (all == 0 || units[all - 1] != at) units[all++] = at;
  std::sort(units.begin(), units.begin() + all);
  const auto end = std::unique(units.begin(), units.begin() + all);
  std::for_each(units.begin(), end, f);
  return static_cast<int>(end - units.begin());
}

}  // namespace

Counts Machine::Launch(const Function& kernel, const Grid& grid) {
  grid_ = &grid;
  counts_ = Counts();
  const int64_t warps = (grid.threads + kLanes - 1) / kLanes;
  for (const int64_t block : grid.order) {
    block_ = block;
    const auto shared = Garbage(grid.shared_bytes);
    shared_ = reinterpret_cast<uint64_t>(shared.get());
    std::vector<Frame> frames;
    for (int64_t warp = 0; warp < warps; ++warp) {
      const int64_t lanes = std::min<int64_t>(kLanes, grid.threads - kLanes * warp);
      frames.push_back(
          Begin(kernel, warp, static_cast<uint32_t>((uint64_t{1} << lanes) - 1)));
    }
    for (bool waiting = true; waiting;) {
      waiting = false;
      for (Frame& frame : frames) waiting = Run(frame) || waiting;
      for (Frame& frame : frames) frame.waiting = 0;
    }
  }
  return counts_;
}

Machine::Frame Machine::Begin(const Function& function, int64_t warp,
                              uint32_t lanes) const {
  Register garbage;
  garbage.fill(0xffffffffffffffff);
  Frame frame{&function, warp, lanes, 0, {}, {}, {}, {}};
  frame.registers.assign(function.registers.size(), garbage);
  frame.local.assign(static_cast<size_t>(kLanes * function.local_bytes), '\xff');
  return frame;
}

// Until none of its lanes go on. Whether some wait.
bool Machine::Run(Frame& frame) {
  for (;;) {
    const uint32_t going = frame.alive & ~frame.waiting;
    if (going == 0) return frame.waiting != 0;
    int32_t at = INT32_MAX;
    ForLanes(going, [&](int lane) { at = std::min(at, frame.at[lane]); });
    const Instruction& in = frame.function->code[at];
    uint32_t lanes = 0, chosen = 0;
    ForLanes(going, [&](int lane) {
      if (frame.at[lane] != at) return;
      lanes |= 1u << lane;
      frame.at[lane] = at + 1;
      if (in.predicate < 0 ||
          ((frame.registers[in.predicate][lane] & 1) != 0) != in.negated)
        chosen |= 1u << lane;
    });
    ++counts_.instructions;
    counts_.lanes += __builtin_popcount(lanes);
    CarryOut(frame, in, chosen);
  }
}

void Machine::CarryOut(Frame& frame, const Instruction& in, uint32_t lanes) {
  switch (in.op) {
    case Op::kBranch:
      return ForLanes(lanes, [&](int lane) { frame.at[lane] = in.target; });
    case Op::kReturn:
      frame.alive &= ~lanes;
      return;
    case Op::kBarrier:
      frame.waiting |= lanes;
      return;
    case Op::kCall:
      return Call(frame, in, lanes);
    case Op::kLoad:
    case Op::kStore:
      return Access(frame, in, lanes);
    case Op::kPack:
      return Pack(frame, in, lanes);
    default:
      break;
  }
  Register& to = frame.registers[in.to[0].index];
  ForLanes(lanes, [&](int lane) {
    uint64_t values[3] = {0, 0, 0};
    for (size_t i = 0; i < in.operands.size(); ++i)
      values[i] = ValueOf(frame, in.operands[i], lane);
    to[lane] = in.op == Op::kToGeneric ? shared_ + values[0]
                                       : Compute(in, values[0], values[1], values[2]);
  });
}

// The first register has the lowest bits.
void Machine::Pack(Frame& frame, const Instruction& in, uint32_t lanes) const {
  const Type whole{Type::kUnsigned, in.type.bytes};
  const Type from{Type::kUnsigned, whole.bytes / static_cast<int>(in.operands.size())};
  const Type to{Type::kUnsigned, whole.bytes / static_cast<int>(in.to.size())};
  ForLanes(lanes, [&](int lane) {
    uint64_t bits = 0;
    for (size_t i = 0; i < in.operands.size(); ++i)
      bits |= Cut(from, ValueOf(frame, in.operands[i], lane)) << 8 * from.bytes * i;
    for (size_t i = 0; i < in.to.size(); ++i)
      frame.registers[in.to[i].index][lane] = Cut(to, bits >> 8 * to.bytes * i);
  });
}

// A function has no barriers, and returns at once.
void Machine::Call(Frame& frame, const Instruction& in, uint32_t lanes) {
  Frame inner = Begin(functions_[in.target], frame.warp, lanes);
  for (const Operand& operand : in.operands) {
    inner.arguments.emplace_back();
    ForLanes(lanes, [&](int lane) {
      inner.arguments.back()[lane] = ValueOf(frame, operand, lane);
    });
  }
  if (Run(inner)) Complain("a barrier in a function: " + in.text);
  for (const Operand& to : in.to)
    ForLanes(lanes, [&](int lane) {
      frame.registers[to.index][lane] = inner.registers[inner.function->result][lane];
    });
}

uint64_t Machine::ValueOf(const Frame& frame, const Operand& operand, int lane) const {
  switch (operand.kind) {
    case Operand::kRegister:
      return frame.registers[operand.index][lane] + operand.number;
    case Operand::kNumber:
    case Operand::kShared:
      return operand.number;  // an address in shared memory is an offset
    case Operand::kThread:
      return static_cast<uint64_t>(frame.warp * kLanes + lane);
    case Operand::kBlock:
      return static_cast<uint64_t>(block_);
    case Operand::kThreads:
      return static_cast<uint64_t>(grid_->threads);
    case Operand::kBlocks:
      return grid_->order.size();
    case Operand::kParameter:
      return operand.number +
             (frame.function->entry
                  ? reinterpret_cast<uint64_t>(grid_->parameters[operand.index])
                  : reinterpret_cast<uint64_t>(&frame.arguments[operand.index][lane]));
    case Operand::kLocal:
      return reinterpret_cast<uint64_t>(frame.local.data()) +
             static_cast<uint64_t>(lane * frame.function->local_bytes) + operand.number;
  }
  return 0;
}

bool Machine::IsShared(uint64_t address) const {
  return address >= shared_ &&
         address < shared_ + static_cast<uint64_t>(grid_->shared_bytes);
}

uint64_t Machine::AddressOf(const Frame& frame, const Instruction& in, int lane) const {
  uint64_t address = ValueOf(frame, in.operands[0], lane);
  const auto count =
      static_cast<uint64_t>(in.op == Op::kLoad ? in.to.size() : in.operands.size() - 1);
  const uint64_t bytes = count * static_cast<uint64_t>(in.type.bytes);
  if (in.space == Space::kShared) {
    address &= 0xffffffff;
    if (address + bytes > static_cast<uint64_t>(grid_->shared_bytes))
      Complain("beyond shared memory: " + in.text);
    address += shared_;
  } else if (in.space == Space::kGlobal && IsShared(address)) {
    Complain("this is shared memory: " + in.text);
  }
  if (address % bytes != 0 && in.space != Space::kParam)
    Complain("out of line: " + in.text);
  return address;
}

void Machine::Access(Frame& frame, const Instruction& in, uint32_t lanes) {
  const auto bytes = static_cast<size_t>(in.type.bytes);
  uint64_t addresses[kLanes];
  int count = 0;
  ForLanes(lanes, [&](int lane) {
    const uint64_t address = AddressOf(frame, in, lane);
    addresses[count++] = address;
    char* const place = reinterpret_cast<char*>(address);
    if (in.op == Op::kLoad) {
      for (size_t i = 0; i < in.to.size(); ++i) {
        uint64_t x = 0;
        std::memcpy(&x, place + i * bytes, bytes);
        frame.registers[in.to[i].index][lane] = Extend(in.type, x);
      }
    } else {
      for (size_t i = 1; i < in.operands.size(); ++i) {
        const uint64_t x = ValueOf(frame, in.operands[i], lane);
        std::memcpy(place + (i - 1) * bytes, &x, bytes);
      }
    }
  });
  if (count > 0 && in.space != Space::kParam && in.space != Space::kLocal)
    Count(in, addresses, count);
}

void Machine::Count(const Instruction& in, const uint64_t* addresses, int count) {
  const auto values = in.op == Op::kLoad ? in.to.size() : in.operands.size() - 1;
  const int bytes = static_cast<int>(values) * in.type.bytes;
  if (!IsShared(addresses[0])) {
    counts_.sectors += Distinct(addresses, count, bytes, 32, [](uint64_t) {});
    return;
  }
  // So many lanes at a time as ask for 128 bytes; of each bank a word a round.
  const int together = 128 / std::max(bytes, 4);
  for (int first = 0; first < count; first += together) {
    std::array<int, 32> words{};
    Distinct(addresses + first, std::min(together, count - first), bytes, 4,
             [&](uint64_t word) { ++words[word % 32]; });
    counts_.rounds += *std::max_element(words.begin(), words.end());
  }
}

}  // namespace ptx
}  // namespace cuda
}  // namespace jax_siglib
