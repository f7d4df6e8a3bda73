"""The signature of one straight segment."""

import functools
from typing import Any, TypeVar

import jax

from jax_siglib import _arrays, _checks
from jax_siglib import _tensor_algebra as ta
from jax_siglib._native import ext
from jax_siglib._precision import zeros
from jax_siglib._primitive import INLINE
from jax_siglib._sig_join import join_with_derivatives

__all__ = ["linear_sig", "linear_sig_in_both_modes"]

Array = TypeVar("Array", bound=Any)


def linear_sig(
    displacement: Array,
    dimension: int,
    degree: int,
    *,
    scalar_term: bool = False,
    n_jobs: int = 1,
) -> Array:
    r"""Signature of a straight segment, :math:`\exp(v)`: level k is :math:`v^{\otimes k}/k!`.

    It is the join of v to the signature of a path that does not move (Chen's identity).

    Args:
        displacement: The segment v, shape (..., d). float16, bfloat16, float32 or float64; a JAX
            array, a numpy array or a torch CPU tensor.
        dimension: Dimension d of the underlying space, at least 1.
        degree: Truncation degree N, at least 0.
        scalar_term: Whether the result begins with level 0, the constant 1.
        n_jobs: Threads: 1 is serial, -1 all there are, below -1 all but ``-1 - n_jobs``.

    Returns:
        The signature, shape (..., L) with L the ``sig_length``; dtype and framework of the input.
        Differentiable in JAX.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the shape does not fit ``dimension``, a number is out of range, or a torch
            tensor would need this call recorded by autograd.

    Example:
        >>> import numpy as np
        >>> import jax_siglib
        >>> jax_siglib.linear_sig(np.array([1.0, 2.0]), 2, 2)
        array([1. , 2. , 0.5, 1. , 1. , 2. ])
    """
    return _call(displacement, dimension, degree, scalar_term, n_jobs, both_modes=False)


def linear_sig_in_both_modes(
    displacement: Any, dimension: Any, degree: Any, scalar_term: Any, n_jobs: Any
) -> Any:
    """``linear_sig`` for ``jax_siglib.forward_mode``."""
    return _call(displacement, dimension, degree, scalar_term, n_jobs, both_modes=True)


def _call(
    displacement: Any, dimension: Any, degree: Any, scalar_term: Any, n_jobs: Any, both_modes: bool
) -> Any:
    dimension = _checks.integer("dimension", dimension, at_least=1)
    degree = _checks.integer("degree", degree, at_least=0)
    scalar_term = _checks.flag("scalar_term", scalar_term)
    n_jobs = _checks.jobs(n_jobs)
    framework, (step,) = _arrays.take(displacement=displacement)
    if framework == "jax":
        return _jax_linear_sig(step, dimension, degree, scalar_term, n_jobs, both_modes)
    length = _check_shape(tuple(step.shape), dimension, degree, scalar_term)
    unit = _arrays.zeros_like_batch(step, length)
    static = dimension, degree, False, n_jobs
    return _arrays.call(ext.sig_join, (unit, step), static, [unit.shape])[0]


def _check_shape(shape: tuple[int, ...], dimension: int, degree: int, scalar_term: bool) -> int:
    """Refuse a displacement that does not fit; return the length of its signature."""
    length = ta.layout_lengths(dimension, degree)[scalar_term]
    _checks.rank("displacement", shape, ["d"])
    _checks.last_axis("displacement", shape, dimension)
    return length


@functools.partial(jax.jit, static_argnums=(1, 2, 3, 4, 5), inline=INLINE)
def _jax_linear_sig(
    displacement: Any,
    dimension: int,
    degree: int,
    scalar_term: bool,
    n_jobs: int,
    both_modes: bool,
) -> Any:
    _arrays.check_dtypes(displacement=displacement)
    length = _check_shape(displacement.shape, dimension, degree, scalar_term)
    lead = (1,) * (displacement.ndim - 1)
    unit = zeros((*lead, length), displacement.dtype)
    static = dimension, degree, False, n_jobs
    return join_with_derivatives(unit, displacement, static, both_modes)
