"""OPS, the one table that every generic test runs over, and what goes with it."""

import functools
import math
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import oracle
import pytest

import jax_siglib
from jax_siglib import _reference, _reference_hvp, forward_mode
from jax_siglib import _tensor_algebra as ta

HALVES = ("float16", "bfloat16")  # numpy knows the latter through ml_dtypes, which JAX brings
DTYPES = (*HALVES, "float32", "float64")
# To test what stands for something else as well: for the tables in Markdown, not for every change.
EXHAUSTIVE = os.environ.get("JAX_SIGLIB_EXHAUSTIVE") == "1"


class Case(NamedTuple):
    """What an operation is asked for, its arrays apart."""

    d: int
    degree: int
    prepend: bool = False
    scalar_term: bool = False
    points: int = 4
    # Of the path, for the operations that know them.
    time_aug: bool = False
    lead_lag: bool = False
    end_time: float = 1.0
    basepoint: bool = False

    def length(self) -> int:
        return oracle.length(self.dimension(), self.degree, self.scalar_term)

    def dimension(self) -> int:
        return (2 if self.lead_lag else 1) * self.d + self.time_aug

    def joins(self) -> int:
        """Steps of the path, transformed."""
        return (2 if self.lead_lag else 1) * (self.points - 1 + self.basepoint)

    def flags(self) -> dict[str, Any]:
        """The path's transforms, as the functions take them."""
        names = ("time_aug", "lead_lag", "end_time", "basepoint")
        return {name: getattr(self, name) for name in names} if self[5:] != Case(1, 1)[5:] else {}

    def moved(self, path: np.ndarray) -> np.ndarray:
        """A path (T, d) after its transforms."""
        front = path[0] * 0 if self.basepoint else None
        return oracle.transform(path, **{**self.flags(), "basepoint": front})

    def moved_tangent(self, t_path: np.ndarray) -> np.ndarray:
        return self.moved(t_path) - self.moved(t_path * 0)

    def by_points(self, ct: np.ndarray, path: np.ndarray) -> np.ndarray:
        """The derivative by the path, from that by the transformed path."""
        if not self.flags():  # coordinate by coordinate, hundreds of them take minutes
            return ct
        front = path[0] * 0 if self.basepoint else None
        return oracle.transform_backprop(ct, path, **{**self.flags(), "basepoint": front})


class Truth(NamedTuple):
    """Exact results, and arrays whose levels have the scale that errors are measured against."""

    results: list[Any]
    scales: list[Any]


