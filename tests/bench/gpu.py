"""Joins, paths and running signatures on a GPU: ``python tests/bench/gpu.py``.

Joins are held against the bandwidth of copying one array to another, measured in the same run:
bytes that must be read and written at the least (ffi/README.md), over the time. Paths are held
against each other, backward over forward, and their multiply-adds of the top level against those of
a matrix product in float32. Running signatures are held against a copy too, and by time per step:
of the last size they are joins, launched step by step, of the others all steps are a launch. Few
long paths, which go in pieces (jax_siglib/_sig_pieces.py), and their running signatures, are timed
whole as well.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np
from cases import GPU_JOINS, GPU_PATHS, GPU_STREAMS

import jax_siglib
from jax_siglib import _primitive

LONG = [
    (1, 300, 5, 4),
    (32, 512, 3, 4),
    (1, 1000, 3, 4),
    (16, 2000, 5, 5),
    (1, 10_000, 5, 4),
    (1, 100_000, 3, 4),
]


def seconds(call, *arrays) -> float:
    """Median over some runs of enough calls to hide what starting one takes."""
    jax.block_until_ready(call(*arrays))
    start = time.perf_counter()
    jax.block_until_ready(call(*arrays))
    repeats = max(3, int(0.02 / max(time.perf_counter() - start, 1e-6)))
    runs = []
    for _ in range(7):
        start = time.perf_counter()
        for _ in range(repeats):
            out = call(*arrays)
        jax.block_until_ready(out)
        runs.append((time.perf_counter() - start) / repeats)
    return float(np.median(runs))


def uniform(seed: int, *shape: int):
    return jax.random.uniform(jax.random.key(seed), shape, jnp.float32, -1, 1)


def copy_bandwidth() -> float:
    """Bytes read and written per second by a copy many times as large as any cache."""
    x = uniform(0, 1 << 28)
    return 2 * x.nbytes / seconds(jax.jit(lambda x: jnp.negative(x)), x)


def multiply_add_rate() -> float:
    """Multiply-adds per second of a large matrix product in float32, not in anything narrower."""
    n = 8192
    x, y = uniform(7, n, n), uniform(8, n, n)
    return n**3 / seconds(jax.jit(lambda x, y: jnp.matmul(x, y, precision="highest")), x, y)


def joins(bandwidth: float) -> None:
    print("\nshare of copy bandwidth     forward  backward")
    for batch, d, degree in GPU_JOINS:
        length = jax_siglib.sig_length(d, degree)
        lower = jax_siglib.sig_length(d, degree - 1)
        sig, g, v = uniform(1, batch, length), uniform(2, batch, length), uniform(3, batch, d)
        forward = jax.jit(lambda s, v, d=d, n=degree: jax_siglib.sig_join(s, v, d, n))
        backward = jax.jit(
            lambda g, s, v, d=d, n=degree: jax_siglib.sig_join_backprop(g, s, v, d, n)
        )
        shares = [
            batch * 4 * 2 * length / seconds(forward, sig, v) / bandwidth,
            batch * 4 * (2 * length + lower) / seconds(backward, g, sig, v) / bandwidth,
        ]
        print(f"B {batch:6} d {d:2} N {degree:2}        {shares[0]:7.0%}  {shares[1]:7.0%}")


def paths(most: float) -> None:
    print(f"\nmatrix product in float32: {most / 1e12:.1f}e12 multiply-adds/s")
    print("                            forward  backward / forward  top level, share of that rate")
    for batch, points, d, degree in GPU_PATHS:
        path = uniform(4, batch, points, d) / points
        forward = jax.jit(lambda x, n=degree: jax_siglib.sig(x, n))
        sig = forward(path)
        backward = jax.jit(lambda x, s, g, n=degree: jax_siglib.sig_backprop(x, s, g, n))
        there, back = seconds(forward, path), seconds(backward, path, sig, sig)
        share = batch * (points - 1) * d**degree / there / most
        label = f"B {batch:3} T {points:4} d {d:2} N {degree}"
        print(f"{label:24} {there * 1e3:8.3f} ms  {back / there:10.2f}  {share:20.0%}")


def sig_and_adjoint(path, degree: int) -> list[float]:
    forward = jax.jit(lambda x: jax_siglib.sig(x, degree))
    backward = jax.jit(lambda x, s, g: jax_siglib.sig_backprop(x, s, g, degree))
    sig = forward(path)
    return [seconds(forward, path), seconds(backward, path, sig, sig)]


def stream_and_adjoint(path, degree: int) -> list[float]:
    forward = jax.jit(lambda x: jax_siglib.sig_stream(x, degree))
    backward = jax.jit(lambda x, r, g: jax_siglib.sig_stream_backprop(x, r, g, degree))
    rows = forward(path)
    return [seconds(forward, path), seconds(backward, path, rows, rows)]


def long_paths(timed, title: str) -> None:
    print(f"\nfew long paths, {title:12}  in pieces      whole   backward: in pieces    whole")
    platforms = _primitive._GPUS
    for batch, points, d, degree in LONG:
        path = uniform(9, batch, points, d) / points**0.5
        took = []
        for platforms_that_cut in platforms, set():
            _primitive._GPUS = platforms_that_cut
            took.append(timed(path, degree))
            jax.clear_caches()
        _primitive._GPUS = platforms
        (there, back), (whole, whole_back) = np.array(took) * 1e3
        label = f"B {batch:3} T {points:6} d {d:2} N {degree}"
        print(f"{label:28} {there:9.3f} ms {whole:7.3f} ms {back:17.3f} ms {whole_back:7.3f} ms")


def streams(bandwidth: float) -> None:
    print("\nrunning signatures           forward              backward")
    for batch, points, d, degree in GPU_STREAMS:
        path = uniform(8, batch, points, d) / points
        forward = jax.jit(lambda x, n=degree: jax_siglib.sig_stream(x, n))
        rows, lower = forward(path), jax_siglib.sig_length(d, degree - 1)
        backward = jax.jit(lambda x, r, g, n=degree: jax_siglib.sig_stream_backprop(x, r, g, n))
        label = f"B {batch:4} T {points} d {d} N {degree}"
        for call, arrays, moved in (
            (forward, (path,), rows.nbytes),
            (backward, (path, rows, rows), rows.nbytes * (1 + lower / rows.shape[-1])),
        ):
            took = seconds(call, *arrays)
            label += f"  {took / (points - 1) * 1e6:8.2f} us a step {moved / took / bandwidth:4.0%}"
        print(label)


def small() -> None:
    sig, v = uniform(5, 1, jax_siglib.sig_length(5, 3)), uniform(6, 1, 5)
    join = jax.jit(lambda s, v: jax_siglib.sig_join(s, v, 5, 3))
    plain = jax.jit(lambda s, v: s + 1)
    extra = seconds(join, sig, v) - seconds(plain, sig, v)
    print(f"\njitted call at (1, 5, 3), over that of x + 1: {extra * 1e6:.1f} us")


def main() -> None:
    device = jax.devices("cuda")[0]
    print(f"{device.device_kind}, jax {jax.__version__}, jax_siglib {jax_siglib.__version__}")
    with jax.default_device(device):
        bandwidth = copy_bandwidth()
        print(f"copy: {bandwidth / 1e9:.0f} GB/s read and written")
        joins(bandwidth)
        paths(multiply_add_rate())
        long_paths(sig_and_adjoint, "sig")
        long_paths(stream_and_adjoint, "sig_stream")
        streams(bandwidth)
        small()


if __name__ == "__main__":
    main()
