#include "ptx.h"

#include <cxxabi.h>

#include <cctype>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace jax_siglib {
namespace cuda {
namespace ptx {

void Complain(const std::string& what) { throw std::runtime_error("PTX: " + what); }

namespace {

template <class Value>
Value Named(const std::map<std::string, Value>& values, const std::string& name) {
  const auto found = values.find(name);
  if (found == values.end()) Complain("what is " + name + "?");
  return found->second;
}

std::string Strip(const std::string& text) {
  const size_t first = text.find_first_not_of(" \t\n");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t\n") + 1 - first);
}

// At the separators outside all brackets.
std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  int depth = 0;
  for (const char c : text) {
    if (c == '{' || c == '[' || c == '(') ++depth;
    if (c == '}' || c == ']' || c == ')') --depth;
    if (c == separator && depth == 0)
      parts.emplace_back();
    else
      parts.back() += c;
  }
  for (std::string& part : parts) part = Strip(part);
  if (parts.back().empty()) parts.pop_back();
  return parts;
}

// What stands between brackets, if there are any.
std::string Inside(const std::string& text) {
  const bool brackets = text.size() > 1 && std::string("([{").find(text[0]) < 3;
  return brackets ? Strip(text.substr(1, text.size() - 2)) : text;
}

Type TypeNamed(const std::string& name) {
  if (name == "pred") return {Type::kUnsigned, 1};
  if (name == "bf16") return {Type::kBFloat, 2};
  const std::string digits = name.size() > 1 ? name.substr(1) : "";
  if (digits != "8" && digits != "16" && digits != "32" && digits != "64")
    Complain("a type " + name);
  static const std::map<std::string, Type::Kind> kinds{{"u", Type::kUnsigned},
                                                       {"b", Type::kUnsigned},
                                                       {"s", Type::kSigned},
                                                       {"f", Type::kFloat}};
  return {Named(kinds, name.substr(0, 1)), std::stoi(digits) / 8};
}

std::string Demangled(const std::string& name) {
  int status = 0;
  char* const text = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
  std::string out = text == nullptr ? name : text;
  std::free(text);
  for (const char* part : {"jax_siglib::cuda::", "(anonymous namespace)::", "void "})
    for (size_t at; (at = out.find(part)) != std::string::npos;)
      out.erase(at, std::string(part).size());
  return out.substr(0, out.find('('));
}

class Reader {
 public:
  explicit Reader(std::string text) : text_(std::move(text)) {}

  std::vector<Function> Run() {
    while (SkipTo(".entry", ".func")) {
      Function function;
      if (!Head(function)) continue;  // announced, not defined
      numbers_[mangled_] = static_cast<int>(functions_.size());
      Body(function);
      functions_.push_back(std::move(function));
    }
    for (Function& function : functions_)
      for (Instruction& in : function.code)
        if (in.op == Op::kCall) in.target = Named(numbers_, callees_[in.target]);
    return std::move(functions_);
  }

 private:
  bool SkipTo(const char* one, const char* other) {
    const size_t at = std::min(text_.find(one, at_), text_.find(other, at_));
    at_ = at == std::string::npos ? text_.size() : at;
    return at_ < text_.size();
  }

  // .entry name(parameters), or .func (result) name(parameters), up to the body.
  bool Head(Function& function) {
    const size_t end = text_.find_first_of(";{", at_);
    std::string head = text_.substr(at_, end - at_);
    at_ = end + 1;
    if (text_[end] == ';') return false;
    function.entry = head.rfind(".entry", 0) == 0;
    head = Strip(head.substr(function.entry ? 6 : 5));
    if (head[0] == '(') {
      function.result = RegisterOf(function, "func_retval0");
      head = Strip(head.substr(head.find(')') + 1));
    }
    const size_t open = head.find('('), close = head.find(')');
    mangled_ = Strip(head.substr(0, open));
    function.name = Demangled(mangled_);
    for (const std::string& each : Split(head.substr(open + 1, close - open - 1), ',')) {
      std::istringstream words(each);
      std::string word, type;
      while (words >> word)
        if (word[0] == '.' && word != ".param" && word != ".align") type = word.substr(1);
      int64_t bytes = TypeNamed(type).bytes;
      const size_t bracket = word.find('[');
      if (bracket != std::string::npos) bytes *= std::stoll(word.substr(bracket + 1));
      function.parameters.push_back(word.substr(0, bracket));
      function.parameter_bytes.push_back(bytes);
    }
    return true;
  }

