"""Second order, from the reference, differentiated by JAX: what checks hold hvp kernels to.

Platforms without a kernel do not run this, but what ``_derivatives.py`` makes of ``_reference.py``
for all operations alike.
"""

import functools
from typing import Any

import jax

from jax_siglib import _reference
from jax_siglib import _tensor_algebra as ta

__all__ = ["sig_hvp", "sig_join_hvp"]

Array = jax.Array


def sig_join_hvp(
    d_out: Array,
    sig: Array,
    displacement: Array,
    *direction: Array,
    dimension: int,
    degree: int,
    prepend: bool,
) -> tuple[Array, Array]:
    """How the backward pass of ``sig_join`` moves with its operands."""
    static: dict[str, Any] = {"dimension": dimension, "degree": degree, "prepend": prepend}

    def gradient(sig: Array, displacement: Array) -> tuple[Array, Array]:
        lower = ta.lower(sig, dimension, degree)
        return _reference.sig_join_backprop(d_out, lower, displacement, **static)

    moved: tuple[Array, Array] = jax.jvp(gradient, (sig, displacement), direction)[1]
    return moved


def sig_hvp(
    path: Array, t_path: Array, sig_derivs: Array, *, degree: int, scalar_term: bool
) -> Array:
    """How the gradient of the path moves with it: the forward pass, twice, so no step is undone."""
    forward = functools.partial(_reference.sig, degree=degree, scalar_term=scalar_term)

    def gradient(path: Array) -> Array:
        return jax.vjp(forward, path)[1](sig_derivs)[0]

    moved: Array = jax.jvp(gradient, (path,), (t_path,))[1]
    return moved
