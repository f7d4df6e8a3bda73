"""The kernels of second order, called directly: sig_join_hvp and sig_hvp."""

import itertools

import jax
import numpy as np
import oracle
import pytest
import sweep
from helpers import Case, close, over_batch
from sweep import DTYPES

from jax_siglib import _tensor_algebra as ta
from jax_siglib._native import ext

# Every result is a sum of products, and is off by a few roundings of the sum of their magnitudes
# (which is the result for the absolute values of all operands) however many there are: 4 eps.
# Far within issue 2's bounds, and fair to d_displacement, whose 10,000 summands may cancel.
TOLERANCE = {dtype: 4 * float(np.finfo(dtype).eps) for dtype in DTYPES}


def draw(seed, *shapes):
    """Uniform in [-1, 1], multiples of 1/64 so that float32 holds them exactly."""
    rng = np.random.default_rng([seed, *itertools.chain(*shapes)])
    return [rng.integers(-64, 65, shape) / 64 for shape in shapes]


def draw_join(seed, case, batch=()):
    """d_out, sig, displacement, t_sig, t_displacement without scalar terms."""
    length = oracle.length(case.d, case.degree)
    return draw(seed, *[(*batch, n) for n in (length, length, case.d, length, case.d)])


def sig_join_hvp(g, sig, v, t_sig, t_v, case, n_jobs=1, result="lower"):
    """The kernel's results, in memory that held NaN before."""
    operands = g, sig, v, t_sig, t_v
    lead = np.broadcast_shapes(*(x.shape[:-1] for x in operands))
    operands = [
        np.ascontiguousarray(x).reshape((1,) * (len(lead) + 1 - x.ndim) + x.shape) for x in operands
    ]
    sizes = dict(zip(("without", "with"), ta.layout_lengths(case.d, case.degree), strict=True))
    sizes["lower"] = ta.lower_length(case.d, case.degree)
    d_sig, d_v = (np.full((*lead, n), np.nan, g.dtype) for n in (sizes[result], case.d))
    keywords = case.d, case.degree, case.prepend, n_jobs
    ext.sig_join_hvp(*operands, *keywords, d_sig, d_v)
    return d_sig, d_v


def sig_hvp(g, path, t_path, degree, n_jobs=1):
    lead = np.broadcast_shapes(g.shape[:-1], path.shape[:-2], t_path.shape[:-2])
    d_path = np.full((*lead, *path.shape[-2:]), np.nan, g.dtype)
    ext.sig_hvp(g, path, t_path, degree, n_jobs, d_path)
    return d_path


def check_join(found, truth, case, dtype, *label):
    exact, scale = truth
    assert found[0].dtype == found[1].dtype == dtype
    levels = oracle.level_slices(case.d, case.degree, False)[: case.degree - 1]
    for i, s in [(0, s) for s in levels] + [(1, slice(None))]:
        ours, theirs, most = (x[i][..., s] for x in (found, exact, scale))
        close(ours, theirs, TOLERANCE[dtype], case, dtype, i, s, *label, scale=most)


def join_truth(arrays, case, batch=()):
    """The results, and the sums of the magnitudes of their terms."""

    def of_one(g, s, v, t_s, t_v):
        return oracle.sig_join_hvp(g, s, v, t_s, t_v, case.d, case.degree, case.prepend)

    magnitudes = [np.abs(x) for x in arrays]
    return over_batch(of_one, arrays, batch), over_batch(of_one, magnitudes, batch)


def with_scalar(x, value):
    return np.insert(x, 0, value, axis=-1)


