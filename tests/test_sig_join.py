"""sig_join, its tangent and its adjoint: exact values, identities, every kernel."""

from fractions import Fraction

import jax
import numpy as np
import oracle
import pytest
import sweep
from helpers import BY_NAME, Case, as_tuple, close, over_batch
from sweep import DTYPES

import jax_siglib
from jax_siglib import _reference, _sig_join

sig_join, sig_join_backprop = jax_siglib.sig_join, jax_siglib.sig_join_backprop
sig_join_jvp = _sig_join.sig_join_jvp
JOINS = ["sig_join", "sig_join_jvp", "sig_join_backprop"]


def draw(seed, *shapes, dtype="float64"):
    rng = np.random.default_rng(seed)
    return [rng.uniform(-1, 1, shape).astype(dtype) for shape in shapes]


@pytest.mark.parametrize("scalar_term", [False, True])
@pytest.mark.parametrize("prepend", [False, True])
@pytest.mark.parametrize("name", JOINS)
def test_exact(name, prepend, scalar_term):
    """Against rational arithmetic, rounded once at the end: 1e-13 of the level's scale (issue 2).

    The float oracle of the sweeps is the same code, so this vouches for it too.
    """
    op = BY_NAME[name]
    for d, degree in [(1, 1), (1, 5), (2, 1), (2, 4), (3, 4), (5, 2)]:
        case = Case(d, degree, prepend, scalar_term)
        arrays = op.draw(7, case, "float64", (3,))
        exact = [np.vectorize(Fraction, otypes=[object])(x) for x in arrays]
        truth = over_batch(lambda *x, op=op, case=case: op.oracle(case, *x), exact, (3,))
        found = as_tuple(op.bind(case)(*arrays))
        for axes, ours, theirs in zip(op.results, found, truth, strict=True):
            levels = oracle.level_slices(d, degree, scalar_term) if axes == "L" else [slice(None)]
            for s in levels:
                close(ours[..., s], theirs[..., s], 1e-13, case, s)


@pytest.mark.parametrize("d", sweep.SMALL)
def test_every_small_kernel(d):
    sweep.small(d)


@pytest.mark.parametrize("d", sweep.LARGE)
def test_every_large_kernel(d):
    sweep.large(d)


@pytest.mark.parametrize("prepend", [False, True])
def test_float32_displacement_gradient_of_a_large_signature(prepend):
    """A million products are summed in float32: 5e-6 of float64's norm at (1, 10, 6) (issue 2)."""
    length = oracle.length(10, 6)
    operands = draw(3, length, length, 10, dtype="float32")
    found = sig_join_backprop(*operands, 10, 6, prepend=prepend)[1]
    wide = (x.astype(np.float64) for x in operands)
    exact = sig_join_backprop(*wide, 10, 6, prepend=prepend)[1]
    assert np.linalg.norm(found - exact) <= 5e-6 * np.linalg.norm(exact)


# Identities. Tolerances: a chain of at most 6 joins of degree at most 5, each within 1e-13 / 10 of
# the scale, is within 1e-13 of it.


@pytest.mark.parametrize("prepend", [False, True])
@pytest.mark.parametrize("d, degree", [(1, 5), (3, 4), (12, 3)])
def test_join_identities(d, degree, prepend):
    sig, v = draw(4, (2, oracle.length(d, degree)), (2, d))

    def join(s, w):
        return sig_join(s, w, d, degree, prepend=prepend)

    assert (join(sig, 0 * v) == sig).all()
    close(join(join(sig, v), -v), sig, 1e-13)
    close(join(join(sig, v), 0.25 * v), join(sig, 1.25 * v), 1e-13)
    levels = oracle.level_slices(d, degree, False)
    scale = np.concatenate([np.full(s.stop - s.start, 0.5**k) for k, s in enumerate(levels, 1)])
    close(join(scale * sig, 0.5 * v), scale * join(sig, v), 1e-13)


@pytest.mark.parametrize("d, degree", [(2, 5), (3, 4), (10, 3), (17, 3)])
def test_reversed_words_swap_the_ends(d, degree):
    """Appending and prepending are separate kernels; each vouches for the other."""

    def reverse(flat):
        axes = tuple(range(degree))
        return np.concatenate(
            [
                flat[s].reshape((d,) * k).transpose(axes[:k][::-1]).ravel()
                for k, s in enumerate(oracle.level_slices(d, degree, False), 1)
            ]
        )

    sig, g, v = draw(5, oracle.length(d, degree), oracle.length(d, degree), d)
    close(
        reverse(sig_join(sig, v, d, degree)),
        sig_join(reverse(sig), v, d, degree, prepend=True),
        1e-13,
    )
    ours = sig_join_backprop(g, sig, v, d, degree)
    theirs = sig_join_backprop(reverse(g), reverse(sig), v, d, degree, prepend=True)
    close(reverse(ours[0]), theirs[0], 1e-13)
    close(ours[1], theirs[1], 1e-13)


@pytest.mark.parametrize("prepend", [False, True])
@pytest.mark.parametrize("d, degree", [(1, 4), (2, 6), (5, 4), (10, 3), (13, 3), (40, 2)])
def test_tangent_and_adjoint_are_transposes(d, degree, prepend):
    """<g, J(A, w)> = <A, dS> + <w, dv>: a peer's gradient is wrong from degree 3 on only."""
    length = oracle.length(d, degree, True)
    sig, t_sig, g, v, t_v = draw(6, *[(4, length)] * 3, (4, d), (4, d))
    tangent = sig_join_jvp(sig, v, t_sig, t_v, d, degree, prepend=prepend)
    ct_sig, ct_v = sig_join_backprop(g, sig, v, d, degree, prepend=prepend)
    left = np.sum(g * tangent, -1)
    right = np.sum(ct_sig * t_sig, -1) + np.sum(ct_v * t_v, -1)
    # 1e-12 of the magnitude of the summands.
    assert (np.abs(left - right) <= 1e-12 * np.sum(np.abs(g * tangent), -1)).all()


