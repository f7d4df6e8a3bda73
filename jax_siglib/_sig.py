"""Signatures of whole paths, and the derivatives of that."""

from typing import Any, TypeVar

import jax
import numpy as np

from jax_siglib import _arrays, _checks
from jax_siglib import _path_transforms as pt
from jax_siglib import _tensor_algebra as ta
from jax_siglib._native import ext
from jax_siglib._sig_jax import jax_sig, jax_sig_backprop, jax_sig_hvp, jax_sig_jvp
from jax_siglib._sig_operands import (
    by_points,
    check_backprop_shapes,
    check_hvp_shapes,
    check_path,
    take,
    transformed,
    transformed_tangent,
)

__all__ = ["sig", "sig_backprop", "sig_hvp", "sig_in_modes", "sig_jvp", "sig_of_path"]

Array = TypeVar("Array", bound=Any)


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
        time_aug: Whether to append time as the last coordinate; this and the other transforms mean
            the signature of what ``transform_path`` returns, where they are described.
        lead_lag: Whether to take the lead-lag transform of the path, in 2 d coordinates.
        end_time: Time of the last point.
        horner: Of no effect. Calls written for pysiglib choose one of its two algorithms by it;
            here there is one, by Horner's scheme.
        scalar_term: Whether the result begins with level 0, the constant 1.
        basepoint: Whether to begin the path at the origin, or the point to begin it at, as an array
            of shape (d,), or (..., d) with the leading shape of ``path``.
        initial: The signature of what came before, shape (..., L), with or without the scalar term:
            the result is that of both, one after the other. None for a path that begins here.
        stream: Whether to return the signatures of all beginnings of the path, as ``sig_stream``.
        n_jobs: Threads: 1 is serial, -1 all there are, below -1 all but ``-1 - n_jobs``.

    Returns:
        The signatures, shape (..., L) with L the ``sig_length`` for the coordinates that there are
        after the transforms, or with ``stream`` a row for each step, (..., steps, L); dtype and
        framework of ``path``.

    Raises:
        TypeError: If an argument has the wrong type, or arrays differ in dtype or framework.
        ValueError: If ``path`` has no point, no coordinate or no time axis, ``basepoint`` or
            ``initial`` does not fit it, a number is out of range, or a torch tensor would need this
            call recorded by autograd.

    Example:
        >>> import numpy as np
        >>> import jax_siglib
        >>> corner = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
        >>> jax_siglib.sig(corner, 2)
        array([1. , 1. , 0.5, 1. , 0. , 0.5])
        >>> jax_siglib.sig(corner, 1, time_aug=True, end_time=2.0)
        array([1., 1., 2.])
    """
    transform = time_aug, lead_lag, end_time, basepoint
    forms = initial, stream
    return sig_in_modes(path, degree, transform, horner, scalar_term, forms, n_jobs, both=False)


def sig_in_modes(
    path: Any,
    degree: Any,
    transform: tuple[Any, ...],
    horner: Any,
    scalar_term: Any,
    forms: tuple[Any, Any],
    n_jobs: Any,
    both: bool,
) -> Any:
    """``sig`` here and, in both modes, in ``jax_siglib.forward_mode``.

    ``transform`` are the four arguments of one, ``forms`` are ``initial`` and ``stream``.
    """
    initial, stream = forms
    _checks.flag("horner", horner)
    if not _checks.flag("stream", stream) and initial is None:
        return _call(path, degree, pt.read(*transform), scalar_term, n_jobs, both)
    from jax_siglib._sig_continued import sig_running  # which is made of what is here

    return sig_running(path, degree, transform, scalar_term, initial, bool(stream), n_jobs, both)


def sig_of_path(path: Any, degree: int, scalar_term: bool, n_jobs: int, both_modes: bool) -> Any:
    """``sig`` of a path as it is, for modules that build on it."""
    return _call(path, degree, (pt.NONE, None), scalar_term, n_jobs, both_modes)


def _call(
    path: Any,
    degree: Any,
    transform: tuple[pt.Transform, Any],
    scalar_term: Any,
    n_jobs: Any,
    both_modes: bool,
) -> Any:
    degree = _checks.integer("degree", degree, at_least=0)
    scalar_term = _checks.flag("scalar_term", scalar_term)
    n_jobs = _checks.jobs(n_jobs)
    how, front = transform
    if front is None and isinstance(path, jax.Array):
        return jax_sig(path, None, degree, how, scalar_term, n_jobs, both_modes)
    framework, (path, front) = take(path, front)
    if framework == "jax":
        return jax_sig(path, front, degree, how, scalar_term, n_jobs, both_modes)
    path_shape, front_shape = pt.shapes(path, front)
    length = check_path((path_shape, front_shape), degree, how)[scalar_term]
    moved = transformed(path, front, how)
    out = _arrays.call(ext.sig, [moved], (degree, n_jobs), [(*path_shape[:-2], length)])[0]
    return out if how == pt.NONE else _arrays.in_kind_of(path, out)


def sig_backprop(
    path: Array,
    sig: Array,
    sig_derivs: Array,
    degree: int,
    *,
    time_aug: bool = False,
    lead_lag: bool = False,
    end_time: float = 1.0,
    basepoint: bool | Array = False,
    n_jobs: int = 1,
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
        time_aug: What ``sig`` was given; so are the next three.
        lead_lag: See there.
        end_time: See there.
        basepoint: See there. A signature does not change if all points move alike, so the
            derivative with respect to the basepoint is minus the sum of the result over the points.
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
    how, front = pt.read(time_aug, lead_lag, end_time, basepoint)
    n_jobs = _checks.jobs(n_jobs)
    framework, (path, front, sig, sig_derivs) = take(path, front, sig=sig, sig_derivs=sig_derivs)
    if framework == "jax":
        return jax_sig_backprop(path, front, sig, sig_derivs, degree, how, n_jobs)
    check_backprop_shapes(pt.shapes(path, front, sig, sig_derivs), degree, how)
    moved, static = transformed(path, front, how), (degree, n_jobs)
    if how == pt.NONE:
        return _arrays.call(ext.sig_backprop, [path, sig, sig_derivs], static, [moved.shape])[0]
    prefix, derivs = _arrays.memory(sig), _arrays.memory(sig_derivs)
    if how.sums(moved.dtype):  # in float32, of which sig is not the signature
        moved, derivs = moved.astype(np.float32), derivs.astype(np.float32)
        lower = max(degree - 1, 0)
        shape = (*moved.shape[:-2], ta.lower_length(moved.shape[-1], degree))
        prefix = _arrays.call(ext.sig, [moved], (lower, n_jobs), [shape])[0]
    found = _arrays.call(ext.sig_backprop, [moved, prefix, derivs], static, [moved.shape])[0]
    return by_points(found, path, how)


def sig_jvp(
    path: Array,
    t_path: Array,
    degree: int,
    *,
    time_aug: bool = False,
    lead_lag: bool = False,
    end_time: float = 1.0,
    scalar_term: bool = False,
    basepoint: bool | Array = False,
    n_jobs: int = 1,
) -> Array:
    r"""Tangent of ``sig``: how the signature moves when the points of the path move.

    The tangents of the joins, carried along the path (the derivation stands in
    ``jax_siglib/_reference.py``): the directional derivative of the signature along ``t_path``,
    linear in it. It is the transpose of ``sig_backprop``.

    Args:
        path: The points given to ``sig``, shape (..., T, d).
        t_path: Tangent of ``path``; its shape, dtype and framework.
        degree: Truncation degree N of the signature, at least 0.
        time_aug: What ``sig`` was given; so are the next four.
        lead_lag: See there.
        end_time: See there.
        scalar_term: See there.
        basepoint: See there. It does not move; nor does time.
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
    how, front = pt.read(time_aug, lead_lag, end_time, basepoint)
    scalar_term = _checks.flag("scalar_term", scalar_term)
    n_jobs = _checks.jobs(n_jobs)
    framework, (path, front, t_path) = take(path, front, t_path=t_path)
    if framework == "jax":
        return jax_sig_jvp(path, front, t_path, degree, how, scalar_term, n_jobs)
    path_shape, front_shape, t_path_shape = pt.shapes(path, front, t_path)
    length = check_path((path_shape, front_shape), degree, how)[scalar_term]
    _checks.same_shape("t_path", t_path_shape, path_shape, "path")
    moved = [transformed(path, front, how), transformed_tangent(t_path, how)]
    out = _arrays.call(ext.sig_jvp, moved, (degree, n_jobs), [(*path_shape[:-2], length)])[0]
    return out if how == pt.NONE else _arrays.in_kind_of(path, out)


