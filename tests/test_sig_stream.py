"""Running signatures: values at all kinds of sizes, how they continue, and their backward sweep."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from helpers import BY_NAME, Case, as_tuple, check, close, from_torch, to_torch

import jax_siglib
from jax_siglib import SignatureStream, sig, sig_stream, sig_stream_backprop
from jax_siglib._native import ext
from jax_siglib._sig_continued import sig_continued

OPS = [BY_NAME["sig_stream"], BY_NAME["sig_stream_backprop"]]
# As in test_sig.py: two ways to the same sums, of some 20 joins.
TOLERANCE = 1e-12


def draw(seed, *shape):
    return np.random.default_rng(seed).uniform(-1, 1, shape)


@pytest.mark.parametrize("d, degree", [(1, 4), (2, 5), (3, 1), (4, 2), (5, 3), (11, 2), (20, 2)])
@pytest.mark.parametrize("prepend", [False, True])
def test_against_the_oracle(d, degree, prepend):
    """Kernels for sizes known when they were compiled and for others, and every order."""
    for points, scalar_term in ((1, True), (2, False), (6, True)):
        case = Case(d, degree, prepend, scalar_term, points)
        for dtype in ("float32", "float64"):
            for op in OPS:
                arrays = op.draw(0, case, dtype, (2,))
                check(op, case, op.bind(case)(*arrays), op.truth(arrays, case, (2,)), dtype)
        _check_tangent_and_second_order(case)


def _check_tangent_and_second_order(case):
    """These two kernels are called by JAX alone: straight from here, for the sake of sizes."""
    path, t_path = draw(1, 2, case.points, case.d)
    initial, t_initial = draw(2, 2, case.length())
    g = draw(3, case.points - 1, case.length())
    moved = oracle._along(path, t_path), oracle._along(initial, t_initial)
    rest = case.degree, case.prepend

    t_rows = np.empty_like(g)
    ext.sig_stream_jvp(initial, path, t_initial, t_path, *rest, 1, t_rows)
    close(t_rows, oracle._tangent(oracle.sig_stream(*moved, *rest), t_rows), TOLERANCE, case)

    found = np.empty_like(path), np.empty(oracle.length(case.d, case.degree - 1))
    ext.sig_stream_hvp(g, initial, path, t_initial, t_path, *rest, 1, *found[::-1])
    of_path, of_initial = oracle.sig_stream_backprop(*moved, oracle._along(g, 0 * g), *rest)
    of_initial = oracle._tangent(of_initial, initial)[int(case.scalar_term) :][: found[1].size]
    exact = oracle._tangent(of_path, path), of_initial
    scale = max(np.max(np.abs(x), initial=0) for x in exact)
    for ours, theirs in zip(found, exact, strict=True):
        assert np.max(np.abs(ours - theirs), initial=0) <= TOLERANCE * scale


def test_rows_are_signatures_and_continue():
    """Every row by ``sig``; a path cut in two; from the end, as from the beginning."""
    d, degree, cut = 3, 4, 4
    path = draw(4, 2, 11, d)
    rows = sig_stream(path, degree, scalar_term=True)
    ahead = sig_stream(path, degree, prepend=True)
    for t in range(10):
        close(rows[:, t], sig(path[:, : t + 2], degree, scalar_term=True), TOLERANCE)
        close(ahead[:, t], sig(path[:, t:], degree), TOLERANCE)
    for initial in (rows[:, cut - 1], rows[:, cut - 1, 1:]):  # in either layout
        later = sig_stream(path[:, cut:], degree, initial=initial)
        np.testing.assert_array_equal(later, rows[:, cut:, 1:])
    earlier = sig_stream(path[:, : cut + 1], degree, initial=ahead[:, cut], prepend=True)
    np.testing.assert_array_equal(earlier, ahead[:, :cut])
    # The same sweep by the last row alone as by sig, whose steps are undone.
    g = np.zeros_like(rows)
    g[:, -1] = draw(5, 2, g.shape[-1])
    whole = jax_siglib.sig_backprop(path, rows[:, -1], g[:, -1], degree)
    close(sig_stream_backprop(path, rows, g, degree), whole, TOLERANCE)


@pytest.mark.parametrize("scalar_term", [False, True])
def test_without_initial_and_in_the_other_layout(scalar_term):
    """In JAX and numpy the same bits; gradients by ``initial`` come in its own layout."""
    d, degree = 2, 3
    path, start = draw(6, 3, 5, d), draw(7, 3, 15)
    g = draw(8, 3, 4, 14 + scalar_term)
    for initial in (None, start, start[:, 1:]):

        def weighed(path, initial=None):
            of = sig_stream(path, degree, initial=initial, scalar_term=scalar_term)
            return jnp.sum(g * of)

        options = {"initial": initial}
        rows = sig_stream(path, degree, scalar_term=scalar_term, **options)
        expected = as_tuple(sig_stream_backprop(path, rows, g, degree, **options))
        arrays = (path,) if initial is None else (path, initial)
        gradient = jax.grad(weighed, tuple(range(len(arrays))))(*map(jnp.asarray, arrays))
        jax_rows = sig_stream(jnp.asarray(path), degree, scalar_term=scalar_term, **options)
        explicit = sig_stream_backprop(jnp.asarray(path), jax_rows, g, degree, **options)
        np.testing.assert_array_equal(jax_rows, rows)
        for found in (gradient, as_tuple(explicit)):
            for ours, theirs in zip(found, expected, strict=True):
                np.testing.assert_array_equal(ours, theirs)


def test_residuals():
    """The path, what it continues from, and the rows, below level N."""
    path, initial = jnp.asarray(draw(9, 6, 3)), jnp.asarray(draw(10, 39))
    stream = jax.jit(lambda path, initial: sig_stream(path, 3, initial=initial))
    vjp = jax.vjp(stream, path, initial)[1]
    assert sorted(x.shape for x in jax.tree.leaves(vjp)) == [(5, 12), (6, 3), (12,)]


def test_long_path_in_float32():
    """The sweep does not drift: the gradient of 20,000 steps is as good as that of a few."""
    d, degree, points = 2, 4, 20_001
    rng = np.random.default_rng(11)
    path = np.cumsum(rng.normal(0, 1e-2, (points, d)), 0).astype("float32")
    g = np.zeros((points - 1, oracle.length(d, degree)), "float32")
    g[[10, -1]] = rng.uniform(-1, 1, (2, g.shape[1]))
    gradients = [
        sig_stream_backprop(x, sig_stream(x, degree), g.astype(x.dtype), degree)
        for x in (path, path.astype("float64"))
    ]
    error = np.linalg.norm(gradients[0] - gradients[1])
    assert error <= 2e-5 * np.linalg.norm(gradients[1])


def test_rows_that_do_not_fit():
    path = np.zeros((4, 3), "float32")
    rows = np.zeros((4, 12), "float32")
    with pytest.raises(ValueError, match=r"stream must have shape .* with 3 rows.*got.*\(4, 12\)"):
        sig_stream_backprop(path, rows, rows, 2)
    with pytest.raises(ValueError, match=r"initial must have a last axis of length 12 .*got 11"):
        sig_stream(path, 2, initial=rows[0, :11])


@pytest.mark.parametrize("prepend", [False, True])
def test_continued_is_the_last_row(prepend, torch):
    """In every framework and layout, and its derivatives; half precision is rounded once."""
    path, start = draw(12, 3, 6, 2), draw(13, 3, 15)
    for initial, scalar_term in ((start, False), (start[:, 1:], True)):
        options = {"prepend": prepend, "scalar_term": scalar_term}
        at = 0 if prepend else -1
        last = sig_stream(path, 3, initial=initial, **options)[:, at]
        found = sig_continued(path, initial, 3, **options)
        close(found, last, TOLERANCE)
        tensors = [torch.from_numpy(np.array(x)) for x in (path, initial)]
        np.testing.assert_array_equal(sig_continued(*tensors, 3, **options), found)

    def total(function):
        return lambda *x: jnp.sum(jnp.sin(function(*x)))

    gradients = [
        jax.jit(jax.grad(total(f), (0, 1)))(path, start)
        for f in (
            lambda path, initial: sig_continued(path, initial, 3, **options),
            lambda path, initial: sig_stream(path, 3, initial=initial, **options)[:, at],
        )
    ]
    for ours, theirs in zip(*gradients, strict=True):
        close(ours, theirs, TOLERANCE)
    half = [x.astype("bfloat16") for x in (path, start)]
    wide = sig_continued(*(x.astype("float32") for x in half), 3, **options)
    np.testing.assert_array_equal(
        sig_continued(*half, 3, **options), wide.astype("bfloat16"), strict=True
    )


@pytest.mark.parametrize("scalar_term", [False, True])
def test_stream_object(scalar_term):
    """As a carry of scan under vmap and grad; marks; pieces of a path."""
    d, degree = 2, 3
    path = draw(14, 2, 8, d)
    steps = np.diff(path, axis=1)
    begin = SignatureStream.begin(d, degree, dtype="float64", scalar_term=scalar_term)

    def fold(steps):
        stream = jax.lax.scan(lambda s, v: (s.push(v), None), begin, steps[:3])[0].mark()
        stream = jax.lax.scan(lambda s, v: (s.push(v), None), stream, steps[3:])[0]
        return stream.signature, stream.since_mark

    whole = sig(path, degree, scalar_term=scalar_term)
    since = sig(path[:, 3:], degree, scalar_term=scalar_term)
    for found, expected in zip(jax.jit(jax.vmap(fold))(steps), (whole, since), strict=True):
        close(found, expected, TOLERANCE)

    def by_pieces(path):
        stream = jax.vmap(lambda _: begin)(jnp.arange(2)).push_path(path[:, :4])
        return stream.mark().push_path(path[:, 3:])

    stream = jax.jit(by_pieces)(path)
    close(stream.signature, whole, TOLERANCE)
    close(stream.since_mark, since, TOLERANCE)
    weights = draw(15, *whole.shape)
    gradient = jax.grad(lambda path: jnp.sum(weights * by_pieces(path).signature))(path)
    close(gradient, jax_siglib.sig_backprop(path, whole, weights, degree), TOLERANCE)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("kind", ["numpy", "torch", "jax"])
def test_stream_object_is_of_the_kind_of_its_signature(kind, dtype, request):
    """Joins, pieces, and what came since a mark, with and without the scalar term."""
    convert, back = np.asarray, np.asarray
    if kind == "torch":
        torch = request.getfixturevalue("torch")
        convert = functools.partial(to_torch, torch)
        back = functools.partial(from_torch, torch)
    elif kind == "jax":
        convert = jnp.asarray
    points, degree = draw(16, 3, 7, 2).astype(dtype), 3
    pieces = [np.array(points[:, at]) for at in (slice(2), slice(1, 4), slice(3, 7))]
    rounding = {"float32": 1e-6, "bfloat16": 2.0**-6}.get(dtype, TOLERANCE)  # of a few joins
    for scalar_term in (False, True):
        start = convert(sig(pieces[0], degree, scalar_term=scalar_term))
        stream = SignatureStream(start, None, 2, degree).push_path(convert(pieces[1])).mark()
        unit = sig(pieces[0][:, :1], degree, scalar_term=scalar_term)
        assert type(stream.since_mark) is type(start)
        np.testing.assert_array_equal(back(stream.since_mark), unit, strict=True)
        stream = stream.push_path(convert(pieces[2])).push(convert(pieces[2][:, 0]))
        ends = np.concatenate([points, points[:, -1:] + pieces[2][:, :1]], 1).astype("float64")
        for found, first in ((stream.signature, 0), (stream.since_mark, 3)):
            assert type(found) is type(start) and found.dtype == start.dtype
            exact = sig(ends[:, first:], degree, scalar_term=scalar_term)
            close(back(found), exact, rounding)


@pytest.mark.parametrize("scalar_term", [False, True])
def test_stream_object_keeps_float64_without_x64(scalar_term):
    start = jnp.asarray(sig(draw(17, 4, 2), 3, scalar_term=scalar_term))
    step = jnp.ones(2)
    with jax.enable_x64(False):
        stream = SignatureStream(start, None, 2, 3).mark().push(step)
    exact = jax_siglib.linear_sig(np.ones(2), 2, 3, scalar_term=scalar_term)
    assert stream.since_mark.dtype == stream.signature.dtype == "float64"
    close(stream.since_mark, exact, TOLERANCE)


def test_stream_objects_are_equal_if_they_are_the_same():
    stream = SignatureStream.begin(2, 3)
    assert stream == stream and stream != SignatureStream.begin(2, 3)
    assert len({stream, stream.mark()}) == 2


def test_what_the_stream_object_refuses():
    begin = SignatureStream.begin
    for keywords, error, match in (
        ({"batch": 4}, TypeError, "batch must be a sequence of ints; got 4"),
        ({"batch": (2.0,)}, TypeError, r"batch must be a sequence of ints; got \(2\.0,\)"),
        ({"batch": (3, -1)}, ValueError, r"batch must have no negative size; got \(3, -1\)"),
        ({"dtype": "int32"}, TypeError, "dtype must be float16, .* float64; got 'int32'"),
        ({"dtype": bool}, TypeError, "dtype must be float16, .* float64; got <class 'bool'>"),
        ({"dtype": "complex64"}, TypeError, "dtype must be float16, .*; got 'complex64'"),
        ({"scalar_term": 1}, TypeError, "scalar_term must be a bool; got 1"),
    ):
        with pytest.raises(error, match=match):
            begin(2, 3, **keywords)
    stream, marked = begin(2, 3, batch=(3,), dtype="float32"), begin(2, 3, dtype="float32").mark()
    for bad, error, match in (
        ([[0.0, 1.0]], TypeError, "must be a numpy array, .*; got list"),
        (np.ones((3, 4, 2)), TypeError, "must have the dtype of signature, float32; got float64"),
        (np.ones((3, 4, 2), "int32"), TypeError, "must have dtype float16, .*; got int32"),
        (np.ones((3, 4, 3), "float32"), ValueError, "must have a last axis of length 2, .*"),
        (np.ones((5, 4, 2), "float32"), ValueError, r"of signature, \(3,\); got \(5,\)"),
        (np.float32(1), ValueError, r"must have shape \(\.\.\., .*d\), so at least"),
    ):
        with pytest.raises(error, match=f"^path .*{match}"):
            stream.push_path(bad)
        with pytest.raises(error, match=f"^displacement .*{match}"):
            stream.push(bad[:, 0] if getattr(bad, "ndim", 0) else bad)
    with pytest.raises(
        ValueError, match=r"displacement must have .* of signature, \(\); got \(3,\)"
    ):
        marked.push(np.ones((3, 2), "float32"))
    with pytest.raises(ValueError, match="path must have .* with at least one point"):
        marked.push_path(np.ones((0, 2), "float32"))
    for signature, error, match in (
        ([1.0, 0.5], TypeError, "signature must be a numpy array, .*; got list"),
        (np.ones(6, "int32"), TypeError, "signature must have dtype float16, .*; got int32"),
        (np.ones(5), ValueError, "signature must have a last axis of length 14"),
        (np.ones(()), ValueError, r"signature must have shape \(\.\.\., L\)"),
    ):
        odd = SignatureStream(signature, None, 2, 3)
        for call in (odd.mark, lambda odd=odd: odd.push(np.ones(2))):
            with pytest.raises(error, match=match):
                call()


@pytest.mark.parametrize("module", [jax_siglib, jax_siglib.forward_mode])
def test_keywords_of_sig(module):
    """``stream`` and ``initial`` of sig, after a transform, and their derivatives."""
    path, initial = draw(5, 2, 5, 2), draw(6, 2, jax_siglib.sig_length(3, 3))
    how = {"time_aug": True, "basepoint": True}
    moved = jax_siglib.transform_path(path, **how)
    rows = sig_stream(moved, 3, initial=initial)
    for found, exact in (
        (module.sig(path, 3, stream=True, **how), sig_stream(moved, 3)),
        (module.sig(path, 3, stream=True, initial=initial, **how), rows),
        (module.sig(path, 3, initial=initial, **how), rows[:, -1]),
        (module.sig(moved, 3, initial=initial), rows[:, -1]),
        (module.sig(moved, 3, stream=np.False_), sig(moved, 3)),
        (module.sig(moved, 3, stream=np.True_), sig_stream(moved, 3)),
    ):
        close(found, exact, TOLERANCE)

    def last(path, initial):
        return jnp.sum(module.sig(path, 3, initial=initial, **how) ** 2)

    def last_of_stream(path, initial):
        return jnp.sum(module.sig(path, 3, initial=initial, stream=True, **how)[:, -1] ** 2)

    arrays = jnp.asarray(path), jnp.asarray(initial)
    for ours, theirs in zip(
        jax.grad(last, (0, 1))(*arrays), jax.grad(last_of_stream, (0, 1))(*arrays), strict=True
    ):
        close(ours, theirs, TOLERANCE)
    with pytest.raises(TypeError, match="stream must be a bool"):
        module.sig(path, 3, stream=1)
    with pytest.raises(ValueError, match="initial must have a last axis of length 39"):
        module.sig(path, 3, initial=initial[:, :-1], **how)
