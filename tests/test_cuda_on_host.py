"""The CUDA kernels, compiled for the CPU and run by the OPS table.

The bodies are those that a GPU runs (ffi/cuda/block.h), on threads and blocks in any order. The
module is built with the CUDA module, or for itself by -C cmake.define.JAX_SIGLIB_CUDA_ON_HOST=ON.
"""

import itertools

import numpy as np
import oracle
import pytest
from helpers import BY_NAME, HALVES, OPS, Case, as_tuple, check, close

from jax_siglib import _tensor_algebra as ta

IN_ORDER = True, 1 << 20, 0  # threads and blocks in order, as many as planned
ORDERS = [IN_ORDER, (False, 1 << 20, 0), (False, 3, 7)]


def hold(host, op, case, batch=(), small=False, shrink=1.0, branches=True, crowded=False):
    """Results against the oracle in every dtype, with the same bits in every order.

    Crowded: as if there were many more, so that blocks take as many elements as they can.
    """
    arrays = op.draw(5, case, "float64", batch)
    if "path" in op.takes:
        arrays = [x * shrink if x.shape[-2:] == (case.points, case.d) else x for x in arrays]
    if op.tied:
        n = len(op.forward.takes)
        arrays[n] = op.forward.truth(arrays[:n], case, batch).results[0]
    truth = op.truth(arrays, case, batch)
    for dtype in (*HALVES, "float32", "float64"):
        if dtype in HALVES and (case.degree > 5 or shrink != 1):
            continue  # where float16 has few of its digits left, or none
        narrow = [x.astype(dtype) for x in arrays]
        exact = op.truth(narrow, case, batch) if dtype in HALVES else truth
        first = None
        for order in ORDERS:
            host.configure(*order, small, branches)
            if crowded:
                host.as_if(1, 1 << 20)
            found = as_tuple(op.bind(case)(*narrow))
            check(op, case, found, exact, dtype, order)
            first = first or found
            for ours, theirs in zip(found, first, strict=True):
                np.testing.assert_array_equal(ours, theirs, err_msg=f"{op.name} {case} {order}")


JOINS = [op for op in OPS if op.name.startswith("sig_join")]
PATHS = [op for op in OPS if op.name in ("sig", "sig_jvp", "sig_backprop", "sig_hvp")]
PRODUCTS = [op for op in OPS if op.name.startswith(("sig_combine", "sig_inverse"))]
STREAMS = [op for op in OPS if op.name.startswith("sig_stream")]
ALL = JOINS + PATHS + PRODUCTS + STREAMS
# Whole in one block, and cut up by small limits; d around a warp, levels of one letter.
SIZES = [(1, 5), (2, 1), (2, 7), (3, 4), (5, 3), (33, 2)]


@pytest.mark.parametrize("op", JOINS, ids=lambda op: op.name)
def test_joins(host, op):
    for (d, degree), prepend, small in itertools.product(SIZES, (False, True), (False, True)):
        hold(host, op, Case(d, degree, prepend, scalar_term=small != prepend), (2,), small)
        assert host.launches() == 1 or small


@pytest.mark.parametrize("prepend", [False, True])
@pytest.mark.parametrize("op", JOINS, ids=lambda op: op.name)
def test_joins_in_tiles(host, op, prepend):
    """As large ones are cut up by the ordinary limits: several stages, and sums of many tiles."""
    for d, degree in ((2, 12), (7, 5)):
        hold(host, op, Case(d, degree, prepend, scalar_term=d == 2))
        assert host.launches() >= 2


@pytest.mark.parametrize("op", JOINS, ids=lambda op: op.name)
def test_joins_of_several_in_a_block(host, op):
    """Small limits want blocks to be few: the last one has fewer elements than the others."""
    kind = "vp" in op.name, "backprop" in op.name or "hvp" in op.name, 4
    sizes = [(1, 3), (2, 1), (2, 3), (3, 2), (4, 2)]
    for (d, degree), prepend in itertools.product(sizes, (False, True)):
        hold(host, op, Case(d, degree, prepend, scalar_term=prepend), (7,), True)
        assert host.launches() == 1
        elements = host.plan_join(d, degree, prepend, 7, *kind)[0]["elements"]
        assert elements > 1, (d, degree)


# Of each dimension that there is code for, degrees from 2 on.
BY_ROOTS = {
    2: (2, 3, 4, 5, 7, 9),
    3: (2, 3, 4, 6),
    4: (2, 3, 4, 5),
    5: (2, 3, 4),
    6: (2, 4),
    7: (3,),
    8: (2, 3),
}


