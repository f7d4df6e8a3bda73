"""Several devices: nothing is communicated that plain jax.numpy would not, and values are right.

Without the partition rule every call gathers its operands and computes the whole batch on every
device; and where ``shard_map`` keeps account of what varies over the mesh, a derivative rule that
does not loses the sum over devices: the gradient is then that of one shard, with no error raised.

What is compiled shows in COLLECTIVES.md, written by

    JAX_SIGLIB_EXHAUSTIVE=1 pytest tests/test_sharding.py --collectives tests/COLLECTIVES.md
"""

from helpers import by_op
from sharded import KINDS, cases, measure


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
