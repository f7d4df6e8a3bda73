"""What ptxas makes of CUDA kernels: their loops, in the GPU's own instructions, without a GPU.

    python tests/bench/machine_code.py ffi/cuda/branch_kernels.cu --kernel 'BranchBack.*Li8E'

compiles a file of kernels and lists the loops of those whose (mangled) name matches: instructions,
multiply-adds, those that read or write what did not fit registers, and the cycles that a warp alone
takes for them at the least, which ptxas has written into the instructions; waiting for memory comes
on top. Branches inside of a loop count with both of their sides. nvdisasm is CUDA's; where there is
none, `pip install nvidia-cuda-nvdisasm` brings it.
"""

import argparse
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import NamedTuple

INSTRUCTION = re.compile(r"\s*/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+ )?([\w.]+)(.*?);\s*/\* 0x")
CONTROL = re.compile(r"\s*/\* 0x([0-9a-f]{16}) \*/\s*$")
LABEL = re.compile(r"(\.L_x_\d+):")
STALL = 41  # the bit of an instruction's second word at which its cycles begin, four of them


class Instruction(NamedTuple):
    address: int
    name: str
    cycles: int
    branch_to: str | None


class Loop(NamedTuple):
    first: int
    last: int
    instructions: list[Instruction]

    def count(self, *names: str) -> int:
        return sum(i.name.split(".")[0] in names for i in self.instructions)


def nvdisasm() -> str:
    of_wheels = Path(sysconfig.get_path("purelib")).glob("nvidia/*/bin/nvdisasm")
    found = shutil.which("nvdisasm") or next(map(str, of_wheels), None)
    if found is None:
        sys.exit("no nvdisasm: pip install nvidia-cuda-nvdisasm")
    return found


def compiled(source: Path, type_: str, arch: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        cubin = f"{folder}/cubin"
        define = f"-DJAX_SIGLIB_STORAGE={type_}"
        command = ["nvcc", "-std=c++17", "-cubin", f"-arch={arch}", define, source, "-o", cubin]
        subprocess.run(command, check=True)
        listing = [nvdisasm(), "-hex", "-c", cubin]
        return subprocess.run(listing, check=True, capture_output=True, text=True).stdout


def kernels(text: str, pattern: str) -> dict[str, list[Loop]]:
    """The loops of the kernels that are wanted, by their names."""
    found: dict[str, list[Loop]] = {}
    for part in re.split(r"^\.text\.", text, flags=re.MULTILINE)[1:]:
        name, _, body = part.partition(":\n")
        if re.search(pattern, name):
            found[name] = loops(body)
    return found


def loops(body: str) -> list[Loop]:
    instructions: list[Instruction] = []
    labels: dict[str, int] = {}
    named: list[str] = []
    for line in body.splitlines():
        if label := LABEL.match(line):
            named.append(label[1])
        elif new := INSTRUCTION.match(line):
            address = int(new[1], 16)
            labels.update(dict.fromkeys(named, address))
            named = []
            to = re.search(r"\.L_x_\d+", new[3]) if new[2].startswith("BRA") else None
            instructions.append(Instruction(address, new[2], 0, to and to[0]))
        elif (control := CONTROL.match(line)) and instructions:
            cycles = int(control[1], 16) >> STALL & 15
            instructions[-1] = instructions[-1]._replace(cycles=cycles)
    back = [
        (labels[i.branch_to], i.address)
        for i in instructions
        if i.branch_to and labels[i.branch_to] < i.address
    ]
    return [
        Loop(first, last, [i for i in instructions if first <= i.address <= last])
        for first, last in back
    ]


def main() -> int | str:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("--kernel", default="", help="a regular expression")
    parser.add_argument("--type", default="float", help="what it is compiled for")
    parser.add_argument("--arch", default="sm_90")
    parser.add_argument("--least", type=int, default=16, help="multiply-adds of a loop")
    given = parser.parse_args()
    found = kernels(compiled(given.source, given.type, given.arch), given.kernel)
    for name, of_kernel in found.items():
        print(name)
        print(f"  {'loop':>12} {'instr.':>8} {'mult.-adds':>11} {'spilled':>8} {'cycles':>8}")
        for loop in of_kernel:
            if (adds := loop.count("FFMA", "DFMA")) < given.least:
                continue
            label = f"{loop.first:x}-{loop.last:x}"
            cycles = sum(i.cycles for i in loop.instructions)
            spilled = loop.count("LDL", "STL")
            print(f"  {label:>12} {len(loop.instructions):8} {adds:11} {spilled:8} {cycles:8}")
    return 0 if found else f"no kernel is named {given.kernel}"


if __name__ == "__main__":
    sys.exit(main())
