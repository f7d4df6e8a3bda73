"""What rounding does to long paths in the CUDA kernels."""

import itertools

import numpy as np
import pytest
from cuda_host import IN_ORDER
from helpers import BY_NAME, Case

from jax_siglib import _tensor_algebra as ta


def closed(rng, points, d):
    """Seven times round an ellipse: all steps are undone, but for the areas."""
    turn = np.linspace(0, 7, points)[:, None] + rng.uniform(0, 1, d)
    return np.sin(2 * np.pi * turn) / 2


def line(rng, points, d):
    """To a random point, with a tenth of a walk on it."""
    return np.linspace(0, 1, points)[:, None] * rng.uniform(-1, 1, d) + walk(rng, points, d) / 10


def walk(rng, points, d):
    return np.cumsum(rng.normal(0, points**-0.5, (points, d)), axis=0)


LONG = Case(3, 4)


@pytest.fixture(
    scope="module",
    params=itertools.product([closed, line], [8_000, 20_000]),
    ids=lambda param: f"{param[0].__name__}-{param[1]}",
)
def long_path(request):
    """Operands in float32, and what the CPU's kernels make of them in float64."""
    rng = np.random.default_rng(7)
    curve, points = request.param
    path, t_path = (draw(rng, points, LONG.d) for draw in (curve, walk))
    arrays = [path, t_path, rng.uniform(-1, 1, LONG.length())]
    arrays = [x.astype(np.float32) for x in arrays]
    return arrays, on_long_path(*(x.astype(np.float64) for x in arrays))


def on_long_path(path, t_path, g):
    """S and its tangent below level N, and gradients by increments."""
    sig = BY_NAME["sig"].call(path, LONG.degree)
    t_sig = BY_NAME["sig_jvp"].call(path, t_path, LONG.degree)
    d_path = BY_NAME["sig_backprop"].call(path, sig, g, LONG.degree)
    t_d_path = BY_NAME["sig_hvp"].call(path, t_path, g, LONG.degree)
    levels = [ta.lower(x, LONG.d, LONG.degree) for x in (sig, t_sig)]
    # A point's gradient is the difference of those of two increments, which cancel.
    return levels + [np.cumsum(x[:0:-1], axis=0, dtype=np.float64) for x in (d_path, t_d_path)]


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("branches", [False, True], ids=["tiles", "branches"])
def test_long_paths(long_path, host, branches, small):
    """What float32 loses does not grow with the number of steps: low parts hold it."""
    arrays, exact = long_path
    points = arrays[0].shape[0]
    host.configure(*IN_ORDER, small, branches)
    assert small == (host.plan_path(3, 4, 1, points, False, False, 4)["tiles"] > 1)
    assert branches == (host.plan_branches(3, 4, 1, points, False, False, 4)["side"] > 0)
    # Branches do paths of more than 8192 points in double.
    limit = 1e-7 if branches and points > 8192 else 3e-7
    for found, wanted in zip(on_long_path(*arrays), exact, strict=True):
        assert np.linalg.norm(found - wanted) < limit * np.linalg.norm(wanted)
