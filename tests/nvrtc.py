"""The CUDA kernels by NVRTC, CUDA's compiler as a library, of versions that are not installed.

It is in wheels of its own. It compiles what runs on a GPU, and knows neither launches nor the C++
library: launches are taken out, and of the library there is a stand-in here for all that kernels,
and the plans that their headers declare, ask for. Nothing of the plans is ever called.
"""

import ctypes
import re
from pathlib import Path

_HEADERS = {
    "cstdint": """#pragma once
typedef unsigned char uint8_t; typedef unsigned short uint16_t;
typedef int int32_t; typedef unsigned uint32_t;
typedef long int64_t; typedef unsigned long uint64_t;
namespace std { using size_t = decltype(sizeof(0)); }
""",
    "type_traits": """#pragma once
namespace std {
template <class T, T v> struct integral_constant {
  static constexpr T value = v;
  constexpr operator T() const { return v; }
  constexpr T operator()() const { return v; }
};
template <bool v> using bool_constant = integral_constant<bool, v>;
template <class A, class B> constexpr bool is_same_v = false;
template <class A> constexpr bool is_same_v<A, A> = true;
template <bool b, class A, class B> struct conditional { using type = A; };
template <class A, class B> struct conditional<false, A, B> { using type = B; };
template <bool b, class A, class B> using conditional_t = typename conditional<b, A, B>::type;
}
""",
    "algorithm": """#pragma once
namespace std {
template <class T> constexpr const T& min(const T& a, const T& b) { return b < a ? b : a; }
template <class T> constexpr const T& max(const T& a, const T& b) { return a < b ? b : a; }
template <class T> constexpr T min(initializer_list<T> all) {
  T least = *all.begin();
  for (T x : all) least = min(least, x);
  return least;
}
template <class T> constexpr T max(initializer_list<T> all) {
  T most = *all.begin();
  for (T x : all) most = max(most, x);
  return most;
}
}
""",
    "cstring": "#pragma once\nnamespace std { using ::memcpy; }\n",
    "string": """#pragma once
namespace std { struct string { bool operator==(const char*) const { return false; } }; }
""",
    "vector": """#pragma once
namespace std {
template <class T> struct vector {
  explicit vector(unsigned long) {}
  T* data = nullptr;
  T& back() { return *data; }
  T& operator[](unsigned long i) { return data[i]; }
  unsigned long size() const { return 0; }
  T* begin() { return data; }
  T* end() { return data; }
  void push_back(const T&) {}
  template <class... A> void emplace_back(A...) {}
};
}
""",
    "stdexcept": """#pragma once
namespace std { struct runtime_error { explicit runtime_error(const char*) {} }; }
#define throw (void)
""",
    # What launches are made with.
    "stream.h": '#include "executor.h"\n',
    "launch_check.h": "static void CheckLaunch() {}\n",
    "cuda_runtime.h": "",
}


def compile_source(wheels: Path, source: Path, options: list[str]) -> str:
    """The PTX that it makes of a file, with the wheels unpacked in a folder."""
    library, program = _library(wheels), ctypes.c_void_p()

    def call(function, *arguments):
        status = getattr(library, f"nvrtc{function}")(*arguments)
        if status:
            log = text("ProgramLog") if function == "CompileProgram" else ""
            raise RuntimeError(f"nvrtc{function} of {source.name}: error {status}\n{log}")

    def text(of):
        size = ctypes.c_size_t()
        call(f"Get{of}Size", program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        call(f"Get{of}", program, buffer)
        return buffer.value.decode()

    # Of a launch, the kernel alone, which is then made.
    code, launches = re.subn(r"<<<.*?>>>\(.*?\);", ";", source.read_text(), flags=re.DOTALL)
    if launches != 1:
        raise RuntimeError(f"{source.name} has {launches} launches, of which one was expected")
    headers = _strings(_HEADERS.values()), _strings(_HEADERS)
    name = source.name.encode()
    call("CreateProgram", ctypes.byref(program), code.encode(), name, len(_HEADERS), *headers)
    folders = {source.parent}
    for found in ("cuda_fp16.h", "crt"):
        folders |= {path.parent for path in wheels.glob(f"nvidia/**/{found}")}
    options = [*options, "-std=c++17", "-default-device", "--disable-warnings"]
    options += [f"-I{folder}" for folder in folders]
    try:
        call("CompileProgram", program, len(options), _strings(options))
        return text("PTX")
    finally:
        call("DestroyProgram", ctypes.byref(program))


def version(wheels: Path) -> str:
    """Its name and version."""
    numbers = ctypes.c_int(), ctypes.c_int()
    if _library(wheels).nvrtcVersion(*map(ctypes.byref, numbers)):
        raise RuntimeError(f"the NVRTC in {wheels} does not know its version")
    return "NVRTC " + ".".join(str(x.value) for x in numbers)


def _library(wheels):
    (library,) = wheels.glob("nvidia/**/libnvrtc.so.*")
    return ctypes.CDLL(str(library))


def _strings(items):
    items = [x.encode() for x in items]
    return (ctypes.c_char_p * len(items))(*items)
