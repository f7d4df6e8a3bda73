"""Long paths as a GPU takes them, in pieces: here on the CPU, on pieces of a few steps.

What is lowered for a GPU is looked at in the last tests; on one all of it runs in test_gpu.py.
"""

import contextlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import BY_NAME, DTYPES, HALVES, Case, as_tuple, check, close
from jax import P

import jax_siglib
from jax_siglib import _primitive, _sig_pieces

OPS = [BY_NAME[name] for name in ("sig", "sig_jvp", "sig_backprop", "sig_hvp")]
STREAMS = [BY_NAME[name] for name in ("sig_stream", "sig_stream_backprop")]
by_op = pytest.mark.parametrize("op", OPS + STREAMS, ids=lambda op: op.name)


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Calls of the CPU's kernels are cut where those of a GPU's would be."""
    monkeypatch.setattr(_primitive, "_GPUS", {"cpu"})
    jax.clear_caches()
    yield
    jax.clear_caches()


@pytest.fixture
def cut(as_on_a_gpu, monkeypatch):
    """And in pieces of three steps or more; those of paths of 99 points are wide."""
    monkeypatch.setattr(_sig_pieces, "_LEAST_STEPS", 3)
    monkeypatch.setattr(_sig_pieces, "_MOST_POINTS", 98)


@contextlib.contextmanager
def left_whole():
    """Within, nothing is cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_primitive, "_GPUS", set())
        jax.clear_caches()
        yield


def calls(function, *arrays, platform="cpu"):
    """Targets of the kernels called, with the shapes of their first operands."""
    text = jax.jit(function).trace(*arrays).lower(lowering_platforms=(platform,)).as_text()
    found = re.findall(r"@jax_siglib_(\w+)_v1\(.*\(tensor<([\dx]+)x(\w+)>", text)
    return [(name, tuple(map(int, shape.split("x"))), dtype) for name, shape, dtype in found]


@pytest.mark.parametrize("dtype", DTYPES)
@by_op
def test_against_the_oracle(cut, op, dtype):
    cases = [(Case(3, 4, scalar_term=True, points=16), (2,), 4)]  # the last piece is shorter
    if op in STREAMS:
        cases += [(Case(2, 3, prepend=True, points=27), (), 8)]
    else:
        cases += [(Case(2, 3, points=7, time_aug=True, lead_lag=True, basepoint=True), (), 4)]
    if dtype == "float32":
        cases += [(Case(2, 2, points=99), (), 32)]
    if dtype == "float64":
        cases += [(Case(5, 1, points=30), (1, 2), 8), (Case(1, 3, points=25), (3,), 8)]
    for case, batch, pieces in cases:
        arrays = [x / 4 if x.shape[-1] == case.d else x for x in op.draw(1, case, "float64", batch)]
        if op.tied:
            n = len(op.forward.takes)
            arrays[n] = op.forward.truth(arrays[:n], case, batch).results[0]
        narrow = [x.astype(dtype) for x in arrays]
        truth = op.truth(narrow if dtype in HALVES else arrays, case, batch)
        operands = list(map(jnp.asarray, narrow))
        check(op, case, as_tuple(jax.jit(op.bind(case))(*operands)), truth, dtype)
        made = [shape for name, shape, _ in calls(op.bind(case), *operands) if name == op.name]
        assert {shape[len(batch)] for shape in made} == {pieces}, (case, made)


@by_op
def test_degree_zero_and_no_batch(cut, op):
    case = Case(2, 0, points=30, scalar_term=True)
    arrays = list(map(jnp.asarray, op.draw(2, case, "float64", (2,))))
    found = as_tuple(jax.jit(op.bind(case))(*arrays))
    check(op, case, found, op.truth(arrays, case, (2,)), "float64")
    case = Case(2, 3, points=30)
    axes = [*op.takes.values(), *op.results]
    shapes = [(0, *op.shape(names, case)) for names in axes]
    found = as_tuple(jax.jit(op.bind(case))(*map(jnp.zeros, shapes[: len(op.takes)])))
    assert [x.shape for x in found] == shapes[len(op.takes) :]


