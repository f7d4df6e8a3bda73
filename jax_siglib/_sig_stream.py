"""All running signatures of a path, and the derivatives of that."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax

from jax_siglib import _arrays, _checks, _reference
from jax_siglib import _path_transforms as pt
from jax_siglib import _tensor_algebra as ta
from jax_siglib._checks import Shape
from jax_siglib._derivatives import operation
from jax_siglib._native import ext
from jax_siglib._precision import zeros
from jax_siglib._primitive import INLINE, Kernel, sum_to, vary
from jax_siglib._sig import sig_of_path
from jax_siglib._sig_pieces import ways
from jax_siglib._stream_pieces import rows_fit, rows_of_pieces

__all__ = ["check_initial", "sig_stream", "sig_stream_backprop", "sig_stream_in_both_modes"]

Array = TypeVar("Array", bound=Any)
Static = tuple[int, bool, bool, int]  # degree, prepend, scalar_term, n_jobs


def _rows(path: Shape, degree: int, scalar_term: bool) -> Shape:
    return path[-2] - 1, ta.layout_lengths(path[-1], degree)[scalar_term]


def _lower_and_path(initial: Any, path: Any, **params: Any) -> tuple[Any, Any]:
    return ta.lower(initial, path.shape[-1], params["degree"]), path


def _lift(lower: Any, path: Any, *, length: int, **params: Any) -> tuple[Any, Any]:
    return ta.lift(lower, length, path.shape[-1], params["degree"]), path


def _lower_rows(initial_lower: Any, path: Any, **params: Any) -> tuple[Any]:
    """What the steps started from, below level N: the stream of lower degree."""
    params |= {"degree": max(params["degree"] - 1, 0), "scalar_term": False, "n_jobs": 1}
    return (OPERATION.forward.bind(initial_lower, path, **params)[0],)


def _in_mode(both_modes: bool, initial: Any, path: Any, static: Static) -> Any:
    if both_modes:
        return OPERATION.forward.bind(initial, path, **_params(*static))[0]
    return _stream(initial, path, static)


def _in_pieces(both_modes: bool) -> Callable[..., Any]:
    def stream(initial: Any, path: Any, *, degree: int, prepend: bool, scalar_term: bool) -> Any:
        return _in_mode(both_modes, initial, path, (degree, prepend, scalar_term, 1))

    def sig(path: Any, degree: int, scalar_term: bool) -> Any:
        return sig_of_path(path, degree, scalar_term, 1, both_modes)

    return functools.partial(rows_of_pieces, stream, sig)


_WAYS = ways(
    _in_pieces(both_modes=True),
    _in_pieces(both_modes=False),
    operands=2,
    base=_lower_and_path,
    lift=_lift,
    fits=rows_fit,
)
OPERATION = operation(
    "sig_stream",
    forward=Kernel(
        _reference.sig_stream,
        "jax_siglib_sig_stream_v1",
        ranks=(1, 2),
        results=lambda initial, path, degree, scalar_term, **_: [_rows(path, degree, scalar_term)],
        on_gpu=_WAYS.forward,
    ),
    tangent=Kernel(
        _reference.sig_stream_jvp,
        "jax_siglib_sig_stream_jvp_v1",
        ranks=(1, 2, 1, 2),
        results=lambda initial_lower, path, t_initial, t_path, degree, scalar_term, **_: [
            _rows(path, degree, scalar_term)
        ],
        on_gpu=_WAYS.tangent,
    ),
    backprop=Kernel(
        _reference.sig_stream_backprop,
        "jax_siglib_sig_stream_backprop_v1",
        ranks=(2, 1, 2, 2),
        results=lambda ct_out, initial_lower, path, stream_lower, **_: [ct_out[-1:], path],
        on_gpu=_WAYS.backprop,
    ),
    hvp=Kernel(
        None,
        "jax_siglib_sig_stream_hvp_v1",
        ranks=(2, 1, 2, 1, 2),
        results=lambda ct_out, initial_lower, path, *_, **__: [initial_lower, path],
        on_gpu=_WAYS.hvp,
    ),
    attributes=("degree", "prepend", "n_jobs"),  # scalar_term: plain from the lengths
    base=_lower_and_path,
    lift=_lift,
    residual=_lower_rows,
)


def sig_stream(
    path: Array,
    degree: int,
    *,
    initial: Array | None = None,
    prepend: bool = False,
    scalar_term: bool = False,
    n_jobs: int = 1,
) -> Array:
    r"""All running signatures of piecewise linear paths: a row for each step.

    Row t is the signature of the points 0 to t + 1, each made from the one before by ``sig_join``.
    A single point has no row of its own: the rows are one less than the points, as usual in the
    field (Kidger & Lyons, "Signatory", ICLR 2021, ``stream=True``). For the backward pass the rows
    are kept below their highest level, and the steps are taken back in one sweep.

    Args:
        path: The points of the paths, shape (..., T, d) with T and d at least 1. float16, bfloat16
            (both computed in float32 and rounded once), float32 or float64; a JAX array, a numpy
            array or a torch CPU tensor.
        degree: Truncation degree N, at least 0.
        initial: The signature of what came before, from which the rows continue, as with
            ``sig_join``: shape (..., L), with or without the scalar term; leading shape, dtype and
            framework of ``path``. None for a path that begins here.
        prepend: Whether to grow the path at its beginning instead: row t is the signature of the
            points from t on, and ``initial`` is that of what comes after.
        scalar_term: Whether each row begins with level 0, the constant 1.
        n_jobs: Threads: 1 is serial, -1 all there are, below -1 all but ``-1 - n_jobs``.

    Returns:
        The signatures, shape (..., T - 1, L) with L the ``sig_length``; dtype and framework of
        ``path``.

    Raises:
        TypeError: If an argument has the wrong type, or arrays differ in dtype or framework.
        ValueError: If ``path`` has no point, no coordinate or no time axis, ``initial`` does not
            fit it, a number is out of range, or a torch tensor would need this call recorded by
            autograd.

    Example:
        >>> import numpy as np
        >>> import jax_siglib
        >>> path = np.array([[0.0], [1.0], [3.0]])
        >>> jax_siglib.sig_stream(path, 2)  # x and x^2/2 of what lies behind
        array([[1. , 0.5],
               [3. , 4.5]])
        >>> jax_siglib.sig_stream(path, 2, prepend=True)  # and of what lies ahead
        array([[3. , 4.5],
               [2. , 2. ]])
    """
    return _call(path, degree, initial, prepend, scalar_term, n_jobs, both_modes=False)


def sig_stream_in_both_modes(
    path: Any, degree: Any, initial: Any, prepend: Any, scalar_term: Any, n_jobs: Any
) -> Any:
    """``sig_stream`` for ``jax_siglib.forward_mode``."""
    return _call(path, degree, initial, prepend, scalar_term, n_jobs, both_modes=True)


def _call(
    path: Any,
    degree: Any,
    initial: Any,
    prepend: Any,
    scalar_term: Any,
    n_jobs: Any,
    both_modes: bool,
) -> Any:
    degree = _checks.integer("degree", degree, at_least=0)
    prepend = _checks.flag("prepend", prepend)
    scalar_term = _checks.flag("scalar_term", scalar_term)
    n_jobs = _checks.jobs(n_jobs)
    framework, arrays = _take(path=path, initial=initial)
    if framework == "jax":
        static = degree, prepend, scalar_term, n_jobs
        return _jax_sig_stream(arrays, static, both_modes)
    shapes = _shapes(arrays)
    _check_shapes(**shapes, degree=degree)
    path, start = arrays["path"], _start(arrays, degree)
    shape = (*shapes["path"][:-2], *_rows(shapes["path"], degree, scalar_term))
    return _arrays.call(ext.sig_stream, (start, path), (degree, prepend, n_jobs), [shape])[0]


def sig_stream_backprop(
    path: Array,
    stream: Array,
    stream_derivs: Array,
    degree: int,
    *,
    initial: Array | None = None,
    prepend: bool = False,
    n_jobs: int = 1,
) -> Array | tuple[Array, Array]:
    """Derivative of a scalar F of ``sig_stream``'s result with respect to what went into it.

    One sweep against the steps: the derivative with respect to the running signature gains that of
    its row and goes back through the join that made it, whose operand is the row before. Nothing is
    undone, so nothing drifts, however long the path. The highest level of ``stream`` and
    ``initial`` is not read; in float16 and bfloat16 no level of ``stream`` is, but the rows are
    computed again, since these were rounded. On JAX arrays the result can be differentiated again,
    with respect to ``path``, ``initial`` and ``stream_derivs``. ``stream`` is taken for what it has
    to be, the rows of ``path``, and the derivative with respect to it is 0.

    Args:
        path: The points given to ``sig_stream``, shape (..., T, d).
        stream: The result of ``sig_stream``, shape (..., T - 1, L), with or without the scalar
            term; leading shape, dtype and framework of ``path``.
        stream_derivs: Derivative of F with respect to ``stream``, of the same shape.
        degree: Truncation degree N of the signatures, at least 0.
        initial: What ``sig_stream`` was given.
        prepend: What ``sig_stream`` was given.
        n_jobs: Threads: 1 is serial, -1 all there are, below -1 all but ``-1 - n_jobs``.

    Returns:
        The derivative of F with respect to ``path``; shape, dtype and framework of ``path``. With
        ``initial`` a pair, whose second is the derivative with respect to that, 0 in a scalar term.

    Raises:
        TypeError: If an argument has the wrong type, or arrays differ in dtype or framework.
        ValueError: If shapes do not fit each other or ``degree``, a number is out of range, or a
            torch tensor would need this call recorded by autograd.

    Example:
        >>> import numpy as np
        >>> import jax_siglib
        >>> path = np.array([[0.0], [1.0], [3.0]])
        >>> stream = jax_siglib.sig_stream(path, 2)
        >>> derivs = np.array([[1.0, 0.0], [0.0, 1.0]])  # of the first x, and the second x^2/2
        >>> jax_siglib.sig_stream_backprop(path, stream, derivs, 2)
        array([[-4.],
               [ 1.],
               [ 3.]])
    """
    degree = _checks.integer("degree", degree, at_least=0)
    prepend = _checks.flag("prepend", prepend)
    n_jobs = _checks.jobs(n_jobs)
    framework, arrays = _take(
        path=path, stream=stream, stream_derivs=stream_derivs, initial=initial
    )
    if framework == "jax":
        found = _jax_sig_stream_backprop(arrays, (degree, prepend, n_jobs))
    else:
        shapes = _shapes(arrays)
        _check_shapes(**shapes, degree=degree)
        start = _start(arrays, degree)
        operands = arrays["stream_derivs"], start, arrays["path"], arrays["stream"]
        results = [tuple(start.shape), shapes["path"]]
        static = degree, prepend, n_jobs
        found = _arrays.call(ext.sig_stream_backprop, operands, static, results)
    d_initial, d_path = found
    return d_path if initial is None else (d_path, d_initial)


def _take(**arrays: Any) -> tuple[str, dict[str, Any]]:
    """As ``_arrays.take``, by name, without ``initial`` if there is none."""
    if arrays["initial"] is None:
        del arrays["initial"]
    framework, taken = _arrays.take(**arrays)
    return framework, dict(zip(arrays, taken, strict=True))


def _shapes(arrays: dict[str, Any]) -> dict[str, Shape]:
    return dict(zip(arrays, _arrays.shapes_of(list(arrays.values())), strict=True))


def check_initial(initial: Shape, path: Shape, degree: int) -> None:
    """Refuse what is no signature for a path of this shape to continue."""
    _checks.rank("initial", initial, ["L"])
    ta.check_length("initial", initial[-1], path[-1], degree)
    _checks.batch_shape("initial", initial[:-1], path[:-2], "path")


def _check_shapes(
    path: Shape,
    *,
    degree: int,
    initial: Shape | None = None,
    stream: Shape | None = None,
    stream_derivs: Shape | None = None,
) -> None:
    pt.check_path(path)
    if initial is not None:
        check_initial(initial, path, degree)
    if stream is not None and stream_derivs is not None:
        _checks.rank("stream", stream, ["T - 1", "L"])
        ta.check_length("stream", stream[-1], path[-1], degree)
        _checks.batch_shape("stream", stream[:-2], path[:-2], "path")
        if stream[-2] != path[-2] - 1:
            raise ValueError(
                f"stream must have shape (..., T - 1, L) with {path[-2] - 1} rows, one less than"
                f" the points of path, {path}; got shape {stream}"
            )
        _checks.same_shape("stream_derivs", stream_derivs, stream, "stream")


def _start(arrays: dict[str, Any], degree: int) -> Any:
    """What the rows continue from: ``initial``, or the signature of a path that does not move."""
    if "initial" in arrays:
        return arrays["initial"]
    path = arrays["path"]
    return _arrays.zeros_like_batch(path[..., 0, :], ta.layout_lengths(path.shape[-1], degree)[0])


# From here on JAX arrays; see _sig_join.py, whose pattern this is.


def _jax_start(path: Any, initial: Any, degree: int, scalar_term: bool) -> Any:
    """The same in the layout of the rows; of unit leading axes where it is made here."""
    dimension = path.shape[-1]
    if initial is None:
        lead, length = (1,) * (path.ndim - 2), ta.layout_lengths(dimension, degree)[scalar_term]
        return zeros((*lead, length), path.dtype)
    return ta.in_layout(initial, scalar_term, dimension, degree)


def _params(degree: int, prepend: bool, scalar_term: bool, n_jobs: int) -> dict[str, Any]:
    return {
        "degree": degree,
        "prepend": prepend,
        "scalar_term": scalar_term,
        "n_jobs": n_jobs,
    }


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _stream(initial: Any, path: Any, static: Static) -> Any:
    return OPERATION.forward.bind(initial, path, **_params(*static))[0]


def _stream_fwd(initial: Any, path: Any, static: Static) -> Any:
    params = _params(*static)
    out = OPERATION.forward.bind(initial, path, **params)[0]
    base = _lower_and_path(initial, path, **params)
    return out, (*base, ta.lower(out, path.shape[-1], params["degree"]))


def _stream_bwd(static: Static, residual: Any, ct_out: Any) -> Any:
    lower, path, _ = residual
    ct_initial, ct_path = OPERATION.backprop.bind(ct_out, *residual, **_params(*static))
    return (
        sum_to(ct_initial, (*lower.shape[:-1], ct_out.shape[-1])),
        sum_to(ct_path, path.shape),
    )


_stream.defvjp(_stream_fwd, _stream_bwd)


@functools.partial(jax.jit, static_argnames=("static", "both_modes"), inline=INLINE)
def _jax_sig_stream(arrays: dict[str, Any], static: Static, both_modes: bool) -> Any:
    degree, _, scalar_term, _ = static
    _arrays.check_dtypes(**arrays)
    _check_shapes(**_shapes(arrays), degree=degree)
    path = arrays["path"]
    start, path = vary(_jax_start(path, arrays.get("initial"), degree, scalar_term), path)
    return _in_mode(both_modes, start, path, static)


@functools.partial(jax.jit, static_argnames=("static",), inline=INLINE)
def _jax_sig_stream_backprop(arrays: dict[str, Any], static: tuple[int, bool, int]) -> Any:
    degree, prepend, n_jobs = static
    _arrays.check_dtypes(**arrays)
    _check_shapes(**_shapes(arrays), degree=degree)
    path, stream, stream_derivs = (arrays[x] for x in ("path", "stream", "stream_derivs"))
    initial, dimension = arrays.get("initial"), path.shape[-1]
    scalar_term = ta.has_scalar_term(stream.shape[-1], dimension, degree)
    params = _params(degree, prepend, scalar_term, n_jobs)
    base = _lower_and_path(_jax_start(path, initial, degree, scalar_term), path, **params)
    operands = vary(stream_derivs, *base, ta.lower(stream, dimension, degree))
    d_initial, d_path = OPERATION.backprop.bind(*operands, **params)
    if initial is not None:
        scalar_term = ta.has_scalar_term(initial.shape[-1], dimension, degree)
        d_initial = ta.in_layout(d_initial, scalar_term, dimension, degree)
    return d_initial, d_path