@pytest.mark.parametrize("d", sweep.SMALL)
def test_every_small_kernel(d):
    """Both ends, all layouts, both dtypes; operands that lie still beside others that do not."""
    for degree, prepend in itertools.product(sweep.SMALL[d], (False, True)):
        case = Case(d, degree, prepend)
        arrays = draw_join(1, case, (3,))
        still = d % 5  # the operand that is the same for the whole batch
        arrays[still] = np.broadcast_to(arrays[still][:1], arrays[still].shape)
        truth = join_truth(arrays, case, (3,))
        lower = ta.lower_length(d, degree)
        for dtype in DTYPES:
            operands = [x.astype(dtype) for x in arrays]
            operands[still] = operands[still][:1]
            g, sig, v, t_sig, t_v = operands
            short = g, sig[..., :lower], v, t_sig[..., :lower], t_v
            found = sig_join_hvp(*short, case)
            check_join(found, truth, case, dtype)
            # Whatever stands where nothing is to be read, and all results' layouts.
            odd = with_scalar(g, np.nan), with_scalar(sig, np.inf), v, with_scalar(t_sig, 7), t_v
            for operands, result in (
                ((g, sig, v, t_sig, t_v), "without"),
                (odd, "with"),
                ((g, odd[1], v, t_sig[..., :lower], t_v), "lower"),
            ):
                other = sig_join_hvp(*operands, case, n_jobs=2, result=result)
                first = int(result == "with")
                np.testing.assert_array_equal(other[0][..., first : first + lower], found[0])
                assert not other[0][..., :first].any() and not other[0][..., first + lower :].any()
                np.testing.assert_array_equal(other[1], found[1])


@pytest.mark.parametrize("d", sweep.LARGE)
def test_every_large_kernel(d):
    """Cut into tiles, whose sums must not depend on the threads, and whole.

    Where the lowest degree is cut up in float64 only, the next one is held against float64's.
    Prepending, one code serves all dimensions, so a few of them do.
    """
    for prepend in (False, True) if d in (3, 7, 11, 33) else (False,):
        for degree in sweep.LARGE[d][1:]:
            case = Case(d, degree, prepend)
            arrays = draw_join(2, case)
            truth = sig_join_hvp(*arrays, case), sig_join_hvp(*map(np.abs, arrays), case)
            found = sig_join_hvp(*(x.astype("float32") for x in arrays), case)
            check_join(found, truth, case, "float32", "tiles")
        case = Case(d, sweep.LARGE[d][0], prepend)
        arrays = draw_join(2, case)
        truth = join_truth(arrays, case)
        for dtype in DTYPES:
            operands = [x.astype(dtype) for x in arrays]
            found = sig_join_hvp(*operands, case, result="without")
            check_join(found, truth, case, dtype, "tiles")
            assert not found[0][oracle.level_slices(d, case.degree, False)[-1]].any()
            for a, b in zip(found, sig_join_hvp(*operands, case, 2, "without"), strict=True):
                np.testing.assert_array_equal(a, b, strict=True)
            batch = [x[None] for x in operands]
            batch[0] = np.broadcast_to(batch[0], (16, batch[0].shape[1]))
            whole = sig_join_hvp(*batch, case, n_jobs=2)
            check_join([x[0] for x in whole], truth, case, dtype, "whole")
            assert all((x == x[:1]).all() for x in whole)


@pytest.mark.parametrize("prepend", [False, True])
@pytest.mark.parametrize("d, degree", [(1, 4), (2, 6), (5, 4), (10, 3), (13, 3), (40, 2)])
def test_symmetric(d, degree, prepend):
    """<a, hvp(b)> = <b, hvp(a)> to 1e-12 of the magnitude of the summands."""
    case = Case(d, degree, prepend)
    g, sig, v, t_sig, t_v = draw_join(3, case, (4,))
    other_sig, other_v = draw(4, t_sig.shape, t_v.shape)
    ours = sig_join_hvp(g, sig, v, t_sig, t_v, case, result="without")
    theirs = sig_join_hvp(g, sig, v, other_sig, other_v, case, result="without")
    left = np.concatenate([ours[0] * other_sig, ours[1] * other_v], -1)
    right = np.concatenate([theirs[0] * t_sig, theirs[1] * t_v], -1)
    assert (np.abs(left.sum(-1) - right.sum(-1)) <= 1e-12 * np.abs(left).sum(-1)).all()