def sig_hvp(
    path: Array,
    t_path: Array,
    sig_derivs: Array,
    degree: int,
    *,
    time_aug: bool = False,
    lead_lag: bool = False,
    end_time: float = 1.0,
    basepoint: bool | Array = False,
    n_jobs: int = 1,
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
        time_aug: What ``sig`` was given; so are the next three.
        lead_lag: See there.
        end_time: See there.
        basepoint: See there. It does not move; nor does time.
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
    how, front = pt.read(time_aug, lead_lag, end_time, basepoint)
    n_jobs = _checks.jobs(n_jobs)
    framework, arrays = take(path, front, t_path=t_path, sig_derivs=sig_derivs)
    path, front, t_path, sig_derivs = arrays
    if framework == "jax":
        return jax_sig_hvp(path, front, t_path, sig_derivs, degree, how, n_jobs)
    check_hvp_shapes(pt.shapes(path, front, t_path, sig_derivs), degree, how)
    moved, t_moved = transformed(path, front, how), transformed_tangent(t_path, how)
    static = degree, n_jobs
    if how == pt.NONE:
        return _arrays.call(ext.sig_hvp, [sig_derivs, path, t_path], static, [moved.shape])[0]
    operands = [_arrays.memory(sig_derivs), moved, t_moved]
    if how.sums(moved.dtype):
        operands = [x.astype(np.float32) for x in operands]
    return by_points(_arrays.call(ext.sig_hvp, operands, static, [moved.shape])[0], path, how)
