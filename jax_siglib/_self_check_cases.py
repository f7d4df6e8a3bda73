"""What the self-check calls, on what, and what the reference has to be called on for the same."""

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from jax_siglib import (
    _reference,
    _reference_hvp,
    _sig,
    _sig_combine,
    _sig_inverse,
    _sig_join,
    _sig_stream,
    _sig_windows,
)
from jax_siglib import _tensor_algebra as ta

__all__ = ["TOLERANCES", "Case", "cases", "exactly"]

# Largest error allowed, relative to the largest entry of the level (or, for what has no levels, of
# the whole): float64 rounds at 1e-16, float32 at 6e-8, and a path adds up what its joins round.
# Half precision is computed in float32 and rounded once, at 2^-11 (float16) or 2^-8 (bfloat16).
# The operands are the same in every run. Drawn from a dozen other seeds, with every choice at every
# size, hvp and streams and windows erred by 5e-15 in float64 and by 1.3e-6 in float32 (joins by
# 5e-7), but in one dimension, where a whole level may cancel, by up to 5e-4 of what is left.
TOLERANCES = {
    "join": {"float64": 1e-13, "float32": 2e-6, "float16": 4.91e-4, "bfloat16": 3.91e-3},
    "path": {"float64": 1e-12, "float32": 2e-5, "float16": 5.09e-4, "bfloat16": 3.93e-3},
}
_SEED = 2025
_SIZES = [(1, 3), (2, 5), (3, 4), (5, 3), (10, 2), (17, 3), (3, 0), (4, 1)]  # dimension, degree
_POINTS = 9
# The plan for these has everything that there is in plans: streams both ways, pieces and their
# running products, a product of two parts, windows that are parts as they stand, a single point.
_WINDOWS = [(2, 9), (0, 3), (3, 9), (3, 7), (4, 5)]
_MOST_ELEMENTS = math.prod((2, 2))  # of a batch
# To compile the reference is most of what the check takes; it runs a few times for each.
_IN_HASTE = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


class _Choice(NamedTuple):
    """Options of an operation that is called once a size."""

    dtype: str
    prepend: bool
    scalar_term: bool
    initial: bool | None  # of a stream: None where it begins, else whether that has a scalar term
    batch: tuple[int, ...]


# Each dtype meets both ends, both layouts, and paths that begin and that go on; so do these each
# other. In this order each operation has float32 and float64 at a size that is not a trivial one.
_CHOICES = [
    _Choice("float32", False, False, None, ()),
    _Choice("float64", False, True, True, (3,)),
    _Choice("float16", False, False, True, (2, 2)),
    _Choice("bfloat16", False, True, None, ()),
    _Choice("float64", True, False, None, (3,)),
    _Choice("bfloat16", True, False, False, (2, 2)),
    _Choice("float16", True, True, None, ()),
    _Choice("float32", True, True, False, (3,)),
]


class Case(NamedTuple):
    """One operation on one set of operands."""

    name: str
    call: Callable[..., Any]
    operands: tuple[np.ndarray, ...]
    reference: Callable[..., Any]
    reference_operands: tuple[np.ndarray, ...]
    sections: list[list[slice]]  # of each result: what its errors are measured relative to
    tolerance: float
    batch: tuple[int, ...]


def cases() -> Iterator[Case]:
    """All of them, one after another."""
    # Options are dealt out over the sizes, not multiplied with them: all appear, and it is quick.
    options = itertools.cycle(itertools.product((False, True), (False, True), ((), (3,), (2, 2))))
    halves = itertools.cycle(("float16", "bfloat16"))
    dtypes = itertools.cycle(TOLERANCES["join"])
    layouts = itertools.cycle(itertools.product((False, True), ((), (3,), (2, 2))))
    random = np.random.default_rng(_SEED)
    for dimension, degree in _SIZES:
        for dtype in ("float32", "float64", next(halves)):
            for _ in range(2):
                prepend, scalar_term, batch = next(options)
                yield from _join_cases(
                    random, dimension, degree, dtype, prepend, scalar_term, batch
                )
            yield from _path_cases(random, dimension, degree, dtype, scalar_term, batch)
        yield from _product_cases(random, dimension, degree, next(dtypes), *next(layouts))
    choices = itertools.cycle(_CHOICES)  # three a size, so each of these comes to all eight
    for size in _SIZES:
        yield from _second_order_cases(random, *size, next(choices))
        yield from _stream_cases(random, *size, next(choices))
        yield _windows_case(random, *size, next(choices))


