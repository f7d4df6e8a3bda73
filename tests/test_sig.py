"""Signatures of whole paths: values, invariants, the backward pass and its memory."""

import numpy as np
import oracle
import pytest
import sweep
from helpers import BY_NAME, Case, close
from processes import run_python

import jax_siglib
from jax_siglib import sig, sig_backprop, sig_cost, sig_hvp, sig_join, sig_jvp, sig_length

# Invariants compare two sums of at most 2 * 12 joins, each within 1e-14 of the scale of the level
# (the sweeps hold 1e-13): 1e-12 leaves room for what a sum of 24 of them amounts to.
TOLERANCE = 1e-12


def random_path(seed, *shape):
    return np.random.default_rng(seed).uniform(-1, 1, shape)


@pytest.mark.parametrize("d", [d for d in sweep.SMALL if d < 18])
def test_every_kernel(d):
    sweep.paths(d)


@pytest.mark.parametrize("d", sweep.SMALL)
def test_side_by_side(d):
    sweep.side_by_side(d)


def test_every_tile_side_by_side():
    sweep.tiles()


@pytest.mark.parametrize("name", [op.name for op in sweep.SIDE_BY_SIDE])
@pytest.mark.parametrize("dtype", sweep.DTYPES)
def test_paths_side_by_side_do_not_meet(name, dtype):
    """Neither a neighbour's numbers nor its place in the batch changes any bit of a result."""
    op, case = BY_NAME[name], Case(3, 5, points=20)
    arrays = op.draw(12, case, dtype, (40,))
    found = op.bind(case)(*arrays)
    order = np.random.default_rng(13).permutation(40)[:30]
    np.testing.assert_array_equal(op.bind(case)(*(x[order] for x in arrays)), found[order])
    for bad in (np.nan, np.inf):
        hit = [x.copy() for x in arrays]
        hit[0][[0, 17, 39], 7, 1] = bad
        spoilt = op.bind(case)(*hit)
        others = np.setdiff1d(np.arange(40), [0, 17, 39])
        np.testing.assert_array_equal(spoilt[others], found[others])
        assert np.isnan(spoilt[[0, 17, 39]].reshape(3, -1)).any(-1).all()


@pytest.mark.parametrize("d, degree", [(1, 6), (3, 5), (11, 3)])
def test_straight_line(d, degree):
    """Level k is v^k/k!, however many points divide the line."""
    v = random_path(0, 2, d)
    path = np.linspace(0, 1, 9)[:, None] * v[:, None] + 3.0
    exact = np.stack([oracle.linear_sig(x, degree, True) for x in v])
    close(sig(path, degree, scalar_term=True), exact, TOLERANCE)
    close(jax_siglib.linear_sig(v, d, degree, scalar_term=True), exact, 1e-13)


def test_level_1_and_shuffle():
    """Level 1 is x_T - x_0; S_i S_j = S_ij + S_ji, and S_i S_jk = S_ijk + S_jik + S_jki."""
    d, path = 4, random_path(1, 3, 12, 4)
    levels = [sig(path, 3)[:, s] for s in oracle.level_slices(d, 3, False)]
    one, two, three = (x.reshape(3, *(d,) * k) for k, x in enumerate(levels, 1))
    close(one, path[:, -1] - path[:, 0], TOLERANCE)
    close(one[:, :, None] * one[:, None], two + two.swapaxes(1, 2), TOLERANCE)
    shuffled = three + three.swapaxes(1, 2) + three.transpose(0, 3, 1, 2)
    close(one[:, :, None, None] * two[:, None], shuffled, TOLERANCE)


@pytest.mark.parametrize("d, degree", [(1, 4), (3, 4), (12, 3)])
def test_fold_of_joins(d, degree):
    """Chen: joins one after another, from either end."""
    path = random_path(2, 2, 7, d)
    steps = np.diff(path, axis=1)
    length = jax_siglib.sig_length(d, degree)
    running, backward = np.zeros((2, length)), np.zeros((2, length))
    for t in range(6):
        running = sig_join(running, steps[:, t], d, degree)
        backward = sig_join(backward, steps[:, 5 - t], d, degree, prepend=True)
    close(running, sig(path, degree), TOLERANCE)
    close(backward, sig(path, degree), TOLERANCE)


