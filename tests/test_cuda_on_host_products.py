"""The CUDA kernels of products and of running signatures on the CPU (cuda_host.py)."""

import itertools

import numpy as np
import oracle
import pytest
from cuda_host import ORDERS, PRODUCTS, SIZES, STREAMS, hold
from helpers import BY_NAME, Case, close

from jax_siglib import _tensor_algebra as ta


@pytest.mark.parametrize("op", PRODUCTS, ids=lambda op: op.name)
def test_products(host, op):
    """Every element in a block, or cut up; d beyond the edge of a tile of the antipode."""
    for (d, degree), small in itertools.product([*SIZES, (40, 2), (3, 6)], (False, True)):
        hold(host, op, Case(d, degree, scalar_term=small), (2,), small)
        assert host.launches() == 1 or small
    for d, degree in ((2, 11), (7, 4)):  # as large ones are cut up by the ordinary limits
        hold(host, op, Case(d, degree, scalar_term=d == 2))
        assert host.launches() > 1 or op.name == "sig_inverse"


def test_products_of_second_order(host):
    """The kernel that has no function of its own: the adjoint of tangents, without its terms."""
    for (d, degree), small in itertools.product([(1, 3), (3, 1), (3, 4), (2, 9)], (False, True)):
        case = Case(d, degree, scalar_term=small)
        op = BY_NAME["sig_combine_backprop"]
        g, t1, t2 = op.draw(9, case, "float64", (2,))
        terms = [oracle.level_slices(d, degree, small)[0]] if small else []
        full = [x - g for x in op.truth([g, t1, t2], case, (2,)).results]
        for x, s in itertools.product(full, terms):
            x[..., s] = 0
        whole = [np.empty_like(g) for _ in full]
        lower = [np.ascontiguousarray(ta.lower(x, d, degree)) for x in (t1, t2)]
        levels = [np.empty_like(x) for x in lower]
        host.configure(*ORDERS[2], small)
        host.sig_combine_hvp(g, t1, t2, t1, t2, d, degree, 1, *whole)
        host.sig_combine_hvp(g, *lower, *lower, d, degree, 1, *levels)
        for x, y, exact in zip(whole, levels, full, strict=True):
            close(x, exact, 1e-14)
            np.testing.assert_array_equal(y, ta.lower(x, d, degree))


@pytest.mark.parametrize("branches", [False, True], ids=["joins", "branches"])
@pytest.mark.parametrize("op", STREAMS, ids=lambda op: op.name)
def test_streams(host, op, branches):
    for (d, degree), prepend, small in itertools.product(SIZES, (False, True), (False, True)):
        case = Case(d, degree, prepend, scalar_term=small != prepend)
        hold(host, op, case, (2,), small, branches=branches)
    hold(host, op, Case(7, 4, points=3), branches=branches)  # every step in tiles, or slices
    hold(host, op, Case(3, 3, points=1), (2,), branches=branches)


@pytest.mark.parametrize("op", STREAMS, ids=lambda op: op.name)
def test_streams_in_branches(host, op):
    """Several blocks of steps and of branches, elements in a block; and in how many launches."""
    for (d, degree, batch), prepend in itertools.product(
        ((2, 6, 3), (3, 3, 7), (4, 3, 2), (6, 2, 5), (10, 2, 3)), (False, True)
    ):
        case = Case(d, degree, prepend, scalar_term=d == 3, points=9)
        for small in (False, True):
            hold(host, op, case, (batch,), small)
            launches = {"sig_stream": 1, "sig_stream_backprop": 3}[op.name]
            assert host.launches() == launches
    hold(host, op, Case(3, 4, points=40), (2,), shrink=1 / 8)


@pytest.mark.parametrize("branches", [False, True], ids=["joins", "branches"])
def test_derivatives_of_streams(host, branches):
    """The two that have no function of their own, as differences of what has one."""
    cases = itertools.product([(1, 3), (3, 1), (3, 4), (5, 3)], (False, True), (False, True))
    for (d, degree), prepend, small in cases:
        case = Case(d, degree, prepend, small)
        rng = np.random.default_rng(17)
        path, t_path = rng.uniform(-1, 1, (2, 2, case.points, d))
        start, t_start = rng.uniform(-1, 1, (2, 2, case.length()))
        g = rng.uniform(-1, 1, (2, case.points - 1, case.length()))
        host.configure(*ORDERS[2], small, branches)

        def forward(eps, case=case, path=path, start=start, t_path=t_path, t_start=t_start):
            moved = path + eps * t_path, start + eps * t_start
            return [
                np.stack(
                    [
                        oracle.sig_stream(*x, case.degree, case.prepend)
                        for x in zip(*moved, strict=True)
                    ]
                )
            ]

        def backward(eps, case=case, path=path, start=start, t_path=t_path, t_start=t_start, g=g):
            moved = path + eps * t_path, start + eps * t_start, g
            each = [
                oracle.sig_stream_backprop(*x, case.degree, case.prepend)
                for x in zip(*moved, strict=True)
            ]
            return [np.stack(x) for x in zip(*each, strict=True)]

        t_out = np.empty_like(g)
        lower, t_lower = (np.ascontiguousarray(ta.lower(x, d, degree)) for x in (start, t_start))
        host.sig_stream_jvp(lower, path, t_start, t_path, degree, prepend, 1, t_out)
        close(t_out, derivative(forward)[0], 1e-9)
        d_path, d_lower = np.empty_like(path), np.empty_like(lower)
        host.sig_stream_hvp(g, lower, path, t_lower, t_path, degree, prepend, 1, d_lower, d_path)
        by_path, by_start = derivative(backward)
        close(d_path, by_path, 1e-9)
        close(d_lower, ta.lower(by_start, d, degree), 1e-9)


def derivative(function):
    """At 0, of a polynomial: central differences, extrapolated until but rounding is left."""
    steps = 0.5 ** np.arange(7)
    table = [
        [(x - y) / (2 * h) for x, y in zip(function(h), function(-h), strict=True)] for h in steps
    ]
    for order in range(1, len(steps)):
        table = [
            [b + (b - a) / (4**order - 1) for a, b in zip(*pair, strict=True)]
            for pair in itertools.pairwise(table)
        ]
    return table[0]
