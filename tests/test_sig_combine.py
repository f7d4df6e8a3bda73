"""sig_combine and sig_inverse: exact values, identities, every kernel."""

from fractions import Fraction

import jax
import numpy as np
import oracle
import pytest
import sweep
from helpers import BY_NAME, Case, as_tuple, close, over_batch
from sweep import DTYPES

import jax_siglib
from jax_siglib import _reference
from jax_siglib._native import ext

NAMES = ["sig_combine", "sig_combine_jvp", "sig_combine_backprop", "sig_inverse"]
SIZES = [(1, 5), (2, 6), (3, 4), (5, 3), (12, 3), (40, 2)]


def draw(seed, *shapes, dtype="float64"):
    rng = np.random.default_rng(seed)
    return [rng.uniform(-1, 1, shape).astype(dtype) for shape in shapes]


@pytest.mark.parametrize("scalar_term", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_exact(name, scalar_term):
    """Against rational arithmetic, rounded once at the end: 1e-13 of the level's scale."""
    op = BY_NAME[name]
    for d, degree in [(1, 1), (1, 5), (2, 1), (2, 4), (3, 4), (5, 2)]:
        case = Case(d, degree, False, scalar_term)
        arrays = op.draw(7, case, "float64", (3,))
        exact = [np.vectorize(Fraction, otypes=[object])(x) for x in arrays]
        truth = over_batch(lambda *x, op=op, case=case: op.oracle(case, *x), exact, (3,))
        found = as_tuple(op.bind(case)(*arrays))
        for ours, theirs in zip(found, truth, strict=True):
            for s in oracle.level_slices(d, degree, scalar_term):
                close(ours[..., s], theirs[..., s], 1e-13, case, s)


@pytest.mark.parametrize("d", sweep.LARGE)
def test_every_large_kernel(d):
    """Cut into tiles and whole; small ones are swept with all operations."""
    sweep.large(d, [BY_NAME[name] for name in NAMES])


def test_float32_gradient_of_a_large_signature():
    """A million products are summed in float32: 5e-6 of the level at (1, 10, 6), as for joins."""
    operands = draw(3, *[oracle.length(10, 6)] * 3, dtype="float32")
    found = jax_siglib.sig_combine_backprop(*operands, 10, 6)
    wide = [x.astype(np.float64) for x in operands]
    exact = jax_siglib.sig_combine_backprop(*wide, 10, 6)
    for ours, theirs in zip(found, exact, strict=True):
        for s in oracle.level_slices(10, 6, False):
            close(ours[s], theirs[s], 5e-6, s)


# Identities. Tolerances: a few products, each within 1e-13 / 10 of the scale, are within 1e-13.


@pytest.mark.parametrize("d, degree", SIZES)
def test_products_of_signatures(d, degree):
    """Chen's identity, the inverse, and what a join is."""
    x, y = draw(1, (2, 4, d), (2, 5, d))
    y = y - y[:, :1] + x[:, -1:]
    whole = np.concatenate([x, y[:, 1:]], 1)
    for scalar_term in (False, True):

        def sig(path, scalar_term=scalar_term):
            return jax_siglib.sig(path / 2, degree, scalar_term=scalar_term)

        def combine(a, b):
            return jax_siglib.sig_combine(a, b, d, degree)

        close(combine(sig(x), sig(y)), sig(whole), 1e-13)
        inverse = jax_siglib.sig_inverse(sig(x), d, degree)
        close(inverse, sig(x[:, ::-1]), 1e-13)
        unit = sig(x[:, :1])
        for a, b in ((sig(x), inverse), (inverse, sig(x))):
            assert np.abs(combine(a, b) - unit).max() <= 1e-13 * np.abs(sig(x)).max()
        v = x[:, 0]
        segment = jax_siglib.linear_sig(v, d, degree, scalar_term=scalar_term)
        for prepend, pair in ((False, (sig(y), segment)), (True, (segment, sig(y)))):
            close(combine(*pair), jax_siglib.sig_join(sig(y), v, d, degree, prepend=prepend), 1e-13)


@pytest.mark.parametrize("d, degree", SIZES)
def test_algebra(d, degree):
    """Of any elements, signatures or not: associative, the unit, and the antipode turns it over."""
    a, b, c = draw(2, *[(2, oracle.length(d, degree))] * 3)

    def combine(x, y):
        return jax_siglib.sig_combine(x, y, d, degree)

    def inverse(x):
        return jax_siglib.sig_inverse(x, d, degree)

    close(combine(combine(a, b), c), combine(a, combine(b, c)), 1e-13)
    assert (combine(a, 0 * b) == a).all() and (combine(0 * a, b) == b).all()
    close(inverse(combine(a, b)), combine(inverse(b), inverse(a)), 1e-13)
    assert (inverse(inverse(a)) == a).all()
    assert np.array_equal(np.sort(np.abs(inverse(a))), np.sort(np.abs(a)))
    close(np.sum(inverse(a) * b, -1), np.sum(a * inverse(b), -1), 1e-12)  # its own transpose


@pytest.mark.parametrize("d, degree", SIZES)
def test_tangent_and_adjoint_are_transposes(d, degree):
    """<g, J(A, W)> = <A, dS1> + <W, dS2>, to 1e-12 of the magnitude of the summands."""
    length = oracle.length(d, degree, True)
    sig1, sig2, t_sig1, t_sig2, g = draw(3, *[(4, length)] * 5)
    tangent = jax_siglib.sig_combine_jvp(sig1, sig2, t_sig1, t_sig2, d, degree)
    d_sig1, d_sig2 = jax_siglib.sig_combine_backprop(g, sig1, sig2, d, degree)
    left = np.sum(g * tangent, -1)
    right = np.sum(d_sig1 * t_sig1 + d_sig2 * t_sig2, -1)
    assert (np.abs(left - right) <= 1e-12 * np.sum(np.abs(g * tangent), -1)).all()


@pytest.mark.parametrize("dtype", ["float16", *DTYPES])
@pytest.mark.parametrize("d, degree, batch", [(1, 4, 2), (2, 5, 2), (5, 3, 2), (20, 4, 1)])
def test_second_order(d, degree, batch, dtype):
    """The kernel is what the adjoint adds for products, with tangents for signatures.

    It writes levels below N, or all, with zeros for what the Hessian does not know.
    """
    length, below = oracle.length(d, degree), oracle.length(d, degree - 1)
    g, sig1, sig2, t_sig1, t_sig2 = draw(4, *[(batch, length)] * 5, dtype=dtype)
    adjoints = jax_siglib.sig_combine_backprop(
        *(x.astype("float64") for x in (g, t_sig1, t_sig2)), d, degree
    )
    lower = [x[..., :below] for x in (sig1, sig2, t_sig1, t_sig2)]
    lower[:2] = [x * np.nan for x in lower[:2]]  # they are not read
    rounding = {"float16": 2.0**-11 + 2e-6, "float32": 2e-6}.get(dtype, 1e-13)
    for size, offset in ((below, 0), (length, 0), (length + 1, 1)):
        for n_jobs in (1, 2):
            found = [np.full((batch, size), np.nan, dtype) for _ in range(2)]
            ext.sig_combine_hvp(g, *lower, d, degree, n_jobs, *found)
            for ours, adjoint in zip(found, adjoints, strict=True):
                products = (adjoint - g)[..., :below]
                scale = np.abs(adjoint[..., :below]) + np.abs(g[..., :below])
                close(ours[..., offset : offset + below], products, rounding, scale=scale)
                assert not ours[..., offset + below :].any() and not ours[..., :offset].any()


@pytest.mark.parametrize("d, degree, batch", [(1, 3, 2), (3, 4, 2), (5, 3, 1), (6, 6, 1)])
def test_highest_level_is_not_read_backward(d, degree, batch):
    length = oracle.length(d, degree, True)
    top = oracle.level_slices(d, degree, True)[-1]
    sig1, sig2, g = draw(8, *[(batch, length)] * 3)
    clean = jax_siglib.sig_combine_backprop(g, sig1, sig2, d, degree)
    sig1[..., top] = sig2[..., top] = np.nan
    dirty = jax_siglib.sig_combine_backprop(g, sig1, sig2, d, degree)
    for a, b in zip(clean, dirty, strict=True):
        np.testing.assert_array_equal(a, b, strict=True)
        np.testing.assert_array_equal(a[..., top], g[..., top])


@pytest.mark.parametrize("value", [7.0, np.nan])
def test_scalar_term_is_a_constant(value):
    """Whatever stands at level 0 is ignored, NaN too; 1 comes out, and its derivative is 0."""
    for d, degree in [(1, 3), (3, 4), (12, 2), (2, 0)]:
        case = Case(d, degree)
        for name in NAMES:
            op = BY_NAME[name]
            arrays = op.draw(9, case, "float64", (2,))
            without = as_tuple(op.bind(case)(*arrays))
            found = as_tuple(op.bind(case)(*(np.insert(x, 0, value, -1) for x in arrays)))
            for ours, theirs in zip(found, without, strict=True):
                assert (ours[..., 0] == (0 if op.order else 1)).all()
                assert np.array_equal(ours[..., 1:], theirs)


@pytest.mark.parametrize("flags", [(True, False), (False, True), (True, True)])
def test_signatures_of_transformed_paths(flags):
    """``dimension`` is that of the path before: as if the other one had been given."""
    how, d, degree = dict(zip(("time_aug", "lead_lag"), flags, strict=True)), 2, 3
    dimension = d * (1 + how["lead_lag"]) + how["time_aug"]
    path = draw(11, (7, d))[0]
    pieces = [jax_siglib.sig(x, degree, **how) for x in (path[:4], path[3:])]
    whole = jax_siglib.sig(path, degree, end_time=2.0, **how)  # times of both, one after the other
    close(jax_siglib.sig_combine(*pieces, d, degree, **how), whole, 1e-13)
    arrays = draw(12, *[oracle.length(dimension, degree)] * 4)
    for name, n in (("sig_combine", 2), ("sig_combine_backprop", 3), ("sig_combine_jvp", 4)):
        function = getattr(jax_siglib, name)
        exact = as_tuple(getattr(oracle, name)(*arrays[:n], dimension, degree))
        for as_array in (np.asarray, jax.numpy.asarray):
            found = as_tuple(function(*map(as_array, arrays[:n]), d, degree, **how))
            for ours, theirs in zip(found, exact, strict=True):
                close(ours, theirs, 1e-13)
        for flag in how:
            with pytest.raises(TypeError, match=f"{flag} must be a bool; got 1 of type int"):
                function(*arrays[:n], d, degree, **{flag: 1})


@pytest.mark.parametrize("under_jit", [False, True])
def test_linear_transpose_of_the_inverse(under_jit):
    """Its own transpose where it is linear: without the scalar term, which is a constant."""
    d, degree = 2, 3
    (g,) = draw(10, (3, oracle.length(d, degree)))

    def transposed(like):
        inverse = jax.linear_transpose(lambda x: jax_siglib.sig_inverse(x, d, degree), like)
        return jax.jit(inverse) if under_jit else inverse

    expected = np.stack([oracle.sig_inverse(x, d, degree) for x in g])
    (found,) = transposed(g)(g)
    np.testing.assert_array_equal(found, expected)
    with_scalar_term = np.insert(g, 0, 1, -1)
    with pytest.raises(TypeError, match="sig_inverse can be transposed without the scalar term"):
        transposed(with_scalar_term)(with_scalar_term)


@pytest.mark.parametrize("name", NAMES)
def test_empty_batch(name):
    op, case = BY_NAME[name], Case(3, 2, scalar_term=True)
    arrays = [np.zeros((2, 0, 3, *op.shape(axes, case))) for axes in op.takes.values()]
    for found in (op.bind(case)(*arrays), op.bind(case)(*map(jax.numpy.asarray, arrays))):
        for x, axes in zip(as_tuple(found), op.results, strict=True):
            assert x.shape == (2, 0, 3, *op.shape(axes, case))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_nan_and_infinity(name, dtype, monkeypatch):
    """They appear where the formula puts them, and never in another element of the batch."""
    monkeypatch.setattr(_reference, "jnp", np)  # the reference, evaluated by numpy: no compilation
    op = BY_NAME[name]
    for d, degree in [(d, degree) for d in sweep.SMALL for degree in (1, 2, 3) if d**degree < 5000]:
        case = Case(d, degree)
        clean = draw(d, *((9, *op.shape(axes, case)) for axes in op.takes.values()), dtype=dtype)
        plain, dirty = as_tuple(op.bind(case)(*clean)), [x.copy() for x in clean]
        rng = np.random.default_rng(d)
        for element, value in ((1, np.nan), (3, np.inf), (5, -np.inf), (7, np.inf)):
            which = dirty[rng.integers(len(dirty))]
            which[element, rng.integers(which.shape[-1])] = value
            if element == 7:  # the first level meets everything else
                for x in dirty:
                    x[element, rng.integers(d)] = value
        found = as_tuple(op.bind(case)(*dirty))
        with np.errstate(all="ignore"):
            expected = as_tuple(op.bind_reference(case)(*dirty))
        for ours, theirs, before in zip(found, expected, plain, strict=True):
            np.testing.assert_array_equal(ours[::2], before[::2], str(case), strict=True)
            for where in (np.isnan, np.isposinf, np.isneginf):
                np.testing.assert_array_equal(where(ours), where(theirs), str(case))


def test_results_do_not_depend_on_threads():
    """The cuts of a large signature are the same for any number of threads."""
    for name in NAMES:
        for d, degree in ((10, 5), (3, 10), (300, 2)):
            op, case = BY_NAME[name], Case(d, degree)
            arrays = op.draw(5, case, "float32", (2,))
            one, three = (as_tuple(op.bind(case, n_jobs=n)(*arrays)) for n in (1, 3))
            for a, b in zip(one, three, strict=True):
                np.testing.assert_array_equal(a, b)