def test_point_in_front():
    path = random_path(3, 2, 8, 3)
    first = path[:, 0] - path[:, 1]
    extended = sig_join(sig(path[:, 1:], 4), -first, 3, 4, prepend=True)
    close(extended, sig(path, 4), TOLERANCE)


def test_reparametrisation():
    """Repeated points and translations change nothing, so padding is exact."""
    path = random_path(4, 6, 3)
    often = np.repeat(path, [1, 3, 1, 2, 1, 4], axis=0)
    np.testing.assert_array_equal(sig(often, 4), sig(path, 4))
    close(sig(path + 2.0, 4), sig(path, 4), TOLERANCE)


@pytest.mark.parametrize("dtype", sweep.DTYPES)
@pytest.mark.parametrize("scalar_term", [False, True])
def test_single_point(dtype, scalar_term):
    """A path that does not move has the unit signature, and no gradient."""
    path = np.full((2, 1, 3), 5, dtype)
    unit = sig(path, 2, scalar_term=scalar_term)
    assert unit.dtype == dtype and unit.shape == (2, 12 + scalar_term)
    assert (unit[:, :1] == scalar_term).all() and not unit[:, 1:].any()
    gradient = sig_backprop(path, unit, np.ones_like(unit), 2)
    assert gradient.shape == path.shape and not gradient.any()


def test_degree_0_and_empty_batches():
    path = random_path(5, 2, 4, 3)
    assert (sig(path, 0, scalar_term=True) == 1).all() and sig(path, 0).shape == (2, 0)
    assert not sig_backprop(path, np.ones((2, 1)), np.ones((2, 1)), 0).any()
    assert sig(path[:0], 2).shape == (0, 12)
    assert sig_backprop(path[:0], np.ones((0, 12)), np.ones((0, 12)), 2).shape == (0, 4, 3)


@pytest.mark.parametrize("d, degree", [(1, 5), (3, 4), (11, 3)])
def test_backprop_against_finite_differences(d, degree):
    """Central differences of step h = 1e-5 in float64: h^2 of curvature, 1e-16/h of rounding."""
    path, direction = random_path(6, 6, d), random_path(7, 6, d)
    out = sig(path, degree)
    g = random_path(8, *out.shape)
    h = 1e-5
    slope = (sig(path + h * direction, degree) - sig(path - h * direction, degree)) @ g / (2 * h)
    found = np.sum(sig_backprop(path, out, g, degree) * direction)
    # 1e-10 and 1e-11 of the scale of the level, summed over the entries with their weights g.
    assert abs(found - slope) <= 1e-9 * max(1.0, np.sum(np.abs(out)))


@pytest.mark.parametrize("d, degree", [(2, 4), (5, 3), (12, 2)])
def test_highest_level_is_not_read_backward(d, degree):
    path = random_path(9, 2, 6, d)
    out = sig(path, degree)
    g = random_path(10, *out.shape)
    clean = sig_backprop(path, out, g, degree)
    out[:, oracle.level_slices(d, degree, False)[-1]] = np.nan
    np.testing.assert_array_equal(sig_backprop(path, out, g, degree), clean)


def test_long_float32_path():
    """The prefixes are undone, not kept: 5e-6 of the scale a step, 3 passes over 2000 steps."""
    op, case = BY_NAME["sig_backprop"], Case(2, 3, points=2001)
    rng = np.random.default_rng(11)
    path = np.cumsum(rng.integers(-1, 2, (2001, 2)) / 64, 0)
    g = rng.integers(-64, 65, case.length()) / 64
    exact = oracle.sig_backprop(path, g, 3)
    narrow = path.astype("float32")
    found = sig_backprop(narrow, sig(narrow, 3), g.astype("float32"), 3)
    close(found, exact, op.tolerance("float32", case, "Td"))


