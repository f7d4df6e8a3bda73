"""Extending a signature by one straight segment, and the derivatives of that."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np

from jax_siglib import _arrays, _checks, _reference
from jax_siglib import _tensor_algebra as ta
from jax_siglib._checks import Shape
from jax_siglib._derivatives import operation
from jax_siglib._native import ext
from jax_siglib._primitive import INLINE, Kernel, sum_to, vary

__all__ = ["join_in_both_modes", "sig_join", "sig_join_backprop", "sig_join_hvp", "sig_join_jvp"]

Array = TypeVar("Array", bound=Any)
Static = tuple[int, int, bool, int]  # dimension, degree, prepend, n_jobs

_F32, _F64 = np.dtype(np.float32), np.dtype(np.float64)


def _lower_and_displacement(sig: Any, displacement: Any, **params: Any) -> tuple[Any, Any]:
    """All that the derivatives know of the operands: no derivative reads the highest level."""
    return ta.lower(sig, params["dimension"], params["degree"]), displacement


def _lift(lower: Any, displacement: Any, *, length: int, **params: Any) -> tuple[Any, Any]:
    """The transpose of the above: zeros where nothing is known."""
    return ta.lift(lower, length, params["dimension"], params["degree"]), displacement


OPERATION = operation(
    "sig_join",
    forward=Kernel(
        _reference.sig_join,
        "jax_siglib_sig_join_v1",
        ranks=(1, 1),
        results=lambda sig, displacement, **_: [sig],
        in_place=((0, 0),),
    ),
    tangent=Kernel(
        _reference.sig_join_jvp,
        "jax_siglib_sig_join_jvp_v1",
        ranks=(1, 1, 1, 1),
        results=lambda sig_lower, displacement, t_sig, t_displacement, **_: [t_sig],
        in_place=((2, 0),),
    ),
    backprop=Kernel(
        _reference.sig_join_backprop,
        "jax_siglib_sig_join_backprop_v1",
        ranks=(1, 1, 1),
        results=lambda ct_out, sig_lower, displacement, **_: [ct_out, displacement],
        in_place=((0, 0),),
    ),
    hvp=Kernel(
        None,
        "jax_siglib_sig_join_hvp_v1",
        ranks=(1, 1, 1, 1, 1),
        results=lambda ct_out, sig_lower, displacement, *_, **__: [sig_lower, displacement],
    ),
    attributes=("dimension", "degree", "prepend", "n_jobs"),
    base=_lower_and_displacement,
    lift=_lift,
)


def sig_join(
    sig: Array,
    displacement: Array,
    dimension: int,
    degree: int,
    *,
    prepend: bool = False,
    n_jobs: int = 1,
) -> Array:
    r"""Signature of a path with one straight segment added at its end.

    By Chen's identity the signature of the longer path is the tensor product
    :math:`S(x) \otimes \exp(v)`, or :math:`\exp(v) \otimes S(x)` if the segment goes in front. Each
    level is evaluated by Horner's scheme, which forms no power of v (Kidger & Lyons, "Signatory",
    ICLR 2021).

    Args:
        sig: Truncated signature S(x), shape (..., L), where L is
            ``sig_length(dimension, degree)``, or one more with the scalar term in front. That term
            is the constant 1 and its value is ignored. float16, bfloat16 (both computed in float32
            and rounded once), float32 or float64; a JAX array, a numpy array or a torch CPU tensor.
        displacement: The segment v, shape (..., d), with the leading shape, dtype and framework of
            ``sig``. numpy arrays may stand beside JAX arrays.
        dimension: Dimension d of the underlying space, at least 1.
        degree: Truncation degree N of the signature, at least 0.
        prepend: Whether the segment goes in front of the path.
        n_jobs: Threads: 1 is serial, -1 all there are, below -1 all but ``-1 - n_jobs``.

    Returns:
        The signature of the extended path; shape, dtype and framework of ``sig``. A scalar term in
        it is 1.

    Raises:
        TypeError: If an argument has the wrong type, or arrays differ in dtype or framework.
        ValueError: If shapes do not fit each other or ``dimension`` and ``degree``, a number is out
            of range, or a torch tensor would need this call recorded by autograd.

    Example:
        >>> import numpy as np
        >>> import jax_siglib
        >>> right = jax_siglib.linear_sig(np.array([1.0, 0.0]), 2, 2)
        >>> jax_siglib.sig_join(right, np.array([0.0, 1.0]), 2, 2)  # then up
        array([1. , 1. , 0.5, 1. , 0. , 0.5])
    """
    if (
        # What nearly every explicit call looks like, told apart in a fraction of a microsecond.
        # Anything else, right or wrong, is for the general path below.
        type(sig) is np.ndarray
        and type(displacement) is np.ndarray
        and type(dimension) is int
        and type(degree) is int
        and type(n_jobs) is int
        and 0 < n_jobs < _checks.MAX_JOBS
        and (prepend is False or prepend is True)
        and ((dtype := sig.dtype) is _F32 or dtype is _F64)
        and displacement.dtype is dtype
        and sig.flags.carray
        and displacement.flags.carray
        and (shape := sig.shape)
        and shape[-1] in ta.layout_lengths(dimension, degree)
        and displacement.shape == (*shape[:-1], dimension)
    ):
        out: Any = np.empty(shape, dtype)
        ext.sig_join(sig, displacement, dimension, degree, prepend, n_jobs, out)
        return out

    static = _static(dimension, degree, prepend, n_jobs)
    if isinstance(sig, jax.Array) and isinstance(displacement, jax.Array):
        return _jax_sig_join(sig, displacement, *static)
    return _call(ext.sig_join, _jax_sig_join, static, ["sig"], sig=sig, displacement=displacement)[
        0
    ]


def sig_join_backprop(
    d_out: Array,
    sig: Array,
    displacement: Array,
    dimension: int,
    degree: int,
    *,
    prepend: bool = False,
    n_jobs: int = 1,
) -> tuple[Array, Array]:
    r"""Derivatives of a scalar F of ``sig_join``'s result, with respect to what went into it.

    The Horner chains of the forward call run backwards (their derivation stands in
    ``jax_siglib/_reference.py``; the gradients are those of Kidger & Lyons, "Signatory", ICLR 2021,
    and Reizenstein & Graham, "iisignature", ACM TOMS 2020). The highest level of ``sig`` is not
    read: no derivative depends on it. On JAX arrays the result can be differentiated again.

    Args:
        d_out: Derivative of F with respect to ``sig_join``'s result; shape, dtype and framework of
            ``sig``.
        sig: The signature S(x) given to ``sig_join``, shape (..., L); see there.
        displacement: The segment v given to ``sig_join``, shape (..., d).
        dimension: Dimension d of the underlying space, at least 1.
        degree: Truncation degree N of the signature, at least 0.
        prepend: What ``sig_join`` was given.
        n_jobs: Threads: 1 is serial, -1 all there are, below -1 all but ``-1 - n_jobs``.

    Returns:
        ``(d_sig, d_displacement)``, the derivatives of F with respect to ``sig`` and
        ``displacement``, each with the shape, dtype and framework of its variable. Where ``sig``
        has a scalar term ``d_sig`` is 0: that term is a constant.

    Raises:
        TypeError: If an argument has the wrong type, or arrays differ in dtype or framework.
        ValueError: If shapes do not fit each other or ``dimension`` and ``degree``, a number is out
            of range, or a torch tensor would need this call recorded by autograd.

    Example:
        >>> import numpy as np
        >>> import jax_siglib
        >>> sig, displacement = np.array([1.0, 0.5]), np.array([2.0])
        >>> jax_siglib.sig_join_backprop(np.array([0.0, 1.0]), sig, displacement, 1, 2)
        (array([2., 1.]), array([3.]))
    """
    if (  # the usual explicit call; see sig_join
        type(sig) is np.ndarray
        and type(displacement) is np.ndarray
        and type(d_out) is np.ndarray
        and type(dimension) is int
        and type(degree) is int
        and type(n_jobs) is int
        and 0 < n_jobs < _checks.MAX_JOBS
        and (prepend is False or prepend is True)
        and ((dtype := sig.dtype) is _F32 or dtype is _F64)
        and displacement.dtype is dtype
        and d_out.dtype is dtype
        and sig.flags.carray
        and displacement.flags.carray
        and d_out.flags.carray
        and (shape := sig.shape)
        and d_out.shape == shape
        and shape[-1] in ta.layout_lengths(dimension, degree)
        and (step := displacement.shape) == (*shape[:-1], dimension)
    ):
        d_sig: Any = np.empty(shape, dtype)
        d_step: Any = np.empty(step, dtype)
        ext.sig_join_backprop(
            d_out, sig, displacement, dimension, degree, prepend, n_jobs, d_sig, d_step
        )
        return d_sig, d_step

    static = _static(dimension, degree, prepend, n_jobs)
    if all(isinstance(x, jax.Array) for x in (d_out, sig, displacement)):
        return _jax_sig_join_backprop(d_out, sig, displacement, *static)
    arrays = {"d_out": d_out, "sig": sig, "displacement": displacement}
    results = ["sig", "displacement"]
    d_sig, d_step = _call(ext.sig_join_backprop, _jax_sig_join_backprop, static, results, **arrays)
    return d_sig, d_step


def sig_join_jvp(
    sig: Array,
    displacement: Array,
    t_sig: Array,
    t_displacement: Array,
    dimension: int,
    degree: int,
    *,
    prepend: bool = False,
    n_jobs: int = 1,
) -> Array:
    r"""Tangent of ``sig_join``: how its result moves when its operands move.

    The Horner chains of ``sig_join``, differentiated by the rule of products (their derivation
    stands in ``jax_siglib/_reference.py``): the directional derivative of
    :math:`S \otimes \exp(v)` along the tangents, linear in them. It is the transpose of
    ``sig_join_backprop``. The highest level of ``sig`` is not read.

    Args:
        sig: The signature S(x) given to ``sig_join``, shape (..., L); see there.
        displacement: The segment v given to ``sig_join``, shape (..., d).
        t_sig: Tangent of ``sig``; its shape, dtype and framework. The scalar term is a constant:
            a tangent's value there is ignored.
        t_displacement: Tangent of ``displacement``; its shape, dtype and framework.
        dimension: Dimension d of the underlying space, at least 1.
        degree: Truncation degree N of the signature, at least 0.
        prepend: What ``sig_join`` was given.
        n_jobs: Threads: 1 is serial, -1 all there are, below -1 all but ``-1 - n_jobs``.

    Returns:
        The tangent of the result; shape, dtype and framework of ``sig``, with 0 for a scalar term.

    Raises:
        TypeError: If an argument has the wrong type, or arrays differ in dtype or framework.
        ValueError: If shapes do not fit each other or ``dimension`` and ``degree``, a number is out
            of range, or a torch tensor would need this call recorded by autograd.

    Example:
        >>> import numpy as np
        >>> import jax_siglib
        >>> sig, displacement = np.array([1.0, 0.5]), np.array([2.0])
        >>> t_sig, t_displacement = np.array([1.0, 1.0]), np.array([0.0])
        >>> jax_siglib.sig_join_jvp(sig, displacement, t_sig, t_displacement, 1, 2)
        array([1., 3.])
    """
    static = _static(dimension, degree, prepend, n_jobs)
    arrays = {"sig": sig, "displacement": displacement}
    arrays |= {"t_sig": t_sig, "t_displacement": t_displacement}
    return _call(ext.sig_join_jvp, _jax_sig_join_jvp, static, ["sig"], **arrays)[0]


def sig_join_hvp(
    d_out: Array,
    sig: Array,
    displacement: Array,
    t_sig: Array,
    t_displacement: Array,
    dimension: int,
    degree: int,
    *,
    prepend: bool = False,
    n_jobs: int = 1,
) -> tuple[Array, Array]:
    """How ``sig_join_backprop`` moves with its operands: a Hessian-vector product.

    The product of the Hessian of the scalar <d_out, sig_join(sig, displacement)> with the vector
    (t_sig, t_displacement): the derivative of ``sig_join_backprop(d_out, sig, displacement)`` along
    it, with ``d_out`` held fixed. It is the backward pass of ``sig_join``, differentiated by the
    rule of products. No highest level but that of ``d_out`` is read.

    Args:
        d_out: Derivative of a scalar with respect to ``sig_join``'s result; shape, dtype and
            framework of ``sig``.
        sig: The signature S(x) given to ``sig_join``, shape (..., L); see there.
        displacement: The segment v given to ``sig_join``, shape (..., d).
        t_sig: The vector's share for ``sig``; its shape, dtype and framework.
        t_displacement: The vector's share for ``displacement``; its shape, dtype and framework.
        dimension: Dimension d of the underlying space, at least 1.
        degree: Truncation degree N of the signature, at least 0.
        prepend: What ``sig_join`` was given.
        n_jobs: Threads: 1 is serial, -1 all there are, below -1 all but ``-1 - n_jobs``.

    Returns:
        The product's shares for ``sig`` and ``displacement``, each with the shape, dtype and
        framework of its variable; 0 in the highest level, which the Hessian does not know, and in
        a scalar term.

    Raises:
        TypeError: If an argument has the wrong type, or arrays differ in dtype or framework.
        ValueError: If shapes do not fit each other or ``dimension`` and ``degree``, a number is out
            of range, or a torch tensor would need this call recorded by autograd.

    Example:
        >>> import numpy as np
        >>> import jax_siglib
        >>> d_out, sig, displacement = np.array([0.0, 1.0]), np.array([1.0, 0.5]), np.array([2.0])
        >>> t_sig, t_displacement = np.array([1.0, 0.0]), np.array([0.5])
        >>> jax_siglib.sig_join_hvp(d_out, sig, displacement, t_sig, t_displacement, 1, 2)
        (array([0.5, 0. ]), array([1.5]))
    """
    static = _static(dimension, degree, prepend, n_jobs)
    arrays = {"d_out": d_out, "sig": sig, "displacement": displacement}
    arrays |= {"t_sig": t_sig, "t_displacement": t_displacement}
    results = ["sig", "displacement"]
    d_sig, d_step = _call(ext.sig_join_hvp, _jax_sig_join_hvp, static, results, **arrays)
    return d_sig, d_step


def join_with_derivatives(
    sig: Any, displacement: Any, static: Static, both_modes: bool = False
) -> Any:
    """The operation on checked JAX arrays, whose leading shapes may be stretched from size 1.

    With ``both_modes`` it is the bare primitive, which knows forward and reverse mode; else
    ``sig_join_backprop`` is its registered backward rule, and JAX rules out forward mode.
    """
    sig, displacement = vary(sig, displacement)
    if both_modes:
        return OPERATION.forward.bind(sig, displacement, **_params(*static))[0]
    return _join(sig, displacement, static)


def join_in_both_modes(
    sig: Any, displacement: Any, dimension: Any, degree: Any, prepend: Any, n_jobs: Any
) -> Any:
    """``sig_join`` for ``jax_siglib.forward_mode``."""
    static = _static(dimension, degree, prepend, n_jobs)
    on_jax = functools.partial(_jax_sig_join, both_modes=True)
    return _call(ext.sig_join, on_jax, static, ["sig"], sig=sig, displacement=displacement)[0]


def _call(
    kernel: Callable[..., None],
    on_jax: Callable[..., Any],
    static: Static,
    results: list[str],
    **arrays: Any,
) -> Any:
    """Call what the framework of the arrays asks for; results look like the arrays named."""
    framework, taken = _arrays.take(**arrays)
    if framework == "jax":
        out = on_jax(*taken, *static)
        return out if isinstance(out, tuple) else (out,)
    shapes = dict(zip(arrays, _arrays.shapes_of(taken), strict=True))
    _check_shapes(shapes, *static[:2])
    return _arrays.call(kernel, taken, static, [shapes[name] for name in results])


def _static(dimension: Any, degree: Any, prepend: Any, n_jobs: Any) -> Static:
    return (
        _checks.integer("dimension", dimension, at_least=1),
        _checks.integer("degree", degree, at_least=0),
        _checks.flag("prepend", prepend),
        _checks.jobs(n_jobs),
    )


def _check_shapes(shapes: dict[str, Shape], dimension: int, degree: int) -> None:
    """Refuse shapes, by the names of the arrays, that do not fit each other."""
    sig, displacement = shapes["sig"], shapes["displacement"]
    _checks.rank("sig", sig, ["L"])
    _checks.rank("displacement", displacement, ["d"])
    _checks.last_axis("displacement", displacement, dimension)
    ta.check_length("sig", sig[-1], dimension, degree)
    _checks.batch_shape("displacement", displacement[:-1], sig[:-1], "sig")
    for name, of in (("d_out", "sig"), ("t_sig", "sig"), ("t_displacement", "displacement")):
        if name in shapes:
            _checks.same_shape(name, shapes[name], shapes[of], of)


def _check_jax(dimension: int, degree: int, **arrays: Any) -> None:
    _arrays.check_dtypes(**arrays)
    _check_shapes({name: x.shape for name, x in arrays.items()}, dimension, degree)


# From here on JAX arrays. The bodies run when JAX traces them, once per shape, dtype and statics,
# so their checks cost a cached call nothing. Inline, so they leave no call in a larger program.


def _params(dimension: int, degree: int, prepend: bool, n_jobs: int) -> dict[str, Any]:
    return {"dimension": dimension, "degree": degree, "prepend": prepend, "n_jobs": n_jobs}


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _join(sig: Any, displacement: Any, static: Static) -> Any:
    return OPERATION.forward.bind(sig, displacement, **_params(*static))[0]


def _join_fwd(sig: Any, displacement: Any, static: Static) -> Any:
    params = _params(*static)
    residual = _lower_and_displacement(sig, displacement, **params)  # first: see _in_place.py
    return OPERATION.forward.bind(sig, displacement, **params)[0], residual


def _join_bwd(static: Static, residual: Any, ct_out: Any) -> Any:
    sig_lower, displacement = residual
    params = _params(*static)
    ct_sig, ct_displacement = OPERATION.backprop.bind(ct_out, sig_lower, displacement, **params)
    return (
        sum_to(ct_sig, (*sig_lower.shape[:-1], ct_out.shape[-1])),
        sum_to(ct_displacement, displacement.shape),
    )


_join.defvjp(_join_fwd, _join_bwd)


@functools.partial(jax.jit, static_argnums=(2, 3, 4, 5, 6), inline=INLINE)
def _jax_sig_join(
    sig: Any,
    displacement: Any,
    dimension: int,
    degree: int,
    prepend: bool,
    n_jobs: int,
    both_modes: bool = False,
) -> Any:
    _check_jax(dimension, degree, sig=sig, displacement=displacement)
    static = dimension, degree, prepend, n_jobs
    return join_with_derivatives(sig, displacement, static, both_modes)


@functools.partial(jax.jit, static_argnums=(3, 4, 5, 6), inline=INLINE)
def _jax_sig_join_backprop(
    d_out: Any, sig: Any, displacement: Any, dimension: int, degree: int, *options: Any
) -> Any:
    _check_jax(dimension, degree, d_out=d_out, sig=sig, displacement=displacement)
    params = _params(dimension, degree, *options)
    base = _lower_and_displacement(sig, displacement, **params)
    return tuple(OPERATION.backprop.bind(*vary(d_out, *base), **params))


@functools.partial(jax.jit, static_argnums=(4, 5, 6, 7), inline=INLINE)
def _jax_sig_join_jvp(
    sig: Any,
    displacement: Any,
    t_sig: Any,
    t_displacement: Any,
    dimension: int,
    degree: int,
    *options: Any,
) -> Any:
    tangents = {"t_sig": t_sig, "t_displacement": t_displacement}
    _check_jax(dimension, degree, sig=sig, displacement=displacement, **tangents)
    params = _params(dimension, degree, *options)
    base = _lower_and_displacement(sig, displacement, **params)
    return OPERATION.tangent.bind(*vary(*base, *tangents.values()), **params)[0]


@functools.partial(jax.jit, static_argnums=(5, 6, 7, 8), inline=INLINE)
def _jax_sig_join_hvp(
    d_out: Any,
    sig: Any,
    displacement: Any,
    t_sig: Any,
    t_displacement: Any,
    dimension: int,
    degree: int,
    *options: Any,
) -> Any:
    arrays = {"d_out": d_out, "sig": sig, "displacement": displacement}
    tangents = {"t_sig": t_sig, "t_displacement": t_displacement}
    _check_jax(dimension, degree, **arrays, **tangents)
    params = _params(dimension, degree, *options)
    base = _lower_and_displacement(sig, displacement, **params)
    t_base = _lower_and_displacement(t_sig, t_displacement, **params)
    found = OPERATION.hvp.bind(*vary(d_out, *base, *t_base), **params)
    return tuple(_lift(*found, length=sig.shape[-1], **params))
