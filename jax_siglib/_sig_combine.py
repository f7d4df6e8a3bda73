"""The product of two signatures: that of one path followed by another."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax

from jax_siglib import _arrays, _checks, _reference
from jax_siglib import _tensor_algebra as ta
from jax_siglib._checks import Shape
from jax_siglib._derivatives import operation
from jax_siglib._native import ext
from jax_siglib._primitive import INLINE, Kernel, vary

__all__ = ["sig_combine", "sig_combine_backprop", "sig_combine_jvp"]

Array = TypeVar("Array", bound=Any)
Static = tuple[int, int, int]  # dimension, degree, n_jobs


def _lower(*sigs: Any, **params: Any) -> tuple[Any, ...]:
    """All that the derivatives know of the operands: no derivative reads a highest level."""
    return tuple(ta.lower(x, params["dimension"], params["degree"]) for x in sigs)


def _lift(*lower: Any, length: int, **params: Any) -> tuple[Any, ...]:
    """The transpose of the above: zeros where nothing is known."""
    return tuple(ta.lift(x, length, params["dimension"], params["degree"]) for x in lower)


OPERATION = operation(
    "sig_combine",
    forward=Kernel(
        _reference.sig_combine,
        "jax_siglib_sig_combine_v1",
        ranks=(1, 1),
        results=lambda sig1, sig2, **_: [sig1],
        in_place=((0, 0),),
    ),
    tangent=Kernel(
        _reference.sig_combine_jvp,
        "jax_siglib_sig_combine_jvp_v1",
        ranks=(1, 1, 1, 1),
        results=lambda lower1, lower2, t_sig1, t_sig2, **_: [t_sig1],
        in_place=((2, 0),),
    ),
    backprop=Kernel(
        _reference.sig_combine_backprop,
        "jax_siglib_sig_combine_backprop_v1",
        ranks=(1, 1, 1),
        results=lambda ct_out, lower1, lower2, **_: [ct_out, ct_out],
        in_place=((0, 0),),
    ),
    hvp=Kernel(
        None,
        "jax_siglib_sig_combine_hvp_v1",
        ranks=(1, 1, 1, 1, 1),
        results=lambda ct_out, lower1, lower2, *_, **__: [lower1, lower2],
    ),
    attributes=("dimension", "degree", "n_jobs"),
    base=_lower,
    lift=_lift,
)


def sig_combine(
    sig1: Array,
    sig2: Array,
    dimension: int,
    degree: int,
    *,
    time_aug: bool = False,
    lead_lag: bool = False,
    n_jobs: int = 1,
) -> Array:
    r"""Signature of a path that is followed by another one, from the signatures of the two.

    By Chen's identity it is their tensor product :math:`S(x) \otimes S(y)`, truncated: level n is
    the sum of :math:`S_k(x) \otimes S_{n-k}(y)` over k from 0 to n.

    Args:
        sig1: Truncated signature S(x) of the first path, shape (..., L), where L is the
            ``sig_length`` of the arguments below, or one more with the scalar term in front. That
            term is the constant 1 and its value is ignored. float16, bfloat16 (both computed in
            float32 and rounded once), float32 or float64; a JAX array, a numpy array or a torch CPU
            tensor.
        sig2: Truncated signature S(y) of the second path; shape, dtype and framework of ``sig1``.
            numpy arrays may stand beside JAX arrays.
        dimension: Dimension d of the underlying space, at least 1, without what the flags add.
        degree: Truncation degree N of both signatures, at least 0.
        time_aug: Whether the signatures are those of paths with time as a coordinate, as ``sig``
            makes them. The second path's time is then counted on from the end of the first.
        lead_lag: Whether they are those of lead-lag paths.
        n_jobs: Threads: 1 is serial, -1 all there are, below -1 all but ``-1 - n_jobs``.

    Returns:
        The signature of the whole path; shape, dtype and framework of ``sig1``. A scalar term in it
        is 1. Differentiable in JAX, in forward and reverse mode, to any order.

    Raises:
        TypeError: If an argument has the wrong type, or arrays differ in dtype or framework.
        ValueError: If shapes do not fit each other or ``dimension`` and ``degree``, a number is out
            of range, or a torch tensor would need this call recorded by autograd.

    Example:
        >>> import numpy as np
        >>> import jax_siglib
        >>> right = jax_siglib.linear_sig(np.array([1.0, 0.0]), 2, 2)
        >>> up = jax_siglib.linear_sig(np.array([0.0, 1.0]), 2, 2)
        >>> jax_siglib.sig_combine(right, up, 2, 2)
        array([1. , 1. , 0.5, 1. , 0. , 0.5])
    """
    static = _static(dimension, degree, time_aug, lead_lag, n_jobs)
    return _call(ext.sig_combine, _jax_sig_combine, static, 1, sig1=sig1, sig2=sig2)[0]


def sig_combine_backprop(
    deriv: Array,
    sig1: Array,
    sig2: Array,
    dimension: int,
    degree: int,
    *,
    time_aug: bool = False,
    lead_lag: bool = False,
    n_jobs: int = 1,
) -> tuple[Array, Array]:
    r"""Derivatives of a scalar F of ``sig_combine``'s result, with respect to both signatures.

    Every split of a word in two hands the word's derivative, times one half's coordinate in its
    signature, to the other half's. The highest levels of ``sig1`` and ``sig2`` are not read: no
    derivative depends on them. On JAX arrays the result can be differentiated again.

    Args:
        deriv: Derivative of F with respect to ``sig_combine``'s result; shape, dtype and framework
            of ``sig1``.
        sig1: The first signature given to ``sig_combine``, shape (..., L); see there.
        sig2: The second signature given to ``sig_combine``, shape (..., L).
        dimension: What ``sig_combine`` was given; so are the next three.
        degree: See there.
        time_aug: See there.
        lead_lag: See there.
        n_jobs: Threads: 1 is serial, -1 all there are, below -1 all but ``-1 - n_jobs``.

    Returns:
        ``(d_sig1, d_sig2)``, the derivatives of F with respect to ``sig1`` and ``sig2``, each with
        the shape, dtype and framework of its variable. A scalar term in them is 0: that term is a
        constant.

    Raises:
        TypeError: If an argument has the wrong type, or arrays differ in dtype or framework.
        ValueError: If shapes do not fit each other or ``dimension`` and ``degree``, a number is out
            of range, or a torch tensor would need this call recorded by autograd.

    Example:
        >>> import numpy as np
        >>> import jax_siglib
        >>> sig1, sig2 = np.array([1.0, 0.5]), np.array([2.0, 2.0])
        >>> jax_siglib.sig_combine_backprop(np.array([0.0, 1.0]), sig1, sig2, 1, 2)
        (array([2., 1.]), array([1., 1.]))
    """
    static = _static(dimension, degree, time_aug, lead_lag, n_jobs)
    arrays = {"deriv": deriv, "sig1": sig1, "sig2": sig2}
    d_sig1, d_sig2 = _call(ext.sig_combine_backprop, _jax_sig_combine_backprop, static, 2, **arrays)
    return d_sig1, d_sig2


def sig_combine_jvp(
    sig1: Array,
    sig2: Array,
    t_sig1: Array,
    t_sig2: Array,
    dimension: int,
    degree: int,
    *,
    time_aug: bool = False,
    lead_lag: bool = False,
    n_jobs: int = 1,
) -> Array:
    r"""Tangent of ``sig_combine``: how its result moves when its operands move.

    By the rule of products :math:`T(x) \otimes S(y) + S(x) \otimes T(y)`, with no scalar term in
    the tangents T; linear in them. It is the transpose of ``sig_combine_backprop``. The highest
    levels of ``sig1`` and ``sig2`` are not read.

    Args:
        sig1: The first signature given to ``sig_combine``, shape (..., L); see there.
        sig2: The second signature given to ``sig_combine``, shape (..., L).
        t_sig1: Tangent of ``sig1``; its shape, dtype and framework. The scalar term is a constant:
            a tangent's value there is ignored.
        t_sig2: Tangent of ``sig2``; its shape, dtype and framework.
        dimension: What ``sig_combine`` was given; so are the next three.
        degree: See there.
        time_aug: See there.
        lead_lag: See there.
        n_jobs: Threads: 1 is serial, -1 all there are, below -1 all but ``-1 - n_jobs``.

    Returns:
        The tangent of the result; shape, dtype and framework of ``sig1``, with 0 for a scalar term.

    Raises:
        TypeError: If an argument has the wrong type, or arrays differ in dtype or framework.
        ValueError: If shapes do not fit each other or ``dimension`` and ``degree``, a number is out
            of range, or a torch tensor would need this call recorded by autograd.

    Example:
        >>> import numpy as np
        >>> import jax_siglib
        >>> sig1, sig2 = np.array([1.0, 0.5]), np.array([2.0, 2.0])
        >>> t_sig1, t_sig2 = np.array([1.0, 1.0]), np.array([0.0, 0.0])
        >>> jax_siglib.sig_combine_jvp(sig1, sig2, t_sig1, t_sig2, 1, 2)
        array([1., 3.])
    """
    static = _static(dimension, degree, time_aug, lead_lag, n_jobs)
    arrays = {"sig1": sig1, "sig2": sig2, "t_sig1": t_sig1, "t_sig2": t_sig2}
    return _call(ext.sig_combine_jvp, _jax_sig_combine_jvp, static, 1, **arrays)[0]


def _call(
    kernel: Callable[..., None],
    on_jax: Callable[..., tuple[Any, ...]],
    static: Static,
    results: int,
    **arrays: Any,
) -> tuple[Any, ...]:
    """Call what the framework of the arrays asks for; every result looks like the arrays."""
    framework, taken = _arrays.take(**arrays)
    if framework == "jax":
        return on_jax(*taken, *static)
    shapes = dict(zip(arrays, _arrays.shapes_of(taken), strict=True))
    _check_shapes(shapes, *static[:2])
    return _arrays.call(kernel, taken, static, [shapes["sig1"]] * results)


def _static(dimension: Any, degree: Any, time_aug: Any, lead_lag: Any, n_jobs: Any) -> Static:
    dimension = _checks.integer("dimension", dimension, at_least=1)
    time_aug, lead_lag = _checks.flag("time_aug", time_aug), _checks.flag("lead_lag", lead_lag)
    return (
        ta.transformed_dimension(dimension, time_aug, lead_lag),
        _checks.integer("degree", degree, at_least=0),
        _checks.jobs(n_jobs),
    )


def _check_shapes(shapes: dict[str, Shape], dimension: int, degree: int) -> None:
    """Refuse shapes, by the names of the arrays, that do not fit each other."""
    sig1 = shapes["sig1"]
    _checks.rank("sig1", sig1, ["L"])
    ta.check_length("sig1", sig1[-1], dimension, degree)
    for name, shape in shapes.items():
        _checks.same_shape(name, shape, sig1, "sig1")


def _check_jax(static: tuple[int, ...], **arrays: Any) -> dict[str, int]:
    """Refuse arrays that do not fit; return the primitives' parameters."""
    dimension, degree, n_jobs = static
    _arrays.check_dtypes(**arrays)
    _check_shapes({name: x.shape for name, x in arrays.items()}, dimension, degree)
    return {"dimension": dimension, "degree": degree, "n_jobs": n_jobs}


