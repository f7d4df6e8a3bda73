"""What running signatures and windows cost: ``python tests/bench/streams.py``.

A row of ``sig_stream`` beside a copy of it (``numpy.copyto``), and all beside a jitted ``lax.scan``
over ``sig_join``, with gradients; ``sig_windows`` beside ``sig`` of each window by itself. Float32,
``n_jobs=1``; set NPROC=1 for a single thread of XLA. Times are the process's own: medians of calls
that take turns, on a machine that may have other work.
"""

import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

import jax_siglib
from jax_siglib import sig, sig_join, sig_stream, sig_stream_backprop, sig_windows, sliding_windows

STREAMS = [
    (1, 1000, 2, 3),
    (1, 1000, 3, 5),
    (128, 100, 5, 3),
    (32, 100, 4, 4),
    (1024, 64, 2, 3),
    (8, 256, 8, 4),
    (1, 128, 10, 5),
]
WINDOWS = [(1, 5001, 3, 4, 10), (1, 5001, 3, 4, 30), (1, 5001, 3, 4, 300), (16, 501, 5, 3, 100)]


def main() -> None:
    """Print two tables, a line for each size."""
    print("| B, T, d, N | row ns | / copy | backward / copy | scan / ours | gradients of both |")
    print("|---|---|---|---|---|---|")
    for size in STREAMS:
        stream(*size)
    print("\n| B, T, d, N | points in a window | us a window | each alone / ours | gradients |")
    print("|---|---|---|---|---|")
    for size in WINDOWS:
        windows(*size)


def stream(batch, points, d, degree):
    """Compare ``sig_stream`` with copies and with a scan."""
    path, length = walk(batch, points, d), jax_siglib.sig_length(d, degree)
    rows = sig_stream(path, degree)
    g = np.random.default_rng(1).uniform(-1, 1, rows.shape).astype("float32")
    copied = np.empty_like(g)

    def scan(path):
        def step(running, v):
            running = sig_join(running, v, d, degree)
            return running, running

        begin = jnp.zeros((batch, length), "float32")
        steps = jnp.moveaxis(jnp.diff(path, axis=1), 1, 0)
        return jnp.moveaxis(jax.lax.scan(step, begin, steps)[1], 0, 1)

    times = medians(
        lambda: np.copyto(copied, g),
        lambda: sig_stream(path, degree),
        lambda: sig_stream_backprop(path, rows, g, degree),
        *both_ways(lambda path: sig_stream(path, degree), path, g),
        *both_ways(scan, path, g),
    )
    copy, forward, backward, ours, our_gradient, theirs, their_gradient = times
    row = 1e9 * forward / (batch * (points - 1))
    ratios = forward / copy, backward / copy, theirs / ours, their_gradient / our_gradient
    print(f"| {batch}, {points}, {d}, {degree} | {row:.0f} | {columns(ratios)} |", flush=True)


def windows(batch, points, d, degree, size):
    """Compare ``sig_windows`` with each window by itself."""
    path, pairs = walk(batch, points, d), sliding_windows(points, size)
    at = pairs[:, :1] + np.arange(size)
    g = np.random.default_rng(1).uniform(
        -1, 1, (batch, len(pairs), jax_siglib.sig_length(d, degree))
    )
    g = g.astype("float32")
    ours, our_gradient, alone, their_gradient = medians(
        *both_ways(lambda path: sig_windows(path, pairs, degree), path, g),
        *both_ways(lambda path: sig(path[:, at], degree), path, g),
    )
    each = 1e6 * ours / (batch * len(pairs))
    ratios = alone / ours, their_gradient / our_gradient
    label = f"{batch}, {points}, {d}, {degree} | {size} | {each:.2f}"
    print(f"| {label} | {columns(ratios)} |", flush=True)


def walk(batch, points, d):
    """Random walks of some size 1."""
    steps = np.random.default_rng(0).normal(0, points**-0.5, (batch, points, d))
    return np.cumsum(steps, 1).astype("float32")


def both_ways(function, path, g):
    """Calls of the jitted function, and of its gradient."""
    path, g = jnp.asarray(path), jnp.asarray(g)
    forward = jax.jit(function)
    gradient = jax.jit(jax.grad(lambda path, g: jnp.sum(g * function(path))))
    return (
        lambda: jax.block_until_ready(forward(path)),
        lambda: jax.block_until_ready(gradient(path, g)),
    )


def medians(*calls):
    """Of seconds, over rounds in which every call has its turn."""
    times: list[list[float]] = [[] for _ in calls]
    for round_ in range(8):
        for call, taken in zip(calls, times, strict=True):
            start = time.process_time()
            call()
            if round_:  # the first compiles
                taken.append(time.process_time() - start)
    return list(map(statistics.median, times))


def columns(ratios):
    """Of a Markdown table."""
    return " | ".join(f"{x:.2f}" for x in ratios)


if __name__ == "__main__":
    main()
