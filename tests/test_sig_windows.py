"""Windows of a path: each as if computed alone, whatever the others, and at what cost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import HALVES, close, from_torch, to_torch

import jax_siglib
from jax_siglib import (
    _windows_plan,
    dyadic_windows,
    expanding_windows,
    forward_mode,
    sig,
    sig_windows,
    sliding_windows,
)

D, DEGREE = 2, 3
POINTS = 41
RNG = np.random.default_rng(0)
STARTS = RNG.integers(0, POINTS, 30)
RANDOM = np.stack([STARTS, RNG.integers(STARTS + 1, POINTS + 1)], -1)
WINDOWS = {
    "expanding": expanding_windows(POINTS),
    "expanding, coarse": expanding_windows(POINTS, first=1, step=9),
    "sliding": sliding_windows(POINTS, 8),
    "sliding, coarse": sliding_windows(POINTS, 12, 4),
    "apart": sliding_windows(POINTS, 5, 11),
    "dyadic": dyadic_windows(POINTS, 3),
    "single points": dyadic_windows(2, 2),
    "random": RANDOM,
    "none": [],
    "none, of pairs": np.empty((0, 2)),
}


def draw(*shape, seed=1):
    return np.random.default_rng(seed).uniform(-1, 1, shape)


def alone(path, windows, **options):
    """Each window by itself."""
    rows = [sig(path[..., a:b, :], DEGREE, **options) for a, b in np.asarray(windows)]
    length = jax_siglib.sig_length(D, DEGREE, **options)
    return np.stack(rows, -2) if rows else np.zeros((*path.shape[:-2], 0, length))


@pytest.mark.parametrize("windows", WINDOWS.values(), ids=WINDOWS)
def test_each_as_if_alone(windows):
    """On numpy arrays, with and without batch, with and without scalar term."""
    for path, scalar_term in ((draw(3, POINTS, D), True), (draw(POINTS, D), False)):
        found = sig_windows(path, windows, DEGREE, scalar_term=scalar_term)
        # Both are sums of some 40 joins; see test_sig.py.
        close(found, alone(path, windows, scalar_term=scalar_term), 1e-12)


@pytest.mark.parametrize("name", ["sliding", "dyadic", "random"])
def test_jax_and_its_derivatives(name):
    """Numpy's values; the gradient and its derivative are those of windows computed alone."""
    windows, path, u = WINDOWS[name][::3], draw(POINTS, D), draw(POINTS, D, seed=2)
    weights = draw(len(windows), jax_siglib.sig_length(D, DEGREE), seed=3)

    def gradient(function):
        return jax.grad(lambda path: jnp.sum(jnp.sin(weights * function(path))))

    def ours(path):
        return sig_windows(path, windows, DEGREE)

    def theirs(path):  # repeated points at the end of each window add nothing
        at = windows[:, :1] + np.minimum(np.arange(POINTS), np.ptp(windows, 1)[:, None] - 1)
        return sig(path[at], DEGREE)

    close(jax.jit(ours)(path), sig_windows(path, windows, DEGREE), 1e-14)
    pairs = [
        jax.jit(lambda x, u, f=f: jax.jvp(gradient(f), (x,), (u,)))(path, u) for f in (ours, theirs)
    ]
    for found, expected in zip(*pairs, strict=True):
        close(found, expected, 1e-11)


def test_forward_mode_and_vmap():
    windows, path, u = WINDOWS["sliding, coarse"], draw(2, POINTS, D), draw(2, POINTS, D, seed=2)

    def tangent(path, u):
        return jax.jvp(lambda x: forward_mode.sig_windows(x, windows, DEGREE), (path,), (u,))[1]

    rows = [jax_siglib.sig_jvp(path[:, a:b], u[:, a:b], DEGREE) for a, b in windows]
    close(jax.jit(jax.vmap(tangent))(path, u), np.stack(rows, -2), 1e-11)


