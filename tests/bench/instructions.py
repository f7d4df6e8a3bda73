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
from cases import GPU_JOINS, GPU_PATHS, GPU_STREAMS

from jax_siglib import _cuda_on_host as host
from jax_siglib import sig_length

ENTRIES = 1 << 17  # of the signatures that are run, more or less
STEPS = 64  # that are run, at most


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(-0.3, 0.3, shape).astype("float32")


def as_if(run: int, batch: int) -> None:
    host.configure(True, 1 << 20, 0, False)
    host.as_if(run, batch)


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
    for batch, d, degree in GPU_JOINS:
        run = max(1, min(batch, ENTRIES // sig_length(d, degree)))
        sig, g, v = draw(run, sig_length(d, degree)), draw(run, sig_length(d, degree)), draw(run, d)
        as_if(run, batch)
        label = f"B {batch} d {d} N {degree}"
        host.sig_join(sig, v, d, degree, False, 1, np.empty_like(sig))
        line(f"{label} forward", sig.size / 32)
        host.sig_join_backprop(g, sig, v, d, degree, False, 1, np.empty_like(g), np.empty_like(v))
        line(f"{label} backward", sig.size / 32)


def paths() -> None:
    print(f"\n{'path, for a step of a signature':34} {HEAD}")
    for batch, points, d, degree in GPU_PATHS:
        steps = min(STEPS, points - 1)
        path = draw(1, steps + 1, d)
        sig = np.empty((1, sig_length(d, degree)), "float32")
        as_if(1, batch)
        label = f"B {batch} T {points} d {d} N {degree}"
        host.sig(path, degree, 1, sig)
        line(f"{label} forward", steps)
        host.sig_backprop(path, sig, draw(*sig.shape), degree, 1, np.empty_like(path))
        line(f"{label} backward", steps)


def streams() -> None:
    print(f"\n{'running signatures, for 32 entries':34} {HEAD}")
    for batch, points, d, degree in GPU_STREAMS[:-1]:
        run, steps = min(batch, 4), min(STEPS, points - 1)
        start, path = draw(run, sig_length(d, degree)), draw(run, steps + 1, d)
        rows = np.empty((run, steps, sig_length(d, degree)), "float32")
        as_if(run, batch)
        label = f"B {batch} T {points} d {d} N {degree}"
        host.sig_stream(start, path, degree, False, 1, rows)
        line(f"{label} forward", rows.size / 32)
        out = np.empty_like(start), np.empty_like(path)
        host.sig_stream_backprop(draw(*rows.shape), start, path, rows, degree, False, 1, *out)
        line(f"{label} backward", rows.size / 32)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    host.read_ptx([str(x) for x in parser.parse_args().folder.glob("*_float.ptx")])
    joins()
    paths()
    streams()
    return 0


if __name__ == "__main__":
    sys.exit(main())
