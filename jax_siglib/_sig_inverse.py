"""The signature of a path run backwards: the antipode."""

import functools
from typing import Any, TypeVar

import jax

from jax_siglib import _arrays, _checks, _reference
from jax_siglib import _tensor_algebra as ta
from jax_siglib._linear_map import linear_map
from jax_siglib._native import ext
from jax_siglib._primitive import INLINE, Kernel

__all__ = ["sig_inverse"]

Array = TypeVar("Array", bound=Any)

# A word and its reverse change places and signs, so the map is its own transpose.
PRIMITIVE = linear_map(
    "sig_inverse",
    Kernel(
        _reference.sig_inverse,
        "jax_siglib_sig_inverse_v1",
        ranks=(1,),
        results=lambda sig, **_: [sig],
    ),
    attributes=("dimension", "degree", "n_jobs", "linear"),
)


def sig_inverse(sig: Array, dimension: int, degree: int, *, n_jobs: int = 1) -> Array:
    r"""Inverse of a signature under ``sig_combine``: the signature of the path run backwards.

    The coordinate of the word :math:`i_1 \dots i_k` is :math:`(-1)^k` times that of
    :math:`i_k \dots i_1`. So it costs no arithmetic but a change of signs, and is exact: nothing
    cancels.

    This map is the antipode of the tensor algebra. It gives the inverse of every signature, as of
    every product of signatures. Of what is none it does not: of a mean or a sum of signatures, or
    of an expected signature, it is the antipode, and not the inverse.

    The map is linear, but for the scalar term, and its own transpose. So its tangent, and its
    backward pass, is the function itself, applied to the tangent or cotangent (but for the scalar
    term, which is 0 there). ``jax.linear_transpose`` takes it without that term.

    It reads and writes a signature once, but in two different orders; expect two to four times the
    time of copying it.

    Args:
        sig: Truncated signature, shape (..., L), where L is ``sig_length(dimension, degree)``, or
            one more with the scalar term in front. That term is the constant 1 and its value is
            ignored. float16, bfloat16, float32 or float64; a JAX array, a numpy array or a torch
            CPU tensor.
        dimension: Dimension d of the underlying space, at least 1.
        degree: Truncation degree N of the signature, at least 0.
        n_jobs: Threads: 1 is serial, -1 all there are, below -1 all but ``-1 - n_jobs``.

    Returns:
        The inverse; shape, dtype and framework of ``sig``. A scalar term in it is 1. Differentiable
        in JAX, in forward and reverse mode, to any order.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the shape does not fit ``dimension`` and ``degree``, a number is out of
            range, or a torch tensor would need this call recorded by autograd.

    Example:
        >>> import numpy as np
        >>> import jax_siglib
        >>> sig = jax_siglib.sig(np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]), 2)
        >>> sig, jax_siglib.sig_inverse(sig, 2, 2)
        (array([1. , 1. , 0.5, 1. , 0. , 0.5]), array([-1. , -1. ,  0.5,  0. ,  1. ,  0.5]))
    """
    dimension = _checks.integer("dimension", dimension, at_least=1)
    degree = _checks.integer("degree", degree, at_least=0)
    n_jobs = _checks.jobs(n_jobs)
    framework, (sig,) = _arrays.take(sig=sig)
    if framework == "jax":
        return _jax_sig_inverse(sig, dimension, degree, n_jobs)
    (shape,) = _arrays.shapes_of([sig])
    _check_shape(shape, dimension, degree)
    return _arrays.call(ext.sig_inverse, (sig,), (dimension, degree, n_jobs, False), [shape])[0]


def _check_shape(shape: tuple[int, ...], dimension: int, degree: int) -> None:
    _checks.rank("sig", shape, ["L"])
    ta.check_length("sig", shape[-1], dimension, degree)


@functools.partial(jax.jit, static_argnums=(1, 2, 3), inline=INLINE)
def _jax_sig_inverse(sig: Any, dimension: int, degree: int, n_jobs: int) -> Any:
    _arrays.check_dtypes(sig=sig)
    _check_shape(sig.shape, dimension, degree)
    params = {"dimension": dimension, "degree": degree, "n_jobs": n_jobs}
    # The scalar term is the only constant: without it JAX may transpose the map as it stands.
    linear = not ta.has_scalar_term(sig.shape[-1], dimension, degree)
    return PRIMITIVE.bind(sig, linear=linear, **params)[0]