  void Body(Function& function) {
    std::map<std::string, int> labels;
    std::vector<std::pair<int, std::string>> branches;
    for (int depth = 1;;) {
      at_ = text_.find_first_not_of(" \t\n", at_);
      if (text_[at_] == '{' || text_[at_] == '}') {
        depth += text_[at_++] == '{' ? 1 : -1;
        if (depth == 0) break;
        continue;
      }
      const size_t end = text_.find_first_of(";:", at_);
      const std::string statement = text_.substr(at_, end - at_);
      at_ = end + 1;
      if (text_[end] == ':')
        labels[statement] = static_cast<int>(function.code.size());
      else
        Statement(function, statement, branches);
    }
    for (const auto& [at, label] : branches)
      function.code[at].target = Named(labels, label);
  }

  static int RegisterOf(Function& function, const std::string& name) {
    const int next = static_cast<int>(function.registers.size());
    return function.registers.emplace(name, next).first->second;
  }

  // A register, a number, or a name, and perhaps an offset.
  static Operand OperandOf(Function& function, const std::string& text) {
    static const std::map<std::string, Operand::Kind> special{
        {"%tid.x", Operand::kThread},
        {"%ntid.x", Operand::kThreads},
        {"%ctaid.x", Operand::kBlock},
        {"%nctaid.x", Operand::kBlocks}};
    Operand operand;
    const auto found = special.find(text);
    if (found != special.end()) {
      operand.kind = found->second;
      return operand;
    }
    if (std::isdigit(text[0]) || text[0] == '-') {
      // Bits of a float, 0f3F800000, or of a double.
      const bool bits = text.size() > 2 && text[0] == '0' &&
                        std::string("fFdD").find(text[1]) != std::string::npos;
      operand.number = bits ? std::stoull(text.substr(2), nullptr, 16)
                       : text[0] == '-'
                           ? static_cast<uint64_t>(std::stoll(text, nullptr, 0))
                           : std::stoull(text, nullptr, 0);
      return operand;
    }
    const size_t plus = text.find('+');
    const std::string name = Strip(text.substr(0, plus));
    if (plus != std::string::npos)
      operand.number = static_cast<uint64_t>(std::stoll(text.substr(plus + 1)));
    const auto local = function.locals.find(name);
    for (size_t i = 0; i < function.parameters.size(); ++i)
      if (function.parameters[i] == name) {
        operand.kind = Operand::kParameter;
        operand.index = static_cast<int>(i);
        return operand;
      }
    if (local != function.locals.end()) {
      operand.kind = Operand::kLocal;
      operand.number += static_cast<uint64_t>(local->second);
    } else if (name[0] == '_') {
      // There is one other variable, the launch's shared memory.
      if (name.find("shared") == std::string::npos) Complain("a variable " + name);
      operand.kind = Operand::kShared;
    } else {
      if (name.find_first_of("{}[]() ") != std::string::npos)
        Complain("a register " + name);
      operand.kind = Operand::kRegister;
      operand.index = RegisterOf(function, name);
    }
    return operand;
  }

  void Statement(Function& function, const std::string& whole,
                 std::vector<std::pair<int, std::string>>& branches) {
    std::string text = Strip(whole);
    if (text.rfind(".local", 0) == 0) {
      const std::string name = Strip(text.substr(text.rfind(' ')));
      const size_t bracket = name.find('[');
      function.locals[name.substr(0, bracket)] = function.local_bytes;
      function.local_bytes += (std::stoll(name.substr(bracket + 1)) + 15) / 16 * 16;
      return;
    }
    if (text[0] == '.')
      return;  // of registers and of a call's parameters nothing is to know
    Instruction in;
    in.text = text;
    if (text[0] == '@') {
      in.negated = text[1] == '!';
      const size_t end = text.find_first_of(" \t");
      const size_t begin = in.negated ? 2 : 1;
      in.predicate = RegisterOf(function, text.substr(begin, end - begin));
      text = Strip(text.substr(end));
    }
    const size_t end = text.find_first_of(" \t\n");
    const std::string rest = end == std::string::npos ? "" : Strip(text.substr(end));
    const std::vector<std::string> parts = Split(text.substr(0, end), '.');
    const std::string& name = parts[0];
    if (name == "bra") {
      in.op = Op::kBranch;
      branches.emplace_back(static_cast<int>(function.code.size()), rest);
    } else if (name == "ret") {
      in.op = Op::kReturn;
    } else if (name == "bar") {
      in.op = Op::kBarrier;
    } else if (name == "call") {
      Call(function, in, Split(rest, ','));
    } else if (name == "ld" || name == "st") {
      Move(function, in, parts, Split(rest, ','));
    } else {
      Compute(function, in, parts, Split(rest, ','));
    }
    function.code.push_back(in);
  }

  // call (result), name, (arguments)
  void Call(Function& function, Instruction& in, std::vector<std::string> parts) {
    in.op = Op::kCall;
    if (parts[0][0] != '(') parts.insert(parts.begin(), "()");
    for (const std::string& each : Split(Inside(parts[0]), ','))
      in.to.push_back(OperandOf(function, each));
    in.target = static_cast<int>(callees_.size());
    callees_.push_back(parts[1]);
    if (parts.size() == 2) return;
    for (const std::string& each : Split(Inside(parts[2]), ','))
      in.operands.push_back(OperandOf(function, each));
  }