# From here on JAX arrays; see _sig_join.py, whose pattern this is. The primitives stand without a
# custom_vjp: what they keep for the backward pass is the lower levels either way.


@functools.partial(jax.jit, static_argnums=(2, 3, 4), inline=INLINE)
def _jax_sig_combine(sig1: Any, sig2: Any, *static: int) -> tuple[Any, ...]:
    params = _check_jax(static, sig1=sig1, sig2=sig2)
    return tuple(OPERATION.forward.bind(*vary(sig1, sig2), **params))


@functools.partial(jax.jit, static_argnums=(3, 4, 5), inline=INLINE)
def _jax_sig_combine_backprop(deriv: Any, sig1: Any, sig2: Any, *static: int) -> tuple[Any, ...]:
    params = _check_jax(static, deriv=deriv, sig1=sig1, sig2=sig2)
    base = _lower(sig1, sig2, **params)
    return tuple(OPERATION.backprop.bind(*vary(deriv, *base), **params))


@functools.partial(jax.jit, static_argnums=(4, 5, 6), inline=INLINE)
def _jax_sig_combine_jvp(
    sig1: Any, sig2: Any, t_sig1: Any, t_sig2: Any, *static: int
) -> tuple[Any, ...]:
    params = _check_jax(static, sig1=sig1, sig2=sig2, t_sig1=t_sig1, t_sig2=t_sig2)
    base = _lower(sig1, sig2, **params)
    return tuple(OPERATION.tangent.bind(*vary(*base, t_sig1, t_sig2), **params))
