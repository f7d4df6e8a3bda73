"""Path transforms: a point in front, lead and lag, time as a coordinate.

They are copies of the points, so their derivatives are sums: on JAX arrays plain ``jax.numpy``,
that JAX transforms like anything else, on numpy and torch copies and sums by numpy. Beside a
signature of the path that comes out of them they cost little, and that path is never larger than
four times the one that goes in.

The order is fixed: first the basepoint, a point like the others; then lead and lag; then time, of
which the points of the lead-lag path are as far apart as those of any other.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jax_siglib import _arrays, _checks
from jax_siglib import _tensor_algebra as ta
from jax_siglib._checks import Shape
from jax_siglib._precision import cast, from_numpy, pad
from jax_siglib._primitive import INLINE, vary

__all__ = [
    "NONE",
    "Transform",
    "check_path",
    "given",
    "jax_moved",
    "read",
    "shapes",
    "transform_path",
    "transform_path_backprop",
]

Array = TypeVar("Array", bound=Any)

# Times of shorter paths are kept for the next call: at most a megabyte or two of them.
_KEPT_POINTS = 4096


class Transform(NamedTuple):
    """What is done to a path; hashable, as statics of ``jax.jit`` have to be.

    Attributes:
        time_aug: Whether time becomes the last coordinate.
        lead_lag: Whether each point is followed by one that has moved on in half its coordinates.
        end_time: Time of the last point; the first has 0.
        basepoint: Whether there is a point in front of the path.
    """

    time_aug: bool
    lead_lag: bool
    end_time: float
    basepoint: bool

    def shape(self, path: Shape) -> Shape:
        """Shape of what a path of this shape becomes."""
        points = path[-2] + self.basepoint
        points = 2 * points - 1 if self.lead_lag else points
        dimension = ta.transformed_dimension(path[-1], self.time_aug, self.lead_lag)
        return (*path[:-2], points, dimension)

    def sums(self, dtype: Any) -> bool:
        """Whether derivatives by a point are sums, that have to be made in float32."""
        return self.lead_lag and dtype.itemsize == 2

    # For numpy arrays.

    def apply(self, path: np.ndarray, basepoint: np.ndarray | None) -> np.ndarray:
        """The transformed path."""
        front = 0 if basepoint is None else basepoint[..., None, :]
        return self._moved(path, front, self._times(path))

    def apply_to_tangent(self, t_path: np.ndarray) -> np.ndarray:
        """The tangent of the transformed path: neither time nor the point in front moves."""
        return self._moved(t_path, 0, 0)

    def _moved(self, path: np.ndarray, front: Any, times: Any) -> np.ndarray:
        d, points = path.shape[-1], path
        out = np.empty(self.shape(path.shape), path.dtype)
        if self.basepoint:
            plain = not (self.time_aug or self.lead_lag)
            points = (
                out if plain else np.empty((*path.shape[:-2], path.shape[-2] + 1, d), out.dtype)
            )
            points[..., :1, :] = front
            points[..., 1:, :] = path
        if self.lead_lag:
            rows, lag, lead = _rows(points), _rows(out[..., :d]), _rows(out[..., d : 2 * d])
            lag[..., 0::2] = rows
            lag[..., 1::2] = rows[..., :-1]
            lead[..., 0::2] = rows
            lead[..., 1::2] = rows[..., 1:]
        elif points is not out:
            _rows(out[..., :d])[...] = _rows(points)
        if self.time_aug:
            out[..., -1] = times
        return out

    def adjoint(self, ct: np.ndarray) -> np.ndarray:
        """The derivative by the path from that by the transformed path: a new array."""
        d = ct.shape[-1] - self.time_aug
        if not self.lead_lag:
            return _packed(ct[..., self.basepoint :, :d])
        d //= 2
        lag, lead = ct[..., :d], ct[..., d : 2 * d]
        out, of_lead = _packed(lag[..., 0::2, :]), _packed(lead[..., 0::2, :])
        out[..., :-1, :] += _packed(lag[..., 1::2, :])
        of_lead[..., 1:, :] += _packed(lead[..., 1::2, :])
        out += of_lead
        return out[..., 1:, :].copy() if self.basepoint else out

    def _times(self, path: Any) -> Any:
        if not self.time_aug:
            return 0
        return _times(self.shape(path.shape)[-2], self.end_time, path.dtype)

    # For JAX arrays. In half precision, lead and lag come in float32, and callers round what they
    # make of that: the derivative by a point is then a sum in float32, rounded once.

    def apply_jax(self, path: Any, basepoint: Any) -> Any:
        """The transformed path; see ``apply``."""
        return self._moved_jax(path, basepoint, self._times(path))

    def apply_jax_to_tangent(self, t_path: Any) -> Any:
        """See ``apply_to_tangent``."""
        return self._moved_jax(t_path, None, 0)

    def _moved_jax(self, path: Any, basepoint: Any, times: Any) -> Any:
        # Sharded points cannot be shifted against each other, so they are brought together first.
        # Constants come out of the path, to lie and to vary over the mesh as it does.
        (path,) = vary(path, ranks=(2,))
        if self.basepoint:
            front = jnp.zeros_like(path[..., :1, :])
            if basepoint is not None:
                front += _with_rank(basepoint[..., None, :], path.ndim)
            path = jnp.concatenate([front, path], -2)
        dtype, path = path.dtype, self.widened(path)
        if self.lead_lag:
            *batch, points, d = path.shape
            # Not by jnp.repeat, whose transpose XLA does as a reduction, and not quickly.
            twice = jnp.stack([path, path], -2).reshape(*batch, 2 * points, d)
            path = jnp.concatenate([twice[..., :-1, :], twice[..., 1:, :]], -1)
        if self.time_aug:
            times = from_numpy(np.asarray(times, dtype).astype(path.dtype))
            times = jnp.zeros_like(path[..., 0]) + _with_rank(times, path.ndim - 1)
            path = jnp.concatenate([path, times[..., None]], -1)
        return path

    def widened(self, array: Any) -> Any:
        """A JAX array in the type in which derivatives by points are summed."""
        return array.astype(jnp.float32) if self.sums(array.dtype) else array

    def adjoint_jax(self, ct: Any) -> Any:
        """See ``adjoint``."""
        if self.time_aug:
            ct = ct[..., :-1]
        if self.lead_lag:
            d = ct.shape[-1] // 2
            along = [(0, 0)] * (ct.ndim - 2)

            def of_point(half: Any, ends: tuple[int, int]) -> Any:
                padded = pad(half, [*along, ends, (0, 0)])
                # Not [0::2], which is a gather in JAX 0.8, and its transpose in float32 at times.
                even, odd = (
                    lax.slice_in_dim(padded, i, None, stride=2, axis=padded.ndim - 2)
                    for i in (0, 1)
                )
                return even + odd

            ct = of_point(ct[..., :d], (0, 1)) + of_point(ct[..., d:], (1, 0))
        return ct[..., 1:, :] if self.basepoint else ct


NONE = Transform(False, False, 1.0, False)


def read(time_aug: Any, lead_lag: Any, end_time: Any, basepoint: Any) -> tuple[Transform, Any]:
    """Check the arguments of a transform; return it, and the basepoint if that is an array."""
    default = type(end_time) is float and end_time == 1.0
    if default and time_aug is False and lead_lag is False and basepoint is False:
        return NONE, None
    time_aug = _checks.flag("time_aug", time_aug)
    lead_lag = _checks.flag("lead_lag", lead_lag)
    end_time = _checks.real("end_time", end_time)
    array = None
    if isinstance(basepoint, jax.core.Tracer) and (basepoint.shape, basepoint.dtype) == ((), bool):
        basepoint = _checks.flag("basepoint", basepoint)  # which says that flags are not traced
    if not isinstance(basepoint, (bool, np.bool_)):
        if not _arrays.is_array(basepoint):
            raise TypeError(
                "basepoint must be a bool, or the point itself as an array of the kind of path; got"
                f" {type(basepoint).__name__}"
            )
        array, basepoint = basepoint, True
    return Transform(time_aug, lead_lag, end_time if time_aug else 1.0, bool(basepoint)), array


def check_path(
    path: Shape,
    basepoint: Shape | None = None,
    name: str = "path",
    *,
    symbolic_dimension: bool = False,
) -> None:
    """Refuse what is not a path, or a point that is not one for its front.

    A dimension that is a symbolic size of ``jax.export`` will do for a path, not for a signature.
    """
    _checks.rank(name, path, ["T", "d"])
    if path[-2] == 0 or path[-1] == 0:
        raise ValueError(
            f"{name} must have shape (..., T, d) with at least one point, T >= 1, and one"
            f" coordinate, d >= 1; got shape {path}"
        )
    if not (symbolic_dimension or isinstance(path[-1], int)):
        raise ValueError(
            f"{name} must have a static number of coordinates d, on which the length of its"
            f" signature depends; got shape {path}"
        )
    if basepoint not in (None, path[-1:], (*path[:-2], path[-1])):
        whole = f" or {(*path[:-2], path[-1])}" if len(path) > 2 else ""
        raise ValueError(
            f"basepoint must have shape {path[-1:]}{whole}, a point of path, whose shape is"
            f" {path}; got shape {basepoint}"
        )


def transform_path(
    path: Array,
    *,
    time_aug: bool = False,
    lead_lag: bool = False,
    end_time: float = 1.0,
    basepoint: bool | Array = False,
    n_jobs: int = 1,
) -> Array:
    """Transform a path: a point in front, lead and lag, time as a coordinate.

    With several of them, the point is put in front first, then lead and lag are formed, and time
    comes last. ``sig`` and its derivatives take the same arguments, and mean the signature of what
    is returned here.

    Args:
        path: The points of the paths, shape (..., T, d) with T and d at least 1. float16, bfloat16,
            float32 or float64; a JAX array, a numpy array or a torch CPU tensor.
        time_aug: Whether to append time as the last coordinate: ``end_time * t / (T - 1)`` at point
            t of the T points that there are then, each rounded once. A single point has time 0.
        lead_lag: Whether to form the path (lag, lead) in 2 d coordinates with 2 T - 1 points, where
            lag and lead take turns to move on: (x0, x0), (x0, x1), (x1, x1), (x1, x2), ...
        end_time: Time of the last point, a finite number; of no effect without ``time_aug``.
        basepoint: Whether to begin the path at the origin, or the point to begin it at, as an array
            of shape (d,), or (..., d) with the leading shape of ``path``; dtype and framework of
            ``path``.
        n_jobs: Threads, as elsewhere; the copies made here always take one.

    Returns:
        The transformed paths, shape (..., T', d') where T' is T, one more with a basepoint, and
        that twice less one with ``lead_lag``, and d' is d, twice that with ``lead_lag``, and one
        more with ``time_aug``; dtype and framework of ``path``. Differentiable in JAX with respect
        to ``path`` and a ``basepoint`` that is an array.

    Raises:
        TypeError: If an argument has the wrong type, or arrays differ in dtype or framework.
        ValueError: If ``path`` has no point, no coordinate or no time axis, a shape does not fit,
            a number is out of range, or a torch tensor would need this call recorded by autograd.

    Example:
        >>> import numpy as np
        >>> import jax_siglib
        >>> path = np.array([[1.0], [3.0]])
        >>> jax_siglib.transform_path(path, time_aug=True, lead_lag=True)
        array([[1. , 1. , 0. ],
               [1. , 3. , 0.5],
               [3. , 3. , 1. ]])
        >>> jax_siglib.transform_path(path, basepoint=True)
        array([[0.],
               [1.],
               [3.]])
    """
    transform, front = read(time_aug, lead_lag, end_time, basepoint)
    _checks.jobs(n_jobs)
    framework, arrays = _arrays.take(**given(path=path, basepoint=front))
    path, front = arrays if front is not None else (*arrays, None)
    if framework == "jax":
        return cast(jax_moved(path, front, transform), path.dtype)
    check_path(*shapes(path, front))
    moved = transform.apply(_arrays.memory(path), None if front is None else _arrays.memory(front))
    return _arrays.in_kind_of(path, moved)


def transform_path_backprop(
    derivs: Array,
    *,
    time_aug: bool = False,
    lead_lag: bool = False,
    end_time: float = 1.0,
    basepoint: bool | Array = False,
    n_jobs: int = 1,
) -> Array:
    """Derivative of a scalar F of ``transform_path``'s result with respect to the path.

    Args:
        derivs: Derivative of F with respect to the result of ``transform_path``, shape
            (..., T', d').
        time_aug: What ``transform_path`` was given.
        lead_lag: What ``transform_path`` was given.
        end_time: What ``transform_path`` was given; no derivative depends on it.
        basepoint: What ``transform_path`` was given. With False instead, the derivative with
            respect to the basepoint stands before the others in the result.
        n_jobs: Threads, as elsewhere; the sums made here always take one.

    Returns:
        The derivative of F with respect to the path, shape (..., T, d); dtype and framework of
        ``derivs``. float16 and bfloat16 are added up in float32 and rounded once. Differentiable
        in JAX.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If no path has a transform of this shape, a number is out of range, or a torch
            tensor would need this call recorded by autograd.

    Example:
        >>> import numpy as np
        >>> import jax_siglib
        >>> path = np.array([[1.0], [3.0]])
        >>> moved = jax_siglib.transform_path(path, lead_lag=True)  # each point twice in each half
        >>> jax_siglib.transform_path_backprop(np.ones_like(moved), lead_lag=True)
        array([[3.],
               [3.]])
    """
    transform, front = read(time_aug, lead_lag, end_time, basepoint)
    _checks.jobs(n_jobs)
    framework, arrays = _arrays.take(**given(derivs=derivs, basepoint=front))
    derivs = arrays[0]
    if framework == "jax":
        return _jax_transform_path_backprop(derivs, transform)
    _check_derivs(tuple(derivs.shape), transform)
    ct = _arrays.memory(derivs)
    wide = ct.astype(np.float32) if transform.sums(ct.dtype) else ct
    found = transform.adjoint(wide).astype(ct.dtype, copy=False)
    return _arrays.in_kind_of(derivs, found)


def given(**arrays: Any) -> dict[str, Any]:
    """Those of the arrays that were given."""
    return {name: array for name, array in arrays.items() if array is not None}


def shapes(*arrays: Any) -> tuple[Any, ...]:
    """Shapes as tuples, None of what was not given."""
    return tuple(None if x is None else tuple(x.shape) for x in arrays)


def _check_derivs(shape: Shape, transform: Transform) -> None:
    _checks.rank("derivs", shape, ["T'", "d'"])
    points, dimension = shape[-2:]
    dimension -= transform.time_aug
    fits = dimension >= 1 and points >= 1
    if transform.lead_lag:
        fits = fits and dimension % 2 == 0 and points % 2 == 1
        points = (points + 1) // 2
    if not fits or points <= transform.basepoint:
        options = [name for name, on in transform._asdict().items() if on and name != "end_time"]
        wanted = transform.shape((0, 0))  # 0 points: what the transform adds to some multiple
        axes = ", ".join(
            f"{2 if transform.lead_lag else ''}{axis}{f' {extra:+}' if extra else ''}"
            for axis, extra in zip("Td", wanted, strict=True)
        )
        raise ValueError(
            f"derivs must have shape (..., {axes}), that of a path of T >= 1 points"
            f" in d >= 1 coordinates transformed by {', '.join(options) or 'nothing'}; got shape"
            f" {shape}"
        )


@functools.partial(jax.jit, static_argnums=(2,), inline=INLINE)
def jax_moved(path: Any, basepoint: Any, transform: Transform) -> Any:
    """``transform_path`` of JAX arrays, but for the rounding: see ``Transform.apply_jax``."""
    _arrays.check_dtypes(**given(path=path, basepoint=basepoint))
    check_path(*shapes(path, basepoint), symbolic_dimension=True)
    return transform.apply_jax(path, basepoint)


@functools.partial(jax.jit, static_argnums=(1,), inline=INLINE)
def _jax_transform_path_backprop(derivs: Any, transform: Transform) -> Any:
    _arrays.check_dtypes(derivs=derivs)
    _check_derivs(derivs.shape, transform)
    return cast(transform.adjoint_jax(transform.widened(derivs)), derivs.dtype)


def _rows(array: np.ndarray) -> np.ndarray:
    """The same memory with each point as one element: numpy copies these many times faster."""
    if array.shape[-1] > 1 and array.strides[-1] != array.itemsize:
        array = np.ascontiguousarray(array)
    return array.view(np.dtype((np.void, array.shape[-1] * array.itemsize)))[..., 0]


def _packed(array: np.ndarray) -> np.ndarray:
    """A contiguous copy."""
    out = np.empty(array.shape, array.dtype)
    _rows(out)[...] = _rows(array)
    return out


def _with_rank(array: Any, rank: int) -> Any:
    """With unit axes in front, up to this many axes."""
    return array.reshape((1,) * (rank - array.ndim) + array.shape)


def _times(points: int, end_time: float, dtype: Any) -> np.ndarray:
    if not isinstance(points, int):
        raise ValueError(
            "path must have a static number of points T for time_aug, whose times are constants of"
            f" the program; got a path that comes to {points} points"
        )
    make = _kept_times if points <= _KEPT_POINTS else _exact_times
    return make(points, end_time, np.dtype(dtype))


def _exact_times(points: int, end_time: float, dtype: Any) -> np.ndarray:
    """The fractions end_time * t / (points - 1), each rounded once.

    With end_time = m * 2^e for an integer m below 2^53 and m = whole * steps + rest, they are
    2^e (whole * t + rest * t / steps), all of it but the last quotient's remainder in 64 bits. (At
    most 2^26 steps: beyond, a time may be off by a hair more than half a unit of its last place.)
    """
    if abs(end_time) > float(jnp.finfo(dtype).max):
        raise ValueError(f"end_time must be finite in the dtype of path, {dtype}; got {end_time}")
    steps = max(points - 1, 1)
    mantissa, exponent = math.frexp(abs(end_time))
    whole, rest = divmod(int(math.ldexp(mantissa, 53)), steps)
    t = np.arange(points)
    more, left = np.divmod(rest * t, steps)
    floor = whole * t + more
    # A last bit that says "and something more" keeps what is then rounded to fewer bits exact.
    exact = floor + left / steps if dtype == np.float64 else floor | (left != 0)
    times = np.ldexp(exact.astype(np.float64), exponent - 53)
    times = np.copysign(times, end_time).astype(dtype)
    times.flags.writeable = False
    return times


_kept_times: Callable[..., np.ndarray] = functools.lru_cache(maxsize=64)(_exact_times)
