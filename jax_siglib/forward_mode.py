"""The functions of ``jax_siglib``, under the same names, for forward mode too.

The ordinary ``sig_join``, ``sig``, ``sig_stream``, ``sig_windows`` and ``linear_sig`` register
their backward pass with ``jax.custom_vjp``, and JAX then refuses forward mode: ``jax.jvp``,
``jax.jacfwd``, ``jax.linearize``. Here the same functions stand without that wrapper: the bare
primitives, which know both modes, to any order. Their tangent is the kernel behind
``sig_join_jvp`` and ``sig_jvp``; reverse mode transposes it, and arrives at the same backward
kernel. What differs is what JAX keeps for the backward pass of a path: here it asks for the lower
levels of the signature once more instead of keeping them.

Everything else takes both modes as it is, and stands here only so that one import serves:
``sig_combine``, ``sig_inverse``, ``sig_join_backprop``, ``sig_backprop`` and the like, ``sig_jvp``,
``sig_stream_backprop``, ``sig_length``, ``transform_path``, ``transform_path_backprop``.
``SignatureStream``, which is made of the ordinary functions, does not: fold ``sig_join`` over the
steps. Derivatives of derivatives mix modes without this module: ``jax.hessian`` is forward over
reverse, and works on the ordinary functions.

Example:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from jax_siglib import forward_mode
    >>> path, t_path = jnp.array([[0.0], [3.0]]), jnp.array([[0.0], [1.0]])
    >>> out, t_out = jax.jvp(lambda x: forward_mode.sig(x, 2), (path,), (t_path,))
    >>> print(out, t_out)
    [3.  4.5] [1. 3.]
"""

from typing import Any, TypeVar

from jax_siglib._linear_sig import linear_sig_in_both_modes
from jax_siglib._path_transforms import transform_path, transform_path_backprop
from jax_siglib._sig import sig_backprop, sig_hvp, sig_in_modes, sig_jvp
from jax_siglib._sig_combine import sig_combine, sig_combine_backprop, sig_combine_jvp
from jax_siglib._sig_inverse import sig_inverse
from jax_siglib._sig_join import join_in_both_modes, sig_join_backprop, sig_join_hvp, sig_join_jvp
from jax_siglib._sig_stream import sig_stream_backprop, sig_stream_in_both_modes
from jax_siglib._sig_windows import sig_windows_in_both_modes
from jax_siglib._tensor_algebra import sig_length

__all__ = [
    "linear_sig",
    "sig",
    "sig_backprop",
    "sig_combine",
    "sig_combine_backprop",
    "sig_combine_jvp",
    "sig_hvp",
    "sig_inverse",
    "sig_join",
    "sig_join_backprop",
    "sig_join_hvp",
    "sig_join_jvp",
    "sig_jvp",
    "sig_length",
    "sig_stream",
    "sig_stream_backprop",
    "sig_windows",
    "transform_path",
    "transform_path_backprop",
]

Array = TypeVar("Array", bound=Any)


def sig_join(
    sig: Array,
    displacement: Array,
    dimension: int,
    degree: int,
    *,
    prepend: bool = False,
    n_jobs: int = 1,
) -> Array:
    """``jax_siglib.sig_join``, to be differentiated in forward and in reverse mode."""
    return join_in_both_modes(sig, displacement, dimension, degree, prepend, n_jobs)


def sig(
    path: Array,
    degree: int,
    *,
    time_aug: bool = False,
    lead_lag: bool = False,
    end_time: float = 1.0,
    horner: bool = True,
    scalar_term: bool = False,
    basepoint: bool | Array = False,
    initial: Array | None = None,
    stream: bool = False,
    n_jobs: int = 1,
) -> Array:
    """``jax_siglib.sig``, to be differentiated in forward and in reverse mode."""
    transform = time_aug, lead_lag, end_time, basepoint
    forms = initial, stream
    return sig_in_modes(path, degree, transform, horner, scalar_term, forms, n_jobs, both=True)


def sig_stream(
    path: Array,
    degree: int,
    *,
    initial: Array | None = None,
    prepend: bool = False,
    scalar_term: bool = False,
    n_jobs: int = 1,
) -> Array:
    """``jax_siglib.sig_stream``, to be differentiated in forward and in reverse mode."""
    return sig_stream_in_both_modes(path, degree, initial, prepend, scalar_term, n_jobs)


def sig_windows(
    path: Array, windows: Any, degree: int, *, scalar_term: bool = False, n_jobs: int = 1
) -> Array:
    """``jax_siglib.sig_windows``, to be differentiated in forward and in reverse mode."""
    return sig_windows_in_both_modes(path, windows, degree, scalar_term, n_jobs)


def linear_sig(
    displacement: Array,
    dimension: int,
    degree: int,
    *,
    scalar_term: bool = False,
    n_jobs: int = 1,
) -> Array:
    """``jax_siglib.linear_sig``, to be differentiated in forward and in reverse mode."""
    return linear_sig_in_both_modes(displacement, dimension, degree, scalar_term, n_jobs)
