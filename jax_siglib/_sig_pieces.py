"""A few long paths on a GPU: pieces of them side by side, then their products.

A GPU's kernel goes along a path step by step, in no more threads than the signature has branches
(``ffi/cuda/README.md``), so that a few paths leave most of a GPU idle, however long they are. By
Chen's identity the signature of a path is the product of those of its pieces, which need nothing of
each other: as further members of the batch they are computed side by side, and products of
neighbours halve their number until one is left. Derivatives are JAX's of that, so that those of
pieces and of products are the kernels' own.

What a point of a long path gets is the difference of what two steps get, which cancels the more the
more points there are. So paths of float32 that the kernels do in float64 are in pieces of float64.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax_siglib import _tensor_algebra as ta
from jax_siglib._checks import Shape
from jax_siglib._derivatives import all_of, lift_all
from jax_siglib._precision import keeping
from jax_siglib._sig_combine import sig_combine

__all__ = ["Ways", "cut", "pieces_of", "product_of_pieces", "ways"]

# A product costs about as much as a few steps, and a launch: little beside the steps of a piece.
_LEAST_STEPS = 64
# What a large GPU has room for.
_THREADS = 1 << 16
# With fewer it is not worth the while.
_LEAST_PIECES = 4
# Of float32, in float32; as BundlesInDouble (ffi/cpu/long_path.h).
_MOST_POINTS = 8192


class Ways(NamedTuple):
    """By pieces, what the kernels do: each as ``Kernel.on_gpu``."""

    forward: Callable[..., Any]
    tangent: Callable[..., Any]
    backprop: Callable[..., Any]
    hvp: Callable[..., Any]


def pieces_of(path: Shape, degree: int) -> int:
    """How many pieces paths of this shape are cut into, a power of two; 1 to leave them whole.

    They are whole where a program is made for any batch size, which may be a large one. That pieces
    are not cut again follows from the numbers: there are more than half as many as fit.
    """
    if not all(isinstance(n, int) for n in path):
        return 1
    *lead, points, dimension = path
    branches = dimension ** max(0, degree - 2) * (-(-dimension // 8)) ** 2
    threads = math.prod(lead) * branches
    most = min((points - 1) // _LEAST_STEPS, _THREADS // max(1, threads))
    return 1 << (most.bit_length() - 1) if most >= _LEAST_PIECES else 1


def ways(
    forward: Callable[..., Any],
    in_reverse: Callable[..., Any],
    *,
    operands: int = 1,
    base: Callable[..., tuple[Any, ...]] = all_of,
    lift: Callable[..., tuple[Any, ...]] = lift_all,
    in_double: bool = False,
    fits: Callable[[Shape, int], bool] = lambda path, degree: True,
) -> Ways:
    """Make them.

    Args:
        forward: What the operation computes, by pieces; takes operands and parameters as the
            reference does, and is differentiable in forward mode.
        in_reverse: The same, differentiable in reverse mode first.
        operands: How many it has; the last one is the path.
        base: As of the operation (``_derivatives.py``).
        lift: Likewise.
        in_double: Whether long float32 paths go in pieces of float64.
        fits: Whether there is memory for pieces, given the shape of the path and the degree.

    Returns:
        The four of them.
    """
    n = operands

    def lifted(known: Sequence[Any], params: dict[str, Any]) -> tuple[Any, ...]:
        lengths = ta.layout_lengths(known[-1].shape[-1], params["degree"])
        return lift(*known, length=lengths[params["scalar_term"]], **params)

    def tangent(*given: Any, **params: Any) -> Any:
        x, t = lifted(given[:n], params), given[n:]
        return jax.jvp(lambda *x: forward(*x, **params), x, t)[1]

    def backprop(ct_out: Any, *given: Any, **params: Any) -> tuple[Any, ...]:
        x = lifted(given[:n], params)
        return jax.vjp(lambda *x: in_reverse(*x, **params), *x)[1](ct_out)

    def hvp(ct_out: Any, *given: Any, **params: Any) -> tuple[Any, ...]:
        def gradient(*known: Any) -> tuple[Any, ...]:
            return base(*backprop(ct_out, *known, **params), **params)

        return jax.jvp(gradient, given[:n], given[n:])[1]

    def if_long(function: Callable[..., Any], path_at: int) -> Callable[..., Any]:
        def on_gpu(*shapes: Shape, degree: int, **_params: Any) -> Callable[..., Any] | None:
            path = shapes[path_at]
            if pieces_of(path, degree) == 1 or not fits(path, degree):
                return None
            return _double(function) if in_double and path[-2] > _MOST_POINTS else function

        return on_gpu

    of_x, of_ct_and_x = n - 1, n
    return Ways(
        if_long(forward, of_x),
        if_long(tangent, of_x),
        if_long(backprop, of_ct_and_x),
        if_long(hvp, of_ct_and_x),
    )


def _double(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same in float64, rounded in the end."""

    def in_double(*arrays: Any, **params: Any) -> Any:
        dtype = arrays[0].dtype
        with keeping(np.float64):
            found = function(*(x.astype(np.float64) for x in arrays), **params)
            return jax.tree.map(lambda x: x.astype(dtype), found)

    return in_double


def product_of_pieces(sig: Callable[..., Any], path: Any, *, degree: int, scalar_term: bool) -> Any:
    """The signature of a path that is cut, by ``sig`` of a path, degree and scalar term."""
    found = sig(cut(path, pieces_of(path.shape, degree)), degree, scalar_term)
    while found.shape[-2] > 1:
        pairs = found[..., ::2, :], found[..., 1::2, :]
        found = sig_combine(*pairs, path.shape[-1], degree)
    return found[..., 0, :]


def cut(path: Any, pieces: int) -> Any:
    """Pieces of equal length, (..., pieces, points, d), each from the last point of the one before.

    The last one stays where the path ends for as many steps as it is short of.
    """
    *lead, points, dimension = path.shape
    steps = -((1 - points) // pieces)
    rest = jnp.repeat(path[..., -1:, :], pieces * steps + 1 - points, -2)
    path = jnp.concatenate([path, rest], -2)
    starts = path[..., :-1, :].reshape(*lead, pieces, steps, dimension)
    return jnp.concatenate([starts, path[..., steps::steps, None, :]], -2)
