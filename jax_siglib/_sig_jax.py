"""Signatures of whole paths as JAX primitives, and the functions of _sig.py on JAX arrays.

See _sig_join.py, whose pattern this is.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax

from jax_siglib import _arrays, _checks, _reference
from jax_siglib import _path_transforms as pt
from jax_siglib import _tensor_algebra as ta
from jax_siglib._checks import Shape
from jax_siglib._derivatives import operation
from jax_siglib._precision import cast
from jax_siglib._primitive import INLINE, Kernel, vary
from jax_siglib._sig_operands import check_backprop_shapes, check_hvp_shapes, check_path
from jax_siglib._sig_pieces import product_of_pieces, ways

__all__ = ["jax_sig", "jax_sig_backprop", "jax_sig_hvp", "jax_sig_jvp"]


def _length(path: Shape, degree: int, scalar_term: bool) -> int:
    return ta.layout_lengths(path[-1], degree)[scalar_term]


def _lower(path: Any, *, degree: int, n_jobs: int = 1, **_params: Any) -> tuple[Any]:
    """What the backward pass starts from; a signature of lower degree has just these levels."""
    params = _params_of(max(degree - 1, 0), False, n_jobs)
    return (OPERATION.forward.bind(path, **params)[0],)


def _in_mode(both_modes: bool, path: Any, degree: int, scalar_term: bool, n_jobs: int = 1) -> Any:
    if both_modes:
        return OPERATION.forward.bind(path, **_params_of(degree, scalar_term, n_jobs))[0]
    return _sig(path, degree, scalar_term, n_jobs)


def _in_pieces(both_modes: bool) -> Callable[..., Any]:
    return functools.partial(product_of_pieces, functools.partial(_in_mode, both_modes))


_WAYS = ways(_in_pieces(both_modes=True), _in_pieces(both_modes=False), in_double=True)
OPERATION = operation(
    "sig",
    forward=Kernel(
        _reference.sig,
        "jax_siglib_sig_v1",
        ranks=(2,),
        results=lambda path, degree, scalar_term, **_: [(_length(path, degree, scalar_term),)],
        on_gpu=_WAYS.forward,
    ),
    tangent=Kernel(
        _reference.sig_jvp,
        "jax_siglib_sig_jvp_v1",
        ranks=(2, 2),
        results=lambda path, t_path, degree, scalar_term, **_: [
            (_length(path, degree, scalar_term),)
        ],
        on_gpu=_WAYS.tangent,
    ),
    backprop=Kernel(
        _reference.sig_backprop,
        "jax_siglib_sig_backprop_v1",
        ranks=(1, 2, 1),
        results=lambda ct_out, path, sig_lower, **_: [path],
        on_gpu=_WAYS.backprop,
    ),
    hvp=Kernel(
        None,
        "jax_siglib_sig_hvp_v1",
        ranks=(1, 2, 2),
        results=lambda ct_out, path, t_path, **_: [path],
        on_gpu=_WAYS.hvp,
    ),
    attributes=("degree", "n_jobs"),  # scalar_term: the kernels know it from the length
    residual=_lower,
)


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


@functools.partial(jax.jit, static_argnums=(2, 3, 4, 5, 6), inline=INLINE)
def jax_sig(
    path: Any,
    front: Any,
    degree: int,
    how: pt.Transform,
    scalar_term: bool,
    n_jobs: int,
    both_modes: bool,
) -> Any:
    """``sig`` of JAX arrays."""
    _arrays.check_dtypes(**pt.given(path=path, basepoint=front))
    check_path(pt.shapes(path, front), degree, how)
    moved = how.apply_jax(path, front)
    return cast(_in_mode(both_modes, moved, degree, scalar_term, n_jobs), path.dtype)


@functools.partial(jax.jit, static_argnums=(4, 5, 6), inline=INLINE)
def jax_sig_backprop(
    path: Any,
    front: Any,
    sig: Any,
    sig_derivs: Any,
    degree: int,
    how: pt.Transform,
    n_jobs: int,
) -> Any:
    """``sig_backprop`` of JAX arrays."""
    _arrays.check_dtypes(**pt.given(path=path, basepoint=front, sig=sig, sig_derivs=sig_derivs))
    check_backprop_shapes(pt.shapes(path, front, sig, sig_derivs), degree, how)
    moved = how.apply_jax(path, front)
    params = _params_of(degree, ta.has_scalar_term(sig.shape[-1], moved.shape[-1], degree), n_jobs)
    if how.sums(path.dtype):  # in float32, of which sig is not the signature
        (lower,) = _lower(moved, **params)
    else:
        lower = ta.lower(sig, moved.shape[-1], degree)
    operands = vary(how.widened(sig_derivs), moved, lower)
    found = OPERATION.backprop.bind(*operands, **params)[0]
    return cast(how.adjoint_jax(found), path.dtype)


@functools.partial(jax.jit, static_argnums=(3, 4, 5, 6), inline=INLINE)
def jax_sig_jvp(
    path: Any,
    front: Any,
    t_path: Any,
    degree: int,
    how: pt.Transform,
    scalar_term: bool,
    n_jobs: int,
) -> Any:
    """``sig_jvp`` of JAX arrays."""
    _arrays.check_dtypes(**pt.given(path=path, basepoint=front, t_path=t_path))
    check_path(pt.shapes(path, front), degree, how)
    _checks.same_shape("t_path", t_path.shape, path.shape, "path")
    operands = vary(how.apply_jax(path, front), how.apply_jax_to_tangent(t_path), ranks=(2, 2))
    params = _params_of(degree, scalar_term, n_jobs)
    return cast(OPERATION.tangent.bind(*operands, **params)[0], path.dtype)


@functools.partial(jax.jit, static_argnums=(4, 5, 6), inline=INLINE)
def jax_sig_hvp(
    path: Any,
    front: Any,
    t_path: Any,
    sig_derivs: Any,
    degree: int,
    how: pt.Transform,
    n_jobs: int,
) -> Any:
    """``sig_hvp`` of JAX arrays."""
    arrays = pt.given(path=path, basepoint=front, t_path=t_path, sig_derivs=sig_derivs)
    _arrays.check_dtypes(**arrays)
    check_hvp_shapes(pt.shapes(path, front, t_path, sig_derivs), degree, how)
    moved, t_moved = how.apply_jax(path, front), how.apply_jax_to_tangent(t_path)
    scalar_term = ta.has_scalar_term(sig_derivs.shape[-1], moved.shape[-1], degree)
    params = _params_of(degree, scalar_term, n_jobs)
    operands = vary(how.widened(sig_derivs), moved, t_moved)
    found = OPERATION.hvp.bind(*operands, **params)[0]
    return cast(how.adjoint_jax(found), path.dtype)