@pytest.mark.parametrize("prepend", [False, True])
@pytest.mark.parametrize(
    "op", [BY_NAME["sig_join"], BY_NAME["sig_join_backprop"]], ids=lambda op: op.name
)
def test_joins_by_roots(host, op, prepend):
    """Every code that there is, several signatures in a block, the last not full."""
    depths = set()
    for d, degrees in BY_ROOTS.items():
        for degree in degrees:
            case = Case(d, degree, prepend, scalar_term=degree % 2 == 1)
            hold(host, op, case, (9,), crowded=True)
            assert host.launches() == 1
            plan = host.plan_join(d, degree, prepend, 1 << 20, False, op.name != "sig_join", 4)
            assert len(plan) == 1 and plan[0]["depth"] > 0
            depths.add((d, plan[0]["depth"]))
    assert depths == {(2, n) for n in (2, 3, 4, 5)} | {(d, n) for d in (3, 4) for n in (2, 3)} | {
        (d, 2) for d in (5, 6, 7, 8)
    }


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["sig_join", "sig_join_backprop"])
def test_joins_by_roots_of_other_strides(host, name, dtype):
    """Rows apart, and such as no one stride leads to, long and short, with gaps and without."""
    op = BY_NAME[name]
    for d, degree in ((2, 3), (2, 6), (2, 9), (3, 4), (4, 3), (4, 4), (8, 3), (2, 10)):
        for scalar_term in (False, True):
            case = Case(d, degree, scalar_term=scalar_term)
            arrays = op.draw(9, case, dtype, (3, 2, 3))
            wide = [np.concatenate([x, x[..., :1]], -1)[..., :-1] for x in arrays]
            swapped = [x.swapaxes(0, 1).copy().swapaxes(0, 1) for x in arrays]
            host.configure(*IN_ORDER, False)
            host.as_if(1, 1 << 20)
            expected = as_tuple(op.bind(case)(*arrays))
            for given in (wide, swapped):
                for ours, theirs in zip(as_tuple(op.bind(case)(*given)), expected, strict=True):
                    np.testing.assert_array_equal(ours, theirs, err_msg=f"{case}")


@pytest.mark.parametrize("prepend", [False, True])
@pytest.mark.parametrize("op", JOINS, ids=lambda op: op.name)
def test_joins_of_many_letters(host, op, prepend):
    """Half as many as a block has threads, nearly as many, and more."""
    for d, degree, small in ((100, 2, False), (200, 2, True), (300, 2, False), (600, 1, True)):
        hold(host, op, Case(d, degree, prepend), (), small)


@pytest.mark.parametrize("branches", [False, True], ids=["tiles", "branches"])
@pytest.mark.parametrize("op", PATHS, ids=lambda op: op.name)
def test_paths(host, op, branches):
    for (d, degree), small in itertools.product(SIZES, (False, True)):
        case = Case(d, degree, False, scalar_term=small, points=4)
        hold(host, op, case, (2,), small, branches=branches)
    for d, degree in ((1, 2), (2, 4), (4, 3)):  # several blocks of steps, the last not full
        case = Case(d, degree, points=36)
        hold(host, op, case, (1,), d > 2, shrink=1 / 8, branches=branches)
    hold(host, op, Case(3, 3, points=1), (2,), branches=branches)


@pytest.mark.parametrize("d, degree, more_than", [(7, 5, 8), (12, 4, 16), (300, 2, 32)])
def test_sums_of_many_shares(host, d, degree, more_than):
    """What many blocks find for the increments, added up in 2, 4 and 8 groups."""
    plan = host.plan_path if d > 256 else host.plan_branches
    host.configure(*IN_ORDER, False)
    assert plan(d, degree, 1, 12, False, True, 4)["slots"] > more_than
    hold(host, BY_NAME["sig_backprop"], Case(d, degree, points=12), shrink=1 / 4)


@pytest.mark.parametrize("op", PATHS, ids=lambda op: op.name)
def test_paths_in_tiles(host, op):
    hold(host, op, Case(7, 4, points=3), branches=False)
    assert host.plan_path(7, 4, 1, 3, False, True, 4)["tiles"] > 1