class Op(NamedTuple):
    """An operation: how it is called, what it takes, and what it must give.

    Attributes:
        call: The function under test.
        takes: Its arrays by name, each with the names of its axes behind the batch axes.
        keywords: Its other arguments for a case.
        oracle: The results for one element of a batch, from the definition.
        reference: The plain jax.numpy implementation, called as ``call`` is.
        results: Axes of each result, as in ``takes``.
        has_prepend: Whether it knows ``prepend``.
        tied: Those arguments that are functions of others: with them given freely the function may
            be anything, and so may its derivatives.
        errors: Joins that a result went through one after another, each of which may err as far as
            a single one may.
        in_both_modes: Whether it is that of ``jax_siglib.forward_mode``.
    """

    name: str
    call: Callable[..., Any]
    takes: dict[str, str]
    keywords: Callable[[Case], dict[str, Any]]
    oracle: Callable[..., Any]
    reference: Callable[..., Any]
    results: tuple[str, ...]
    has_prepend: bool = False
    tied: tuple[str, ...] = ()
    errors: Callable[[Case], int] = lambda case: 1
    in_both_modes: bool = False

    @property
    def order(self) -> int:
        """Which derivative of another operation it is."""
        return {"jvp": 1, "backprop": 1, "hvp": 2}.get(self.name.rpartition("_")[2], 0)

    def goes_to(self, order: int) -> bool:
        """Whether every way of differentiating it this often is tested.

        From the third order on, counted from the operation itself, JAX differentiates the plain
        jax.numpy reference, by rules of ours that know of no operation. Programs with a loop over
        steps then take many seconds each to compile; the joins, which have none, stand for them.
        """
        return EXHAUSTIVE or self.order + order <= 2 or self.name.startswith("sig_join")

    @property
    def forward(self) -> "Op":
        """The operation that it is a derivative of."""
        op = BY_NAME[self.name.rpartition("_")[0]]
        return both_modes(op) if self.in_both_modes else op

    def bind(self, case: Case, **more: Any) -> Callable[..., Any]:
        return functools.partial(self.call, **self.keywords(case), **more)

    def bind_reference(self, case: Case) -> Callable[..., Any]:
        return functools.partial(self.reference, case)

    def free(self, case: Case, reference: bool = False) -> Callable[..., Any]:
        """The function under test, or the reference, of its free arguments alone."""
        function = self.bind_reference(case) if reference else self.bind(case)
        if not self.tied:
            return function
        op = self.forward
        of_free = op.bind_reference(case) if reference else op.bind(case)
        n = len(op.takes)  # what it is a function of stands first, then comes the tied argument
        return lambda *x: function(*x[:n], of_free(*x[:n]), *x[n:])

    def draw_free(self, *args: Any) -> list[Any]:
        """As ``draw``, the free arguments alone."""
        arrays = self.draw(*args)
        return [x for name, x in zip(self.takes, arrays, strict=True) if name not in self.tied]

    def shape(self, axes: str, case: Case) -> tuple[int, ...]:
        sizes = {"L": case.length(), "T": case.points, "S": case.points - 1, "d": case.d}
        return tuple(sizes[axis] for axis in axes)

    def draw(self, seed: int, case: Case, dtype: str, batch: tuple[int, ...] = ()) -> list[Any]:
        """Arguments: uniform in [-1, 1], multiples of 1/64 so that float32 holds them exactly."""
        rng = np.random.default_rng([seed, *map(int, case[:5]), *batch])
        arrays = [
            (rng.integers(-64, 65, (*batch, *self.shape(axes, case))) / 64).astype(dtype)
            for axes in self.takes.values()
        ]
        if self.tied:
            n = len(self.forward.takes)
            wide = [x.astype(np.float64) for x in arrays[:n]]
            of_one = functools.partial(self.forward.oracle, case)
            arrays[n] = over_batch(of_one, wide, batch)[0].astype(dtype)
        return arrays

    def truth(self, arrays: list[Any], case: Case, batch: tuple[int, ...] = ()) -> "Truth":
        """What the oracle says in float64."""
        wide = [np.asarray(x).astype(np.float64) for x in arrays]
        of_one = functools.partial(self.oracle, case)
        results = over_batch(of_one, wide, batch)
        if "path" not in self.takes:
            return Truth(results, results)
        # Joins that cancel still round at the scale they have on the way, which is that of the
        # path with every increment positive.
        straight = [np.abs(x) for x in wide]
        for i, axes in enumerate(self.takes.values()):
            if axes == "Td":
                steps = np.abs(np.diff(wide[i], axis=-2, prepend=0))
                straight[i] = np.cumsum(steps, axis=-2)
        return Truth(results, over_batch(of_one, straight, batch))

    def tolerance(self, dtype: str, case: Case, axes: str = "L") -> float:
        """Issue 2's: 1e-13 in float64, 2e-6 in float32 of the scale of the level, for one join.

        Where all levels add up to a gradient of points, float32 may be off by 5e-6. Half precision
        is float32, rounded once: half a unit in the last place of the largest entry.
        """
        float32 = 2e-6 if axes[-1] == "L" else 5e-6
        inside = {"float64": 1e-13}.get(dtype, float32) * max(self.errors(case), 1)
        return inside + {"float16": 2.0**-11, "bfloat16": 2.0**-8}.get(dtype, 0.0)


def over_batch(function, arrays, batch):
    """Results of a function of single elements, for all elements of a batch."""
    flat = [x.reshape(math.prod(batch), *x.shape[len(batch) :]) for x in arrays]
    each = [as_tuple(function(*operands)) for operands in zip(*flat, strict=True)]
    return [np.stack(x).reshape(*batch, *x[0].shape) for x in zip(*each, strict=True)]


def to_torch(torch, x):
    """A tensor over the memory of a numpy array; torch does not know numpy's bfloat16."""
    if x.dtype == "bfloat16":
        return torch.from_numpy(x.view("int16")).view(torch.bfloat16)
    return torch.from_numpy(x)


def from_torch(torch, x):
    """The other way."""
    if x.dtype == torch.bfloat16:
        return x.view(torch.int16).numpy().view("bfloat16")
    return x.numpy()


def as_tuple(x):
    return tuple(x) if isinstance(x, (tuple, list)) else (x,)


def join_keywords(case: Case) -> dict[str, Any]:
    return {"dimension": case.d, "degree": case.degree, "prepend": case.prepend}


def _join_oracle(function):
    return lambda case, *x: function(*x, case.d, case.degree, case.prepend)


def sig_keywords(case: Case) -> dict[str, Any]:
    return {"dimension": case.d, "degree": case.degree}


def _sig_oracle(function):
    return lambda case, *x: function(*x, case.d, case.degree)


def _lower(sig, case):
    return ta.lower(sig, case.d, case.degree)


def _reference_linear_sig(case, displacement):
    unit = np.zeros((*displacement.shape[:-1], case.length()), displacement.dtype)
    return _reference.sig_join(unit, displacement, **join_keywords(case))