def test_double_is_for_long_paths_of_float32(cut):
    rng = np.random.default_rng(3)
    for points, dtype, inside in ((98, "float32", "f32"), (99, "float32", "f64")):
        path, g = rng.normal(size=(points, 2)).astype(dtype), np.ones(14, dtype)
        for x64 in (True, False):
            with jax.enable_x64(x64):
                operands = jnp.asarray(path), jnp.asarray(g)

                def gradient(path, g):
                    return jax_siglib.sig_hvp(path, path, g, 3)

                assert {dtype for *_, dtype in calls(gradient, *operands)} == {inside}
                assert jax.jit(gradient)(*operands).dtype == dtype
    # Running signatures are not undone.
    assert {x[2] for x in calls(lambda x: jax_siglib.sig_stream(x, 3), path)} == {"f32"}


def test_rounding_of_a_long_path(as_on_a_gpu):
    """Of 100,000 points, cut as on a GPU; what points get are differences, 1e-5 as large.

    What is left is the rounding of the results to float32.
    """
    angle = np.linspace(0, 2 * np.pi, 100_000)[:, None] * [1, 2, 3]
    path, t_path = np.sin(angle + 0.3).astype("float32"), np.cos(3 * angle).astype("float32")
    g = np.random.default_rng(4).uniform(-1, 1, 120).astype("float32")

    @jax.jit
    def all_of_it(path, t_path, g):
        out = jax_siglib.sig(path, 4)
        gradient = jax_siglib.sig_backprop(path, out, g, 4)
        tangent = jax_siglib.sig_jvp(path, t_path, 4)
        return out, tangent, gradient, jax_siglib.sig_hvp(path, t_path, g, 4)

    narrow = path, t_path, g
    found, exact = (all_of_it(*(x.astype(t) for x in narrow)) for t in ("float32", "float64"))
    for x, expected in zip(map(np.asarray, found), map(np.asarray, exact), strict=True):
        assert x.dtype == "float32"
        assert np.linalg.norm(x - expected) <= 1e-7 * np.linalg.norm(expected)


@pytest.mark.parametrize("prepend", [False, True], ids=["append", "prepend"])
def test_rounding_of_long_streams(as_on_a_gpu, prepend):
    """In float32, of 20,000 points: not further off in pieces than whole."""
    angle = np.linspace(0, 2 * np.pi, 20_000)[:, None] * [1, 2, 3]
    path, g = np.sin(angle + 0.3), np.random.default_rng(9).uniform(-1, 1, (19_999, 120))

    def rows_and_gradient(path, g):
        rows, pull = jax.vjp(lambda x: jax_siglib.sig_stream(x, 4, prepend=prepend), path)
        return rows, pull(g)[0]

    narrow = path.astype("float32"), g.astype("float32")
    pieces = jax.jit(rows_and_gradient)(*narrow)
    assert calls(rows_and_gradient, *narrow)[0][1] == (256, 80, 3)
    with left_whole():
        whole = jax.jit(rows_and_gradient)(*narrow)
        exact = jax.jit(rows_and_gradient)(*(x.astype("float64") for x in narrow))
    for limit, *found in zip((5e-7, 1e-5), pieces, whole, exact, strict=True):
        ours, theirs, right = map(np.asarray, found)
        error, error_whole = (np.linalg.norm(x - right) for x in (ours, theirs))
        assert error <= min(limit * np.linalg.norm(right), error_whole)


def test_transformations(cut):
    """As without pieces: derivatives of derivatives, and vmap over some of the operands."""

    def all_of_it(path, ct, t_path):
        def weighed(path):
            return jnp.sum(jnp.sin(jax_siglib.sig(path, 3)))

        def backprop(ct, path):
            return jax_siglib.sig_backprop(path, jax_siglib.sig(path, 3), ct, 3)

        gradient = jax.grad(weighed)
        return (
            jax.vmap(gradient)(path),
            jax.vmap(jax.grad(lambda x: jnp.sum(jnp.cos(gradient(x)))))(path),
            jax.vmap(lambda x, t: jax.jvp(gradient, (x,), (t,))[1])(path, t_path),
            jax.vmap(backprop, (0, None))(ct, path[0]),
            jax.vmap(backprop, (None, 0))(ct[0], path),
            jax.vmap(lambda t: jax_siglib.sig_hvp(path[0], t, ct[0], 3))(t_path),
        )

    rng = np.random.default_rng(5)
    path, t_path = jnp.asarray(np.cumsum(rng.normal(size=(2, 3, 20, 2)) / 5, -2))
    ct = jnp.asarray(rng.normal(size=(3, 14)))
    same_as_whole(all_of_it, path, ct, t_path)


