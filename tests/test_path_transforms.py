"""Path transforms: against the definition, point by point, alone and in front of a signature."""

import itertools
import re
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
import sweep
from helpers import BY_NAME, DTYPES, Case, check, close, from_torch, to_torch

import jax_siglib
from jax_siglib import forward_mode, transform_path, transform_path_backprop

CHOICES = [
    {"time_aug": time_aug, "lead_lag": lead_lag, "end_time": 2.5, "basepoint": basepoint}
    for time_aug, lead_lag, basepoint in itertools.product((False, True), repeat=3)
]
EVERYTHING = Case(2, 3, scalar_term=True, points=3, time_aug=True, lead_lag=True, basepoint=True)
EVERYTHING = EVERYTHING._replace(end_time=EVERYTHING.joins() / 2)  # times in halves, in any dtype
PATH_OPS = ["sig", "sig_jvp", "sig_backprop", "sig_hvp"]


def rationals(seed, *shape):
    """Multiples of 1/64 in [-1, 1], which every dtype holds."""
    return np.random.default_rng(seed).integers(-64, 65, shape) / 64


def exact(x):
    return np.vectorize(Fraction, otypes=[object])(x)


def rounded(fractions, dtype):
    """To the nearest number of a dtype, ties to even: by trial, with exact distances."""

    def one(fraction):
        near = np.asarray(float(fraction)).astype(dtype)
        inf = np.asarray(np.inf, dtype)
        candidates = [near, np.nextafter(near, inf), np.nextafter(near, -inf)]

        def rank(x):
            bits = int(x.view({2: "uint16", 4: "uint32", 8: "uint64"}[x.itemsize]))
            return abs(Fraction(float(x)) - fraction), bits & 1

        return min(candidates, key=rank)

    return np.array([one(x) for x in fractions.ravel()], dtype).reshape(fractions.shape)


def frameworks(torch):
    """Ways in and out of each framework."""
    yield "numpy", (lambda x: x), (lambda x: x)
    yield "jax", jnp.asarray, np.asarray
    yield "torch", (lambda x: to_torch(torch, x)), (lambda x: from_torch(torch, x))