def exactly(
    reference: Callable[..., Any], operands: tuple[np.ndarray, ...], batch: tuple[int, ...]
) -> Any:
    """The reference in float64, compiled for as many elements whatever the batch."""
    elements = math.prod(batch)

    def widened(x: np.ndarray) -> np.ndarray:
        each = x.reshape(elements, *x.shape[len(batch) :]).astype(np.float64)
        return np.resize(each, (_MOST_ELEMENTS, *each.shape[1:]))

    def narrowed(x: jax.Array) -> np.ndarray:
        return np.asarray(x)[:elements].reshape(*batch, *x.shape[1:])

    with jax.enable_x64(True):
        found = _compiled(reference)(*map(widened, operands))
    return jax.tree.map(narrowed, found)


def _compiled(reference: Callable[..., Any]) -> Callable[..., Any]:
    """One for all that are the same function with the same keywords."""
    if isinstance(reference, functools.partial):
        return _compiled_once(reference.func, *reference.keywords.items())
    return _compiled_once(reference)


@functools.cache
def _compiled_once(function: Callable[..., Any], *keywords: tuple[str, Any]) -> Callable[..., Any]:
    called = functools.partial(function, **dict(keywords))
    return jax.jit(called, compiler_options=_IN_HASTE)


def _join_cases(
    random: np.random.Generator,
    dimension: int,
    degree: int,
    dtype: str,
    prepend: bool,
    scalar_term: bool,
    batch: tuple[int, ...],
) -> Iterator[Case]:
    length = ta.layout_lengths(dimension, degree)[scalar_term]
    sig, t_sig, ct_out = _numbers(random, 3, (*batch, length), dtype)
    step, t_step = _numbers(random, 2, (*batch, dimension), dtype)
    lower = ta.lower(sig, dimension, degree)
    levels, whole = _levels(dimension, degree, scalar_term), [slice(None)]
    static: dict[str, Any] = {"dimension": dimension, "degree": degree, "prepend": prepend}
    label = f"{dimension=} {degree=} {dtype} {prepend=} {scalar_term=} {batch=}"
    for call, operands, reference_operands, sections in (
        (_sig_join.sig_join, (sig, step), (sig, step), [levels]),
        (
            _sig_join.sig_join_jvp,
            (sig, step, t_sig, t_step),
            (lower, step, t_sig, t_step),
            [levels],
        ),
        (_sig_join.sig_join_backprop, (ct_out, sig, step), (ct_out, lower, step), [levels, whole]),
    ):
        yield Case(
            f"{call.__name__} {label}",
            functools.partial(call, **static),
            operands,
            functools.partial(getattr(_reference, call.__name__), **static),
            reference_operands,
            sections,
            TOLERANCES["join"][dtype],
            batch,
        )