def chains(g, sig, v, t_sig, t_v, case):
    """The recurrence in plain numpy, products with tangents that are zero by nature left out."""

    def product(b, x):
        return np.multiply.outer(*((x, b) if case.prepend else (b, x))).ravel()

    def matrix(x):  # a row for each word, the letter that v went to along it
        return x.reshape(case.d, -1).T if case.prepend else x.reshape(-1, case.d)

    def levels(x):
        return [x[s] for s in oracle.level_slices(case.d, case.degree, False)]

    g, s, t_s = levels(g), levels(sig), levels(t_sig)
    one, zero = np.ones(1, v.dtype), np.zeros(1, v.dtype)
    ct_s, ct_v = [np.zeros_like(x) for x in s], np.zeros_like(v)
    for n in range(2, case.degree + 1):
        b, t_b = [one], [zero]
        for k in range(1, n):
            f = v.dtype.type(1) / v.dtype.type(n - k + 1)
            moved = product(t_b[-1], v) * f + product(b[-1], t_v) * f
            t_b.append(t_s[k - 1] + moved)
            b.append(s[k - 1] + product(b[-1], v) * f)
        y, t_y = g[n - 1], None
        for k in range(n, 0, -1):
            f = v.dtype.type(1) / v.dtype.type(n - k + 1)
            if k > 1:
                ct_v = ct_v + t_b[k - 1] @ matrix(y) * f
            t_next = matrix(y) @ t_v * f
            if t_y is not None:
                ct_s[k - 1] = ct_s[k - 1] + t_y
                ct_v = ct_v + b[k - 1] @ matrix(t_y) * f
                t_next = t_next + matrix(t_y) @ v * f
            y, t_y = matrix(y) @ v * f, t_next
    return np.concatenate([*ct_s[:-1], v[:0]]), ct_v


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("prepend", [False, True])
def test_nan_and_infinity(prepend, dtype):
    """They appear where the recurrence puts them, and never in another element of the batch."""
    for d, degree in [
        (d, degree) for d in sweep.SMALL for degree in (1, 2, 3, 4) if d**degree < 700
    ]:
        case = Case(d, degree, prepend)
        rng = np.random.default_rng(d)
        # No round numbers here: where terms cancel to 0, and infinity follows, rounding decides.
        clean = [rng.uniform(-1, 1, x.shape).astype(dtype) for x in draw_join(5, case, (9,))]
        plain = sig_join_hvp(*clean, case)
        dirty = [x.copy() for x in clean]
        for element, value in ((1, np.nan), (3, np.inf), (5, -np.inf), (7, np.inf)):
            which = dirty[2 if element == 7 else rng.integers(5)]
            which[element, rng.integers(which.shape[-1])] = value
        found = sig_join_hvp(*dirty, case)
        with np.errstate(all="ignore"):
            expected = [chains(*x, case) for x in zip(*dirty, strict=True)]
        for ours, theirs, before in zip(found, zip(*expected, strict=True), plain, strict=True):
            np.testing.assert_array_equal(ours[::2], before[::2], str(case), strict=True)
            for where in (np.isnan, np.isposinf, np.isneginf):
                np.testing.assert_array_equal(where(ours), where(np.stack(theirs)), str(case))


@pytest.mark.parametrize("prepend", [False, True])
@pytest.mark.parametrize("d, degree", [(1, 3), (3, 4), (5, 2), (12, 3), (3, 9), (17, 4)])
def test_what_is_not_read(d, degree, prepend):
    """Levels that nothing of second order depends on: g_1, sig from N-1 on, t_sig's highest."""
    case = Case(d, degree, prepend)
    clean = draw_join(6, case)
    g, sig, v, t_sig, t_v = (x.copy() for x in clean)
    levels = oracle.level_slices(d, degree, False)
    g[levels[0]] = sig[levels[-1]] = sig[levels[-2]] = t_sig[levels[-1]] = np.nan
    found = sig_join_hvp(g, sig, v, t_sig, t_v, case)
    for a, b in zip(found, sig_join_hvp(*clean, case), strict=True):
        np.testing.assert_array_equal(a, b, strict=True)


