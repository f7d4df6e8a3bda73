"""Signatures of whole paths, and the derivatives of that."""

import functools
from typing import Any, TypeVar

import jax

from jax_siglib import _arrays, _checks, _reference
from jax_siglib import _tensor_algebra as ta
from jax_siglib._derivatives import operation
from jax_siglib._native import ext
from jax_siglib._primitive import INLINE, Kernel, vary

__all__ = ["sig", "sig_backprop", "sig_hvp", "sig_in_both_modes", "sig_jvp"]

Array = TypeVar("Array", bound=Any)
Shape = tuple[int, ...]


def _length(path: Shape, degree: int, scalar_term: bool) -> int:
    return ta.layout_lengths(path[-1], degree)[scalar_term]


def _lower(path: Any, *, degree: int, n_jobs: int = 1, **_params: Any) -> tuple[Any]:
    """What the backward pass starts from; a signature of lower degree has just these levels."""
    params = _params_of(max(degree - 1, 0), False, n_jobs)
    return (OPERATION.forward.bind(path, **params)[0],)


OPERATION = operation(
    "sig",
    forward=Kernel(
        _reference.sig,
        "jax_siglib_sig_v1",
        ranks=(2,),
        results=lambda path, degree, scalar_term, **_: [(_length(path, degree, scalar_term),)],
    ),
    tangent=Kernel(
        _reference.sig_jvp,
        "jax_siglib_sig_jvp_v1",
        ranks=(2, 2),
        results=lambda path, t_path, degree, scalar_term, **_: [
            (_length(path, degree, scalar_term),)
        ],
    ),
    backprop=Kernel(
        _reference.sig_backprop,
        "jax_siglib_sig_backprop_v1",
        ranks=(1, 2, 1),
        results=lambda ct_out, path, sig_lower, **_: [path],
    ),
    hvp=Kernel(
        None,
        "jax_siglib_sig_hvp_v1",
        ranks=(1, 2, 2),
        results=lambda ct_out, path, t_path, **_: [path],
    ),
    attributes=("degree", "n_jobs"),  # scalar_term: the kernels know it from the length
    residual=_lower,
)


def sig(path: Array, degree: int, *, scalar_term: bool = False, n_jobs: int = 1) -> Array:
    r"""Truncated signature of piecewise linear paths.

    By Chen's identity the signature of a path is the product of those of its segments,
    :math:`\exp(v_1) \otimes \cdots \otimes \exp(v_{T-1})`; it is evaluated as the fold of
    ``sig_join`` over the segments (Reizenstein & Graham, "iisignature", ACM TOMS 2020; Kidger &
    Lyons, "Signatory", ICLR 2021).

    Args:
        path: The points of the paths, shape (..., T, d) with T and d at least 1; a single point has
            the signature of a path that does not move. float16, bfloat16 (both computed in float32
            and rounded once), float32 or float64; a JAX array, a numpy array or a torch CPU tensor.
        degree: Truncation degree N, at least 0.
        scalar_term: Whether the result begins with level 0, the constant 1.
        n_jobs: Threads: 1 is serial, -1 all there are, below -1 all but ``-1 - n_jobs``.

    Returns:
        The signatures, shape (..., L) with L the ``sig_length``; dtype and framework of ``path``.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If ``path`` has no point, no coordinate or no time axis, a number is out of
            range, or a torch tensor would need this call recorded by autograd.

    Example:
        >>> import numpy as np
        >>> import jax_siglib
        >>> corner = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
        >>> jax_siglib.sig(corner, 2)
        array([1. , 1. , 0.5, 1. , 0. , 0.5])
    """
    return _call(path, degree, scalar_term, n_jobs, both_modes=False)


def sig_in_both_modes(path: Any, degree: Any, scalar_term: Any, n_jobs: Any) -> Any:
    """``sig`` for ``jax_siglib.forward_mode``."""
    return _call(path, degree, scalar_term, n_jobs, both_modes=True)


