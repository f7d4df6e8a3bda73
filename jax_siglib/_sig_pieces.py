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
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax_siglib._checks import Shape
from jax_siglib._precision import keeping
from jax_siglib._sig_combine import sig_combine

__all__ = ["Ways", "pieces_of", "ways"]

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


def ways(sig: Callable[..., Any], sig_in_reverse: Callable[..., Any]) -> Ways:
    """Make them.

    Args:
        sig: Maps a path, the degree, and whether there is a scalar term, to its signature, and is
            differentiable in forward mode.
        sig_in_reverse: The same, differentiable in reverse mode first.

    Returns:
        The four of them.
    """

    def forward(path: Any, **params: Any) -> Any:
        return _in_pieces(sig, path, **params)

    def tangent(path: Any, t_path: Any, **params: Any) -> Any:
        return jax.jvp(lambda x: forward(x, **params), (path,), (t_path,))[1]

    def gradient(ct_out: Any, path: Any, **params: Any) -> Any:
        return jax.vjp(lambda x: _in_pieces(sig_in_reverse, x, **params), path)[1](ct_out)[0]

    def backprop(ct_out: Any, path: Any, _sig_lower: Any, **params: Any) -> Any:
        return gradient(ct_out, path, **params)

    def hvp(ct_out: Any, path: Any, t_path: Any, **params: Any) -> Any:
        return jax.jvp(lambda x: gradient(ct_out, x, **params), (path,), (t_path,))[1]

    return Ways(_if_long(forward, 0), _if_long(tangent, 0), _if_long(backprop, 1), _if_long(hvp, 1))


def _if_long(function: Callable[..., Any], at: int) -> Callable[..., Any]:
    """As ``Kernel.on_gpu``, of a function that takes a path at this position."""

    def in_double(*arrays: Any, **params: Any) -> Any:
        dtype = arrays[0].dtype
        with keeping(np.float64):
            return function(*(x.astype(np.float64) for x in arrays), **params).astype(dtype)

    def on_gpu(*shapes: Shape, degree: int, **_params: Any) -> Callable[..., Any] | None:
        if pieces_of(shapes[at], degree) == 1:
            return None
        return in_double if shapes[at][-2] > _MOST_POINTS else function

    return on_gpu


def _in_pieces(sig: Callable[..., Any], path: Any, *, degree: int, scalar_term: bool) -> Any:
    found = sig(_cut(path, pieces_of(path.shape, degree)), degree, scalar_term)
    while found.shape[-2] > 1:
        pairs = found[..., ::2, :], found[..., 1::2, :]
        found = sig_combine(*pairs, path.shape[-1], degree)
    return found[..., 0, :]


def _cut(path: Any, pieces: int) -> Any:
    """Pieces of equal length, (..., pieces, points, d), each from the last point of the one before.

    The last one stays where the path ends for as many steps as it is short of.
    """
    *lead, points, dimension = path.shape
    steps = -((1 - points) // pieces)
    rest = jnp.repeat(path[..., -1:, :], pieces * steps + 1 - points, -2)
    path = jnp.concatenate([path, rest], -2)
    starts = path[..., :-1, :].reshape(*lead, pieces, steps, dimension)
    return jnp.concatenate([starts, path[..., steps::steps, None, :]], -2)
