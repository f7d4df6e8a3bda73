"""float16 and bfloat16: float32 inside, every result rounded once."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from helpers import BY_NAME, HALVES, OPS, Case, as_tuple, by_op, check, close, from_torch, to_torch
from processes import run_python

import jax_siglib
from jax_siglib import _primitive, _sig, forward_mode
from jax_siglib._native import ext

UNIT = {"float16": 2.0**-11, "bfloat16": 2.0**-8}  # largest relative error of one rounding
by_half = pytest.mark.parametrize("dtype", HALVES)

# Small ones; one element a chunk, cut into tiles and (beyond 16) not; several chunks.
SIZES = [
    (Case(3, 3, scalar_term=True), (2, 3)),
    (Case(2, 4, prepend=True, scalar_term=True), (5,)),
    (Case(5, 3, points=9), (700,)),
    (Case(3, 0), (2,)),
    (Case(3, 0, scalar_term=True), (2,)),
    (Case(4, 1), (3,)),
    (Case(6, 6, prepend=True), (2,)),
    (Case(10, 5), ()),
    (Case(6, 6), (17,)),
]


def draw(op, case, dtype, batch, seed=0):
    """Operands that are not round in any way; ``sig`` of a path as a caller has it, rounded."""
    rng = np.random.default_rng(seed)
    shapes = [(*batch, *op.shape(axes, case)) for axes in op.takes.values()]
    arrays = [rng.uniform(-1, 1, shape).astype(dtype) for shape in shapes]
    if op.tied:
        keywords = {"degree": case.degree, "scalar_term": case.scalar_term}
        arrays[1] = jax_siglib.sig(arrays[0], **keywords)
    return arrays


def widened(op, case, arrays):
    """The same numbers in float32, and to float32's accuracy what is a function of them."""
    wide = [x.astype("float32") for x in arrays]
    if op.tied:
        n = len(op.forward.takes)
        wide[n] = op.forward.bind(case)(*wide[:n])
    return wide


@by_half
@by_op
def test_rounds_the_result_of_float32(op, dtype):
    """The bits of float32's result, rounded, in every framework.

    Only where a large signature is cut into tiles in one of the two calls and done whole in the
    other (a batch beyond 16 is done in chunks below) may sums differ, by float32's rounding. That
    is the case Case(6, 6) with a batch of 17, where none differs by more than a unit in the last
    place beyond float32's tolerance.
    """
    for case, batch in SIZES:
        if case.prepend and not op.has_prepend:
            continue
        if "path" in op.takes and case.length() > 20_000:
            batch = batch[:0]  # it takes a while
        arrays = draw(op, case, dtype, batch)
        expected = as_tuple(op.bind(case)(*widened(op, case, arrays)))
        found = as_tuple(op.bind(case)(*arrays))
        for axes, ours, wide in zip(op.results, found, expected, strict=True):
            assert ours.dtype == dtype and ours.shape == wide.shape
            rounded = wide.astype(dtype)
            if batch == (17,):
                ulp = np.abs(np.spacing(rounded)).astype("float64")
                off = np.abs(ours.astype("float64") - wide.astype("float64"))
                extra = op.tolerance("float32", case, axes) * np.max(np.abs(wide))
                assert (off <= ulp + extra).all(), (case, batch)
                assert np.mean(ours != rounded) < 1e-2, (case, batch)
            else:
                np.testing.assert_array_equal(ours, rounded, strict=True, err_msg=f"{case}")
        for call in (op.bind(case), jax.jit(op.bind(case))):
            for ours, theirs in zip(as_tuple(call(*map(jnp.asarray, arrays))), found, strict=True):
                np.testing.assert_array_equal(ours, theirs, strict=True)


@by_half
@by_op
def test_torch_gives_the_bits_of_numpy(op, dtype, torch):
    case, batch = SIZES[0]
    arrays = draw(op, case, dtype, batch)
    found = as_tuple(op.bind(case)(*(to_torch(torch, x) for x in arrays)))
    for ours, theirs in zip(found, as_tuple(op.bind(case)(*arrays)), strict=True):
        np.testing.assert_array_equal(from_torch(torch, ours), theirs, strict=True)


@by_half
@by_op
def test_against_the_oracle(op, dtype):
    """Half a unit in the last place, and float32's own error, from the exact result."""
    case = Case(3, 4, scalar_term=True, points=6)
    arrays = op.draw(1, case, dtype, (3,))
    check(op, case, op.bind(case)(*arrays), op.truth(arrays, case, (3,)), dtype)


@by_half
@by_op
def test_empty_batch(op, dtype):
    case = Case(3, 3)
    arrays = [np.zeros((0, 2, *op.shape(axes, case)), dtype) for axes in op.takes.values()]
    for axes, x in zip(op.results, as_tuple(op.bind(case)(*arrays)), strict=True):
        assert x.dtype == dtype and x.shape == (0, 2, *op.shape(axes, case))


