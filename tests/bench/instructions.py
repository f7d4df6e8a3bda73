"""What CUDA kernels do, counted without a GPU.

    python tests/bench/instructions.py FOLDER

FOLDER holds their PTX, compiled for float (tests/cuda_ptx.sh). It is carried out on the CPU, for
few signatures, which are cut up as if they were as many as stand in the table. A GPU does not run
PTX but what is made of it, some instructions less; sectors of memory, rounds of shared memory and
lanes are as there.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from jax_siglib import _cuda_on_host as host
from jax_siglib import sig_length

# B, d, N as in gpu.py, and how many are run.
JOINS = [
    (1 << 19, 5, 3, 1024),
    (1 << 14, 5, 5, 128),
    (512, 10, 5, 2),
    (1 << 14, 2, 10, 32),
    (1 << 14, 3, 7, 32),
    (512, 20, 4, 2),
]
PATHS = [(128, 256, 4, 6), (128, 512, 8, 5), (32, 1024, 16, 4), (120, 50, 10, 5), (128, 100, 5, 3)]
STEPS = 64  # that are run, at most
WANTED_TILES, WANTED_BLOCKS = 1024, 512  # Limits, ffi/cuda/launch.h


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(-0.3, 0.3, shape).astype("float32")


def as_many(batch: int, run: int) -> None:
    """Cut up what is run as a batch of that size is."""
    host.configure(True, 1 << 20, 0, False)
    host.want(max(1, WANTED_TILES * run // batch), max(1, WANTED_BLOCKS * run // batch))


def line(label: str, unit: float) -> None:
    done = host.counted()
    total = {
        key: sum(x[key] for x in done) for key in ("instructions", "lanes", "sectors", "rounds")
    }
    lanes = total["lanes"] / total["instructions"]
    figures = [f"{total[key] / unit:9.1f}" for key in ("instructions", "sectors", "rounds")]
    print(f"{label:34} {figures[0]} {lanes:7.1f} {figures[1]} {figures[2]}   ", end="")
    print(", ".join(f"{x['threads']} threads, {x['shared_bytes']} B" for x in done[:1]))


HEAD = "instr.   lanes   sectors    rounds   blocks of"


def joins() -> None:
    print(f"{'join, for 32 entries':34} {HEAD}")
    for batch, d, degree, run in JOINS:
        sig, g, v = draw(run, sig_length(d, degree)), draw(run, sig_length(d, degree)), draw(run, d)
        as_many(batch, run)
        label = f"B {batch} d {d} N {degree}"
        host.sig_join(sig, v, d, degree, False, 1, np.empty_like(sig))
        line(f"{label} forward", sig.size / 32)
        host.sig_join_backprop(g, sig, v, d, degree, False, 1, np.empty_like(g), np.empty_like(v))
        line(f"{label} backward", sig.size / 32)


def paths() -> None:
    print(f"\n{'path, for a step of a signature':34} {HEAD}")
    for batch, points, d, degree in PATHS:
        steps = min(STEPS, points - 1)
        path = draw(1, steps + 1, d)
        sig = np.empty((1, sig_length(d, degree)), "float32")
        as_many(batch, 1)
        label = f"B {batch} T {points} d {d} N {degree}"
        host.sig(path, degree, 1, sig)
        line(f"{label} forward", steps)
        host.sig_backprop(path, sig, draw(*sig.shape), degree, 1, np.empty_like(path))
        line(f"{label} backward", steps)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    host.read_ptx([str(x) for x in parser.parse_args().folder.glob("*_float.ptx")])
    joins()
    paths()
    return 0


if __name__ == "__main__":
    sys.exit(main())