@pytest.mark.parametrize("op", PATHS, ids=lambda op: op.name)
def test_paths_in_branches(host, op):
    """Every side, whole and in slices, some not full; several elements in a block, and blocks."""
    kind = op.name in ("sig_jvp", "sig_hvp"), op.name in ("sig_backprop", "sig_hvp")
    sides, sliced, shared, cut_up = set(), set(), set(), set()
    for d, degree, batch in (
        (2, 2, 70), (2, 9, 1), (3, 5, 3), (4, 3, 9), (5, 3, 8), (6, 3, 1), (7, 3, 5), (8, 3, 1),
        (9, 2, 2), (10, 3, 1), (17, 2, 3),
    ):  # fmt: skip
        case = Case(d, degree, points=4 if d < 9 else 3, scalar_term=d % 2 == 1)
        for small in (False, True):
            hold(host, op, case, (batch,), small)
            for entry_bytes in (4, 8):
                plan = host.plan_branches(d, degree, batch, 4, *kind, entry_bytes)
                side = entry_bytes, plan["side"]
                sides.add(side)
                sliced |= {side} if plan["slices"] > 1 else set()
                shared |= {side} if 1 < plan["elements"] and batch % plan["elements"] else set()
                cut_up |= {side} if plan["tiles"] > 1 else set()
    dual = kind[0]
    floats, doubles = ({2, 3, 5}, {2, 3}) if dual else ({2, 3, 4, 5, 8}, {2, 3, 5})
    assert sides == {(4, s) for s in floats} | {(8, s) for s in doubles}
    assert {b for b, _ in sliced} == {b for b, _ in cut_up} == {b for b, _ in shared} == {4, 8}


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


def test_infinities_have_no_low_part(host):
    """S of the second level passes the largest float by a step that is finite itself."""
    path = np.array([[0], [2.4e19], [2.7e19], [2.8e19]], "float32")
    for small in (False, True):
        host.configure(*IN_ORDER, small)
        found = BY_NAME["sig"].call(path, 3)
        np.testing.assert_array_equal(found, np.float32([2.8e19, np.inf, np.inf]))


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


def test_degree_zero_and_no_batch(host):
    for op in ALL:
        for scalar_term, batch in itertools.product((False, True), ((2,), (0,))):
            case = Case(3, 0, scalar_term=scalar_term)
            if not scalar_term and op.name == "sig_hvp":
                continue
            rng = np.random.default_rng(0)
            arrays = [rng.uniform(size=(*batch, *op.shape(a, case))) for a in op.takes.values()]
            for x in as_tuple(op.bind(case)(*arrays)):
                constant = 1 if op.order == 0 else 0
                np.testing.assert_array_equal(x, np.full(x.shape, float(constant)))