@by_half
@by_op
def test_one_result_written_over_its_operand(op, dtype):
    """Donated operands: the kernel's result may lie where the operand lies."""
    places = {"sig_join": 0, "sig_join_backprop": 0, "sig_combine": 0, "sig_combine_backprop": 0}
    place = places.get(op.name)
    if place is None:
        return
    for case, batch in ((Case(5, 3, scalar_term=True), (700,)), (Case(6, 6), (3,))):
        arrays = draw(op, case, dtype, batch)
        expected = as_tuple(op.bind(case)(*arrays))
        memory = [x.view("uint16") if dtype == "bfloat16" else x for x in arrays]
        more = [np.empty_like(memory[-1])] if len(expected) > 1 else []
        keywords = op.keywords(case)
        kernel = getattr(ext, op.name)
        kernel(*memory, *keywords.values(), 1, memory[place], *more)
        found = [memory[place], *more]
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours.view(dtype), theirs)


@by_half
@pytest.mark.parametrize("name", ["sig", "sig_join", "linear_sig"])
def test_grad(name, dtype):
    """jax.grad stays in its dtype, within a rounding of the gradient that float32 has.

    The weighted sum is taken in the half type, whose derivative is exactly the weights.
    """
    op, case = BY_NAME[name], Case(3, 4, points=12)
    arrays = [jnp.asarray(x) for x in draw(op, case, dtype, (4,))]
    weights = np.random.default_rng(1).uniform(-1, 1, (4, case.length())).astype(dtype)

    def loss(*x):
        return jnp.sum(op.bind(case)(*x) * weights.astype(x[0].dtype))

    of = tuple(range(len(arrays)))
    found = jax.jit(jax.grad(loss, of))(*arrays)
    wide = jax.jit(jax.grad(loss, of))(*(x.astype("float32") for x in arrays))
    for ours, exact in zip(found, wide, strict=True):
        assert ours.dtype == dtype
        exact = np.asarray(exact)
        tolerance = 2 * UNIT[dtype] * np.abs(exact) + 1e-6 * np.max(np.abs(exact))
        assert (np.abs(np.asarray(ours).astype("float32") - exact) <= tolerance).all()


@by_half
@pytest.mark.parametrize("sig", [jax_siglib.sig, forward_mode.sig])
@pytest.mark.parametrize("stream", [False, True])
def test_grad_through_lead_and_lag_of_running_signatures(stream, sig, dtype):
    """Of each point's derivatives by lead and lag, which cancel, the sum alone is rounded."""
    case = Case(2, 2, points=30, lead_lag=True)
    rng = np.random.default_rng(2)
    path = (np.cumsum(rng.normal(size=(30, 2)), 0) / 8).astype(dtype)
    initial = rng.uniform(-1, 1, case.length()).astype(dtype)
    g = rng.uniform(-1, 1, (case.joins(), case.length())).astype(dtype)

    def loss(path, initial):
        rows = sig(path, 2, lead_lag=True, initial=initial, stream=stream)
        return jnp.sum(rows.astype("float32") * (g if stream else g[-1]).astype("float32"))

    found = jax.jit(jax.grad(loss, (0, 1)))(jnp.asarray(path), jnp.asarray(initial))
    with pytest.raises(
        TypeError, match=f"initial must have the dtype of path, {dtype}; got float32"
    ):
        loss(jnp.asarray(path), initial.astype("float32"))
    path, initial, g = (x.astype("float64") for x in (path, initial, g))
    g = g if stream else np.concatenate([g[:-1] * 0, g[-1:]])
    exact, of_initial = oracle.sig_stream_backprop(case.moved(path), initial, g, 2, False)
    for ours, theirs in zip(found, (case.by_points(exact, path), of_initial), strict=True):
        assert ours.dtype == dtype
        tolerance = 2 * UNIT[dtype] * np.abs(theirs) + 1e-6 * np.max(np.abs(theirs))
        assert (np.abs(np.asarray(ours).astype("float64") - theirs) <= tolerance).all()


