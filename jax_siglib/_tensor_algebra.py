"""The layout of a truncated signature: how long it is, and where each level lies.

Levels 1..N lie one after another, level k with its d**k entries in row-major order of the words
(i1, ..., ik). In the longer of the two layouts a single 1, the scalar term, stands in front.
"""

import functools
from typing import Any

import numpy as np

from jax_siglib import _checks, _precision

__all__ = [
    "check_length",
    "has_scalar_term",
    "in_layout",
    "layout_lengths",
    "level_slices",
    "lift",
    "lower",
    "lower_length",
    "sig_length",
    "transformed_dimension",
]

_ADDRESSABLE_BYTES = 2**63 - 1
_BYTES_PER_ENTRY = 8  # of float64, so that a length is fine in every dtype or in none


def sig_length(
    dimension: int,
    degree: int,
    *,
    time_aug: bool = False,
    lead_lag: bool = False,
    scalar_term: bool = False,
) -> int:
    """Number of entries of a truncated signature.

    The sum d + d**2 + ... + d**N over the levels, and one more with the scalar term.

    Args:
        dimension: Dimension d of the underlying space, at least 1.
        degree: Truncation degree N, at least 0.
        time_aug: Whether time is to be a coordinate, so that d is one more than ``dimension``.
        lead_lag: Whether lead and lag are formed first, so that d is twice ``dimension``.
        scalar_term: Whether to count level 0, the constant 1.

    Returns:
        The length, a Python int.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If ``dimension`` is below 1, ``degree`` is negative, or no computer could
            address a signature this long.

    Example:
        >>> import jax_siglib
        >>> jax_siglib.sig_length(5, 3)
        155
        >>> jax_siglib.sig_length(5, 3, scalar_term=True)
        156
        >>> jax_siglib.sig_length(2, 3, time_aug=True, lead_lag=True)  # 2 * 2 + 1 coordinates
        155
    """
    dimension = _checks.integer("dimension", dimension, at_least=1)
    degree = _checks.integer("degree", degree, at_least=0)
    time_aug = _checks.flag("time_aug", time_aug)
    lead_lag = _checks.flag("lead_lag", lead_lag)
    dimension = transformed_dimension(dimension, time_aug, lead_lag)
    return layout_lengths(dimension, degree)[_checks.flag("scalar_term", scalar_term)]


def transformed_dimension(dimension: int, time_aug: bool, lead_lag: bool) -> int:
    """Coordinates that a path has after these transforms."""
    return (2 * dimension if lead_lag else dimension) + time_aug


@functools.lru_cache(maxsize=4096)
def layout_lengths(dimension: int, degree: int) -> tuple[int, int]:
    """Lengths without and with the scalar term, of plain ints (the cache takes 2.0 for 2)."""
    _checks.integer("dimension", dimension, at_least=1)
    _checks.integer("degree", degree, at_least=0)
    if dimension == 1:
        length = degree
    elif degree < 64:
        length = dimension * (dimension**degree - 1) // (dimension - 1)
    else:  # at least 2**64; not worked out, as degree may be anything
        length = _ADDRESSABLE_BYTES
    if (length + 1) * _BYTES_PER_ENTRY > _ADDRESSABLE_BYTES:
        raise ValueError(
            f"a signature of dimension {dimension} and degree {degree} cannot be addressed: its"
            f" length, the sum of dimension**k for k up to degree, times {_BYTES_PER_ENTRY} bytes"
            " must stay below 2**63; lower dimension or degree"
        )
    return length, length + 1


def lower_length(dimension: int, degree: int) -> int:
    """Length of levels 1..degree-1 alone: what a derivative has to know of a signature."""
    return layout_lengths(dimension, max(degree - 1, 0))[0]


def check_length(name: str, length: int, dimension: int, degree: int) -> None:
    """Refuse a last axis that is a signature in neither layout."""
    without, with_scalar = layout_lengths(dimension, degree)
    if length != without and length != with_scalar:
        raise ValueError(
            f"{name} must have a last axis of length {without} (without the scalar term) or"
            f" {with_scalar} (with it) for dimension {dimension} and degree {degree}; got {length}"
        )


def has_scalar_term(length: int, dimension: int, degree: int) -> bool:
    """Which of the two layouts a signature of this length has."""
    return length == layout_lengths(dimension, degree)[1]


def level_slices(dimension: int, degree: int, *, scalar_term: bool) -> list[slice]:
    """Where levels 1..degree lie on the last axis."""
    start, slices = int(scalar_term), []
    for level in range(1, degree + 1):
        slices.append(slice(start, start + dimension**level))
        start += dimension**level
    return slices


def in_layout(sig: Any, scalar_term: bool, dimension: int, degree: int) -> Any:
    """A signature in one of the layouts, from either; a scalar term that it lacks becomes 0."""
    if has_scalar_term(sig.shape[-1], dimension, degree) == scalar_term:
        return sig
    pad = np.pad if isinstance(sig, np.ndarray) else _precision.pad
    return pad(sig, [(0, 0)] * (sig.ndim - 1) + [(1, 0)]) if scalar_term else sig[..., 1:]


def lower(sig: Any, dimension: int, degree: int) -> Any:
    """Levels 1..degree-1 of a signature in either layout, without its scalar term."""
    start = int(has_scalar_term(sig.shape[-1], dimension, degree))
    return sig[..., start : start + lower_length(dimension, degree)]


def lift(lower: Any, length: int, dimension: int, degree: int) -> Any:
    """The transpose of ``lower``: a signature of this length with these levels, zeros elsewhere."""
    start = int(has_scalar_term(length, dimension, degree))
    end = length - start - lower.shape[-1]
    return _precision.pad(lower, [(0, 0)] * (lower.ndim - 1) + [(start, end)])