@pytest.mark.parametrize("op", ALL, ids=lambda op: op.name)
def test_broadcast_operands(host, op):
    """Of stride 0 along some axes, or sliced out of something wider, without a copy."""
    sizes = ((3, 3), (2, 3))  # by small limits in tiles, or several in a block
    for size, small, dtype in itertools.product(sizes, (False, True), ("float64", "float16")):
        host.configure(*IN_ORDER, small)
        case = Case(*size, scalar_term=True)
        arrays = op.draw(6, case, dtype, (2, 2, 3))
        if op.tied:
            arrays = [np.broadcast_to(x[:1, :, :1], x.shape) for x in arrays]
        else:
            arrays = [
                np.broadcast_to(x[:, :1] if i % 2 else x[:1, :, :1], x.shape)
                for i, x in enumerate(arrays)
            ]
        expected = as_tuple(op.bind(case)(*(np.ascontiguousarray(x) for x in arrays)))
        for ours, theirs in zip(as_tuple(op.bind(case)(*arrays)), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("small", [False, True])
def test_in_place(host, small):
    """A result over the operand that _primitive.py may have it written over, tiles or none."""
    host.configure(False, 3, 7, small)
    if not small:  # several in a block
        host.as_if(1, 1 << 20)
    cases = [Case(d, n, prepend=False) for d, n in ((3, 5), (2, 4), (2, 6), (4, 4), (2, 9))]
    cases += [Case(d, n, prepend=True, scalar_term=True) for d, n in ((2, 6), (5, 2))]
    for case in cases:
        rng = np.random.default_rng(7)
        sig, t_sig, g, h = rng.uniform(-1, 1, (4, 7, case.length()))
        v, t_v, ct_v = rng.uniform(-1, 1, (3, 7, case.d))
        for name, operands, over in (
            ("sig_join", (sig, v), 0),
            ("sig_join_jvp", (sig, v, t_sig, t_v), 2),
            ("sig_join_backprop", (g, sig, v), 0),
            ("sig_combine", (sig, t_sig), 0),
            ("sig_combine_jvp", (sig, g, t_sig, h), 2),
            ("sig_combine_backprop", (g, sig, t_sig), 0),
        ):
            of_product = name.startswith("sig_combine")
            static = (case.d, case.degree, *(() if of_product else (case.prepend,)), 1)
            call, more = getattr(host, name), ()
            if name.endswith("backprop"):
                more = (np.empty_like(sig) if of_product else ct_v,)
            apart, same = np.empty_like(sig), [x.copy() for x in operands]
            call(*operands, *static, apart, *more)
            call(*same, *static, same[over], *more)
            np.testing.assert_array_equal(same[over], apart)


@pytest.mark.parametrize("op", ALL, ids=lambda op: op.name)
def test_nan_stays_in_its_element(host, op):
    case = Case(3, 3, points=5)
    arrays = op.draw(8, case, "float64", (3,))
    clean = as_tuple(op.bind(case)(*arrays))
    for x in arrays:
        x[1] = np.nan
    for found, expected in zip(as_tuple(op.bind(case)(*arrays)), clean, strict=True):
        np.testing.assert_array_equal(found[::2], expected[::2])
        assert np.isnan(found[1]).any() or op.name == "sig_join_hvp"


def test_no_zero_meets_an_infinity(host):
    """Products with what is zero by nature are left out: an infinite letter stays a letter."""
    v, t_v = np.array([np.inf, 1.0]), np.array([1.0, 2.0])
    path, t_path = np.stack([0 * t_v, v]), np.stack([0 * t_v, t_v])
    np.testing.assert_array_equal(BY_NAME["sig_jvp"].call(path, t_path, 1), t_v)
    zero = np.zeros(2)
    np.testing.assert_array_equal(
        BY_NAME["sig_join_jvp"].call(zero, v, zero, t_v, dimension=2, degree=1), t_v
    )
    g = np.array([np.inf, 1.0])
    _, moved = BY_NAME["sig_join_hvp"].call(g, zero, t_v, zero, t_v, dimension=2, degree=1)
    np.testing.assert_array_equal(moved, zero)


def test_bad_calls_are_refused(host):
    """A mistake in Python must not become a crash on the GPU."""
    good = [np.zeros(14), np.zeros(2), 2, 3, False, 1, np.zeros(14)]
    for index, value, expected in (
        (0, np.zeros(13), "14"),
        (0, np.zeros(14, "float32"), "dtype"),
        (1, np.zeros(3), "expected 2"),
        (6, np.zeros(12), "length"),
        (3, 70, "no GPU kernel"),
        (0, np.zeros((3, 14)), "batch"),
    ):
        call = list(good)
        call[index] = value
        with pytest.raises(ValueError, match=expected):
            host.sig_join(*call)


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_bad_products_and_streams_are_refused(host, dtype):
    def array(*shape):
        return np.zeros(shape, dtype)

    sig, lower = array(2, 14), array(2, 6)
    product = [sig, sig, lower, 2, 3, 1, sig.copy(), sig.copy()]
    stream = [array(2, 3, 14), lower, array(2, 4, 2), array(2, 3, 6)]
    stream += [3, False, 1, sig.copy(), array(2, 4, 2)]
    host.sig_combine_backprop(*product)
    host.sig_stream_backprop(*stream)
    for call, good, index, value, expected in (
        (host.sig_combine_backprop, product, 0, array(2, 15), "expected 14"),
        (host.sig_combine_backprop, product, 1, array(3, 14), "batch"),
        (host.sig_combine_backprop, product, 2, sig.astype("float32"), "dtype"),
        (host.sig_combine_backprop, product, 4, 70, "no GPU kernel"),
        (host.sig_combine_backprop, product, 7, lower, "length"),
        (host.sig_stream_backprop, stream, 0, array(2, 4, 14), "expected 3"),
        (host.sig_stream_backprop, stream, 1, array(2, 5), "length"),
        (host.sig_stream_backprop, stream, 1, lower.astype("float32"), "dtype"),
        (host.sig_stream_backprop, stream, 2, array(4, 2), "batch|dimensions"),
        (host.sig_stream_backprop, stream, 2, array(2, 0, 2), "points"),
        (host.sig_stream_backprop, stream, 7, array(2, 13), "length"),
        (host.sig_stream_backprop, stream, 8, array(2, 4, 3), "expected 2"),
    ):
        bad = list(good)
        bad[index] = value
        with pytest.raises(ValueError, match=expected):
            call(*bad)
