"""What CUDA's compiler makes of the kernels, as text: ``python tests/compile_ptx.py FOLDER``.

The compiler is nvcc; with ``--nvrtc WHEELS`` it is the NVRTC that was unpacked there (nvrtc.py).
``--arch`` is the kind of GPU; without it Hopper.
"""

import argparse
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nvrtc

SOURCES = Path(__file__).parents[1] / "ffi" / "cuda"
TYPES = {
    "branch_kernels": ("float", "double"),
    "kernels": ("float", "double", "Float16", "BFloat16"),
    "roots_kernels": ("float", "double", "Float16", "BFloat16"),
}  # as in ffi/cuda/module.cmake
EVERYTHING = [(name, type_) for name, types in TYPES.items() for type_ in types]


def compile_ptx(
    wanted: list[tuple[str, str]],
    folder: Path,
    wheels: Path | None = None,
    arch: str = "sm_90",
) -> list[str]:
    """The files made, of so many sources for a type each, as many at a time as there are CPUs."""

    def compiled(name: str, type_: str) -> str:
        source, to = SOURCES / f"{name}.cu", folder / f"{name}_{type_}.ptx"
        options = [f"-arch={arch}", f"-DJAX_SIGLIB_STORAGE={type_}"]
        if wheels:
            to.write_text(nvrtc.compile_source(wheels, source, options))
        else:
            command = ["nvcc", "-std=c++17", "-ptx", *options, source, "-o", to]
            subprocess.run(command, check=True)
        return str(to)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(compiled, *zip(*wanted, strict=True)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--nvrtc", type=Path, metavar="WHEELS")
    parser.add_argument("--arch", default="sm_90")
    given = parser.parse_args()
    compile_ptx(EVERYTHING, given.folder, given.nvrtc, given.arch)
    print(f"{given.arch} by", nvrtc.version(given.nvrtc) if given.nvrtc else "nvcc")