@pytest.mark.parametrize("prepend", [False, True])
@pytest.mark.parametrize(
    "d, degree, batch", [(1, 3, 2), (3, 4, 2), (5, 3, 1), (12, 3, 2), (6, 6, 1)]
)
def test_highest_level_is_not_read_backward(d, degree, batch, prepend):
    """No derivative depends on S_N, so NaN there must change no bit; and d_sig's top is d_out's."""
    length = oracle.length(d, degree, True)
    top = oracle.level_slices(d, degree, True)[-1]
    sig, g, v = draw(8, (batch, length), (batch, length), (batch, d))
    clean = sig_join_backprop(g, sig, v, d, degree, prepend=prepend)
    spoiled = sig.copy()
    spoiled[..., top] = np.nan
    dirty = sig_join_backprop(g, spoiled, v, d, degree, prepend=prepend)
    for a, b in zip(clean, dirty, strict=True):
        np.testing.assert_array_equal(a, b, strict=True)
    np.testing.assert_array_equal(clean[0][..., top], g[..., top])


@pytest.mark.parametrize("value", [0.0, 7.0, np.nan, np.inf])
@pytest.mark.parametrize("dtype", DTYPES)
def test_scalar_term_is_a_constant(dtype, value):
    """Whatever stands at level 0 is ignored, NaN too; 1 comes out, and its derivative is 0."""
    for d, degree, prepend in [
        (1, 3, False),
        (3, 4, True),
        (5, 3, False),
        (12, 2, True),
        (2, 0, False),
    ]:
        case = Case(d, degree, prepend)
        for name in JOINS:
            op = BY_NAME[name]
            arrays = op.draw(9, case, dtype, (2,))
            without = op.bind(case)(*arrays)
            padded = [
                np.insert(x, 0, value, axis=-1).astype(dtype) if axes == "L" else x
                for x, axes in zip(arrays, op.takes.values(), strict=True)
            ]
            with_scalar = op.bind(case)(*padded)
            if name == "sig_join_backprop":
                assert np.array_equal(with_scalar[1], without[1])
                without, with_scalar = without[0], with_scalar[0]
            assert (with_scalar[..., 0] == (1 if name == "sig_join" else 0)).all()
            assert np.array_equal(with_scalar[..., 1:], without)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scalar_term", [False, True])
def test_degree_0(dtype, scalar_term):
    """Nothing to do, and d_displacement is 0: a peer returns memory as it finds it."""
    sig = np.full((3, int(scalar_term)), 5, dtype)
    v = np.full((3, 4), 2, dtype)
    for as_array in (np.asarray, jax.numpy.asarray):
        s, w = as_array(sig), as_array(v)
        out = sig_join(s, w, 4, 0)
        d_sig, d_v = sig_join_backprop(s, s, w, 4, 0)
        tangent = sig_join_jvp(s, w, s, w, 4, 0)
        assert out.shape == d_sig.shape == tangent.shape == sig.shape
        assert d_v.shape == v.shape and d_v.dtype == out.dtype == dtype
        assert (out == 1).all() and not d_sig.any() and not d_v.any() and not tangent.any()


@pytest.mark.parametrize("name", JOINS)
@pytest.mark.parametrize("batch", [(0,), (2, 0, 3)])
def test_empty_batch(name, batch):
    op, case = BY_NAME[name], Case(3, 2, scalar_term=True)
    arrays = [np.zeros((*batch, *op.shape(axes, case))) for axes in op.takes.values()]
    for found in (op.bind(case)(*arrays), op.bind(case)(*map(jax.numpy.asarray, arrays))):
        assert [x.shape for x in as_tuple(found)] == [
            (*batch, *op.shape(a, case)) for a in op.results
        ]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("prepend", [False, True])
@pytest.mark.parametrize("name", JOINS)
def test_nan_and_infinity(name, prepend, dtype, monkeypatch):
    """They appear where Horner's scheme puts them, and never in another element of the batch.

    A padded vector lane where 0 meets infinity would put a NaN where none belongs; a product left
    out would lose one.
    """
    monkeypatch.setattr(_reference, "jnp", np)  # the reference, evaluated by numpy: no compilation
    op = BY_NAME[name]
    for d, degree in [(d, degree) for d in sweep.SMALL for degree in (1, 2, 3) if d**degree < 5000]:
        case = Case(d, degree, prepend)
        # No round numbers here: where terms cancel to 0, and infinity follows, rounding decides.
        clean = draw(d, *((9, *op.shape(axes, case)) for axes in op.takes.values()), dtype=dtype)
        plain = as_tuple(op.bind(case)(*clean))
        dirty = [x.copy() for x in clean]
        rng = np.random.default_rng(d)
        for element, value in ((1, np.nan), (3, np.inf), (5, -np.inf), (7, np.inf)):
            which = dirty[rng.integers(len(dirty))]
            if element == 7:  # this one always: it meets everything else
                which = dirty[list(op.takes).index("displacement")]
            which[element, rng.integers(which.shape[-1])] = value
        found = as_tuple(op.bind(case)(*dirty))
        with np.errstate(all="ignore"):
            expected = as_tuple(op.bind_reference(case)(*dirty))
        for ours, theirs, before in zip(found, expected, plain, strict=True):
            label = f"{case}"
            np.testing.assert_array_equal(ours[::2], before[::2], label, strict=True)
            for where in (np.isnan, np.isposinf, np.isneginf):
                np.testing.assert_array_equal(where(ours), where(theirs), label)
