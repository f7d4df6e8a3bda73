"""Running signatures of a few long paths on a GPU, in pieces as ``_sig_pieces.py`` has whole ones.

The rows of a piece continue from the signature of all that lies before it. Those of the pieces
themselves are known beforehand, without their rows, and their running products take as many steps
as the number of pieces has binary digits, there and back; then all pieces go side by side, each
from its own start. Derivatives are JAX's of that, for which the rows are made again.
"""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax

from jax_siglib import _tensor_algebra as ta
from jax_siglib._checks import Shape
from jax_siglib._sig_combine import sig_combine
from jax_siglib._sig_pieces import cut, pieces_of

__all__ = ["rows_fit", "rows_of_pieces"]

# Of all rows: of these there may be three more arrays than without pieces.
_MOST_ENTRIES = 1 << 28


def rows_fit(path: Shape, degree: int) -> bool:
    """As ``fits`` of ``ways``."""
    length = ta.layout_lengths(path[-1], degree)[True]
    return math.prod(path[:-1]) * length <= _MOST_ENTRIES


def rows_of_pieces(
    stream: Callable[..., Any],
    sig: Callable[..., Any],
    initial: Any,
    path: Any,
    *,
    degree: int,
    prepend: bool,
    scalar_term: bool,
) -> Any:
    """The rows of a path that is cut.

    Args:
        stream: Rows from an initial signature and a path, with the keywords given here.
        sig: The signature of a path, degree, and scalar term.
        initial: That of what came before, in the layout of the rows.
        path: The points.
        degree: Truncation degree.
        prepend: Whether the path grows at its beginning, and ``initial`` is of what comes after.
        scalar_term: Whether rows have level 0.
    """
    points, dimension = path.shape[-2:]
    pieces = cut(path, pieces_of(path.shape, degree))
    whole, start = sig(pieces, degree, scalar_term), initial[..., None, :]

    def product(so_far: Any, next_one: Any) -> Any:
        pair = (next_one, so_far) if prepend else (so_far, next_one)
        return sig_combine(*pair, dimension, degree)

    parts = [whole[..., 1:, :], start] if prepend else [start, whole[..., :-1, :]]
    axis = start.ndim - 2
    starts = lax.associative_scan(product, jnp.concatenate(parts, axis), prepend, axis)
    options = {"degree": degree, "prepend": prepend, "scalar_term": scalar_term}
    rows = stream(starts, pieces, **options)
    *lead, number, steps, length = rows.shape
    return rows.reshape(*lead, number * steps, length)[..., : points - 1, :]