def with_initial(function):
    """A function of streams with ``initial`` where the table wants its arrays: behind ``path``."""

    @functools.wraps(function)
    def call(path, initial, *arguments, **keywords):
        return function(path, *arguments, initial=initial, **keywords)

    return call


def stream_keywords(case: Case) -> dict[str, Any]:
    return {"degree": case.degree, "prepend": case.prepend, "scalar_term": case.scalar_term}


def _reference_stream_backprop(case, path, initial, stream, g):
    lower, rows = _lower(initial, case), _lower(stream, case)
    ct_initial, ct_path = _reference.sig_stream_backprop(
        g, lower, path, rows, **stream_keywords(case)
    )
    return ct_path, ct_initial


OPS = [
    Op(
        "sig_join",
        jax_siglib.sig_join,
        {"sig": "L", "displacement": "d"},
        join_keywords,
        _join_oracle(oracle.sig_join),
        lambda case, sig, v: _reference.sig_join(sig, v, **join_keywords(case)),
        ("L",),
        has_prepend=True,
    ),
    Op(
        "sig_join_jvp",
        jax_siglib.sig_join_jvp,
        {"sig": "L", "displacement": "d", "t_sig": "L", "t_displacement": "d"},
        join_keywords,
        _join_oracle(oracle.sig_join_jvp),
        lambda case, sig, v, t_sig, t_v: _reference.sig_join_jvp(
            _lower(sig, case), v, t_sig, t_v, **join_keywords(case)
        ),
        ("L",),
        has_prepend=True,
    ),
    Op(
        "sig_join_backprop",
        jax_siglib.sig_join_backprop,
        {"d_out": "L", "sig": "L", "displacement": "d"},
        join_keywords,
        _join_oracle(oracle.sig_join_backprop),
        lambda case, d_out, sig, v: _reference.sig_join_backprop(
            d_out, _lower(sig, case), v, **join_keywords(case)
        ),
        ("L", "d"),
        has_prepend=True,
    ),
    Op(
        "sig",
        jax_siglib.sig,
        {"path": "Td"},
        lambda case: {
            "degree": case.degree,
            "scalar_term": case.scalar_term,
            **case.flags(),
        },
        lambda case, path: oracle.sig(case.moved(path), case.degree, case.scalar_term),
        lambda case, path: _reference.sig(path, degree=case.degree, scalar_term=case.scalar_term),
        ("L",),
        errors=lambda case: case.joins(),
    ),
    Op(
        "sig_jvp",
        jax_siglib.sig_jvp,
        {"path": "Td", "t_path": "Td"},
        lambda case: {
            "degree": case.degree,
            "scalar_term": case.scalar_term,
            **case.flags(),
        },
        lambda case, path, t_path: oracle.sig_jvp(
            case.moved(path), case.moved_tangent(t_path), case.degree, case.scalar_term
        ),
        lambda case, path, t_path: _reference.sig_jvp(
            path, t_path, degree=case.degree, scalar_term=case.scalar_term
        ),
        ("L",),
        errors=lambda case: case.joins(),
    ),
    Op(
        "sig_backprop",
        jax_siglib.sig_backprop,
        {"path": "Td", "sig": "L", "sig_derivs": "L"},
        lambda case: {"degree": case.degree, **case.flags()},
        lambda case, path, sig, g: case.by_points(
            oracle.sig_backprop(case.moved(path), g, case.degree), path
        ),
        lambda case, path, sig, g: _reference.sig_backprop(
            g, path, _lower(sig, case), degree=case.degree, scalar_term=case.scalar_term
        ),
        ("Td",),
        tied=("sig",),
        # As many joins again are undone, and there were as many in the signature given.
        errors=lambda case: 3 * case.joins(),
    ),
    Op(
        "sig_join_hvp",
        jax_siglib.sig_join_hvp,
        {"d_out": "L", "sig": "L", "displacement": "d", "t_sig": "L", "t_displacement": "d"},
        join_keywords,
        _join_oracle(oracle.sig_join_hvp),
        lambda case, *x: _reference_hvp.sig_join_hvp(*x, **join_keywords(case)),
        ("L", "d"),
        has_prepend=True,
    ),
    Op(
        "sig_hvp",
        jax_siglib.sig_hvp,
        {"path": "Td", "t_path": "Td", "sig_derivs": "L"},
        lambda case: {"degree": case.degree, **case.flags()},
        lambda case, path, t_path, g: case.by_points(
            oracle.sig_hvp(case.moved(path), case.moved_tangent(t_path), g, case.degree), path
        ),
        lambda case, *x: _reference_hvp.sig_hvp(
            *x, degree=case.degree, scalar_term=case.scalar_term
        ),
        ("Td",),
        errors=lambda case: 3 * case.joins(),
    ),
    Op(
        "linear_sig",
        jax_siglib.linear_sig,
        {"displacement": "d"},
        lambda case: {
            "dimension": case.d,
            "degree": case.degree,
            "scalar_term": case.scalar_term,
        },
        lambda case, v: oracle.linear_sig(v, case.degree, case.scalar_term),
        _reference_linear_sig,
        ("L",),
    ),
    Op(
        "sig_combine",
        jax_siglib.sig_combine,
        {"sig1": "L", "sig2": "L"},
        sig_keywords,
        _sig_oracle(oracle.sig_combine),
        lambda case, a, b: _reference.sig_combine(a, b, **sig_keywords(case)),
        ("L",),
    ),
    Op(
        "sig_combine_jvp",
        jax_siglib.sig_combine_jvp,
        {"sig1": "L", "sig2": "L", "t_sig1": "L", "t_sig2": "L"},
        sig_keywords,
        _sig_oracle(oracle.sig_combine_jvp),
        lambda case, a, b, *t: _reference.sig_combine_jvp(
            _lower(a, case), _lower(b, case), *t, **sig_keywords(case)
        ),
        ("L",),
    ),
    Op(
        "sig_combine_backprop",
        jax_siglib.sig_combine_backprop,
        {"deriv": "L", "sig1": "L", "sig2": "L"},
        sig_keywords,
        _sig_oracle(oracle.sig_combine_backprop),
        lambda case, g, a, b: _reference.sig_combine_backprop(
            g, _lower(a, case), _lower(b, case), **sig_keywords(case)
        ),
        ("L", "L"),
    ),
    Op(
        "sig_inverse",
        jax_siglib.sig_inverse,
        {"sig": "L"},
        sig_keywords,
        _sig_oracle(oracle.sig_inverse),
        lambda case, sig: _reference.sig_inverse(sig, linear=False, **sig_keywords(case)),
        ("L",),
    ),
    Op(
        "sig_stream",
        with_initial(jax_siglib.sig_stream),
        {"path": "Td", "initial": "L"},
        stream_keywords,
        lambda case, path, initial: oracle.sig_stream(path, initial, case.degree, case.prepend),
        lambda case, path, initial: _reference.sig_stream(initial, path, **stream_keywords(case)),
        ("SL",),
        has_prepend=True,
        errors=lambda case: case.points - 1,
    ),
    Op(
        "sig_stream_backprop",
        with_initial(jax_siglib.sig_stream_backprop),
        {"path": "Td", "initial": "L", "stream": "SL", "stream_derivs": "SL"},
        lambda case: {"degree": case.degree, "prepend": case.prepend},
        lambda case, path, initial, stream, g: oracle.sig_stream_backprop(
            path, initial, g, case.degree, case.prepend
        ),
        _reference_stream_backprop,
        ("Td", "L"),
        has_prepend=True,
        tied=("stream",),
        errors=lambda case: 2 * (case.points - 1),
    ),
]
BY_NAME = {op.name: op for op in OPS}


