"""Every operation under every JAX transformation, against the plain jax.numpy reference."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    BY_NAME,
    DTYPES,
    EXHAUSTIVE,
    OPS,
    Case,
    as_tuple,
    both_modes,
    by_op,
    check,
    close,
)
from jax import lax
from jax.test_util import check_grads
from transformations import TRANSFORMATIONS

import jax_siglib
from jax_siglib import _primitive

# float64: sums in another order; 1e-12 of the largest entry is ten times what the sweeps hold
# single results to, for derivatives of them are sums of ten or so such results. The others round
# what they pass from one operation to the next: 8 units of their last place.
TOLERANCE = 1e-12
TOLERANCES = {"float64": TOLERANCE} | {
    dtype: 8 * float(jnp.finfo(dtype).eps) for dtype in ("float32", "bfloat16", "float16")
}
CASES = [Case(3, 3), Case(2, 4, prepend=True, scalar_term=True)]
CASE = CASES[1]  # both options off their defaults, degree beyond 3, as few entries as may be
SMALL = Case(2, 3, prepend=True, scalar_term=True)


def draw(op, case, batch=(), seed=0):
    return [jnp.asarray(x) for x in op.draw(seed, case, "float64", batch)]


def draw_free(op, case, batch=(), seed=0):
    return [jnp.asarray(x) for x in op.draw_free(seed, case, "float64", batch)]


def weigh(function, op, case):
    """A scalar function of the operation: its results times fixed random cotangents."""
    rng = np.random.default_rng(99)
    weights = [rng.uniform(-1, 1, op.shape(axes, case)) for axes in op.results]

    def scalar(*arrays):
        results = as_tuple(function(*arrays))
        return sum(
            jnp.sum(w[(None,) * (x.ndim - w.ndim)] * x)
            for w, x in zip(weights, results, strict=True)
        )

    return scalar


def same(found, expected, tolerance=TOLERANCE):
    found, expected = jax.tree.leaves(found), jax.tree.leaves(expected)
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        close(ours, theirs, tolerance)


def same_up_to_zeros(found, expected, tolerance=TOLERANCE):
    """As ``same``, at one scale for all, as some are exactly zero by the mathematics."""
    found, expected = jax.tree.leaves(found), jax.tree.leaves(expected)
    scale = max(float(jnp.max(jnp.abs(x))) for x in expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        error = jnp.max(jnp.abs(ours.astype("float64") - theirs))
        assert float(error) <= tolerance * scale


@pytest.fixture(scope="module")
def expected():
    """Each transformation of the reference in float64, worked out once for all dtypes."""
    known = {}

    def look_up(op, name):
        if (op.name, name) not in known:
            arrays, directions = (draw_free(op, SMALL, (), seed) for seed in (0, 5))
            run = TRANSFORMATIONS[name].run
            f = op.free(SMALL, reference=True)
            known[op.name, name] = jax.jit(lambda x, u: run(f, x, u))(arrays, directions)
        return known[op.name, name]

    return look_up


def third(op, name):
    """Whether this is one of the ways into a third derivative that even long programs are tried on.

    They are the ones that end in the reference's own derivative, forwards and backwards.
    """
    ways = {0: ("grad of grad of grad",), 1: ("forward over reverse",), 2: ("grad", "jvp")}
    return name in ways[op.order]


def dtypes_of(row, column):
    """float64, and in turn one of the others, which every row and every column has some of."""
    return DTYPES if EXHAUSTIVE else ("float64", DTYPES[(row + column) % 3])


@pytest.mark.parametrize(
    "op, name, dtype",
    [
        pytest.param(op, name, dtype, id=f"{op.name}-{name}-{dtype}")
        for i, op in enumerate(OPS)
        for j, (name, transformation) in enumerate(TRANSFORMATIONS.items())
        for dtype in dtypes_of(i, j)
        # Beyond second order (matrix.py): float64 alone, and of loops a way or two.
        if op.order + transformation.order <= 2
        or (dtype == "float64" and (op.goes_to(transformation.order) or third(op, name)))
    ],
)
def test_transformation(op, name, dtype, expected, proven):
    """The table of transformations.py. The dtype that goes in comes out, however deep inside."""
    run, _, forward_mode = TRANSFORMATIONS[name]
    arrays, directions = ([x.astype(dtype) for x in draw_free(op, SMALL, (), i)] for i in (0, 5))
    f = both_modes(op).free(SMALL) if forward_mode else op.free(SMALL)
    found = jax.jit(lambda x, u: run(f, x, u))(arrays, directions)
    assert {x.dtype for x in jax.tree.leaves(found)} == {jnp.dtype(dtype)}
    same_up_to_zeros(found, expected(op, name), TOLERANCES[dtype])
    proven(name, op.name, dtype)


@by_op
def test_forward_mode_where_custom_vjp_rules_it_out(op):
    """Else jax_siglib.forward_mode would have no reason to be."""
    arrays = draw_free(op, SMALL)
    wrapped = both_modes(op).call is not op.call
    if wrapped:
        with pytest.raises(TypeError, match="custom_vjp"):
            jax.jvp(op.free(SMALL), arrays, arrays)
    assert wrapped == (op.name in ("sig_join", "sig", "linear_sig", "sig_stream"))


@by_op
@pytest.mark.parametrize("dtype", DTYPES)
def test_eager_and_jit(op, dtype, proven):
    """Both ways into the kernel, against the oracle; the same bits from both, and from numpy."""
    for case in CASES if op.has_prepend else CASES[:1]:
        plain = op.draw(0, case, dtype, (2, 3))
        arrays = [jnp.asarray(x) for x in plain]
        results = [as_tuple(f(*arrays)) for f in (op.bind(case), jax.jit(op.bind(case)))]
        check(op, case, results[0], op.truth(plain, case, (2, 3)), dtype)
        for a, b, c in zip(*results, as_tuple(op.bind(case)(*plain)), strict=True):
            assert isinstance(a, jax.Array) and isinstance(b, jax.Array)
            np.testing.assert_array_equal(a, b, strict=True)
            np.testing.assert_array_equal(a, c, strict=True)
    proven("eager", op.name, dtype)


@pytest.mark.parametrize("op", [op for op in OPS if op.goes_to(1)], ids=lambda op: op.name)
def test_grad(op):
    """Grad and value_and_grad by every free argument, under jit and not."""
    for case in CASES:
        arrays = draw_free(op, case)
        of = tuple(range(len(arrays)))
        ours = jax.jit(jax.value_and_grad(weigh(op.free(case), op, case), of))(*arrays)
        reference = weigh(op.free(case, reference=True), op, case)
        same_up_to_zeros(ours, jax.jit(jax.value_and_grad(reference, of))(*arrays))
    same_up_to_zeros(jax.grad(weigh(op.free(case), op, case), of)(*arrays), ours[1])


@by_op
def test_tied_arguments_have_no_derivative(op):
    """What they would carry is counted with the argument that they are a function of."""
    for i, name in enumerate(op.takes):
        if name in op.tied:
            gradient = jax.grad(weigh(op.bind(CASE), op, CASE), i)(*draw(op, CASE))
            assert not gradient.any()


@by_op
def test_vmap_over_every_choice_of_axes(op):
    """An operand that is not batched, or batched along its last axis, must not be mixed up."""
    shapes = [op.shape(axes, CASE) for axes in op.takes.values()]
    single, batched = draw(op, CASE), draw(op, CASE, (3,), seed=1)
    for choice in itertools.product((None, 0, -1), repeat=len(shapes)):
        if not any(axis is not None for axis in choice):
            continue
        others = [axis for axis in choice if axis != -1]
        if len(shapes) > 2 and len(others) < len(shapes):
            if len(others) < len(shapes) - 1 or len(set(others)) > 1:
                continue  # the last axis for one operand at a time, the others all alike
        arrays, rows = [], []
        for axis, one, many in zip(choice, single, batched, strict=True):
            arrays.append(one if axis is None else jnp.moveaxis(many, 0, axis))
            rows.append(jnp.broadcast_to(one, many.shape) if axis is None else many)
        found = as_tuple(jax.vmap(op.bind(CASE), choice)(*arrays))
        expected = as_tuple(op.bind(CASE)(*map(np.asarray, rows)))
        same(found, expected, 1e-14)  # the same kernel: a few roundings at most


@by_op
def test_nested_vmap(op, proven):
    """Operands of shapes (3, 1, L) and (1, 4, d) reach the kernel, and so do their gradients."""
    n = len(op.takes) - len(op.tied)
    outer = [None if i % 2 else 0 for i in range(n)]
    inner = [0 if i % 2 or n == 1 else None for i in range(n)]
    arrays = []
    for i in range(n):
        batch = (3,) * (outer[i] == 0) + (4,) * (inner[i] == 0)
        arrays.append(draw_free(op, CASE, batch)[i])

    def nested(f):
        return jax.jit(jax.vmap(jax.vmap(f, inner), outer))

    ours, reference = op.free(CASE), op.free(CASE, reference=True)
    same(nested(ours)(*arrays), nested(reference)(*arrays))
    of = tuple(range(n))
    if not op.goes_to(2):
        return  # transformations.py has either gradient of a single vmap
    per_element = [nested(jax.grad(weigh(f, op, CASE), of)) for f in (ours, reference)]
    same(per_element[0](*arrays), per_element[1](*arrays))

    # The gradient of the whole: sums over the axes along which an operand was stretched.
    def total(f):
        return jax.jit(jax.grad(lambda *x: jnp.sum(nested(weigh(f, op, CASE))(*x)), of))

    same(total(ours)(*arrays), total(reference)(*arrays))
    proven("nested vmap, and its gradients", op.name, "float64")


def test_signature_as_scan_carry():
    """What the library is for: a signature extended step by step, trained through."""
    d, degree = 3, 3
    rng = np.random.default_rng(3)
    steps, g = rng.uniform(-1, 1, (6, 2, d)), rng.uniform(-1, 1, (2, 39))

    def fold(steps):
        def step(s, v):
            return jax_siglib.sig_join(s, v, d, degree), None

        return jnp.sum(g * lax.scan(step, jnp.zeros((2, 39)), steps)[0])

    def whole(steps):
        path = jnp.concatenate([jnp.zeros((1, 2, d)), jnp.cumsum(steps, 0)]).swapaxes(0, 1)
        return jnp.sum(g * jax_siglib.sig(path, degree))

    same(jax.jit(jax.value_and_grad(fold))(steps), jax.jit(jax.value_and_grad(whole))(steps))


@by_op
def test_check_grads(op):
    """Numerical derivatives, first and second order, in both modes where there are both.

    jax.test_util's own tolerance for float64, 1e-5, covers its step of 1/2048.
    """
    arrays = tuple(draw_free(op, CASE))
    if op.goes_to(2):
        check_grads(jax.jit(op.free(CASE)), arrays, order=2, modes=["rev"])
    check_grads(jax.jit(both_modes(op).free(CASE)), arrays, order=1, modes=["fwd", "rev"])


@pytest.mark.parametrize("op", [op for op in OPS if op.goes_to(2)], ids=lambda op: op.name)
def test_hessian(op):
    """Jacfwd and jacrev of jacrev, every block."""
    case = Case(2, 3, prepend=True)
    arrays = draw_free(op, case)
    of = tuple(range(len(arrays)))
    *ours, reference = (
        jax.jit(outer(jax.jacrev(weigh(f, op, case), of), of))(*arrays)
        for outer, f in (
            (jax.jacfwd, op.free(case)),
            (jax.jacrev, op.free(case)),
            (jax.jacfwd, op.free(case, reference=True)),
        )
    )
    for found in ours:
        same_up_to_zeros(found, reference)


def test_third_order():
    op, case = BY_NAME["sig_join"], Case(2, 3)
    arrays = draw(op, case)

    def third(f):
        def scalar(v):
            return weigh(f, op, case)(arrays[0], v)

        return jax.jit(jax.jacrev(jax.jacrev(jax.jacrev(scalar))))(arrays[1])

    same(third(op.bind(case)), third(op.bind_reference(case)))


@pytest.mark.parametrize("scalar_term", [False, True])
@pytest.mark.parametrize("under_jit", [False, True])
def test_residuals_of_sig_join(scalar_term, under_jit):
    """S below level N and v, nothing more: the top level is as large as all that, d times over."""
    case = Case(3, 4, scalar_term=scalar_term)
    sig, v = draw(BY_NAME["sig_join"], case, (5,))
    f = BY_NAME["sig_join"].bind(case)
    vjp = jax.vjp(jax.jit(f) if under_jit else f, sig, v)[1]
    assert sorted(x.shape for x in jax.tree.leaves(vjp)) == [(5, 3), (5, 3 + 9 + 27)]


def test_residuals_of_sig():
    """The path and S below level N, whatever the number of steps."""
    case = Case(3, 4, points=50)
    (path,) = draw(BY_NAME["sig"], case)
    vjp = jax.vjp(BY_NAME["sig"].bind(case), path)[1]
    assert sorted(x.shape for x in jax.tree.leaves(vjp)) == [(3 + 9 + 27,), (50, 3)]


@by_op
def test_vmap_copies_nothing(op):
    """An operand that is not batched goes to the kernel as it is, with a stretched unit axis."""
    single, batched, n = draw(op, CASE), draw(op, CASE, (7,)), len(op.takes)
    for i in range(n) if n > 1 else ():
        pairs = zip(single, batched, strict=True)
        arrays = [many if i == j else one for j, (one, many) in enumerate(pairs)]
        mapped = jax.vmap(op.bind(CASE), [0 if i == j else None for j in range(n)])
        text = jax.jit(mapped).lower(*arrays).as_text()
        for line in text.splitlines():
            if "broadcast_in_dim" in line:
                assert "tensor<7x" not in line.rsplit("->", 1)[-1], line


@by_op
def test_platforms_without_a_kernel(op):
    """Elsewhere the reference must be lowered; a call of a CPU kernel there would not compile."""
    arrays = draw(op, CASE)
    of = tuple(range(len(arrays)))
    for f in (op.bind(CASE), jax.grad(weigh(op.bind(CASE), op, CASE), of)):
        traced = jax.jit(f).trace(*arrays)
        for platform in ("cpu", "cuda", "tpu"):
            text = traced.lower(lowering_platforms=(platform,)).as_text()
            if platform == "cpu":
                assert "@jax_siglib_" in text
            elif platform not in _primitive.served():  # for CUDA see test_cuda.py
                assert "custom_call" not in text


@by_op
def test_without_jit(op, proven):
    """Under disable_jit, where people debug, a primitive has to evaluate itself."""
    arrays = draw(op, CASE, (2,))
    of = tuple(range(len(arrays)))

    def total(*arrays):
        return jnp.sum(jax.vmap(weigh(op.bind(CASE), op, CASE))(*arrays))

    if op.order == 2:
        with jax.disable_jit():
            same(total(*arrays), jax.jit(total)(*arrays))
        return proven("disable_jit", op.name, "float64")
    expected = jax.jit(jax.value_and_grad(total, of))(*arrays)
    if op.name == "sig_jvp":  # its second derivative holds a scan: far too slow step by step
        expected, of = (expected[0], expected[1][1]), 1
    with jax.disable_jit():
        same(jax.value_and_grad(total, of)(*arrays), expected)
    proven("disable_jit", op.name, "float64")


def pulled(f):
    """Results and gradients, of cotangents that are the results."""

    def function(*x):
        out, pull = jax.vjp(f, *x)
        return out, pull(out)

    return function


def pushed(f):
    """Results and tangents, in directions that are the arguments."""
    return lambda *x: jax.jvp(f, x, x)


@by_op
def test_float64_where_x64_is_off(op):
    """Arrays that were made where it was on keep their dtype, and so do derivatives."""
    host = op.draw(0, CASE, "float64", (3,))
    truth, arrays = op.truth(host, CASE, (3,)), list(map(jnp.asarray, host))
    f = op.bind(CASE)
    for call in (f, jax.jit(f), jax.vmap(f), both_modes(op).bind(CASE)):
        with jax.enable_x64(False):
            found = call(*arrays)
        check(op, CASE, found, truth, "float64")
    with jax.enable_x64(False):
        found = f(arrays[0], *host[1:])  # numpy's beside
        text = jax.jit(f).trace(*arrays).lower(lowering_platforms=("tpu",)).as_text()
    check(op, CASE, found, truth, "float64")
    assert "f64>" in text and "f32" not in text
    if op.goes_to(1):
        for of in (pulled(f), pushed(both_modes(op).bind(CASE))):
            expected = jax.jit(of)(*arrays)
            with jax.enable_x64(False):
                found = jax.jit(of)(*arrays)
            same(found, expected)


BESIDE_OPS = {
    "transforms": lambda p: jax_siglib.sig(p, 2, time_aug=True, lead_lag=True, basepoint=p[0]),
    "initial": lambda p: jax_siglib.sig(p, 2, scalar_term=True, initial=jax_siglib.sig(p, 2)),
    "stream": lambda p: jax_siglib.sig(p, 2, scalar_term=True, time_aug=True, stream=True),
    "path": lambda p: jax_siglib.transform_path(p, time_aug=True, lead_lag=True, basepoint=True),
    "path's": lambda p: jax_siglib.transform_path_backprop(p, lead_lag=True),
    "object": lambda p: jax_siglib.SignatureStream(p[0], None, 2, 1).mark().push_path(p),
}


@pytest.mark.parametrize("name", BESIDE_OPS)
def test_float64_where_x64_is_off_beside_ops(name):
    path = jnp.asarray(BY_NAME["sig"].draw(0, Case(2, 2, points=5), "float64")[0])
    expected = pulled(BESIDE_OPS[name])(path)
    with jax.enable_x64(False):
        same(pulled(BESIDE_OPS[name])(path), expected)


def test_windows_where_x64_is_switched():
    """Forwards alone: JAX's gradient of x[rows] has no float64 where x64 is off."""
    path = jnp.asarray(BY_NAME["sig"].draw(0, Case(2, 2), "float64")[0])
    windows = [[0, 3], [1, 4], [2, 3]]
    expected = jax_siglib.sig_windows(path, windows, 2)
    with jax.enable_x64(False):
        same(jax_siglib.sig_windows(path, windows, 2), expected)


@pytest.fixture
def compilations():
    """Names of JAX's events that have to do with compilation, as they happen."""
    seen = []

    def listen(name, *_, **__):
        if "compile" in name:
            seen.append(name)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield seen
    jax.monitoring.clear_event_listeners()


@by_op
def test_compiled_once(op, compilations):
    """A repeated call with the same shapes and numbers, of whatever int type, compiles nothing."""
    arrays = draw(op, CASE, (11,))
    derivative = jax.grad(weigh(op.bind(CASE), op, CASE), tuple(range(len(arrays))))

    def calls():
        jax.block_until_ready(op.bind(CASE)(*arrays))
        integers = {k: np.int32(v) if type(v) is int else v for k, v in op.keywords(CASE).items()}
        jax.block_until_ready(op.call(*arrays, **integers))
        if op.goes_to(1):
            jax.block_until_ready(derivative(*arrays))

    calls()
    assert compilations
    compilations.clear()
    calls()
    assert not compilations
