"""Validation of numbers and shapes: each error names the argument, what it must be, what it is."""

import math
import numbers
import operator
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax import export

__all__ = [
    "MAX_JOBS",
    "Shape",
    "batch_shape",
    "flag",
    "integer",
    "jobs",
    "last_axis",
    "rank",
    "real",
    "same_shape",
    "sizes",
]

Shape = tuple[int, ...]

MAX_JOBS = 2**31  # of either sign: what fits the kernels' int, and no machine's limit


def integer(name: str, value: Any, at_least: int) -> int:
    """Return ``value`` as a Python int, or say what is wrong with it.

    Statics become plain ints before any cache sees them: 1, 1.0 and True are one and the same key
    to ``jax.jit`` and ``functools.lru_cache``.
    """
    if type(value) is not int:
        if isinstance(value, jax.core.Tracer):
            raise _traced(name, "int", value)
        try:
            if isinstance(value, (bool, np.bool_)):
                raise TypeError
            value = operator.index(value)
        except TypeError:
            raise TypeError(f"{name} must be an int; got {_describe(value)}") from None
    if value < at_least:
        raise ValueError(f"{name} must be at least {at_least}; got {value}")
    return value


def flag(name: str, value: Any) -> bool:
    """Return ``value`` as a Python bool; numpy's bool counts, nothing else does."""
    if value is True or value is False:
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, jax.core.Tracer):
        raise _traced(name, "bool", value)
    raise TypeError(f"{name} must be a bool; got {_describe(value)}")


def real(name: str, value: Any) -> float:
    """Return a finite number as a Python float, and -0.0 as 0.0, its equal to every cache."""
    if isinstance(value, jax.core.Tracer):
        raise _traced(name, "float", value)
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a float; got {_describe(value)}")
    try:
        number = float(value) + 0.0
    except OverflowError:  # of an int
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name} must be a finite number; got {value}")
    return number


def jobs(n_jobs: Any) -> int:
    """Return the number of threads asked for, as a non-zero Python int."""
    value = integer("n_jobs", n_jobs, at_least=1 - MAX_JOBS)
    if value == 0 or value >= MAX_JOBS:
        raise ValueError(
            "n_jobs must be a number of threads from 1, or -1 for all, -2 for all but one and so"
            f" on; got {value}"
        )
    return value


def sizes(name: str, value: Any, *, symbolic: bool = False) -> Shape:
    """Return a shape as a tuple of Python ints; ``symbolic``: jax.export's sizes as they are."""
    try:
        found: tuple[Any, ...] = tuple(
            n if symbolic and export.is_symbolic_dim(n) else operator.index(n) for n in value
        )
    except TypeError:
        raise TypeError(f"{name} must be a sequence of ints; got {value!r}") from None
    if any(isinstance(n, int) and n < 0 for n in found):
        raise ValueError(f"{name} must have no negative size; got {found}")
    return found


def rank(name: str, shape: Shape, axes: Sequence[str]) -> None:
    """Refuse an array with fewer axes than the operation works on."""
    if len(shape) < len(axes):
        raise ValueError(
            f"{name} must have shape (..., {', '.join(axes)}), so at least {len(axes)}"
            f" axes; got shape {shape}"
        )


def last_axis(name: str, shape: Shape, dimension: int) -> None:
    """Refuse vectors of another space."""
    if shape[-1] != dimension:
        raise ValueError(
            f"{name} must have a last axis of length {dimension}, the dimension; got shape {shape}"
        )


def same_shape(name: str, shape: Shape, expected: Shape, expected_of: str) -> None:
    """Refuse an array which should look exactly like another one."""
    if shape != expected:
        raise ValueError(f"{name} must have the shape of {expected_of}, {expected}; got {shape}")


def batch_shape(name: str, shape: Shape, expected: Shape, expected_of: str) -> None:
    """Refuse leading axes that differ: nothing is broadcast silently."""
    if shape != expected:
        raise ValueError(
            f"{name} must have the leading (batch) shape of {expected_of}, {expected}; got {shape}."
            " Leading axes are not broadcast: use jax.vmap with in_axes, or broadcast explicitly"
            " with numpy.broadcast_to or torch.expand, which copy nothing"
        )


def _traced(name: str, kind: str, value: Any) -> TypeError:
    return TypeError(
        f"{name} must be a static Python {kind}; got a traced value, {value}. Under jax.jit mark it"
        " with static_argnames."
    )


def _describe(value: Any) -> str:
    return f"{value!r} of type {type(value).__name__}"