def path_truth(g, path, t_path, degree, batch):
    """The gradients, and their scale: that of the path with every increment positive.

    Joins that cancel still round at the scale they have on the way.
    """

    def of_one(g, path, t_path):
        return oracle.sig_hvp(path, t_path, g, degree)

    straight = [np.cumsum(np.abs(np.diff(x, axis=-2, prepend=0)), -2) for x in (path, t_path)]
    scale = over_batch(of_one, [np.abs(g), *straight], batch)[0]
    return over_batch(of_one, [g, path, t_path], batch)[0], scale


def check_path(found, exact, scale, dtype, points, *label):
    # Each join may err, and there are as many forwards, undone, and backwards.
    tolerance = TOLERANCE[dtype] * 3 * max(points - 1, 1)
    assert found.dtype == dtype
    close(found, exact, tolerance, dtype, *label, scale=scale)


@pytest.mark.parametrize("d", [*range(1, 11), 12, 16, 17, 33])
def test_paths(d):
    for degree in sweep.SMALL.get(d, [1, 2, 3]):
        if oracle.length(d, degree) > 1200:
            continue
        for points in (1, 2, 5):
            path, t_path = draw(7, (3, points, d), (3, points, d))
            g = draw(8, (3, oracle.length(d, degree)))[0]
            path[1:] = path[:1]
            exact, scale = path_truth(g, path, t_path, degree, (3,))
            for dtype in DTYPES:
                operands = [x.astype(dtype) for x in (g, path[:1], t_path)]
                found = sig_hvp(*operands, degree)
                check_path(found, exact, scale, dtype, points, d, degree)
                operands[0] = with_scalar(operands[0], np.nan).astype(dtype)
                np.testing.assert_array_equal(sig_hvp(*operands, degree, n_jobs=2), found)


@pytest.mark.parametrize("d, degree", [(2, 4), (3, 3), (11, 2), (5, 6)])
def test_longer_paths(d, degree):
    """Steps that keep the signature near 1, and signatures that would be cut up for one join."""
    points = 4 if degree == 6 else 40
    path, t_path = (x / 8 for x in draw(9, (points, d), (points, d)))
    g = draw(9, (oracle.length(d, degree),))[0]
    exact, scale = path_truth(g, path, t_path, degree, ())
    for dtype in DTYPES:
        found = sig_hvp(*(x.astype(dtype) for x in (g, path, t_path)), degree)
        check_path(found, exact, scale, dtype, points, d, degree)


@pytest.mark.parametrize("d, degree", [(1, 5), (2, 2), (3, 4), (7, 3)])
@pytest.mark.parametrize("points", sweep.POINTS)
def test_paths_side_by_side(d, degree, points):
    """Full bundles and one with a few paths, an operand that is the same for all of them."""
    path, t_path = (x / 8 for x in draw(19, (11, points, d), (11, points, d)))
    operands = [draw(20, (11, oracle.length(d, degree)))[0], path, t_path]
    still = points % 3
    operands[still][1:] = operands[still][:1]
    exact, scale = path_truth(*operands, degree, (11,))
    operands[still] = operands[still][:1]
    for dtype in DTYPES:
        narrow = [x.astype(dtype) for x in operands]
        found = sig_hvp(*narrow, degree)
        check_path(found, exact, scale, dtype, points, d, degree)
        narrow[0][:, :d] = np.nan  # level 1, on which no second derivative depends
        np.testing.assert_array_equal(sig_hvp(*narrow, degree, n_jobs=2), found)