@pytest.mark.parametrize("dtype", HALVES)
def test_half_precision_rounds_once(dtype, torch):
    path, windows = draw(2, POINTS, D).astype(dtype), WINDOWS["random"]
    found = sig_windows(path, windows, DEGREE)
    expected = sig_windows(path.astype("float32"), windows, DEGREE).astype(dtype)
    np.testing.assert_array_equal(found, expected, strict=True)
    of_tensor = sig_windows(to_torch(torch, path), windows, DEGREE)
    np.testing.assert_array_equal(from_torch(torch, of_tensor), expected, strict=True)
    np.testing.assert_array_equal(sig_windows(jnp.asarray(path), windows, DEGREE), expected)


def test_no_cancellation():
    """Float32, 5,000 steps: as good as each window computed alone; the inverse way is not.

    Values below 0.3, and windows whose exact signatures float64 gives. Dividing what came before
    out of the signature from the beginning leaves that one's rounding error in the window.
    """
    rng = np.random.default_rng(4)
    points, size, degree = 5001, 30, 4
    path = np.cumsum(rng.normal(0, 1, (points, D)), 0)
    path = (0.3 * path / np.max(np.abs(path))).astype("float32")
    windows = sliding_windows(points, size)
    exact = sig_windows(path.astype("float64"), windows, degree)
    at = windows[:, :1] + np.arange(size)
    scale = np.max(np.abs(exact), -1)

    def error(found):
        return np.max(np.max(np.abs(found - exact), -1) / scale)

    ours, each_alone = error(sig_windows(path, windows, degree)), error(sig(path[at], degree))
    assert ours <= 2 * each_alone
    assert ours <= 1e-5
    stream = jax_siglib.sig_stream(path, degree)
    back = path[::-1]  # signatures of the path run backwards are inverses
    inverse = jax_siglib.sig_stream(back, degree, prepend=True)[::-1]
    first = windows[1:, 0]
    divided = jax_siglib.sig_combine(inverse[first - 1], stream[first + size - 2], D, degree)
    lost = np.max(np.max(np.abs(divided - exact[1:]), -1) / scale[1:])
    assert lost >= 30 * ours  # 105 times, where this was written


def test_cost():
    """Two rows for each step, whatever the width; nothing at all for what nobody asks for."""

    def rows(windows):
        plan = _windows_plan.plan(np.ascontiguousarray(windows, np.int64).tobytes())
        streams = sum(len(points) * (points.shape[1] - 1) for points, _ in plan.streams)
        return streams + sum(numbers.size for numbers, _ in plan.products)

    for size in (3, 10, 100, 900):
        assert rows(sliding_windows(2001, size)) <= 2 * 2000
    assert rows(expanding_windows(2001)) == 2000
    assert rows(expanding_windows(2001, step=100)) == 20
    assert rows([(1900, 2000), (0, 7), (6, 2001)]) <= 6  # of three windows, two parts each
    # As many batches for many windows as for few.
    batches = []
    for points in (1000, 8000):
        plan = _windows_plan.plan(sliding_windows(points, 60, 7).tobytes())
        batches.append(len(plan.streams) + len(plan.pieces) + len(plan.products))
    assert max(batches) <= 8


def test_constructors():
    assert expanding_windows(5, step=2).tolist() == [[0, 2], [0, 4]]
    assert sliding_windows(5, 3).tolist() == [[0, 3], [1, 4], [2, 5]]
    assert sliding_windows(2, 3).tolist() == []
    assert dyadic_windows(6, 1).tolist() == [[0, 6], [0, 3], [2, 6]]
    assert dyadic_windows(1, 0).tolist() == [[0, 1]]
    assert expanding_windows(2, first=2**70).tolist() == sliding_windows(2, 2**70).tolist() == []
    assert sliding_windows(5, 2, 2**70).tolist() == [[0, 2]]