def both_modes(op: Op) -> Op:
    """The operation as ``jax_siglib.forward_mode`` has it."""
    call = getattr(forward_mode, op.name)
    if getattr(jax_siglib, op.name) is call:
        call = op.call
    elif "initial" in op.takes:
        call = with_initial(call)
    return op._replace(call=call, in_both_modes=True)


by_op = pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)


def check(op: Op, case: Case, found: Any, truth: Truth, dtype: str, label: Any = "") -> None:
    """Hold results against the oracle's, level by level, relative to the scale of the level."""
    found = as_tuple(found)
    for axes, ours, exact, scale in zip(op.results, found, *truth, strict=True):
        ours, tolerance = np.asarray(ours), op.tolerance(dtype, case, axes)
        assert ours.dtype == dtype, (op.name, case, label)
        assert ours.shape == exact.shape, (op.name, case, label)
        sections = [slice(None)]
        if axes[-1] == "L":
            sections = oracle.level_slices(case.dimension(), case.degree, case.scalar_term)
        for s in sections:
            close(
                ours[..., s], exact[..., s], tolerance, op.name, case, s, label, scale=scale[..., s]
            )


def close(found: Any, expected: Any, tolerance: float, *label: Any, scale: Any = None) -> None:
    """Largest difference at most ``tolerance`` of the largest entry expected (or of ``scale``)."""
    found, expected = np.asarray(found), np.asarray(expected).astype(np.float64)
    assert found.shape == expected.shape, label
    if expected.size == 0:
        return
    most = np.max(np.abs(expected if scale is None else scale))
    error = np.max(np.abs(found.astype(np.float64) - expected))
    assert error <= tolerance * most, f"{label}: off by {error:.3g} of {most:.3g}"