def test_paths_are_symmetric_and_keep_nan():
    path, a, b = draw(10, (4, 6, 3), (4, 6, 3), (4, 6, 3))
    g = draw(11, (4, oracle.length(3, 4)))[0]
    left, right = sig_hvp(g, path, b, 4) * a, sig_hvp(g, path, a, 4) * b
    error = np.abs(left.sum((1, 2)) - right.sum((1, 2)))
    assert (error <= 1e-12 * np.abs(left).sum((1, 2))).all()
    clean = np.delete(sig_hvp(g, path, a, 4), 2, 0)
    for i, operand in enumerate((g, path, a)):
        spoiled = [g, path, a]
        spoiled[i] = operand.copy()
        spoiled[i][2, -1] = np.nan
        found = sig_hvp(*spoiled, 4)
        assert np.isnan(found[2]).any()
        np.testing.assert_array_equal(np.delete(found, 2, 0), clean)


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_change_no_bit(dtype):
    case = Case(4, 5)
    operands = [x.astype(dtype) for x in draw_join(12, case, (3, 100))]
    operands[1] = operands[1][:, :1]
    for a, b in zip(sig_join_hvp(*operands, case), sig_join_hvp(*operands, case, -1), strict=True):
        np.testing.assert_array_equal(a, b, strict=True)
    g, path, t_path = draw(13, (200, oracle.length(3, 4)), (200, 9, 3), (200, 9, 3))
    operands = [x.astype(dtype) for x in (g, path, t_path)]
    np.testing.assert_array_equal(sig_hvp(*operands, 4), sig_hvp(*operands, 4, -1), strict=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_to_do(dtype):
    """Degree 0, degree 1, empty batches: zeros of the right shapes."""
    for result, n in (("without", 0), ("with", 1)):
        x, v = np.full((3, n), 5, dtype), np.full((3, 4), 2, dtype)
        d_sig, d_v = sig_join_hvp(x, x, v, x, v, Case(4, 0), result=result)
        assert d_sig.shape == x.shape and not d_sig.any() and not d_v.any()
    path = np.ones((2, 3, 4), dtype)
    assert not sig_hvp(np.ones((2, 0), dtype), path, path, 0).any()
    assert not sig_hvp(np.ones((2, 4), dtype), path, path, 1).any()
    empty = [x.astype(dtype) for x in draw_join(14, Case(3, 3), (2, 0))]
    assert sig_join_hvp(*empty, Case(3, 3))[0].shape == (2, 0, 12)
    assert sig_hvp(np.ones((0, 39), dtype), path[:0, :, :3], path[:0, :, :3], 3).shape == (0, 3, 3)


@pytest.mark.parametrize(
    "broken, word",
    [
        (0, "d_out"),
        (1, "sig"),
        (2, "displacement"),
        (3, "t_sig"),
        (4, "t_displacement"),
    ],
)
def test_wrong_lengths_are_refused(broken, word):
    """Every length that is checked before a pointer is formed from it."""
    case = Case(3, 3)
    operands = draw_join(15, case, (2,))
    operands[broken] = np.concatenate([operands[broken]] * 2, -1)
    with pytest.raises(ValueError, match=f"sig_join_hvp: {word} has"):
        sig_join_hvp(*operands, case)
    g, path, t_path = draw(16, (2, 39), (2, 5, 3), (2, 5, 3))
    with pytest.raises(ValueError, match="sig_hvp: sig_derivs has"):
        sig_hvp(g[:, :-2], path, t_path, 3)
    with pytest.raises(ValueError, match="sig_hvp: t_path has"):
        sig_hvp(g, path, t_path[:, :4], 3)


def test_handlers():
    """XLA's door leads to the same results, to the last bit."""
    case = Case(3, 4, True)
    operands = draw_join(17, case, (2,))
    found = sig_join_hvp(*operands, case)
    shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in found]
    call = jax.ffi.ffi_call("jax_siglib_sig_join_hvp_v1", shapes)
    keywords = {"dimension": np.int64(3), "degree": np.int64(4), "n_jobs": np.int64(1)}
    theirs = call(*map(jax.numpy.asarray, operands), prepend=True, **keywords)
    for a, b in zip(found, theirs, strict=True):
        np.testing.assert_array_equal(a, b, strict=True)
    operands = draw(18, (2, oracle.length(3, 4)), (2, 5, 3), (2, 5, 3))
    call = jax.ffi.ffi_call("jax_siglib_sig_hvp_v1", jax.ShapeDtypeStruct((2, 5, 3), "float64"))
    theirs = call(*map(jax.numpy.asarray, operands), degree=np.int64(4), n_jobs=np.int64(1))
    np.testing.assert_array_equal(sig_hvp(*operands, 4), theirs, strict=True)
