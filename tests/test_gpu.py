"""The OPS table on a GPU: against the oracle, in every dtype, and in what JAX does to it there.

    JAX_PLATFORMS=cuda,cpu JAX_SIGLIB_REQUIRE_GPU=1 pytest -n0 tests/test_gpu.py

Without a GPU all of it is skipped, or, with that variable, fails.
"""

import gzip
import json
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import BY_NAME, DTYPES, HALVES, Case, as_tuple, by_op, check, to_torch
from jax import lax

import jax_siglib
from jax_siglib import _native

# Whole in a block, of both layouts and from both ends; in tiles; of paths in blocks of steps.
CASES = [
    Case(1, 4),
    Case(5, 3, scalar_term=True),
    Case(3, 5, prepend=True),
    Case(2, 11, prepend=True, scalar_term=True),
    Case(7, 5, points=3),
    Case(3, 4, scalar_term=True, points=40),
]


@pytest.fixture(scope="module")
def gpu():
    missing = ""
    if _native.ext_cuda is None:
        missing = f"the CUDA module is {_native.without_cuda}"
    else:
        try:
            return jax.devices("cuda")[0]
        except RuntimeError as error:
            missing = f"JAX has no GPU: {error}"
    if os.environ.get("JAX_SIGLIB_REQUIRE_GPU") == "1":
        pytest.fail(f"JAX_SIGLIB_REQUIRE_GPU=1, but {missing}")
    return pytest.skip(missing)


def draw(op, case, dtype, batch=()):
    """Operands and what must come out of them, or None if the operation has no such case."""
    if case.prepend and not op.has_prepend or dtype in HALVES and case.degree > 5:
        return None
    shrink = 1 / 8 if case.points > 9 else 1  # a long path's signature stays near 1
    if shrink != 1 and dtype in HALVES:
        return None
    arrays = op.draw(11, case, "float64", batch)
    arrays = [x * shrink if x.shape[-2:] == (case.points, case.d) else x for x in arrays]
    if op.tied:
        n = len(op.forward.takes)
        arrays[n] = op.forward.truth(arrays[:n], case, batch).results[0]
    narrow = [x.astype(dtype) for x in arrays]
    return narrow, op.truth(narrow if dtype in HALVES else arrays, case, batch)


@pytest.mark.parametrize("dtype", DTYPES)
@by_op
def test_against_the_oracle(gpu, op, dtype):
    for case in CASES:
        drawn = draw(op, case, dtype, (3,) if case.length() < 1000 else ())
        if drawn is None:
            continue
        arrays, truth = drawn
        on_device = [jax.device_put(x, gpu) for x in arrays]
        found = as_tuple(jax.jit(op.bind(case))(*on_device))
        assert all(x.devices() == {gpu} for x in found)
        check(op, case, found, truth, dtype)
        again = as_tuple(jax.jit(op.bind(case))(*on_device))
        for a, b in zip(found, again, strict=True):  # sums have one order
            np.testing.assert_array_equal(a, b)


@by_op
def test_transformations(gpu, op):
    """vmap over some operands, gradients of gradients and a scan, as on the CPU."""
    case = Case(3, 3, scalar_term=True)
    arrays = op.draw_free(12, case, "float64", (4,))
    function = op.free(case)

    def weighed(*x):
        return sum(jnp.sum(jnp.sin(y)) for y in as_tuple(function(*x)))

    def all_of_it(*x):
        over = [None if i % 2 else 0 for i in range(len(x))]
        some = jax.vmap(function, over)(*(a[0] if i % 2 else a for i, a in enumerate(x)))
        gradient = jax.grad(weighed, tuple(range(len(x))))
        second = jax.grad(lambda *y: sum(jnp.sum(jnp.cos(g)) for g in gradient(*y)))(*x)
        scanned = lax.scan(lambda c, y: (c, as_tuple(function(*y))), 0, x)[1]
        return some, gradient(*x), second, scanned

    (cpu,) = jax.devices("cpu")[:1]
    ours, theirs = (
        jax.jit(all_of_it)(*(jax.device_put(x, device) for x in arrays)) for device in (gpu, cpu)
    )
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert np.max(np.abs(a - b)) <= 1e-11 * max(np.max(np.abs(b)), 1)


