"""Signatures of many windows of a path."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jax_siglib import _arrays, _checks
from jax_siglib import _path_transforms as pt
from jax_siglib import _tensor_algebra as ta
from jax_siglib._precision import cast
from jax_siglib._primitive import INLINE
from jax_siglib._sig import sig, sig_of_path
from jax_siglib._sig_combine import sig_combine
from jax_siglib._sig_stream import sig_stream, sig_stream_in_both_modes
from jax_siglib._windows_plan import Plan, plan

__all__ = [
    "dyadic_windows",
    "expanding_windows",
    "sig_windows",
    "sig_windows_in_both_modes",
    "sliding_windows",
]

Array = TypeVar("Array", bound=Any)
Ints = np.ndarray


def sig_windows(
    path: Array, windows: Any, degree: int, *, scalar_term: bool = False, n_jobs: int = 1
) -> Array:
    """Signatures of windows of piecewise linear paths, at a cost that hardly knows their width.

    A window (start, end) is ``path[start:end]``, in numpy's convention: the points from ``start``
    up to ``end``, which is not among them. It has one point at least, and of one point alone the
    signature of a path that does not move.

    Windows are put together from parts that others have in common, each the product of two at most.
    No inverse is ever taken, so each signature is as good as if its window had been computed alone,
    wherever it lies in the path. Windows of one width cost some two steps of ``sig_stream`` for
    each step of the path, and a product for each window. How that is done is planned once for given
    windows (``jax_siglib/_windows_plan.py``); the program is of the same size for many windows as
    for few.

    Args:
        path: The points of the paths, shape (..., T, d) with T and d at least 1. float16, bfloat16
            (both computed in float32 and rounded once), float32 or float64; a JAX array, a numpy
            array or a torch CPU tensor.
        windows: Pairs (start, end) with 0 <= start < end <= T: integers of shape (W, 2), as a numpy
            array or a list of pairs. Part of the program, hence not to be traced.
            ``expanding_windows``, ``sliding_windows`` and ``dyadic_windows`` make the usual ones.
        degree: Truncation degree N, at least 0.
        scalar_term: Whether each signature begins with level 0, the constant 1.
        n_jobs: Threads: 1 is serial, -1 all there are, below -1 all but ``-1 - n_jobs``.

    Returns:
        The signatures in the order of the windows, shape (..., W, L) with L the ``sig_length``;
        dtype and framework of ``path``. Differentiable in JAX.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If ``path`` has no point, no coordinate or no time axis, a window does not lie
            in it, a number is out of range, or a torch tensor would need this call recorded by
            autograd.

    Example:
        >>> import numpy as np
        >>> import jax_siglib
        >>> path = np.array([[0.0], [1.0], [3.0], [6.0]])
        >>> jax_siglib.sig_windows(path, jax_siglib.sliding_windows(4, 3), 2)
        array([[ 3. ,  4.5],
               [ 5. , 12.5]])
    """
    return _call(path, windows, degree, scalar_term, n_jobs, both_modes=False)


def sig_windows_in_both_modes(
    path: Any, windows: Any, degree: Any, scalar_term: Any, n_jobs: Any
) -> Any:
    """``sig_windows`` for ``jax_siglib.forward_mode``."""
    return _call(path, windows, degree, scalar_term, n_jobs, both_modes=True)


def expanding_windows(points: int, *, first: int = 2, step: int = 1) -> Ints:
    """Windows from the first point on, each longer than the one before.

    Args:
        points: Number T of points of the path, from 1 to 2^62.
        first: Points in the first window, at least 1.
        step: By how many points each grows, at least 1.

    Returns:
        For ``sig_windows``: pairs (0, end) for end = first, first + step, ..., up to T.

    Raises:
        TypeError: If an argument is not an int.
        ValueError: If a number is out of range.

    Example:
        >>> import jax_siglib
        >>> jax_siglib.expanding_windows(4).tolist()
        [[0, 2], [0, 3], [0, 4]]
    """
    points = _points(points)
    first = min(_checks.integer("first", first, at_least=1), points + 1)
    step = min(_checks.integer("step", step, at_least=1), points)
    end = _every(step, first, points)
    return np.stack([np.zeros_like(end), end], -1)


def sliding_windows(points: int, size: int, step: int = 1) -> Ints:
    """Windows of one size.

    Args:
        points: Number T of points of the path, from 1 to 2^62.
        size: Points in a window, at least 1. So it has ``size - 1`` steps, and windows that follow
            each other without a gap, sharing one point, come with ``step=size - 1``.
        step: By how many points each lies behind the one before, at least 1.

    Returns:
        For ``sig_windows``: pairs (start, start + size) for start = 0, step, 2 step, ..., as far as
        they lie in the path.

    Raises:
        TypeError: If an argument is not an int.
        ValueError: If a number is out of range.

    Example:
        >>> import jax_siglib
        >>> jax_siglib.sliding_windows(6, 3, 2).tolist()
        [[0, 3], [2, 5]]
    """
    points = _points(points)
    size = min(_checks.integer("size", size, at_least=1), points + 1)
    step = min(_checks.integer("step", step, at_least=1), points)
    start = _every(step, 0, points - size)
    return np.stack([start, start + size], -1)


def dyadic_windows(points: int, depth: int) -> Ints:
    """The whole path, its halves, its quarters, and so on: neighbours share a point.

    Args:
        points: Number T of points of the path, from 1 to 2^62.
        depth: How often the path is halved, from 0 to 24. Where steps do not divide evenly, windows
            of one generation differ by one point; once there are more windows than steps, some have
            a single point.

    Returns:
        For ``sig_windows``: 2^(depth+1) - 1 pairs (start, end), the whole path first, then one
        generation after another, each from the beginning of the path to its end.

    Raises:
        TypeError: If an argument is not an int.
        ValueError: If a number is out of range.

    Example:
        >>> import jax_siglib
        >>> jax_siglib.dyadic_windows(9, 2).tolist()
        [[0, 9], [0, 5], [4, 9], [0, 3], [2, 5], [4, 7], [6, 9]]
    """
    points = _points(points)
    depth = _checks.integer("depth", depth, at_least=0)
    if depth > 24:  # half a gigabyte of windows
        raise ValueError(f"depth must be at most 24, or there are too many windows; got {depth}")
    generations = []
    for generation in range(depth + 1):
        parts = 2**generation
        whole, rest = divmod(points - 1, parts)
        i = np.arange(parts + 1)
        at = whole * i + rest * i // parts  # (points - 1) * i // parts, which may not fit
        generations.append(np.stack([at[:-1], at[1:] + 1], -1))
    return np.concatenate(generations)


def _points(points: Any) -> int:
    """Refuse numbers of points that no path has, so that windows never overflow."""
    points = _checks.integer("points", points, at_least=1)
    if points > 2**62:
        raise ValueError(f"points must be at most 2**62, beyond which is no path; got {points}")
    return points


def _every(step: int, first: int, last: int) -> Ints:
    """The numbers first, first + step, ..., up to last; numpy's arange counts them in floats."""
    return first + step * np.arange((last - first) // step + 1)


class _Functions(NamedTuple):
    """What a plan is carried out with."""

    sig: Callable[..., Any]
    stream: Callable[..., Any]
    combine: Callable[..., Any]
    take: Callable[[Any, Ints], Any]
    running: Callable[..., Any]
    xp: Any


def _call(
    path: Any, windows: Any, degree: Any, scalar_term: Any, n_jobs: Any, both_modes: bool
) -> Any:
    degree = _checks.integer("degree", degree, at_least=0)
    scalar_term = _checks.flag("scalar_term", scalar_term)
    n_jobs = _checks.jobs(n_jobs)
    framework, (path,) = _arrays.take(path=path)
    (shape,) = _arrays.shapes_of([path])
    pt.check_path(shape)
    pairs = _check_windows(windows, shape[-2])
    static = pairs.tobytes(), degree, scalar_term, n_jobs
    if framework == "jax":
        return _jax_sig_windows(path, *static, both_modes)
    return _arrays.in_kind_of(path, _in_numpy(_arrays.memory(path), *static))


def _check_windows(windows: Any, points: int) -> Ints:
    """Refuse what is not windows of a path with so many points; return them as int64."""
    if not isinstance(points, int):
        raise ValueError(
            "path must have a static number of points T for its windows, which are part of the"
            f" program; got a path of {points} points"
        )
    leaves = jax.tree.leaves(windows)
    if any(isinstance(leaf, np.ma.MaskedArray) for leaf in leaves):
        raise TypeError("windows must be integers, with no mask; got a numpy MaskedArray")
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
        raise TypeError(
            "windows must be static integers, as the program depends on them; got traced values,"
            f" {windows}. Make them with numpy, outside of what is traced."
        )
    try:
        pairs = np.asarray(windows)
    except ValueError:  # rows of several lengths
        raise ValueError(
            f"windows must have shape (W, 2), pairs (start, end); got {windows!r}"
        ) from None
    if pairs.shape in ((0,), (0, 2)):  # without numbers, of whatever dtype
        pairs = np.zeros((0, 2), np.int64)
    # Numbers that no dtype holds are objects; they do not lie in the path, which is said below.
    objects = pairs.dtype == object and all(type(x) is int for x in pairs.flat)
    if not objects and not np.issubdtype(pairs.dtype, np.integer):
        raise TypeError(f"windows must be integers; got dtype {pairs.dtype}")
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        raise ValueError(f"windows must have shape (W, 2), pairs (start, end); got {pairs.shape}")
    start, end = pairs.T
    bad = np.flatnonzero((start < 0) | (start >= end) | (end > points))
    if len(bad):
        i = bad[0]
        raise ValueError(
            f"windows must be pairs (start, end) with 0 <= start < end <= {points}, the points of"
            f" path; got ({start[i]}, {end[i]}) at position {i}"
        )
    return np.ascontiguousarray(pairs, np.int64)


def _carry_out(
    of: Plan, path: Any, degree: int, scalar_term: bool, n_jobs: int, functions: _Functions
) -> Any:
    """The signatures of the windows that a plan was made for."""
    sig, stream, combine, take, running, xp = functions
    dimension, batch = path.shape[-1], path.shape[:-2]
    length = ta.layout_lengths(dimension, degree)[scalar_term]
    options = {"scalar_term": scalar_term, "n_jobs": n_jobs}

    def product(left: Any, right: Any) -> Any:
        return combine(left, right, dimension, degree, n_jobs=n_jobs)

    def all_rows(arrays: list[Any]) -> Any:
        # Not -1, which says nothing where the batch or the signature is empty.
        flat = [x.reshape(*batch, math.prod(x.shape[len(batch) : -1]), length) for x in arrays]
        return xp.concatenate(flat, -2) if len(flat) != 1 else flat[0]

    rows = [
        stream(take(path, points), degree, prepend=leftwards, **options)
        for points, leftwards in of.streams
    ]
    if of.pieces:
        pieces = all_rows([sig(take(path, points), degree, **options) for points in of.pieces])
        for numbers, leftwards in of.products:
            rows.append(running(take(pieces, numbers), product, leftwards))
    found = []
    if rows:
        table = all_rows(rows)
        if len(of.left):
            found.append(product(take(table, of.left), take(table, of.right)))
        if len(of.whole):
            found.append(take(table, of.whole))
    if of.units or not found:
        unit = sig(path[..., :1, :], degree, **options)[..., None, :]
        found.append(xp.broadcast_to(unit, (*batch, of.units, length)))
    return take(all_rows(found), of.order)


def _running_products(pieces: Any, product: Callable[..., Any], leftwards: bool) -> Any:
    """Products of the first, the first two, ... of numpy's (..., pieces, runs, L)."""
    out = pieces.copy()
    for k in range(1, pieces.shape[-3]):
        pair = out[..., k - 1, :, :], pieces[..., k, :, :]
        out[..., k, :, :] = product(*(pair[::-1] if leftwards else pair))
    return out


def _in_numpy(
    path: np.ndarray, windows: bytes, degree: int, scalar_term: bool, n_jobs: int
) -> np.ndarray:
    wide = path.astype(np.float32) if path.dtype.itemsize == 2 else path
    functions = _Functions(
        sig, sig_stream, sig_combine, lambda x, rows: x[..., rows, :], _running_products, np
    )
    out = _carry_out(plan(windows), wide, degree, scalar_term, n_jobs, functions)
    return out.astype(path.dtype, copy=False)


# From here on JAX arrays; see _sig_join.py, whose pattern this is.


def _jax_take(x: Any, rows: Ints) -> Any:
    if np.array_equal(rows, np.arange(x.shape[-2])):
        return x
    # A copy, for rows are kept with the plan: of an array that it has seen JAX 0.12 remembers which
    # integers they became, and those are others once jax_enable_x64 is switched.
    return x.at[..., rows.copy(), :].get(mode="promise_in_bounds")


def _jax_running_products(pieces: Any, product: Callable[..., Any], leftwards: bool) -> Any:
    if pieces.shape[-3] == 1:
        return pieces
    pieces = jnp.moveaxis(pieces, -3, 0)

    def step(running: Any, piece: Any) -> tuple[Any, Any]:
        running = product(piece, running) if leftwards else product(running, piece)
        return running, running

    rows = lax.scan(step, pieces[0], pieces[1:])[1]
    return jnp.moveaxis(jnp.concatenate([pieces[:1], rows]), 0, -3)


@functools.partial(jax.jit, static_argnums=(1, 2, 3, 4, 5), inline=INLINE)
def _jax_sig_windows(
    path: Any, windows: bytes, degree: int, scalar_term: bool, n_jobs: int, both_modes: bool
) -> Any:
    wide = path.astype(jnp.float32) if path.dtype.itemsize == 2 else path
    of_sig, of_stream = (_sig_both, _stream_both) if both_modes else (sig, sig_stream)
    functions = _Functions(of_sig, of_stream, sig_combine, _jax_take, _jax_running_products, jnp)
    out = _carry_out(plan(windows), wide, degree, scalar_term, n_jobs, functions)
    return cast(out, path.dtype)


def _sig_both(path: Any, degree: int, *, scalar_term: bool, n_jobs: int) -> Any:
    return sig_of_path(path, degree, scalar_term, n_jobs, both_modes=True)


def _stream_both(path: Any, degree: int, *, prepend: bool, scalar_term: bool, n_jobs: int) -> Any:
    return sig_stream_in_both_modes(path, degree, None, prepend, scalar_term, n_jobs)
