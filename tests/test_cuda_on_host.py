"""All CUDA kernels on the CPU (cuda_host.py): other shapes, results in place, bad calls."""

import itertools

import numpy as np
import pytest
from cuda_host import ALL, IN_ORDER
from helpers import BY_NAME, Case, as_tuple


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