@pytest.mark.parametrize("dtype", sweep.DTYPES)
def test_few_long_paths(dtype):
    """They are cut into pieces that go side by side, and come to what many paths come to.

    No bit depends on the number of threads, or on the other path.
    """
    points = 4 * 16 * 64 + 7  # four pieces for each lane of the widest vectors, and a rest
    path = np.cumsum(random_path(16, 2, points, 3) / 32, axis=1).astype(dtype)
    many = sig(np.broadcast_to(path[:, None], (2, 40, points, 3)), 3)[:, 0]
    found = sig(path, 3)
    close(found, many, {"float32": 2e-6, "float64": TOLERANCE}[dtype])
    np.testing.assert_array_equal(sig(path, 3, n_jobs=2), found)
    close(sig(path[0], 3), found[0], {"float32": 2e-6, "float64": TOLERANCE}[dtype])
    wide = np.concatenate([path, path], axis=-1)  # points that do not lie close together
    np.testing.assert_array_equal(sig(wide[..., :3], 3, scalar_term=True)[:, 1:], found)
    path[0, -1] = np.nan
    spoilt = sig(path, 3)
    assert np.isnan(spoilt[0]).all()
    np.testing.assert_array_equal(spoilt[1], found[1])
    with_rest = sig_join(sig(path[1, :-1], 3), path[1, -1] - path[1, -2], 3, 3)
    close(with_rest, found[1], {"float32": 2e-6, "float64": TOLERANCE}[dtype])


@pytest.mark.parametrize("dtype", sweep.DTYPES)
@pytest.mark.parametrize(("d", "degree", "points"), [(3, 3, 2055), (2, 2, 1100), (5, 4, 4095)])
def test_derivatives_of_few_long_paths(dtype, d, degree, points):
    """The same for the tangent and the adjoint, whose pieces share their first and last points."""
    tolerance = {"float32": 5e-6, "float64": TOLERANCE}[dtype]
    length = sig_length(d, degree)
    path, t_path = (np.cumsum(random_path(s, 2, points, d) / 32, 1).astype(dtype) for s in (5, 6))
    g = random_path(7, 2, length).astype(dtype)

    def derivatives(path, t_path, g, **options):
        tangent = sig_jvp(path, t_path, degree, **options)
        return tangent, sig_backprop(path, sig(path, degree), g, degree, **options)

    def of_many(x):
        return np.broadcast_to(x[:, None], (2, 40, *x.shape[1:]))

    many = [x[:, 0] for x in derivatives(*map(of_many, (path, t_path, g)))]
    found = derivatives(path, t_path, g)
    alone = derivatives(path[1], t_path[1], g[1])
    for x, of_one, expected in zip(found, alone, many, strict=True):
        close(x, expected, tolerance)
        close(of_one, x[1], tolerance)
    close(np.sum(found[1] * t_path, (1, 2)), np.sum(found[0] * g, 1), 10 * tolerance)

    def same_bits(others):
        for x, other in zip(found, others, strict=True):
            np.testing.assert_array_equal(other, x)

    same_bits(derivatives(path, t_path, g, n_jobs=2))
    wide = [np.concatenate([x, x], axis=-1)[..., :d] for x in (path, t_path)]
    same_bits(derivatives(*wide, g))
    scalar = np.insert(g, 0, 3, axis=-1)
    with_scalar = sig(path, degree, scalar_term=True)
    tangent = sig_jvp(path, t_path, degree, scalar_term=True)
    assert not tangent[:, 0].any()
    same_bits((tangent[:, 1:], sig_backprop(path, with_scalar, scalar, degree)))
    path[0, -1] = np.nan
    spoilt = derivatives(path, t_path, g)
    for x, other, first in zip(found, spoilt, (d, 0), strict=True):  # level 1 is linear
        assert np.isnan(other[0][first:]).all()
        np.testing.assert_array_equal(other[1], x[1])