def _call(path: Any, degree: Any, scalar_term: Any, n_jobs: Any, both_modes: bool) -> Any:
    degree = _checks.integer("degree", degree, at_least=0)
    scalar_term = _checks.flag("scalar_term", scalar_term)
    n_jobs = _checks.jobs(n_jobs)
    if isinstance(path, jax.Array):
        return _jax_sig(path, degree, scalar_term, n_jobs, both_modes)
    _, arrays = _arrays.take(path=path)
    (path_shape,) = _arrays.shapes_of(arrays)
    shape = (*path_shape[:-2], _check_path(path_shape, degree)[scalar_term])
    return _arrays.call(ext.sig, arrays, (degree, n_jobs), [shape])[0]


def sig_backprop(
    path: Array, sig: Array, sig_derivs: Array, degree: int, *, n_jobs: int = 1
) -> Array:
    """Derivative of a scalar F of ``sig``'s result with respect to the path.

    The segments are taken off the signature one by one from the end, so memory does not grow with
    the length of the path, and each is given back its share by the backward pass of ``sig_join``
    (Reizenstein & Graham, "iisignature", ACM TOMS 2020, and Kidger & Lyons, "Signatory", ICLR 2021,
    go back along the path in the same way). The highest level of ``sig`` is not read; in float16
    and bfloat16 none is, but the levels are computed from ``path`` again, since steps taken off a
    rounded signature would leave the rounding error of the whole behind. On JAX arrays the result
    can be differentiated again, with respect to ``path`` and ``sig_derivs``. ``sig`` is taken for
    what it has to be, the signature of ``path``: how it moves with the path is counted in the
    derivative with respect to ``path``, and that with respect to ``sig`` is 0.

    Args:
        path: The points given to ``sig``, shape (..., T, d).
        sig: The result of ``sig``, shape (..., L), with or without the scalar term; leading shape,
            dtype and framework of ``path``.
        sig_derivs: Derivative of F with respect to ``sig``, of the same shape.
        degree: Truncation degree N of the signature, at least 0.
        n_jobs: Threads: 1 is serial, -1 all there are, below -1 all but ``-1 - n_jobs``.

    Returns:
        The derivative of F with respect to ``path``; shape, dtype and framework of ``path``.

    Raises:
        TypeError: If an argument has the wrong type, or arrays differ in dtype or framework.
        ValueError: If shapes do not fit each other or ``degree``, a number is out of range, or a
            torch tensor would need this call recorded by autograd.

    Example:
        >>> import numpy as np
        >>> import jax_siglib
        >>> path = np.array([[0.0], [1.0], [3.0]])
        >>> sig = jax_siglib.sig(path, 2)  # [3, 9/2]
        >>> jax_siglib.sig_backprop(path, sig, np.array([0.0, 1.0]), 2)
        array([[-3.],
               [ 0.],
               [ 3.]])
    """
    degree = _checks.integer("degree", degree, at_least=0)
    n_jobs = _checks.jobs(n_jobs)
    framework, arrays = _arrays.take(path=path, sig=sig, sig_derivs=sig_derivs)
    if framework == "jax":
        return _jax_sig_backprop(*arrays, degree, n_jobs)
    path_shape, sig_shape, sig_derivs_shape = _arrays.shapes_of(arrays)
    _check_backprop_shapes(path_shape, sig_shape, sig_derivs_shape, degree)
    return _arrays.call(ext.sig_backprop, arrays, (degree, n_jobs), [path_shape])[0]


