"""The dtype that goes in comes out: float64 too, where ``jax_enable_x64`` is off.

Such arrays exist: they were made where it was on. Of JAX's own functions some keep them as they
are, others (a sum, a quotient, zeros) take float32 instead; what is done here keeps them. What JAX
transposes by itself is out of reach: x[rows], or a pad that was a slice, it refuses as of two
dtypes.
"""

import contextlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jax_siglib._checks import Shape

__all__ = ["cast", "from_numpy", "keeping", "pad", "zeros"]


def keeping(dtype: Any) -> contextlib.AbstractContextManager[Any]:
    """Within it JAX's functions keep this dtype."""
    return jax.enable_x64(True) if _endangered(dtype) else contextlib.nullcontext()


def cast(x: Any, dtype: Any) -> Any:
    """A JAX array, or one of numpy, in a dtype that its makers may have widened."""
    return x if x.dtype == dtype else x.astype(dtype)


def from_numpy(array: np.ndarray) -> Any:
    """A JAX array of the same dtype."""
    with keeping(array.dtype):
        return jnp.asarray(array)


def zeros(shape: Shape, dtype: Any) -> Any:
    """A JAX array of zeros."""
    with keeping(dtype):
        return jnp.zeros(shape, dtype)


def pad(x: Any, widths: Sequence[tuple[int, int]]) -> Any:
    """``jnp.pad`` with zeros, by parts where JAX's transpose of that would mix dtypes."""
    if not _endangered(x.dtype):
        return jnp.pad(x, widths)
    for axis, width in enumerate(widths):
        none = jnp.zeros_like(lax.slice_in_dim(x, 0, 0, axis=axis))
        front, behind = (
            jnp.pad(none, [(n if i == axis else 0, 0) for i in range(x.ndim)]) for n in width
        )
        x = jnp.concatenate([front, x, behind], axis) if any(width) else x
    return x


def _endangered(dtype: Any) -> bool:
    return bool(dtype == np.float64) and jax.dtypes.canonicalize_dtype(dtype) != dtype