@pytest.mark.parametrize("batch", [1, 8])
def test_rounding_does_not_add_up_along_a_path(batch):
    """Of steps in one direction float32 would lose a digit for every ten times as many.

    One path goes step by step in double; 8 go side by side, with what has gathered carried to
    twice its digits from block to block. The gradient of the first and the last point is then off
    by some units in the last place, about 4 of them, whatever the length. (That of a point in
    between is a difference of two such numbers, and 10,000 times smaller.)
    """
    path = np.linspace(0, 1, 16_001)[:, None] * random_path(13, 1, 3)
    path = np.broadcast_to(path + np.sin(path), (batch, *path.shape)).astype("float32")
    g = random_path(14, batch, 39).astype("float32")
    t_path = np.cos(path)
    for dtype in ("float32", "float64"):
        wide = [x.astype(dtype) for x in (path, g, t_path)]
        out = sig(wide[0], 3)
        found = out, sig_backprop(wide[0], out, wide[1], 3)[:, [0, -1]]
        found += (sig_jvp(wide[0], wide[2], 3),)
        if dtype == "float32":
            narrow = found
    for a, b in zip(narrow, found, strict=True):
        close(a, b, 2e-6)


def test_long_float32_paths_side_by_side():
    """Of more than 8192 points they are done in double.

    Round a closed curve the cotangents of the increments are all but the same, and in float32 their
    differences, which those of the points are, would be left with few digits.
    """
    angle = np.linspace(0, 2 * np.pi, 8_500)[:, None] * [1, 2, 3]
    path = np.sin(angle + random_path(1, 20, 1, 3)).astype("float32")
    t_path, g = np.cos(path), random_path(2, 20, 120).astype("float32")

    def all_of_it(path, t_path, g):
        out = sig(path, 4)
        gradient = sig_backprop(path, out, g, 4)
        return out, sig_jvp(path, t_path, 4), gradient, sig_hvp(path, t_path, g, 4)

    exact = all_of_it(*(x.astype("float64") for x in (path, t_path, g)))
    for x, expected in zip(all_of_it(path, t_path, g), exact, strict=True):
        assert x.dtype == "float32"
        assert np.linalg.norm(x - expected) <= 1e-6 * np.linalg.norm(expected)
    again = all_of_it(path[::-1], t_path[::-1], g[::-1])
    for x, other in zip(all_of_it(path, t_path, g), again, strict=True):
        np.testing.assert_array_equal(x, other[::-1])


def test_overflow_side_by_side():
    """A sum that has become infinite stays so, block after block, as it does one path alone."""
    path = np.repeat(np.linspace(0, 5e19, 100, dtype="float32")[None, :, None], 20, axis=0)
    with np.errstate(over="ignore"):
        found = sig(path, 3)
    np.testing.assert_array_equal(np.isinf(found), [[False, True, True]] * 20)
    close(found[:, :1], path[:, -1], 1e-6)


MEMORY = """
import sys
import numpy as np
from processes import peak_kib
from jax_siglib import sig, sig_backprop

points, batch = map(int, sys.argv[1:])
path = np.random.default_rng(0).uniform(-0.01, 0.01, (batch, points, 4)).astype("float32")
out = sig(path, 6)
g = np.ones_like(out)
result = np.empty_like(path)
result[:] = 1  # what the call is to return, in memory already
del result
before = peak_kib()
sig_backprop(path, out, g, 6)
print(peak_kib() - before)
"""


@pytest.mark.parametrize("batch", [1, 16])
def test_memory_of_backprop_does_not_grow_with_the_path(batch, tmp_path):
    """Prefix signatures, if kept, would be 5460 floats a step: 87 MB to 1.1 GB.

    Beyond input and output the kernel takes what ``sig_cost`` says, however many the points: a few
    signatures for each lane of a vector, or for each of the pieces, up to 4 per lane, that one path
    of up to 4096 points is cut into. 1.5 MB are for the allocator and for pages of code touched for
    the first time.
    """
    told = {
        points: sig_cost((batch, points, 4), 6).sig_backprop.scratch
        for points in (4_000, 5_000, 50_000)
    }
    assert told[50_000] == told[5_000] and max(told.values()) < 4 << 20
    for points, scratch in told.items():
        done = run_python(MEMORY, tmp_path, str(points), str(batch))
        assert done.returncode == 0, done.stderr
        assert int(done.stdout) * 1024 <= scratch + (3 << 19), f"{points=}: {done.stdout} KiB more"