@pytest.mark.parametrize("prepend", [False, True], ids=["append", "prepend"])
def test_transformations_of_streams(cut, prepend):
    """The same, of both operands; a signature that many paths continue is one."""

    def weighed(path, initial):
        rows = jax_siglib.sig_stream(path, 3, initial=initial, prepend=prepend, scalar_term=True)
        return jnp.sum(jnp.sin(rows * jnp.arange(rows.shape[-2], dtype=rows.dtype)[:, None]))

    def tangent(path, initial, t_path, t_initial):
        def rows(path, initial):
            return jax_siglib.forward_mode.sig_stream(path, 3, initial=initial, prepend=prepend)

        return jax.jvp(rows, (path, initial), (t_path, t_initial))[1]

    def all_of_it(path, t_path, initial, t_initial):
        gradient = jax.grad(weighed, (0, 1))

        def hvp(path, initial):
            return jax.jvp(gradient, (path, initial), (t_path[0], t_initial[0]))[1]

        def in_reverse(path, initial):
            return sum(jnp.sum(jnp.cos(x)) for x in gradient(path, initial))

        return jax.tree.leaves((
            jax.vmap(gradient)(path, initial),
            jax.vmap(gradient, (0, None))(path, initial[0]),
            jax.vmap(gradient, (None, 0))(path[0], initial),
            jax.vmap(tangent, (0, None, 0, None))(path, initial[0], t_path, t_initial[0]),
            jax.vmap(hvp, (0, None))(path, initial[0]),
            jax.vmap(jax.grad(in_reverse, (0, 1)))(path, initial),
        ))  # fmt: skip

    rng = np.random.default_rng(5)
    path, t_path = jnp.asarray(np.cumsum(rng.normal(size=(2, 2, 20, 2)) / 5, -2))
    initial, t_initial = jnp.asarray(rng.normal(size=(2, 2, 15)))
    assert ("sig_stream", (2, 4, 14), "f64") in calls(
        jax.vmap(tangent), path, initial, t_path, t_initial
    )
    same_as_whole(all_of_it, path, t_path, initial, t_initial)


def same_as_whole(function, *arrays):
    pieces = jax.jit(function)(*arrays)
    with left_whole():
        whole = jax.jit(function)(*arrays)
    for ours, theirs in zip(pieces, whole, strict=True):
        close(ours, theirs, 1e-12)


def test_nan_stays_in_its_path(cut):
    path = np.cumsum(np.random.default_rng(6).normal(size=(2, 20, 3)) / 9, 1)
    clean = jax_siglib.sig(jnp.asarray(path), 3)
    path[0, 11] = np.nan
    spoilt = jax_siglib.sig(jnp.asarray(path), 3)
    np.testing.assert_array_equal(spoilt[1], clean[1])
    assert np.isnan(spoilt[0, 3:]).all()
    for prepend, until in ((False, slice(10)), (True, slice(12, None))):  # rows without that point
        rows = jax.jit(lambda x, p=prepend: jax_siglib.sig_stream(x, 3, prepend=p))(path)
        assert not np.isnan(rows[1]).any()
        assert (~np.isnan(rows[0]).any(-1)).nonzero()[0].tolist() == [*range(19)][until]


