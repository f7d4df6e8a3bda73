"""What sig and its derivatives are given: taken, refused, moved by the path's transform."""

from typing import Any

from jax_siglib import _arrays, _checks
from jax_siglib import _path_transforms as pt
from jax_siglib import _tensor_algebra as ta
from jax_siglib._checks import Shape


def take(path: Any, front: Any, **others: Any) -> tuple[str, tuple[Any, ...]]:
    """``_arrays.take`` of a path, its basepoint if that is an array, and what belongs to them."""
    if front is None:
        framework, (path, *more) = _arrays.take(path=path, **others)
    else:
        framework, (path, front, *more) = _arrays.take(path=path, basepoint=front, **others)
    return framework, (path, front, *more)


# Between the arrays of a direct call and the kernel; without a transform the arrays themselves,
# with one numpy's.


def transformed(path: Any, front: Any, how: pt.Transform) -> Any:
    if how == pt.NONE:
        return path
    return how.apply(_arrays.memory(path), None if front is None else _arrays.memory(front))


def transformed_tangent(t_path: Any, how: pt.Transform) -> Any:
    return t_path if how == pt.NONE else how.apply_to_tangent(_arrays.memory(t_path))


def by_points(found: Any, path: Any, how: pt.Transform) -> Any:
    """The derivative by the path, from that by the transformed path."""
    dtype = _arrays.memory(path).dtype
    return _arrays.in_kind_of(path, how.adjoint(found).astype(dtype, copy=False))


def check_path(shapes: tuple[Any, ...], degree: int, how: pt.Transform) -> tuple[int, int]:
    """Refuse what is not a path; return the lengths of its signature, as ``layout_lengths``."""
    pt.check_path(*shapes)
    return ta.layout_lengths(how.shape(shapes[0])[-1], degree)


def check_backprop_shapes(shapes: tuple[Any, ...], degree: int, how: pt.Transform) -> None:
    path, front, sig, sig_derivs = shapes
    check_path((path, front), degree, how)
    _check_sig("sig", sig, path, degree, how)
    _checks.same_shape("sig_derivs", sig_derivs, sig, "sig")


def check_hvp_shapes(shapes: tuple[Any, ...], degree: int, how: pt.Transform) -> None:
    path, front, t_path, sig_derivs = shapes
    check_path((path, front), degree, how)
    _checks.same_shape("t_path", t_path, path, "path")
    _check_sig("sig_derivs", sig_derivs, path, degree, how)


def _check_sig(name: str, sig: Shape, path: Shape, degree: int, how: pt.Transform) -> None:
    _checks.rank(name, sig, ["L"])
    ta.check_length(name, sig[-1], how.shape(path)[-1], degree)
    _checks.batch_shape(name, sig[:-1], path[:-2], "path")