def sig_jvp(
    path: Array, t_path: Array, degree: int, *, scalar_term: bool = False, n_jobs: int = 1
) -> Array:
    r"""Tangent of ``sig``: how the signature moves when the points of the path move.

    The tangents of the joins, carried along the path (the derivation stands in
    ``jax_siglib/_reference.py``): the directional derivative of the signature along ``t_path``,
    linear in it. It is the transpose of ``sig_backprop``.

    Args:
        path: The points given to ``sig``, shape (..., T, d).
        t_path: Tangent of ``path``; its shape, dtype and framework.
        degree: Truncation degree N of the signature, at least 0.
        scalar_term: What ``sig`` was given.
        n_jobs: Threads: 1 is serial, -1 all there are, below -1 all but ``-1 - n_jobs``.

    Returns:
        The tangent of the signature, shape (..., L), with 0 for a scalar term; dtype and framework
        of ``path``.

    Raises:
        TypeError: If an argument has the wrong type, or arrays differ in dtype or framework.
        ValueError: If shapes do not fit each other, a number is out of range, or a torch tensor
            would need this call recorded by autograd.

    Example:
        >>> import numpy as np
        >>> import jax_siglib
        >>> path, t_path = np.array([[0.0], [3.0]]), np.array([[0.0], [1.0]])
        >>> jax_siglib.sig_jvp(path, t_path, 2)  # of x and x^2/2
        array([1., 3.])
    """
    degree = _checks.integer("degree", degree, at_least=0)
    scalar_term = _checks.flag("scalar_term", scalar_term)
    n_jobs = _checks.jobs(n_jobs)
    framework, arrays = _arrays.take(path=path, t_path=t_path)
    if framework == "jax":
        return _jax_sig_jvp(*arrays, degree, scalar_term, n_jobs)
    path_shape, t_path_shape = _arrays.shapes_of(arrays)
    shape = (*path_shape[:-2], _check_path(path_shape, degree)[scalar_term])
    _checks.same_shape("t_path", t_path_shape, path_shape, "path")
    return _arrays.call(ext.sig_jvp, arrays, (degree, n_jobs), [shape])[0]


def sig_hvp(
    path: Array, t_path: Array, sig_derivs: Array, degree: int, *, n_jobs: int = 1
) -> Array:
    """How ``sig_backprop`` moves with the path: a Hessian-vector product.

    The product of the Hessian of the scalar <sig_derivs, sig(path)> with the vector ``t_path``: the
    backward pass of ``sig`` and the signature that it starts from, differentiated by the rule of
    products along the path. Memory does not grow with the length of the path.

    Args:
        path: The points given to ``sig``, shape (..., T, d).
        t_path: The vector; shape, dtype and framework of ``path``.
        sig_derivs: Derivative of a scalar with respect to the signature, shape (..., L), with or
            without the scalar term; leading shape, dtype and framework of ``path``.
        degree: Truncation degree N of the signature, at least 0.
        n_jobs: Threads: 1 is serial, -1 all there are, below -1 all but ``-1 - n_jobs``.

    Returns:
        The product; shape, dtype and framework of ``path``.

    Raises:
        TypeError: If an argument has the wrong type, or arrays differ in dtype or framework.
        ValueError: If shapes do not fit each other or ``degree``, a number is out of range, or a
            torch tensor would need this call recorded by autograd.

    Example:
        >>> import numpy as np
        >>> import jax_siglib
        >>> path, t_path = np.array([[0.0], [3.0]]), np.array([[0.0], [1.0]])
        >>> jax_siglib.sig_hvp(path, t_path, np.array([0.0, 1.0]), 2)  # of x^2/2
        array([[-1.],
               [ 1.]])
    """
    degree = _checks.integer("degree", degree, at_least=0)
    n_jobs = _checks.jobs(n_jobs)
    framework, arrays = _arrays.take(path=path, t_path=t_path, sig_derivs=sig_derivs)
    if framework == "jax":
        return _jax_sig_hvp(*arrays, degree, n_jobs)
    path_shape, t_path_shape, sig_derivs_shape = _arrays.shapes_of(arrays)
    _check_hvp_shapes(path_shape, t_path_shape, sig_derivs_shape, degree)
    path, t_path, sig_derivs = arrays
    return _arrays.call(ext.sig_hvp, (sig_derivs, path, t_path), (degree, n_jobs), [path_shape])[0]


def _check_path(path: Shape, degree: int) -> tuple[int, int]:
    """Refuse what is not a path; return the lengths of its signature, as ``layout_lengths``."""
    _checks.rank("path", path, ["T", "d"])
    if path[-2] == 0 or path[-1] == 0:
        raise ValueError(
            "path must have shape (..., T, d) with at least one point, T >= 1, and one coordinate,"
            f" d >= 1; got shape {path}"
        )
    return ta.layout_lengths(path[-1], degree)


def _check_backprop_shapes(path: Shape, sig: Shape, sig_derivs: Shape, degree: int) -> None:
    _check_path(path, degree)
    _checks.rank("sig", sig, ["L"])
    ta.check_length("sig", sig[-1], path[-1], degree)
    _checks.batch_shape("sig", sig[:-1], path[:-2], "path")
    _checks.same_shape("sig_derivs", sig_derivs, sig, "sig")