@pytest.mark.parametrize("dtype", DTYPES)
@by_op
def test_torch(gpu, op, dtype, torch):
    """Tensors on the GPU, answered there, on another stream than the default one too."""
    case = Case(3, 4, scalar_term=True)
    arrays, truth = draw(op, case, dtype, (2,))
    tensors = [to_torch(torch, x).cuda() for x in arrays]
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        found = as_tuple(op.bind(case)(*tensors))
    stream.synchronize()
    assert all(x.device == tensors[0].device and x.dtype == tensors[0].dtype for x in found)
    back = [x.float().cpu().numpy() if dtype == "bfloat16" else x.cpu().numpy() for x in found]
    check(op, case, [x.astype(dtype) for x in back], truth, dtype)
    # Of entries that lie apart there are copies, whose memory torch gives to others afterwards.
    apart = [x.repeat_interleave(2, -1)[..., ::2] for x in tensors]
    for a, b in zip(as_tuple(op.bind(case)(*apart)), found, strict=True):
        assert torch.equal(a, b)
    if len(tensors) > 1:
        with pytest.raises(TypeError, match="same device"):
            op.bind(case)(*tensors[:-1], tensors[-1].cpu())


# Of small ones several in a block, by every code for them; the last ones in tiles.
JOINED = [
    (2, 2), (2, 3), (2, 4), (2, 10), (3, 2), (3, 7), (4, 3), (4, 6), (5, 5), (6, 4), (7, 3), (8, 4),
    (10, 3), (12, 2), (10, 5), (20, 3),
]  # fmt: skip


@pytest.mark.parametrize("prepend", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["sig_join", "sig_join_backprop"])
def test_joins_beside_the_cpu(gpu, name, dtype, prepend):
    """As many as fill blocks, the last one not."""
    op = BY_NAME[name]
    for d, degree in JOINED:
        case = Case(d, degree, prepend, scalar_term=degree % 2 == 0)
        batch = 5001 if case.length() < 500 else 1301 if case.length() < 10_000 else 7
        arrays = [x.astype(dtype) for x in op.draw(18, case, "float64", (batch,))]
        exact = as_tuple(op.bind(case)(*(x.astype("float64") for x in arrays)))
        found = as_tuple(op.bind(case)(*(jax.device_put(x, gpu) for x in arrays)))
        limit = {"float32": 2e-6, "float64": 1e-14}[dtype]
        for ours, theirs in zip(found, exact, strict=True):
            worst = np.abs(np.asarray(ours) - theirs).max()
            assert worst < limit * np.abs(theirs).max(), (d, degree)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["sig", "sig_jvp", "sig_backprop", "sig_hvp"])
def test_paths_beside_the_cpu(gpu, name, dtype):
    """Larger than an oracle cares for: branches of every side, and long paths.

    Few of these go in pieces, of more than 8192 points in double; many whole, in double too.
    """
    op = BY_NAME[name]
    for d, degree, points, batch in (
        (2, 10, 40, 3),
        (3, 6, 40, 5),
        (4, 6, 40, 3),
        (5, 3, 40, 5000),
        (6, 5, 20, 2),
        (8, 5, 70, 3),
        (10, 5, 40, 2),
        (16, 4, 40, 2),
        (40, 2, 10, 3),
        (3, 4, 1000, 2),
        (3, 4, 9000, 2),
        (2, 10, 9000, 65),
    ):
        case = Case(d, degree, points=points)
        path, t_path = np.random.default_rng(16).normal(0, points**-0.5, (2, batch, points, d))
        path = (np.cumsum(path, axis=1) / d).astype(dtype).astype("float64")
        sig = jax_siglib.sig(path, degree)
        ct = np.random.default_rng(17).uniform(-1, 1, sig.shape).astype(dtype).astype("float64")
        operands = {
            "path": path,
            "t_path": t_path.astype(dtype).astype("float64"),
            "sig": sig,
            "sig_derivs": ct,
        }
        arrays = [operands[takes] for takes in op.takes]
        exact = op.bind(case)(*arrays)
        found = op.bind(case)(*(jax.device_put(x.astype(dtype), gpu) for x in arrays))
        limit = {"float32": 1e-5, "float64": 1e-12}[dtype]
        scale = np.linalg.norm(exact)
        assert np.linalg.norm(np.asarray(found) - exact) < limit * scale, (d, degree, points)