  // Loads and stores. The parameters of a call and its result are registers here.
  void Move(Function& function, Instruction& in, const std::vector<std::string>& parts,
            const std::vector<std::string>& operands) {
    const bool loads = parts[0] == "ld";
    static const std::map<std::string, Space> spaces{{"global", Space::kGlobal},
                                                     {"shared", Space::kShared},
                                                     {"local", Space::kLocal},
                                                     {"param", Space::kParam}};
    const auto space = spaces.find(parts[1]);
    in.space = space == spaces.end() ? Space::kGeneric : space->second;
    in.type = TypeNamed(parts.back());
    in.op = loads ? Op::kLoad : Op::kStore;
    // Numbers lie there: the compiler has lost sight of how they are aligned.
    if (in.space == Space::kShared && in.type.bytes == 1)
      Complain("single bytes of shared memory: " + in.text);
    const std::string where = Inside(operands[loads ? 1 : 0]);
    const Operand address = OperandOf(function, where);
    const auto values = Split(Inside(operands[loads ? 0 : 1]), ',');
    if (in.space == Space::kParam && address.kind == Operand::kRegister &&
        where[0] != '%') {
      in.op = Op::kMov;
      in.to.push_back(loads ? OperandOf(function, values[0]) : address);
      in.operands.push_back(loads ? address : OperandOf(function, values[0]));
      return;
    }
    in.operands.push_back(address);
    for (const std::string& value : values)
      (loads ? in.to : in.operands).push_back(OperandOf(function, value));
  }

  void Compute(Function& function, Instruction& in, const std::vector<std::string>& parts,
               const std::vector<std::string>& operands) {
    static const std::map<std::string, Op> ops{
        {"mov", Op::kMov}, {"add", Op::kAdd},   {"sub", Op::kSub},   {"mul", Op::kMul},
        {"mad", Op::kMad}, {"fma", Op::kFma},   {"div", Op::kDiv},   {"rem", Op::kRem},
        {"min", Op::kMin}, {"max", Op::kMax},   {"neg", Op::kNeg},   {"not", Op::kNot},
        {"and", Op::kAnd}, {"or", Op::kOr},     {"xor", Op::kXor},   {"shl", Op::kShl},
        {"shr", Op::kShr}, {"setp", Op::kSetp}, {"selp", Op::kSelp}, {"cvt", Op::kCvt},
        {"rcp", Op::kRcp}, {"cvta", Op::kMov}};
    static const std::map<std::string, Comparison> comparisons{
        {"eq", Comparison::kEq}, {"ne", Comparison::kNe}, {"lt", Comparison::kLt},
        {"le", Comparison::kLe}, {"gt", Comparison::kGt}, {"ge", Comparison::kGe}};
    in.op = Named(ops, parts[0]);
    in.type = in.from = TypeNamed(parts.back());
    for (const std::string& part : parts) {
      if (part == "wide") in.op = Op::kMulWide;
      if (part == "hi") in.op = Op::kMulHigh;
      if (part == "or" && parts[0] != "or") Complain(in.text);
    }
    if (in.op == Op::kSetp) in.comparison = Named(comparisons, parts[1]);
    if (in.op == Op::kCvt) in.type = TypeNamed(parts[parts.size() - 2]);
    if (parts[0] == "cvta" && parts[1] == "shared") in.op = Op::kToGeneric;
    if (parts[0] == "mov" && (operands[0][0] == '{' || operands[1][0] == '{')) {
      in.op = Op::kPack;
      for (const std::string& each : Split(Inside(operands[0]), ','))
        in.to.push_back(OperandOf(function, each));
      for (const std::string& each : Split(Inside(operands[1]), ','))
        in.operands.push_back(OperandOf(function, each));
      return;
    }
    in.to.push_back(OperandOf(function, operands[0]));
    for (size_t i = 1; i < operands.size(); ++i)
      in.operands.push_back(OperandOf(function, operands[i]));
  }

  std::string text_;
  size_t at_ = 0;
  std::string mangled_;
  std::vector<Function> functions_;
  std::map<std::string, int> numbers_;
  std::vector<std::string> callees_;
};

}  // namespace

std::vector<Function> ReadFile(const std::string& name) {
  std::ifstream file(name);
  if (!file) Complain("cannot open " + name);
  std::string text, line;
  while (std::getline(file, line)) text += line.substr(0, line.find("//")) + "\n";
  return Reader(std::move(text)).Run();
}

}  // namespace ptx
}  // namespace cuda
}  // namespace jax_siglib