@pytest.mark.parametrize("explicit", [False, True], ids=["automatic", "explicit"])
def test_on_several_devices(cut, explicit):
    """Pieces are made where the paths are, and by each device's share of the batch.

    Where axes are explicit there need not be any but inside of shard_map.
    """
    kind = jax.sharding.AxisType.Explicit if explicit else jax.sharding.AxisType.Auto
    mesh = jax.make_mesh((4,), ("batch",), axis_types=(kind,), devices=jax.devices()[:4])
    path = np.cumsum(np.random.default_rng(7).normal(size=(8, 20, 2)) / 5, 1)
    ct = np.ones((8, 14))

    def derivatives(path, ct):
        value, pull = jax.vjp(lambda x: jax_siglib.sig(x, 3), path)
        rows, pull_rows = jax.vjp(lambda x: jax_siglib.sig_stream(x, 3), path)
        of_sig = value, pull(ct)[0], jax_siglib.sig_hvp(path, path, ct, 3)
        return *of_sig, rows, pull_rows(jnp.cos(rows))[0]

    whole = derivatives(path, ct)
    with jax.set_mesh(mesh):
        sharded = [jax.device_put(x, P("batch")) for x in (path, ct)]
        shared_out = jax.shard_map(derivatives, in_specs=P("batch"), out_specs=P("batch"))
        for function in derivatives, shared_out:
            compiled = jax.jit(function).lower(*sharded).compile()
            text = compiled.as_text()
            assert "all-" not in text
            assert "f64[2,4,6,2]" in text or (explicit and function is derivatives)
            for ours, theirs in zip(compiled(*sharded), whole, strict=True):
                close(ours, theirs, 1e-12)


def test_pieces_are_not_cut_again():
    rng = np.random.default_rng(8)
    cut = 0
    for _ in range(20_000):
        batch, points = (int(x) for x in 2 ** rng.uniform(0, 22, 2))
        d, degree = (int(x) for x in rng.integers(1, (40, 9)))
        pieces = _sig_pieces.pieces_of((batch, points, d), degree)
        assert pieces & (pieces - 1) == 0
        if pieces > 1:
            cut += 1
            steps = -(-(points - 1) // pieces)
            assert steps >= _sig_pieces._LEAST_STEPS and pieces * steps < points + pieces
            assert _sig_pieces.pieces_of((batch, pieces, steps + 1, d), degree) == 1
    assert 1000 < cut < 19_000
    assert _sig_pieces.pieces_of((0, 5000, 3), 3) == 64
    for few in ((1, 1, 3), (1, 256, 3), (128, 512, 8), (1, 5000, 256)):
        assert _sig_pieces.pieces_of(few, 5) == 1


def test_lowering_for_a_gpu(module):
    """Pieces, log2 of their number products, and the same of the derivatives; short paths whole."""
    path, ct = np.zeros((2, 5000, 3), np.float32), np.ones((2, 120), np.float32)

    def backprop(path, ct):
        return jax_siglib.sig_backprop(path, ct, ct, 4)

    of_sig = [("sig", (2, 64, 80, 3), "f32")]
    products = [("sig_combine", (2, 2**k, 120), "f32") for k in range(5, -1, -1)]
    back = [("sig_combine_backprop", (2, 2**k, 120), "f32") for k in range(6)]
    last = [("sig_backprop", (2, 64, 120), "f32")]
    assert calls(lambda x: jax_siglib.sig(x, 4), path, platform="cuda") == of_sig + products
    assert calls(backprop, path, ct, platform="cuda") == of_sig + products + back + last
    short = path[:, :256]
    assert calls(backprop, short, ct, platform="cuda") == [("sig_backprop", (2, 120), "f32")]
    assert calls(backprop, path, ct) == [("sig_backprop", (2, 120), "f32")]
    running = calls(lambda x: jax_siglib.sig_stream(x, 4), path, platform="cuda")
    assert running[0] == of_sig[0] and running[-1] == ("sig_stream", (2, 64, 120), "f32")
    # There and back again through the pieces; JAX's scan has one of nothing, in between.
    assert [name for name, *_ in running[1:-1]] == ["sig_combine"] * 12
    large = jax.ShapeDtypeStruct((2, 1_200_000, 3), np.float32)  # more rows than have room
    for whole in short, large:
        alone = calls(lambda x: jax_siglib.sig_stream(x, 4), whole, platform="cuda")
        assert alone == [("sig_stream", (1, 120), "f32")]
    (batch,) = jax.export.symbolic_shape("batch")
    any_batch = jax.ShapeDtypeStruct((batch, 5000, 3), np.float32)
    assert _sig_pieces.pieces_of(any_batch.shape, 4) == 1
    options = {"platforms": ("cpu", "cuda"), "disabled_checks": jax_siglib.export_checks()}
    jax.export.export(jax.jit(lambda x: jax_siglib.sig(x, 4)), **options)(any_batch)
