"""What a call costs: arithmetic, memory traffic and memory, as functions of its sizes.

A join evaluates the chains of ``_reference.py``. The chain of level n takes a step to every level
k = 2..n (to level 1 it only adds), with one multiply-add for each of the d^k words there. Hence
these sums, on which everything rests:

    U = sum of (N-k+1) d^k for k = 2..N    all steps of all chains
    C = U - (d^2 + ... + d^N)              all but the last step of each
    V = U - d^N                            all but the step to the top level

Forward, each step costs one multiply-add for each word; its tangent two, and the chains that it
starts from one more; its adjoint two, a contraction and a sum, and the chains. Of second order the
chains have tangents (3 in all), and so have contraction (3) and sum (2, without the sum itself);
where an adjoint chain begins, its tangent is still zero (which leaves 3 of these 5).

    a join: U    tangent, adjoint: 2 U + C    second order: 3 C + 5 U - 2 (d^2 + ... + d^N)

Along a path the levels below N are carried along, or undone, and only the cotangent of level N
never has a tangent; of second order, the levels below N go forward with their tangents first.

    a step of a path: U    tangent, adjoint: 2 U + V    second order: 3 C + 3 V + 5 U - 2 d^N

Operands are read and results written once at the least, without the levels that are not read. What
scratch a call takes the compiled module says, by making it without doing anything.
"""

import math
import time
from collections.abc import Sequence
from typing import NamedTuple

from jax_siglib import _arrays, _checks
from jax_siglib import _path_transforms as pt
from jax_siglib import _tensor_algebra as ta
from jax_siglib._checks import Shape
from jax_siglib._native import ext

__all__ = ["Cost", "JoinCost", "SigCost", "multiply_add_rate", "sig_cost", "sig_join_cost"]


class Cost(NamedTuple):
    """What one call costs.

    Attributes:
        multiply_adds: Multiplications, each with an addition.
        bytes_read: Of the operands. What does not fit the caches is read more than once.
        bytes_written: Of the results.
        scratch: Bytes in use during the call beside operands and results.
    """

    multiply_adds: int
    bytes_read: int
    bytes_written: int
    scratch: int


class SigCost(NamedTuple):
    """The costs of ``sig`` and of its derivatives."""

    sig: Cost
    sig_jvp: Cost
    sig_backprop: Cost
    sig_hvp: Cost


class JoinCost(NamedTuple):
    """The costs of ``sig_join`` and of its derivatives."""

    sig_join: Cost
    sig_join_jvp: Cost
    sig_join_backprop: Cost
    sig_join_hvp: Cost


def sig_cost(
    path_shape: Sequence[int],
    degree: int,
    *,
    dtype: str = "float32",
    time_aug: bool = False,
    lead_lag: bool = False,
    scalar_term: bool = False,
    basepoint: bool = False,
    n_jobs: int = 1,
) -> SigCost:
    """What ``sig`` and its derivatives cost for paths of this shape; nothing is computed.

    A path takes T - 1 steps, and each some ``d**N`` multiply-adds in ``sig``, two to three times as
    many in ``sig_jvp`` and ``sig_backprop`` and four to eight times in ``sig_hvp``; the numbers
    returned count all levels. Scratch hardly grows with the length of a path.

    For an estimate in seconds divide the multiply-adds by ``multiply_add_rate()`` and by the
    threads that the batch keeps busy, and multiply by 2 to 4 in float32 where the batch has 8 paths
    or more, by 4 to 9 where it has fewer, and by up to 25 where a signature has a few hundred
    entries or less; in float64 by twice as much. Half precision is done in float32.

    Direct calls, on numpy arrays and torch tensors, can be ended by Ctrl-C: signals are looked for
    between the paths of a batch. A jitted program runs to its end, as any of JAX does.

    Args:
        path_shape: Shape (..., T, d) of the paths.
        degree: Truncation degree N, at least 0.
        dtype: Their dtype, float16, bfloat16, float32 or float64; or its name.
        time_aug: What ``sig`` is given; so are the next two.
        lead_lag: See there.
        scalar_term: See there.
        basepoint: Whether there is one.
        n_jobs: Threads: 1 is serial, -1 all there are, below -1 all but ``-1 - n_jobs``.

    Returns:
        A named tuple with the ``Cost`` of ``sig``, ``sig_jvp``, ``sig_backprop`` and ``sig_hvp``;
        each again a named tuple, of ``multiply_adds``, ``bytes_read``, ``bytes_written`` and
        ``scratch`` (bytes).

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a number is out of range, or ``path_shape`` is no path's.

    Example:
        >>> import jax_siglib
        >>> cost = jax_siglib.sig_cost((128, 512, 8), 5)
        >>> cost.sig.multiply_adds
        2796322816
        >>> cost.sig.bytes_read, cost.sig.bytes_written
        (2097152, 19173376)
    """
    path = _checks.sizes("path_shape", path_shape)
    degree = _checks.integer("degree", degree, at_least=0)
    dtype = _arrays.dtype_name("dtype", dtype)
    how, _ = pt.read(time_aug, lead_lag, 1.0, _checks.flag("basepoint", basepoint))
    scalar_term = _checks.flag("scalar_term", scalar_term)
    n_jobs = _checks.jobs(n_jobs)
    pt.check_path(path, name="path_shape")
    moved = how.shape(path)
    *batch, points, d = moved
    sig: Shape = (*batch, ta.layout_lengths(d, degree)[scalar_term])
    lower: Shape = (*batch, ta.lower_length(d, degree))
    residual = lower if degree else sig
    every, inner, below = _sums(d, degree)
    steps, half = math.prod(batch) * (points - 1), dtype in ("float16", "bfloat16")
    # A rounded signature is not gone back from: its lower levels are worked out again.
    again = inner if half else 0

    def cost(name: str, per_step: int, reads: list[Shape], *operands: Shape, copies: int) -> Cost:
        size, kernel_dtype = _BYTES[dtype], dtype
        scratch = 0 if how == pt.NONE else copies * size * math.prod(moved)
        if how.lead_lag and half and name in ("sig_backprop", "sig_hvp"):  # see Transform.sums
            kernel_dtype = "float32"
            scratch += 4 * (copies * math.prod(moved) + math.prod(sig) + math.prod(lower))
        scratch += ext.scratch_bytes(name, kernel_dtype, operands, d, degree, False, n_jobs)
        result = path if operands[-1] == moved else sig
        read = size * sum(map(math.prod, reads))
        return Cost(steps * per_step, read, size * math.prod(result), scratch)

    first = 2 * every + below
    second = 3 * inner + 3 * below + 5 * every - 2 * (every - below)
    return SigCost(
        cost("sig", every, [path], moved, sig, copies=1),
        cost("sig_jvp", first, [path, path], moved, moved, sig, copies=2),
        cost(
            "sig_backprop",
            first + again,
            [path, sig] if half else [path, residual, sig],
            *(moved, residual, sig, moved),
            copies=2,
        ),
        cost("sig_hvp", second, [path, path, sig], sig, moved, moved, moved, copies=3),
    )