@pytest.mark.parametrize("dtype", DTYPES)
def test_against_the_definition(dtype, torch):
    """Copies are the same bits, times the nearest numbers, sums of four points rounded once."""
    path = rationals(0, 2, 4, 3).astype(dtype)
    for how in CHOICES if dtype == "float64" else CHOICES[2:3] + CHOICES[-1:]:
        by_hand = {**how, "basepoint": [0, 0, 0] if how["basepoint"] else None}
        truth = [oracle.transform(exact(x), **by_hand) for x in path]
        expected = np.stack([rounded(x, dtype) for x in truth])
        g = rationals(1, *expected.shape).astype(dtype)
        ct = [
            oracle.transform_backprop(exact(a), exact(b), **by_hand)
            for a, b in zip(g, path, strict=True)
        ]
        expected_ct = np.stack([rounded(x, dtype) for x in ct])
        for name, into, out in frameworks(torch):
            moved = transform_path(into(path), **how)
            found = transform_path_backprop(into(g), **how)
            assert type(moved) is type(found) is type(into(path)), name
            np.testing.assert_array_equal(
                out(moved), expected, err_msg=f"{name} {how}", strict=True
            )
            np.testing.assert_array_equal(
                out(found), expected_ct, err_msg=f"{name} {how}", strict=True
            )
        # The gradient in JAX is a sum in float32 too.
        gradient = jax.vjp(lambda x, how=how: transform_path(x, **how), jnp.asarray(path))[1]
        np.testing.assert_array_equal(gradient(jnp.asarray(g))[0], expected_ct, strict=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_times_are_fractions_rounded_once(dtype):
    """Ends of all sizes and lengths with remainders; longer ones than are kept for another call."""
    for points, end in itertools.product((1, 2, 3, 50, 998), (1.0, 0.1, -2 / 3, 3e4, 1e-4, 0.0)):
        path = np.zeros((points, 1), dtype)
        found = transform_path(path, time_aug=True, end_time=end)[:, 1]
        steps = max(points - 1, 1)
        times = np.array([Fraction(end) * t / steps for t in range(points)], object)
        np.testing.assert_array_equal(found, rounded(times, dtype), err_msg=f"{points} {end}")
    points, some = 100_003, np.array([1, 3, 99, 65_537, 100_001, 100_002])
    found = transform_path(np.zeros((points, 1), dtype), time_aug=True, end_time=0.7)[some, 1]
    times = np.array([Fraction(0.7) * int(t) / (points - 1) for t in some], object)
    np.testing.assert_array_equal(found, rounded(times, dtype))


@pytest.mark.parametrize("d", [2, 3])
def test_signatures_and_their_derivatives(d):
    sweep.transformed(d)


@pytest.mark.parametrize("name", PATH_OPS)
def test_every_framework(name, torch):
    """The bits of numpy, from any memory layout; in half precision too."""
    op, case = BY_NAME[name], EVERYTHING
    for dtype in DTYPES:
        arrays = op.draw(0, case, dtype, (2, 3))
        expected = op.bind(case)(*arrays)
        for _, into, out in frameworks(torch):
            found = out(op.bind(case)(*map(into, arrays)))
            np.testing.assert_array_equal(found, expected, strict=True)
        spaced = [np.repeat(x, 2, axis=-1)[..., ::2] for x in arrays]
        np.testing.assert_array_equal(op.bind(case)(*spaced), expected, strict=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_derivatives_in_jax(dtype):
    """By the path, and by the point in front, of first and second order, in both modes."""
    case = EVERYTHING
    keywords = {**BY_NAME["sig"].keywords(case)}
    path, front, t_path, t_front = (rationals(i, *(3, 2)[i % 2 :]) for i in range(4))
    together = case._replace(points=4, basepoint=False)  # the point in front as one of the path's
    x, t = np.vstack([front, path]), np.vstack([t_front, t_path])
    g = rationals(4, case.length())

    def f(sig):
        return lambda path, front: sig(path, **{**keywords, "basepoint": front})

    def loss(path, front):
        return jnp.sum(f(jax_siglib.sig)(path, front) * g.astype(path.dtype))

    def gradient(path, front):
        by_path, by_front = jax.grad(loss, (0, 1))(path, front)
        return jnp.vstack([by_front, by_path])

    at, along = ((jnp.asarray(a, dtype), jnp.asarray(b, dtype)) for a, b in
                 ((path, front), (t_path, t_front)))  # fmt: skip
    found = jax.jit(lambda at, along: (
        jax.jvp(f(forward_mode.sig), at, along), jax.jvp(gradient, at, along),
    ))(at, along)  # fmt: skip
    for name, ours, operands in (
        ("sig", found[0][0], [x]),
        ("sig_jvp", found[0][1], [x, t]),
        ("sig_backprop", found[1][0], [x, np.zeros(case.length()), g]),
        ("sig_hvp", found[1][1], [x, t, g]),
    ):
        op = BY_NAME[name]
        check(op, together, ours, op.truth(operands, together), dtype, name)


def test_basepoint_of_each_path_or_of_all(torch):
    path, fronts = rationals(0, 3, 4, 2), rationals(1, 3, 2)
    for how in ({}, {"lead_lag": True, "time_aug": True}):
        for front in (fronts, fronts[0]):
            whole = np.concatenate([np.broadcast_to(front, (3, 2))[:, None], path], 1)
            for _, into, out in frameworks(torch):
                moved = transform_path(into(path), basepoint=into(front), **how)
                np.testing.assert_array_equal(out(moved), transform_path(whole, **how))
            sig = jax_siglib.sig(whole, 3, **how)
            np.testing.assert_array_equal(jax_siglib.sig(path, 3, basepoint=front, **how), sig)
            g = rationals(2, *sig.shape)
            by_all = jax_siglib.sig_backprop(whole, sig, g, 3, **how)
            by_path = jax_siglib.sig_backprop(path, sig, g, 3, basepoint=front, **how)
            np.testing.assert_array_equal(by_path, by_all[:, 1:])
            # As the documentation says: of a signature, minus the sum of the others.
            close(-by_path.sum(1), by_all[:, 0], 1e-12)
        of_all = jax.vmap(lambda x, how=how: jax_siglib.sig(x, 3, basepoint=fronts[0], **how))
        expected = jax_siglib.sig(path, 3, basepoint=fronts[0], **how)
        np.testing.assert_array_equal(of_all(jnp.asarray(path)), expected)


def test_empty_batches_and_horner():
    path = np.zeros((0, 3, 2))
    assert transform_path(path, time_aug=True, lead_lag=True, basepoint=True).shape == (0, 7, 5)
    assert transform_path_backprop(np.zeros((0, 7, 5)), time_aug=True, lead_lag=True,
                                   basepoint=True).shape == path.shape  # fmt: skip
    assert jax_siglib.sig(path, 2, lead_lag=True).shape == (0, 20)
    path = rationals(0, 3, 2)
    np.testing.assert_array_equal(
        jax_siglib.sig(path, 3, horner=False), jax_siglib.sig(path, 3, horner=True)
    )


BAD = [
    ({"time_aug": 1}, TypeError, "time_aug must be a bool; got 1 of type int"),
    ({"lead_lag": None}, TypeError, "lead_lag must be a bool; got None"),
    ({"end_time": "1"}, TypeError, "end_time must be a float; got '1' of type str"),
    ({"end_time": True}, TypeError, "end_time must be a float; got True of type bool"),
    ({"end_time": np.nan}, ValueError, "end_time must be a finite number; got nan"),
    ({"end_time": 10**400}, ValueError, "end_time must be a finite number; got 1000"),
    (
        {"end_time": 1e39, "time_aug": True},
        ValueError,
        "end_time must be finite in .* float32; got",
    ),
    ({"basepoint": 1}, TypeError, "basepoint must be a bool, or the point .*; got int"),
    ({"basepoint": None}, TypeError, "basepoint must be a bool, or the point .*; got NoneType"),
    ({"basepoint": np.zeros(2)}, TypeError, "basepoint must have the dtype of path, float32; got"),
    ({"n_jobs": 0}, ValueError, "n_jobs must be"),
]
BASEPOINTS = [(1,), (3,), (2, 2), (1, 2), (4, 1, 2), ()]


@pytest.mark.parametrize("name", ["transform_path", *PATH_OPS])
@pytest.mark.parametrize("as_array", [np.asarray, jnp.asarray], ids=["numpy", "jax"])
def test_bad_flags(name, as_array):
    if name == "transform_path":
        function, arrays, keywords = transform_path, [np.zeros((4, 3, 2), "float32")], {}
    else:
        op, case = BY_NAME[name], Case(2, 2, points=3, time_aug=True)
        function, arrays, keywords = op.call, op.draw(0, case, "float32", (4,)), op.keywords(case)
    arrays = [as_array(x) for x in arrays]
    for bad, error, match in BAD:
        with pytest.raises(error, match=match):
            function(*arrays, **{**keywords, **bad})
    for shape in BASEPOINTS:
        match = (
            rf"basepoint must have shape \(2,\) or \(4, 2\), .*got shape {re.escape(str(shape))}"
        )
        with pytest.raises(ValueError, match=match):
            function(*arrays, **{**keywords, "basepoint": as_array(np.zeros(shape, "float32"))})
    for flag, kind, value in (
        ("end_time", "float", 1.0),
        ("time_aug", "bool", True),
        ("basepoint", "bool", True),
    ):
        match = f"{flag} must be a static Python {kind}; got a traced .* with static_argnames"
        with pytest.raises(TypeError, match=match):
            jax.jit(lambda t, flag=flag: function(*arrays, **{**keywords, flag: t}))(value)


def test_bad_shapes(torch):
    """Of derivatives, and of signatures that are not those of the transformed path."""
    for shape, how, wanted in (
        ((4, 3), {"lead_lag": True}, r"\(\.\.\., 2T -1, 2d\)"),
        ((5, 3), {"lead_lag": True}, r"transformed by lead_lag; got shape \(5, 3\)"),
        ((5, 4), {"lead_lag": True, "time_aug": True}, r"\(\.\.\., 2T -1, 2d \+1\)"),
        ((1, 4), {"lead_lag": True, "basepoint": True}, r"\(\.\.\., 2T \+1, 2d\)"),
        ((1, 4), {"basepoint": True}, r"\(\.\.\., T \+1, d\)"),
        ((5, 1), {"time_aug": True}, r"\(\.\.\., T, d \+1\)"),
        ((0, 1), {}, r"by nothing; got shape \(0, 1\)"),
        ((3,), {}, "so at least 2 axes"),
    ):
        for as_array in (np.asarray, jnp.asarray):
            with pytest.raises(ValueError, match=f"derivs must have shape.*{wanted}"):
                transform_path_backprop(as_array(np.zeros(shape)), **how)
    path, sig = np.zeros((3, 2)), np.zeros(6)
    for as_array in (np.asarray, jnp.asarray):
        x, s = as_array(path), as_array(sig)
        with pytest.raises(ValueError, match="sig must have .* length 12 .* dimension 3 and"):
            jax_siglib.sig_backprop(x, s, s, 2, time_aug=True)
        with pytest.raises(ValueError, match="sig_derivs must have .* length 20 .* dimension 4"):
            jax_siglib.sig_hvp(x, x, s, 2, lead_lag=True)
    with pytest.raises(TypeError, match="torch tensors cannot stand.*basepoint from torch"):
        transform_path(path, basepoint=torch.zeros(2))
    with pytest.raises(ValueError, match="basepoint requires grad"):
        point = torch.zeros(2, dtype=torch.float64, requires_grad=True)
        jax_siglib.sig(torch.zeros(3, 2, dtype=torch.float64), 2, basepoint=point)
    for name in ("transform_path", "sig"):
        with pytest.raises(TypeError, match="path must be a numpy array"):
            getattr(jax_siglib, name)([[1.0]], **({"degree": 2} if name == "sig" else {}))