def _check_hvp_shapes(path: Shape, t_path: Shape, sig_derivs: Shape, degree: int) -> None:
    _check_path(path, degree)
    _checks.same_shape("t_path", t_path, path, "path")
    _checks.rank("sig_derivs", sig_derivs, ["L"])
    ta.check_length("sig_derivs", sig_derivs[-1], path[-1], degree)
    _checks.batch_shape("sig_derivs", sig_derivs[:-1], path[:-2], "path")


# From here on JAX arrays; see _sig_join.py, whose pattern this is.


def _params_of(degree: int, scalar_term: bool, n_jobs: int) -> dict[str, Any]:
    return {"degree": degree, "scalar_term": scalar_term, "n_jobs": n_jobs}


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _sig(path: Any, degree: int, scalar_term: bool, n_jobs: int) -> Any:
    params = _params_of(degree, scalar_term, n_jobs)
    return OPERATION.forward.bind(path, **params)[0]


def _sig_fwd(path: Any, degree: int, scalar_term: bool, n_jobs: int) -> Any:
    params = _params_of(degree, scalar_term, n_jobs)
    out = OPERATION.forward.bind(path, **params)[0]
    return out, (path, ta.lower(out, path.shape[-1], degree))


def _sig_bwd(degree: int, scalar_term: bool, n_jobs: int, residual: Any, ct_out: Any) -> Any:
    params = _params_of(degree, scalar_term, n_jobs)
    return tuple(OPERATION.backprop.bind(ct_out, *residual, **params))


_sig.defvjp(_sig_fwd, _sig_bwd)


@functools.partial(jax.jit, static_argnums=(1, 2, 3, 4), inline=INLINE)
def _jax_sig(path: Any, degree: int, scalar_term: bool, n_jobs: int, both_modes: bool) -> Any:
    _arrays.check_dtypes(path=path)
    _check_path(path.shape, degree)
    (path,) = vary(path, ranks=(2,))
    if both_modes:
        return OPERATION.forward.bind(path, **_params_of(degree, scalar_term, n_jobs))[0]
    return _sig(path, degree, scalar_term, n_jobs)


@functools.partial(jax.jit, static_argnums=(3, 4), inline=INLINE)
def _jax_sig_backprop(path: Any, sig: Any, sig_derivs: Any, degree: int, n_jobs: int) -> Any:
    _arrays.check_dtypes(path=path, sig=sig, sig_derivs=sig_derivs)
    _check_backprop_shapes(path.shape, sig.shape, sig_derivs.shape, degree)
    scalar_term = ta.has_scalar_term(sig.shape[-1], path.shape[-1], degree)
    params = _params_of(degree, scalar_term, n_jobs)
    base = path, ta.lower(sig, path.shape[-1], degree)
    return OPERATION.backprop.bind(*vary(sig_derivs, *base), **params)[0]


@functools.partial(jax.jit, static_argnums=(2, 3, 4), inline=INLINE)
def _jax_sig_jvp(path: Any, t_path: Any, degree: int, scalar_term: bool, n_jobs: int) -> Any:
    _arrays.check_dtypes(path=path, t_path=t_path)
    _check_path(path.shape, degree)
    _checks.same_shape("t_path", t_path.shape, path.shape, "path")
    return OPERATION.tangent.bind(
        *vary(path, t_path, ranks=(2, 2)), **_params_of(degree, scalar_term, n_jobs)
    )[0]


@functools.partial(jax.jit, static_argnums=(3, 4), inline=INLINE)
def _jax_sig_hvp(path: Any, t_path: Any, sig_derivs: Any, degree: int, n_jobs: int) -> Any:
    _arrays.check_dtypes(path=path, t_path=t_path, sig_derivs=sig_derivs)
    _check_hvp_shapes(path.shape, t_path.shape, sig_derivs.shape, degree)
    scalar_term = ta.has_scalar_term(sig_derivs.shape[-1], path.shape[-1], degree)
    params = _params_of(degree, scalar_term, n_jobs)
    return OPERATION.hvp.bind(*vary(sig_derivs, path, t_path), **params)[0]