@pytest.mark.parametrize("points", [10**18, 2**62 - 1, 2**62])
def test_constructors_are_exact(points):
    """Beyond what a double holds, and where products of int64 overflow, by Python's integers."""
    half = points // 2
    windows = dyadic_windows(points, 8).tolist()
    for generation in range(9):
        at = [(points - 1) * i // 2**generation for i in range(2**generation + 1)]
        expected = [[a, b + 1] for a, b in zip(at[:-1], at[1:], strict=True)]
        assert windows[2**generation - 1 : 2 ** (generation + 1) - 1] == expected
    ends = [[0, end] for end in range(half, points + 1, half)]
    assert expanding_windows(points, first=half, step=half).tolist() == ends
    starts = [[start, start + 2] for start in range(0, points - 1, half - 1)]
    assert sliding_windows(points, 2, half - 1).tolist() == starts


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize(("batch", "degree"), [((0,), 2), ((2, 0), 0), ((2,), 0), ((), 0)])
def test_nothing_to_compute(name, batch, degree):
    windows, path = WINDOWS[name], draw(*batch, POINTS, D)
    for scalar_term in (False, True):
        length = jax_siglib.sig_length(D, degree, scalar_term=scalar_term)
        expected = np.ones((*batch, len(windows), length))
        for x in (path, jnp.asarray(path)):
            found = sig_windows(x, windows, degree, scalar_term=scalar_term)
            np.testing.assert_array_equal(found, expected, strict=isinstance(x, np.ndarray))


@pytest.mark.parametrize("mode", ["numpy", "jax", "jit"])
def test_windows_that_are_none(mode):
    path = np.zeros((5, D), "float32")

    def call(windows, path=path):
        def function(path):
            return sig_windows(path, windows, 2)

        return {"numpy": function, "jax": lambda x: function(jnp.asarray(x))}.get(
            mode, jax.jit(function)
        )(path)

    for bad, found in (
        ([(0, 2), (1, 6)], r"0 <= start < end <= 5.*got \(1, 6\) at position 1"),
        ([(3, 3)], r"start < end.*got \(3, 3\)"),
        ([(4, 2)], r"got \(4, 2\)"),
        ([(-1, 2)], r"got \(-1, 2\)"),
        ((0, 2), r"shape \(W, 2\), pairs \(start, end\); got \(2,\)"),
        ([(0, 1, 2)], r"shape \(W, 2\).*got \(1, 3\)"),
        ([(0, 1), (2,)], r"shape \(W, 2\)"),
        ([(0, 2**70)], rf"0 <= start < end <= 5.*got \(0, {2**70}\) at position 0"),
    ):
        with pytest.raises(ValueError, match=f"windows must .*{found}"):
            call(bad)
    others = ([(0.0, 2.0)], "float64"), ([(True, True)], "bool"), ("ab", "<U2"), (None, "object")
    for bad, found in others:
        with pytest.raises(TypeError, match=f"windows must be integers; got dtype {found}"):
            call(bad)
    for masked in (np.ma.array([[0, 2], [1, 3]], mask=[[0, 0], [1, 1]]), [[0, np.ma.masked]]):
        with pytest.raises(TypeError, match="windows must be integers, with no mask; got a numpy"):
            call(masked)
    with pytest.raises(TypeError, match="windows must be static integers.*traced"):
        jax.jit(call)(jnp.asarray([[0, 2]]))
    with pytest.raises(ValueError, match=r"path must have shape \(\.\.\., T, d\)"):
        call([(0, 1)], path[0])


def test_numbers_of_the_constructors():
    for function, arguments, match in (
        (sliding_windows, (5, 0), "size must be at least 1; got 0"),
        (sliding_windows, (5, 2, 0), "step must be at least 1; got 0"),
        (expanding_windows, (0,), "points must be at least 1; got 0"),
        (dyadic_windows, (5, -1), "depth must be at least 0; got -1"),
        (dyadic_windows, (5, 25), "depth must be at most 24"),
        (dyadic_windows, (2**62 + 1, 1), r"points must be at most 2\*\*62, .*; got 4611686018"),
        (sliding_windows, (2**64, 2), r"points must be at most 2\*\*62"),
        (expanding_windows, (2**80,), r"points must be at most 2\*\*62"),
    ):
        with pytest.raises(ValueError, match=match):
            function(*arguments)
    with pytest.raises(TypeError, match=r"size must be an int; got 2\.0"):
        sliding_windows(5, 2.0)