def _product_cases(
    random: np.random.Generator,
    dimension: int,
    degree: int,
    dtype: str,
    scalar_term: bool,
    batch: tuple[int, ...],
) -> Iterator[Case]:
    length = ta.layout_lengths(dimension, degree)[scalar_term]
    sig1, sig2, t_sig1, t_sig2, ct_out = _numbers(random, 5, (*batch, length), dtype)
    lower = tuple(ta.lower(x, dimension, degree) for x in (sig1, sig2))
    levels = _levels(dimension, degree, scalar_term)
    static: dict[str, Any] = {"dimension": dimension, "degree": degree}
    label = f"{dimension=} {degree=} {dtype} {scalar_term=} {batch=}"
    inverse = functools.partial(_reference.sig_inverse, linear=False)
    tangents = t_sig1, t_sig2
    for call, reference, operands, reference_operands in (
        (_sig_combine.sig_combine, _reference.sig_combine, (sig1, sig2), (sig1, sig2)),
        (
            _sig_combine.sig_combine_jvp,
            _reference.sig_combine_jvp,
            (sig1, sig2, *tangents),
            (*lower, *tangents),
        ),
        (
            _sig_combine.sig_combine_backprop,
            _reference.sig_combine_backprop,
            (ct_out, sig1, sig2),
            (ct_out, *lower),
        ),
        (_sig_inverse.sig_inverse, inverse, (sig1,), (sig1,)),
    ):
        yield Case(
            f"{call.__name__} {label}",
            functools.partial(call, **static),
            operands,
            functools.partial(reference, **static),
            reference_operands,
            [levels, levels] if call is _sig_combine.sig_combine_backprop else [levels],
            TOLERANCES["join"][dtype],
            batch,
        )


def _path_cases(
    random: np.random.Generator,
    dimension: int,
    degree: int,
    dtype: str,
    scalar_term: bool,
    batch: tuple[int, ...],
) -> Iterator[Case]:
    path, t_path = _numbers(random, 2, (*batch, _POINTS, dimension), dtype)
    static: dict[str, Any] = {"degree": degree, "scalar_term": scalar_term}
    sig = _sig.sig(path, **static)  # checked itself, one line below
    (ct_out,) = _numbers(random, 1, sig.shape, dtype)
    # Rounded to half precision sig is not near enough to the signature to take steps off it.
    lower = ta.lower(_sig.sig(path.astype("float64"), **static), dimension, degree)
    label = f"{dimension=} {degree=} {dtype} {scalar_term=} {batch=}"
    levels, whole = _levels(dimension, degree, scalar_term), [slice(None)]
    for call, operands, reference_operands, sections in (
        (_sig.sig, (path,), (path,), [levels]),
        (_sig.sig_jvp, (path, t_path), (path, t_path), [levels]),
        (_sig.sig_backprop, (path, sig, ct_out), (ct_out, path, lower), [whole]),
    ):
        # The layout is known to sig_backprop from its operands.
        keywords = {"degree": degree} if call is _sig.sig_backprop else static
        yield Case(
            f"{call.__name__} {label}",
            functools.partial(call, **keywords),
            operands,
            functools.partial(getattr(_reference, call.__name__), **static),
            reference_operands,
            sections,
            TOLERANCES["path"][dtype],
            batch,
        )


def _second_order_cases(
    random: np.random.Generator, dimension: int, degree: int, choice: _Choice
) -> Iterator[Case]:
    dtype, prepend, scalar_term, _, batch = choice
    length = ta.layout_lengths(dimension, degree)[scalar_term]
    d_out, sig, t_sig = _numbers(random, 3, (*batch, length), dtype)
    step, t_step = _numbers(random, 2, (*batch, dimension), dtype)
    path, t_path = _numbers(random, 2, (*batch, _POINTS, dimension), dtype)
    levels, whole = _levels(dimension, degree, scalar_term), [slice(None)]
    static: dict[str, Any] = {"dimension": dimension, "degree": degree, "prepend": prepend}
    of_join, of_path = (d_out, sig, step, t_sig, t_step), (path, t_path, d_out)
    yield Case(
        f"sig_join_hvp {dimension=} {degree=} {dtype} {prepend=} {scalar_term=} {batch=}",
        functools.partial(_sig_join.sig_join_hvp, **static),
        of_join,
        functools.partial(_reference_hvp.sig_join_hvp, **static),
        of_join,
        [levels, whole],
        TOLERANCES["join"][dtype],
        batch,
    )
    yield Case(
        f"sig_hvp {dimension=} {degree=} {dtype} {scalar_term=} {batch=}",
        functools.partial(_sig.sig_hvp, degree=degree),
        of_path,
        functools.partial(_reference_hvp.sig_hvp, degree=degree, scalar_term=scalar_term),
        of_path,
        [whole],
        TOLERANCES["path"][dtype],
        batch,
    )


