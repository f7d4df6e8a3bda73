"""Sizes, the limits set for them, and the operands."""

from dataclasses import dataclass
from typing import Any

import numpy as np

import jax_siglib

SEED = 2025


@dataclass(frozen=True)
class Join:
    """One step for a batch of signatures; limits None where none is set."""

    batch: int
    dimension: int
    degree: int
    # In the memory copies of one signature array, at most; then faster than pysiglib, at least.
    forward_copies: float | None = None
    backward_copies: float | None = None
    forward_gain: float | None = None
    backward_gain: float | None = None
    two_threads: bool = False  # whether two have to pay

    @property
    def label(self) -> str:
        return f"{self.batch}, {self.dimension}, {self.degree}"

    @property
    def length(self) -> int:
        return jax_siglib.sig_length(self.dimension, self.degree)

    def operands(self, dtype: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """sig, displacement, d_out."""
        random = np.random.default_rng(SEED)
        shapes = (self.length, self.dimension, self.length)
        sig, step, ct = (random.uniform(-1, 1, (self.batch, n)).astype(dtype) for n in shapes)
        return sig, step, ct


# What is asked of float32; no limit was set for the sizes that come last.
JOINS = [
    Join(1024, 5, 3, 2.0, 3.2, 5, 12),
    Join(128, 5, 5, 1.2, 1.5, 2.8, 8, two_threads=True),
    Join(1024, 3, 6, 1.2, 1.6, 4.5, 9, two_threads=True),
    Join(64, 10, 5, 1.25, 1.5, 3.8, 6, two_threads=True),
    Join(32, 20, 4, 1.15, 1.3, 3.6, 7, two_threads=True),
    Join(1, 10, 6, 1.25, 1.5, 4.8, 8, two_threads=True),
    Join(256, 2, 10, 1.6, 2.2, 4, 6, two_threads=True),
    Join(1, 5, 3, None, None, 8, 8),  # nearly all of it is the call itself
    Join(1, 2, 3),
    Join(32, 4, 4),
    Join(64, 5, 7, two_threads=True),  # pysiglib's own join benchmark
]
QUICK_JOINS = [case for case in JOINS if case.label in ("1024, 5, 3", "128, 5, 5", "1, 5, 3")]

PREPEND_TO_APPEND = 1.3  # at most
TWO_THREADS_GAIN = 1.6  # at least, where copying memory gains as much
JIT_OVER_ADD_US = 3.0  # at most, at SMALL
EAGER_US = 20.0  # at most, at SMALL
JAX_GAIN = 6.0  # over pysiglib.jax_api, at least
SMALL = Join(1, 5, 3)


@dataclass(frozen=True)
class Path:
    """The signatures of a batch of paths.

    Gains are over pysiglib, at least; ``backward_forwards`` is what the backward pass may cost in
    forward ones; shares are of the multiply-adds that the processor can do, at least.
    """

    batch: int
    points: int
    dimension: int
    degree: int
    forward_gain: float | None = None
    backward_gain: float | None = None
    backward_forwards: float | None = None
    forward_share: float | None = None
    backward_share: float | None = None

    @property
    def label(self) -> str:
        return f"{self.batch}, {self.points}, {self.dimension}, {self.degree}"

    def multiply_adds(self, *, backward: bool) -> int:
        """What the recurrence needs.

        Forward, each of the N-k+1 chains that reach level k costs one for each of its d^k words.
        Backward needs two (the contraction with the displacement, and the sum for it), and below
        the top level the chains once more.
        """
        levels = range(2, self.degree + 1)
        up = sum((self.degree - k + 1) * self.dimension**k for k in levels)
        step = 3 * up - self.dimension**self.degree if backward else up
        return self.batch * (self.points - 1) * step

    def operands(self, dtype: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """path, its signature, sig_derivs."""
        random = np.random.default_rng(SEED)
        shape = (self.batch, self.points, self.dimension)
        # A random walk whose end lies about 1 from its start: no level over- or underflows.
        steps = random.normal(0, self.points**-0.5, shape)
        path = np.cumsum(steps, axis=1).astype(dtype)
        sig = jax_siglib.sig(path, self.degree)
        return path, sig, random.uniform(-1, 1, sig.shape).astype(dtype)


PATHS = [
    Path(128, 256, 4, 6, 1.5, 15, 4),
    Path(128, 512, 8, 5, 3, 20, 3.5, 1 / 3, 1 / 4),
    Path(32, 1024, 16, 4, 3, 20, 3.5),
    Path(120, 50, 10, 5, 3, 15, 3.5),
    Path(128, 100, 5, 3, 1.5, 8, 5),
    Path(1, 1024, 8, 5),  # one after another: no others to be done beside it
]
QUICK_PATHS = [case for case in PATHS if case.label in ("128, 256, 4, 6", "128, 100, 5, 3")]
# On a GPU: B, T, d, N, those that are many; joins, B, d, N, are several times as much as a cache of
# 60 MB holds.
GPU_PATHS = [(x.batch, x.points, x.dimension, x.degree) for x in PATHS if x.batch > 1]
GPU_JOINS = [
    (1 << 19, 5, 3),
    (1 << 14, 5, 5),
    (512, 10, 5),
    (1 << 14, 2, 10),
    (512, 20, 4),
    (8, 10, 7),
    (1 << 18, 3, 4),
    (1 << 18, 2, 6),
]
# Running signatures, B, T, d, N; those of the last go step by step.
GPU_STREAMS = [
    (1, 100, 5, 3),
    (128, 100, 5, 3),
    (3000, 100, 5, 3),
    (32, 100, 2, 9),
    (4000, 100, 5, 3),
]
SIGNAX_GAIN = 10.0  # jitted signature and gradient, at least
PEER_BYTES = 4 << 30  # a peer that would keep more signatures than this gets fewer paths
MEMORY_SIZES = ((1, 4, 6), (1, 8, 5))  # B, d, N
MEMORY_POINTS = (64, 512, 4096)  # lengths of path between which memory should not grow

# Paths so long that rounding might add up: B, d, N at either number of points.
LONG_SIZES = ((1, 2, 5), (8, 2, 5), (1, 3, 4), (8, 3, 4), (8, 5, 3))
LONG_POINTS = 100_000
LONG_ERROR = 1e-4  # of the gradient, relative to its norm

# Small enough for rational arithmetic.
EXACT = [Join(1, 2, 3), Join(1, 3, 4), Join(1, 5, 3), Join(1, 2, 7), Join(1, 1, 6), Join(1, 10, 2)]
EXACT_ERROR = 1e-13
FLOAT32_LEVEL_ERROR = 2e-6
FLOAT32_DISPLACEMENT_ERROR = {"1, 10, 6": 5e-6}


def keywords(case: Join) -> dict[str, Any]:
    """The statics of a join, under the names both libraries give them."""
    return {"dimension": case.dimension, "degree": case.degree}
