"""The signature of a path that continues another one, whose signature is given."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jax_siglib import _arrays, _checks
from jax_siglib import _path_transforms as pt
from jax_siglib import _tensor_algebra as ta
from jax_siglib._precision import cast
from jax_siglib._primitive import INLINE
from jax_siglib._sig import sig_of_path
from jax_siglib._sig_combine import sig_combine
from jax_siglib._sig_stream import check_initial, sig_stream, sig_stream_in_both_modes

__all__ = ["sig_continued", "sig_running"]

Static = tuple[int, bool, bool, int]  # degree, prepend, scalar_term, n_jobs


def sig_continued(
    path: Any,
    initial: Any,
    degree: Any,
    *,
    prepend: Any = False,
    scalar_term: Any = False,
    n_jobs: Any = 1,
    both_modes: bool = False,
) -> Any:
    """The last row of ``sig_stream``, without the others: arguments are those.

    By Chen's identity the product of ``initial`` and the signature of the path, which is quicker
    than a join for each step.
    """
    degree = _checks.integer("degree", degree, at_least=0)
    prepend = _checks.flag("prepend", prepend)
    scalar_term = _checks.flag("scalar_term", scalar_term)
    static = degree, prepend, scalar_term, _checks.jobs(n_jobs)
    framework, arrays = _arrays.take(path=path, initial=initial)
    if framework == "jax":
        return _jax_sig_continued(*arrays, static, both_modes)
    path_shape, initial_shape = _arrays.shapes_of(arrays)
    _check_shapes(path_shape, initial_shape, degree)
    path, initial = arrays
    out = _product(_arrays.memory(path), _arrays.memory(initial), static, both_modes)
    return _arrays.in_kind_of(path, out)


def sig_running(
    path: Any,
    degree: Any,
    transform: tuple[Any, ...],
    scalar_term: Any,
    initial: Any,
    stream: bool,
    n_jobs: Any,
    both_modes: bool,
) -> Any:
    """``sig`` with ``initial`` or ``stream``; ``transform``: the four arguments of one."""
    options = {"scalar_term": scalar_term, "n_jobs": n_jobs}

    def of_moved(path: Any, initial: Any) -> Any:
        if not stream:
            return sig_continued(path, initial, degree, **options, both_modes=both_modes)
        if both_modes:
            return sig_stream_in_both_modes(path, degree, initial, False, scalar_term, n_jobs)
        return sig_stream(path, degree, initial=initial, **options)

    how, front = pt.read(*transform)
    if how == pt.NONE:
        return of_moved(path, initial)
    given = pt.given(path=path, basepoint=front, initial=initial)
    framework, taken = _arrays.take(**given)
    if framework == "jax":
        return _jax_sig_running(dict(zip(given, taken, strict=True)), how, of_moved)
    time_aug, lead_lag, end_time, basepoint = transform
    path = pt.transform_path(
        path, time_aug=time_aug, lead_lag=lead_lag, end_time=end_time, basepoint=basepoint
    )
    return of_moved(path, initial)


def _check_shapes(path: tuple[int, ...], initial: tuple[int, ...], degree: int) -> None:
    pt.check_path(path)
    check_initial(initial, path, degree)


def _product(path: Any, initial: Any, static: Static, both_modes: bool) -> Any:
    """Of arrays of numpy or of JAX."""
    degree, prepend, scalar_term, n_jobs = static
    dtype, dimension = path.dtype, path.shape[-1]
    if dtype.itemsize == 2:  # rounded once
        path, initial = path.astype(np.float32), initial.astype(np.float32)
    start = ta.in_layout(initial, scalar_term, dimension, degree)
    own = sig_of_path(path, degree, scalar_term, n_jobs, both_modes)
    pair = (own, start) if prepend else (start, own)
    found = sig_combine(*pair, dimension, degree, n_jobs=n_jobs)
    return cast(found, dtype)


def _jax_sig_running(
    arrays: dict[str, Any], how: pt.Transform, of_moved: Callable[[Any, Any], Any]
) -> Any:
    """All of it in the type in which derivatives by points are summed, and rounded once."""
    path, initial = arrays["path"], arrays.get("initial")
    moved = pt.jax_moved(path, arrays.get("basepoint"), how)
    return cast(of_moved(moved, None if initial is None else how.widened(initial)), path.dtype)


@functools.partial(jax.jit, static_argnums=(2, 3), inline=INLINE)
def _jax_sig_continued(path: Any, initial: Any, static: Static, both_modes: bool) -> Any:
    _arrays.check_dtypes(path=path, initial=initial)
    _check_shapes(path.shape, initial.shape, degree=static[0])
    return _product(path, initial, static, both_modes)
