"""Several devices: nothing is communicated that plain jax.numpy would not, and values are right.

Without the partition rule every call gathers its operands and computes the whole batch on every
device; and where ``shard_map`` keeps account of what varies over the mesh, a derivative rule that
does not loses the sum over devices: the gradient is then that of one shard, with no error raised.

What is compiled shows in COLLECTIVES.md, written by

    JAX_SIGLIB_EXHAUSTIVE=1 pytest tests/test_sharding.py --collectives tests/COLLECTIVES.md
"""

import jax
import jax.numpy as jnp
import numpy as np
from helpers import as_tuple, by_op, close
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from sharded import CASE, KINDS, TOLERANCE, cases, measure

import jax_siglib
from jax_siglib._primitive import Kernel, plain


@by_op
def test_collectives(op, proven, request):
    """Not one more than the reference's; none that gathers; the batch stays where it lies."""
    rows = measure(op)
    assert [*dict.fromkeys(row["case"] for row in rows)] == [*cases(op)]
    for row in rows:
        for kind in KINDS:
            ours, reference = (row[side].get(kind, 0) for side in ("ours", "reference"))
            assert ours <= reference, (row["case"], row["devices"], kind)
        assert "all-gather" not in row["ours"], (row["case"], row["devices"])
        assert row["sharded"], (row["case"], row["devices"])
    # The sum of a replicated operand's gradient over devices cannot be done without.
    for row in rows:
        if row["case"].startswith("gradient of"):
            assert row["ours"].get("all-reduce", 0) >= 1, (row["case"], row["devices"])
    proven("sharded over devices", op.name, "float64")
    request.node.user_properties.append(("collectives", (op.name, rows)))


def explicit():
    return jax.make_mesh((2,), ("b",), axis_types=(AxisType.Explicit,), devices=jax.devices()[:2])


@by_op
def test_explicit_mesh_and_operands_that_differ(op):
    """Where shardings are part of types a gradient has to have its operand's, and the right value.

    Every other operand is sharded, then the others.
    """
    mesh = explicit()
    arrays = [jnp.asarray(x) for x in op.draw_free(0, CASE, "float64", (4,))]

    def total(*x):
        return sum(jnp.sum(jnp.sin(y)) for y in as_tuple(op.free(CASE)(*x)))

    gradients = jax.jit(jax.grad(total, tuple(range(len(arrays)))))
    for first in (0, 1):
        specs = [P("b") if i % 2 == first else P() for i in range(len(arrays))]
        with jax.set_mesh(mesh):
            placed = [
                jax.device_put(x, NamedSharding(mesh, spec))
                for x, spec in zip(arrays, specs, strict=True)
            ]
            found = jax.eval_shape(gradients, *placed)
            for ours, operand in zip(found, placed, strict=True):
                assert ours.sharding.spec == jax.typeof(operand).sharding.spec
            if first == 0 and op.goes_to(1):
                found = gradients(*placed)
        if first == 0 and op.goes_to(1):
            for ours, theirs in zip(found, gradients(*arrays), strict=True):
                close(ours, theirs, TOLERANCE)


def elsewhere(function, *arrays):
    """Lower it for a platform without a kernel."""
    return jax.jit(function).trace(*arrays).lower(lowering_platforms=("tpu",))


@by_op
def test_explicit_mesh_without_a_kernel(op):
    """There the reference runs, which has to partition what it stretches as the others are."""
    single, batched = (op.draw(0, CASE, "float64", batch) for batch in ((), (4,)))
    f, ranks = op.bind(CASE), tuple(map(len, op.takes.values()))
    reference = plain(Kernel(op.bind_reference(CASE), None, ranks, None))

    def gradients(*x):
        out, pull = jax.vjp(f, *x)
        return pull(out)

    mesh = explicit()
    with jax.set_mesh(mesh):
        placed = [jax.device_put(x, NamedSharding(mesh, P("b"))) for x in batched]
        elsewhere(f, *placed)
        if op.goes_to(1):
            elsewhere(gradients, *placed)
        if op.goes_to(2):
            elsewhere(lambda *x: jax.jvp(gradients, x, x), *placed)
    for i in range(len(single)):
        one = [x for j, x in enumerate(single) if j != i]
        mixed = [*one[:i], batched[i], *one[i:]]
        full = [np.broadcast_to(x, y.shape) for x, y in zip(mixed, batched, strict=True)]
        with jax.set_mesh(mesh):
            sharded = [*one[:i], placed[i], *one[i:]]
            elsewhere(jax.vmap(f, [0 if i == j else None for j in range(len(single))]), *sharded)
            unit = [x if i == j else x[None] for j, x in enumerate(sharded)]
            found = jax.jit(lambda *x: reference(*x, n_jobs=1))(*unit)
            assert all(jax.typeof(x).sharding.spec[0] == "b" for x in found)
        for ours, theirs in zip(found, as_tuple(f(*full)), strict=True):
            close(ours, theirs, TOLERANCE)


def test_windows_on_an_explicit_mesh_without_a_kernel():
    mesh = explicit()
    with jax.set_mesh(mesh):
        paths = jax.device_put(np.ones((4, 6, 2)), NamedSharding(mesh, P("b")))
        elsewhere(lambda x: jax_siglib.sig_windows(x, [[0, 3], [1, 6], [2, 3]], 2), paths)
        elsewhere(lambda x: jax_siglib.sig(x, 2, lead_lag=True, stream=True), paths)