def _stream_cases(
    random: np.random.Generator, dimension: int, degree: int, choice: _Choice
) -> Iterator[Case]:
    dtype, prepend, scalar_term, initial, batch = choice
    lengths = ta.layout_lengths(dimension, degree)
    (path,) = _numbers(random, 1, (*batch, _POINTS, dimension), dtype)
    (ct_out,) = _numbers(random, 1, (*batch, _POINTS - 1, lengths[scalar_term]), dtype)
    start = np.zeros((*batch, lengths[scalar_term]), dtype)
    given: list[np.ndarray] = []
    if initial is not None:
        given = _numbers(random, 1, (*batch, lengths[initial]), dtype)
        start = ta.in_layout(given[0], scalar_term, dimension, degree)
    static: dict[str, Any] = {"degree": degree, "scalar_term": scalar_term, "prepend": prepend}
    reference = functools.partial(_reference.sig_stream, **static)
    # The backward pass is not given the kernel's own rows: if those are wrong, it need not be.
    rows = exactly(reference, (start, path), batch)

    def stream(path: Any, initial: Any = None) -> Any:
        return _sig_stream.sig_stream(path, initial=initial, **static)

    def backprop(path: Any, rows: Any, ct_out: Any, initial: Any = None) -> Any:
        return _sig_stream.sig_stream_backprop(
            path, rows, ct_out, degree, initial=initial, prepend=prepend
        )

    def backprop_reference(*operands: Any) -> Any:
        ct_start, ct_path = _reference.sig_stream_backprop(*operands, **static)
        if initial is None:
            return ct_path
        return ct_path, ta.in_layout(ct_start, initial, dimension, degree)

    label = f"{dimension=} {degree=} {dtype} {prepend=} {scalar_term=} {initial=} {batch=}"
    lower, lower_rows = (ta.lower(x, dimension, degree) for x in (start, rows))
    yield Case(
        f"sig_stream {label}",
        stream,
        (path, *given),
        reference,
        (start, path),
        [_levels(dimension, degree, scalar_term)],
        TOLERANCES["path"][dtype],
        batch,
    )
    of_start = [] if initial is None else [_levels(dimension, degree, initial)]
    yield Case(
        f"sig_stream_backprop {label}",
        backprop,
        (path, rows.astype(dtype), ct_out, *given),
        backprop_reference,
        (ct_out, lower, path, lower_rows),
        [[slice(None)], *of_start],
        TOLERANCES["path"][dtype],
        batch,
    )


def _windows_case(
    random: np.random.Generator, dimension: int, degree: int, choice: _Choice
) -> Case:
    dtype, _, scalar_term, _, batch = choice
    (path,) = _numbers(random, 1, (*batch, _POINTS, dimension), dtype)
    start, end = np.array(_WINDOWS).T[..., None]
    static: dict[str, Any] = {"degree": degree, "scalar_term": scalar_term}

    def reference(path: Any) -> Any:
        # All pieces at once: a piece whose last point is repeated has the same signature.
        pieces = path[..., np.minimum(start + np.arange(_POINTS), end - 1), :]
        return _reference.sig(pieces, **static)

    return Case(
        f"sig_windows {dimension=} {degree=} {dtype} {scalar_term=} {batch=}",
        functools.partial(_sig_windows.sig_windows, windows=_WINDOWS, **static),
        (path,),
        reference,
        (path,),
        [_levels(dimension, degree, scalar_term)],
        TOLERANCES["path"][dtype],
        batch,
    )


def _levels(dimension: int, degree: int, scalar_term: bool) -> list[slice]:
    scalar = [slice(0, 1)] if scalar_term else []
    return scalar + ta.level_slices(dimension, degree, scalar_term=scalar_term)


def _numbers(
    random: np.random.Generator, count: int, shape: tuple[int, ...], dtype: str
) -> list[np.ndarray]:
    return [random.uniform(-1, 1, shape).astype(dtype) for _ in range(count)]