@pytest.mark.parametrize("prepend", [False, True], ids=["append", "prepend"])
def test_long_streams_beside_the_cpu(gpu, prepend):
    """Few in pieces, many whole, with their derivatives."""
    for d, degree, points, batch in ((3, 4, 9000, 2), (2, 11, 300, 1), (5, 3, 500, 300)):
        rng = np.random.default_rng(18)
        path = np.cumsum(rng.normal(0, points**-0.5 / d, (batch, points, d)), axis=1)
        initial = rng.uniform(-1, 1, (batch, jax_siglib.sig_length(d, degree)))
        keywords = {"initial": initial, "prepend": prepend}
        rows = jax_siglib.sig_stream(path, degree, **keywords)
        ct = rng.uniform(-1, 1, rows.shape)
        exact = rows, *jax_siglib.sig_stream_backprop(path, rows, ct, degree, **keywords)
        on_gpu = [jax.device_put(x, gpu) for x in (path, initial, ct)]

        @jax.jit
        def rows_and_derivatives(path, initial, ct, degree=degree):
            def stream(path, initial):
                return jax_siglib.sig_stream(path, degree, initial=initial, prepend=prepend)

            rows, pull = jax.vjp(stream, path, initial)
            return rows, *pull(ct)

        for dtype, limit in (("float64", 1e-11), ("float32", 3e-5)):
            found = rows_and_derivatives(*(x.astype(dtype) for x in on_gpu))
            for ours, theirs in zip(found, exact, strict=True):
                error = np.linalg.norm(np.asarray(ours) - theirs)
                assert error < limit * np.linalg.norm(theirs), (d, degree, points, dtype)


def test_large_batches(gpu):
    """Beyond 65,535, where the grid of an older design ends."""
    case, op = Case(2, 3), BY_NAME["sig_join"]
    arrays = op.draw(13, case, "float32", (3,))
    many = [np.tile(x, (50_000, 1)) for x in arrays]
    found = np.asarray(op.bind(case)(*(jax.device_put(x, gpu) for x in many)))
    check(op, case, [found[:3]], op.truth(arrays, case, (3,)), "float32")
    assert (found.reshape(-1, 3, case.length()) == found[:3]).all()


def test_a_scan_is_recorded_and_played(gpu):
    """Forward calls may be part of a CUDA graph, and give the same there."""
    case, op = Case(3, 4), BY_NAME["sig_join"]
    sig, v = op.draw(14, case, "float64", (2,))
    steps = np.stack([v / (i + 1) for i in range(5)])
    on_device = jax.device_put(sig, gpu), jax.device_put(steps, gpu)
    run = jax.jit(lambda s, vs: lax.scan(lambda c, x: (op.bind(case)(c, x), 0), s, vs)[0])
    for _ in range(3):
        found = run(*on_device)
    for step in steps:
        sig = op.bind(case)(sig, step)
    np.testing.assert_allclose(np.asarray(found), sig, rtol=1e-12, atol=1e-12)


def test_a_training_step_stays_on_the_device(gpu, tmp_path):
    """Its profile shows our kernels, and nothing that is copied to the host."""
    path = jax.device_put(np.random.default_rng(15).normal(size=(8, 30, 3)), gpu)

    @jax.jit
    def step(path):
        def loss(path):
            return jnp.mean(jax_siglib.sig(path, 4) ** 2)

        return path - 0.01 * jax.grad(loss)(path)

    path = jax.block_until_ready(step(path))
    with jax.profiler.trace(str(tmp_path), create_perfetto_trace=True):
        for _ in range(3):
            path = step(path)
        jax.block_until_ready(path)
    (file,) = tmp_path.rglob("perfetto_trace.json.gz")
    with gzip.open(file) as trace:
        names = {event.get("name", "") for event in json.load(trace)["traceEvents"]}
    assert any("OnDevice" in name for name in names)
    assert not [name for name in names if "D2H" in name or "DtoH" in name]
