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
from jax_siglib._sig import _check_path, sig, sig_in_both_modes
from jax_siglib._sig_combine import sig_combine

__all__ = ["sig_continued"]

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
    if both_modes:
        own = sig_in_both_modes(path, degree, pt.NONE, True, scalar_term, n_jobs)
    else:
        own = sig(path, degree, scalar_term=scalar_term, n_jobs=n_jobs)
    pair = (own, start) if prepend else (start, own)
    return sig_combine(*pair, dimension, degree, n_jobs=n_jobs).astype(dtype)
