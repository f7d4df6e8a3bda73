"""What nvcc makes of the CUDA kernels, as text: ``python tests/compile_ptx.py FOLDER``."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCES = Path(__file__).parents[1] / "ffi" / "cuda"
TYPES = {
    "branch_kernels": ("float", "double"),
    "kernels": ("float", "double", "Float16", "BFloat16"),
    "roots_kernels": ("float", "double", "Float16", "BFloat16"),
}  # as in ffi/cuda/module.cmake


def compile_ptx(wanted: list[tuple[str, str]], folder: Path) -> list[str]:
    """The files made, of so many sources for a type each, as many at a time as there are CPUs."""

    def compiled(name: str, type_: str) -> str:
        to = str(folder / f"{name}_{type_}.ptx")
        options = "-std=c++17", "-arch=sm_90", "-ptx", f"-DJAX_SIGLIB_STORAGE={type_}"
        subprocess.run(["nvcc", *options, SOURCES / f"{name}.cu", "-o", to], check=True)
        return to

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(compiled, *zip(*wanted, strict=True)))


if __name__ == "__main__":
    compile_ptx([(name, x) for name, types in TYPES.items() for x in types], Path(sys.argv[1]))