def sig_join_cost(
    batch_shape: Sequence[int],
    dimension: int,
    degree: int,
    *,
    dtype: str = "float32",
    scalar_term: bool = False,
    prepend: bool = False,
    n_jobs: int = 1,
) -> JoinCost:
    """What ``sig_join`` and its derivatives cost; nothing is computed.

    A join does little more than one multiply-add for each entry that it reads and writes, so beyond
    the caches it takes about as long as copying the signatures; see ``sig_cost`` for the rest.

    Args:
        batch_shape: Leading shape of the signatures.
        dimension: Dimension d of the underlying space, at least 1.
        degree: Truncation degree N, at least 0.
        dtype: Dtype of the arrays, float16, bfloat16, float32 or float64; or its name.
        scalar_term: Whether the signatures begin with level 0.
        prepend: What ``sig_join`` is given.
        n_jobs: Threads: 1 is serial, -1 all there are, below -1 all but ``-1 - n_jobs``.

    Returns:
        A named tuple with the ``Cost`` of ``sig_join``, ``sig_join_jvp``, ``sig_join_backprop`` and
        ``sig_join_hvp``.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a number is out of range.

    Example:
        >>> import jax_siglib
        >>> jax_siglib.sig_join_cost((1024,), 5, 3).sig_join.multiply_adds
        179200
    """
    batch = _checks.sizes("batch_shape", batch_shape)
    dimension = _checks.integer("dimension", dimension, at_least=1)
    degree = _checks.integer("degree", degree, at_least=0)
    dtype = _arrays.dtype_name("dtype", dtype)
    scalar_term = _checks.flag("scalar_term", scalar_term)
    prepend = _checks.flag("prepend", prepend)
    n_jobs = _checks.jobs(n_jobs)
    sig: Shape = (*batch, ta.layout_lengths(dimension, degree)[scalar_term])
    lower: Shape = (*batch, ta.lower_length(dimension, degree)) if degree else sig
    step: Shape = (*batch, dimension)
    every, inner, _ = _sums(dimension, degree)

    def cost(name: str, each: int, reads: list[Shape], writes: list[Shape]) -> Cost:
        size = _BYTES[dtype]
        operands = [*reads, *writes]
        return Cost(
            math.prod(batch) * each,
            size * sum(map(math.prod, reads)),
            size * sum(map(math.prod, writes)),
            ext.scratch_bytes(name, dtype, operands, dimension, degree, prepend, n_jobs),
        )

    first = 2 * every + inner
    return JoinCost(
        cost("sig_join", every, [sig, step], [sig]),
        cost("sig_join_jvp", first, [lower, step, sig, step], [sig]),
        cost("sig_join_backprop", first, [sig, lower, step], [sig, step]),
        cost("sig_join_hvp", 3 * every + 5 * inner, [sig, lower, step, lower, step], [sig, step]),
    )


def multiply_add_rate() -> float:
    """Multiply-adds in float32 that a thread can do in a second, with nothing to be loaded.

    Measured now, in a few milliseconds, by a loop in registers: the most that any code could reach
    on this processor, and what ``sig_cost`` is to be divided by.

    Returns:
        The best rate of several measurements.

    Example:
        >>> import jax_siglib
        >>> jax_siglib.multiply_add_rate() > 1e8
        True
    """
    rounds, best = 20_000, 0.0
    for _ in range(20):
        start = time.perf_counter()
        count = ext.multiply_adds(rounds)
        best = max(best, count / (time.perf_counter() - start))
    return best


_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}


def _sums(d: int, degree: int) -> tuple[int, int, int]:
    """The sums U, C and V of the top of this file."""
    levels = range(2, degree + 1)
    every = sum((degree - k + 1) * d**k for k in levels)
    return every, every - sum(d**k for k in levels), every - (d**degree if degree > 1 else 0)
