"""Several devices: nothing is communicated that plain jax.numpy would not, and values are right.

Without the partition rule every call gathers its operands and computes the whole batch on every
device; and where ``shard_map`` keeps account of what varies over the mesh, a derivative rule that
does not loses the sum over devices: the gradient is then that of one shard, with no error raised.

What is compiled shows in COLLECTIVES.md, written by

    JAX_SIGLIB_EXHAUSTIVE=1 pytest tests/test_sharding.py --collectives tests/COLLECTIVES.md
"""

import jax
import jax.numpy as jnp
from helpers import as_tuple, by_op, close
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from sharded import CASE, KINDS, TOLERANCE, cases, measure


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


@by_op
def test_explicit_mesh_and_operands_that_differ(op):
    """Where shardings are part of types a gradient has to have its operand's, and the right value.

    Every other operand is sharded, then the others.
    """
    mesh = jax.make_mesh((2,), ("b",), axis_types=(AxisType.Explicit,), devices=jax.devices()[:2])
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
