"""The oracle itself, in exact arithmetic: a wrong oracle would bless a wrong kernel."""

from fractions import Fraction

import numpy as np
import oracle
import pytest

SIZES = [(1, 1), (1, 4), (2, 3), (3, 2), (2, 4)]


def rationals(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [
        np.vectorize(Fraction, otypes=[object])(rng.integers(-9, 10, s), rng.integers(1, 8, s))
        for s in shapes
    ]


def derivative_at_0(p, degree):
    """Exact derivative of a polynomial of at most this degree, by Lagrange's interpolation."""
    total = 0
    for j in range(degree + 1):
        weight = Fraction(0)
        for i in range(degree + 1):
            if i != j:
                term = Fraction(1, j - i)
                for k in range(degree + 1):
                    term *= 1 if k in (i, j) else Fraction(-k, j - k)
                weight += term
        total = total + weight * p(Fraction(j))
    return total


def test_by_hand():
    """Right, then up: the area is 1/2, and no word of the second level is left out."""
    x, y, z, w = (Fraction(k) for k in (2, 3, 5, 7))
    sig = np.array([x, y, x * x / 2, x * y / 2, y * x / 2, y * y / 2])  # exp of (x, y)
    v = np.array([z, w])
    second = [x * x / 2 + x * z + z * z / 2, x * y / 2 + x * w + z * w / 2]
    second += [y * x / 2 + y * z + w * z / 2, y * y / 2 + y * w + w * w / 2]
    assert list(oracle.sig_join(sig, v, 2, 2)) == [x + z, y + w, *second]


@pytest.mark.parametrize("prepend", [False, True])
@pytest.mark.parametrize("d, degree", SIZES)
def test_tangent_is_the_derivative(d, degree, prepend):
    length = oracle.length(d, degree, True)
    sig, t_sig, v, t_v = rationals(0, length, length, d, d)
    exact = derivative_at_0(
        lambda e: oracle.sig_join(sig + e * t_sig, v + e * t_v, d, degree, prepend), degree
    )
    assert (oracle.sig_join_jvp(sig, v, t_sig, t_v, d, degree, prepend) == exact).all()


@pytest.mark.parametrize("prepend", [False, True])
@pytest.mark.parametrize("d, degree", SIZES)
def test_adjoint_is_the_transpose(d, degree, prepend):
    length = oracle.length(d, degree, True)
    sig, t_sig, g, v, t_v = rationals(1, length, length, length, d, d)
    ct_sig, ct_v = oracle.sig_join_backprop(g, sig, v, d, degree, prepend)
    tangent = oracle.sig_join_jvp(sig, v, t_sig, t_v, d, degree, prepend)
    assert g @ tangent == ct_sig @ t_sig + ct_v @ t_v
    assert ct_sig[0] == tangent[0] == 0


@pytest.mark.parametrize("d, degree", SIZES)
def test_products(d, degree):
    """Tangent and derivative, adjoint and transpose; joins are products, and inverses undo."""
    length = oracle.length(d, degree, True)
    a, b, t_a, t_b, g, v = rationals(5, *[length] * 5, d)
    tangent = oracle.sig_combine_jvp(a, b, t_a, t_b, d, degree)
    assert (
        tangent
        == derivative_at_0(
            lambda e: oracle.sig_combine(a + e * t_a, b + e * t_b, d, degree), degree
        )
    ).all()
    ct_a, ct_b = oracle.sig_combine_backprop(g, a, b, d, degree)
    assert g @ tangent == ct_a @ t_a + ct_b @ t_b
    segment = oracle.linear_sig(v, degree, True)
    joined = oracle.sig_combine(a, segment, d, degree)
    assert (joined == oracle.sig_join(a, v, d, degree)).all()
    path = rationals(6, (4, d))[0]
    sig = oracle.sig(path, degree, True)
    inverse = oracle.sig_inverse(sig, d, degree)
    assert (inverse == oracle.sig(path[::-1], degree, True)).all()
    unit = oracle.sig_combine(sig, inverse, d, degree)
    assert unit[0] == 1 and not unit[1:].any()


def test_paths():
    path, t_path, g = rationals(2, (4, 2), (4, 2), oracle.length(2, 3))
    tangent = oracle.sig_jvp(path, t_path, 3)
    exact = derivative_at_0(lambda e: oracle.sig(path + e * t_path, 3), 3)
    assert (tangent == exact).all()
    assert g @ tangent == (oracle.sig_backprop(path, g, 3) * t_path).sum()


@pytest.mark.parametrize("prepend", [False, True])
@pytest.mark.parametrize("d, degree", SIZES)
def test_second_order_is_the_derivative_of_the_adjoint(d, degree, prepend):
    length = oracle.length(d, degree, True)
    sig, t_sig, g, v, t_v = rationals(3, length, length, length, d, d)
    found = oracle.sig_join_hvp(g, sig, v, t_sig, t_v, d, degree, prepend)
    for i in range(2):
        exact = derivative_at_0(
            lambda e, i=i: oracle.sig_join_backprop(
                g, sig + e * t_sig, v + e * t_v, d, degree, prepend
            )[i],
            degree,
        )
        assert (found[i] == exact).all()


def test_second_order_of_paths():
    """The derivative of the gradient, and symmetric as a Hessian is."""
    path, a, b, g = rationals(4, (4, 2), (4, 2), (4, 2), oracle.length(2, 3))
    along_b = oracle.sig_hvp(path, b, g, 3)
    assert (along_b == derivative_at_0(lambda e: oracle.sig_backprop(path + e * b, g, 3), 3)).all()
    assert (along_b * a).sum() == (oracle.sig_hvp(path, a, g, 3) * b).sum()
