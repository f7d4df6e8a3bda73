"""The signature of a path that continues another one, whose signature is given."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_siglib import _arrays, _checks
from jax_siglib import _path_transforms as pt
from jax_siglib import _tensor_algebra as ta
from jax_siglib._primitive import INLINE
from jax_siglib._sig import _check_path, sig, sig_of_path
from jax_siglib._sig_combine import sig_combine
from jax_siglib._sig_stream import sig_stream, sig_stream_in_both_modes

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
    length = _check_shapes(path_shape, initial_shape, degree)[scalar_term]
    return _arrays.call(_into, arrays, static, [(*path_shape[:-2], length)])[0]


def sig_running(
    path: Any,
    degree: Any,
    transform: tuple[Any, ...],
    scalar_term: Any,
    initial: Any,
    stream: Any,
    n_jobs: Any,
    both_modes: bool,
) -> Any:
    """``sig`` with ``initial`` or ``stream``; ``transform``: the four arguments of one."""
    time_aug, lead_lag, end_time, basepoint = transform
    if pt.read(*transform)[0] != pt.NONE:
        path = pt.transform_path(
            path, time_aug=time_aug, lead_lag=lead_lag, end_time=end_time, basepoint=basepoint
        )
    if not _checks.flag("stream", stream):
        return sig_continued(
            path,
            initial,
            degree,
            scalar_term=scalar_term,
            n_jobs=n_jobs,
            both_modes=both_modes,
        )
    if both_modes:
        return sig_stream_in_both_modes(path, degree, initial, False, scalar_term, n_jobs)
    return sig_stream(path, degree, initial=initial, scalar_term=scalar_term, n_jobs=n_jobs)


def _check_shapes(path: tuple[int, ...], initial: tuple[int, ...], degree: int) -> tuple[int, int]:
    lengths = _check_path((path, None), degree, pt.NONE)
    _checks.rank("initial", initial, ["L"])
    ta.check_length("initial", initial[-1], path[-1], degree)
    _checks.batch_shape("initial", initial[:-1], path[:-2], "path")
    return lengths


def _into(
    path: Any, initial: Any, degree: int, prepend: bool, scalar_term: bool, n_jobs: int, out: Any
) -> None:
    """On numpy's memory, as ``_arrays.call`` wants kernels: bfloat16 comes as its bits."""
    if path.dtype == np.uint16:
        path, initial, out = (x.view(jnp.bfloat16) for x in (path, initial, out))
    if path.dtype.itemsize == 2:
        path, initial = path.astype(np.float32), initial.astype(np.float32)
    dimension = path.shape[-1]
    start = ta.layout_lengths(dimension, degree)[0]
    pair = initial[..., initial.shape[-1] - start :], sig(path, degree, n_jobs=n_jobs)
    pair = pair[::-1] if prepend else pair
    out[..., out.shape[-1] - start :] = sig_combine(*pair, dimension, degree, n_jobs=n_jobs)
    if scalar_term:
        out[..., 0] = 1


@functools.partial(jax.jit, static_argnums=(2, 3), inline=INLINE)
def _jax_sig_continued(path: Any, initial: Any, static: Static, both_modes: bool) -> Any:
    degree, prepend, scalar_term, n_jobs = static
    _arrays.check_dtypes(path=path, initial=initial)
    _check_shapes(path.shape, initial.shape, degree)
    dtype, dimension = path.dtype, path.shape[-1]
    if dtype.itemsize == 2:  # rounded once
        path, initial = path.astype(jnp.float32), initial.astype(jnp.float32)
    start = ta.in_layout(initial, scalar_term, dimension, degree)
    own = sig_of_path(path, degree, scalar_term, n_jobs, both_modes)
    pair = (own, start) if prepend else (start, own)
    return sig_combine(*pair, dimension, degree, n_jobs=n_jobs).astype(dtype)