@by_half
@by_op
def test_vmap_over_one_operand(op, dtype):
    """Stretched operands, and broadcast over part of a batch only."""
    case = Case(3, 3)
    single = draw(op, case, dtype, ())
    batched = draw(op, case, dtype, (3,), seed=2)
    for i in range(len(single)):
        mixed = [batched[j] if i == j else single[j] for j in range(len(single))]
        axes = [0 if i == j else None for j in range(len(single))]
        found = as_tuple(jax.vmap(op.bind(case), axes)(*map(jnp.asarray, mixed)))
        rows = [
            np.broadcast_to(x, (3, *x.shape)) if axis is None else x
            for x, axis in zip(mixed, axes, strict=True)
        ]
        for ours, theirs in zip(found, as_tuple(op.bind(case)(*rows)), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    f = BY_NAME["sig_join"].bind(case)
    sig, v = draw(BY_NAME["sig_join"], case, dtype, (3,))
    grid = jax.vmap(jax.vmap(f, (None, 0)), (0, None))(jnp.asarray(sig), jnp.asarray(v))
    for i, j in np.ndindex(3, 3):
        np.testing.assert_array_equal(grid[i, j], f(sig[i], v[j]))


@by_half
@pytest.mark.parametrize("op", OPS[:6], ids=lambda op: op.name)
def test_platforms_without_a_kernel_round_once(op, dtype):
    """There the reference runs, in float32 as well; sums in another order may tip a rounding."""
    case = Case(3, 4, points=6)
    arrays = draw(op, case, dtype, (4,))
    wide = widened(op, case, arrays)
    reference = jax.jit(op.bind_reference(case))
    expected = as_tuple(reference(*wide))
    ranks = tuple(map(len, op.takes.values()))
    lowered = jax.jit(_primitive.plain(_primitive.Kernel(op.bind_reference(case), "", ranks, None)))
    found = lowered(*map(jnp.asarray, arrays), n_jobs=1)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == dtype
        if op.name != "sig_backprop":  # which there starts from the rounded signature
            close(ours, theirs, UNIT[dtype] + 1e-6)
        else:
            close(ours, theirs, 8 * UNIT[dtype])


def test_backprop_does_not_read_the_rounded_signature():
    """Undoing 200 steps from it would leave its rounding error in levels that ought to vanish."""
    rng = np.random.default_rng(4)
    for dtype in HALVES:
        path = (np.cumsum(rng.integers(-1, 2, (201, 3)), 0) / 8).astype(dtype)
        g = rng.uniform(-1, 1, 39).astype(dtype)
        wide = path.astype("float64")
        exact = _sig.sig_backprop(wide, _sig.sig(wide, 3), g.astype("float64"), 3)
        nothing = np.full(39, np.nan, dtype)
        for given in (_sig.sig(path, 3), nothing):
            close(_sig.sig_backprop(path, given, g, 3), exact, UNIT[dtype] + 5e-5, dtype)


CONVERSIONS = """
import sys
import warnings
import numpy as np
from jax_siglib import linear_sig, sig_join
from jax_siglib._native import ext

assert ext.instruction_set() == sys.argv[1]
warnings.simplefilter("ignore")  # numpy's own, of overflow and NaN, in what is expected


def same(found, expected):
    nan = np.isnan(expected.astype("float64"))
    assert (np.isnan(found.astype("float64")) == nan).all()
    bits, wanted = found.view("uint16")[~nan], expected.view("uint16")[~nan]
    assert (bits == wanted).all(), (found[~nan][bits != wanted], expected[~nan][bits != wanted])


for dtype in ("float16", "bfloat16"):
    every = np.arange(1 << 16, dtype="uint16").view(dtype)
    with_infinity = every.astype("float32")

    # Widened and rounded back nothing changes: x + -0 is x, even where x is -0.
    for count in (1 << 16, (1 << 16) - 5, 1):  # whole vectors, and their rest
        sig = every[-count:].reshape(-1, 1)
        same(sig_join(sig, np.full_like(sig, -0.0), 1, 1), sig)

    # Sums fall on ties and to both sides of them, overflow, and cancel; add 0 to 3 places.
    ulp = np.abs(np.spacing(every))
    for places in (0.25, 0.5, 0.75, 1.0, 1.5, -0.5, -1.5):
        step = (ulp.astype("float32") * np.float32(places)).astype(dtype)
        for near in (step, -step, np.nextafter(step, every * 0), np.roll(every, 12345)):
            found = sig_join(every[:, None], near[:, None], 1, 1)
            same(found[:, 0], (with_infinity + near.astype("float32")).astype(dtype))

    # Squares: down through the subnormals to 0, up to infinity.
    for v in (every, (with_infinity * np.float32(1.3)).astype(dtype)):
        wide = v.astype("float32")[:, None]
        found, expected = linear_sig(v[:, None], 1, 3), linear_sig(wide, 1, 3).astype(dtype)
        same(found, expected)
"""


@pytest.mark.parametrize("name", ext.instruction_sets())
def test_conversions(name, tmp_path):
    """All bit patterns, in and out, against numpy's and ml_dtypes' roundings."""
    done = run_python(CONVERSIONS, tmp_path, name, JAX_SIGLIB_ISA=name)
    assert done.returncode == 0, done.stderr
