"""Several devices: nothing is communicated that plain jax.numpy would not, and values are right.

Without the partition rule every call gathers its operands and computes the whole batch on every
device; and where ``shard_map`` keeps account of what varies over the mesh, a derivative rule that
does not loses the sum over devices: the gradient is then that of one shard, with no error raised.

What is compiled shows in COLLECTIVES.md, written by

    JAX_SIGLIB_WRITE_COLLECTIVES=1 pytest tests/test_sharding.py
"""

import functools
import json
import os
import tempfile
from pathlib import Path

import pytest
from helpers import OPS, TESTS, by_op, run_python
from sharded import CASES, DEVICES, KINDS

# The host becomes 8 devices. LLVM need not do its best: what is compared was decided before it.
FLAGS = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
WRITE = os.environ.get("JAX_SIGLIB_WRITE_COLLECTIVES") == "1"


@functools.cache
def measured(name):
    """What sharded.py prints for an operation, in a process of its own."""
    code = f"import runpy; runpy.run_path({str(TESTS / 'sharded.py')!r}, run_name='__main__')"
    with tempfile.TemporaryDirectory() as folder:
        arguments = [json.dumps([name, WRITE])]
        timeout = 3600 if WRITE else 900
        return run_python(code, Path(folder), *arguments, timeout=timeout, XLA_FLAGS=FLAGS)


@by_op
def test_collectives(op, proven):
    """Not one more than the reference's; none that gathers; the batch stays where it lies."""
    done = measured(op.name)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert {row["case"] for row in rows} == set(CASES)
    assert {row["devices"] for row in rows} == set(DEVICES)
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


def test_placements(tmp_path):
    code = f"import pytest, sys; sys.exit(pytest.main([{str(TESTS / 'placements.py')!r}]))"
    done = run_python(code, tmp_path, XLA_FLAGS=FLAGS)
    assert done.returncode == 0, done.stdout[-5000:]


HEAD = """# Collectives

What XLA put into compiled programs of every operation over 2, 4 and 8 devices: ours / those of the
reference in plain `jax.numpy`, for the same sharded arrays. Written by

    JAX_SIGLIB_WRITE_COLLECTIVES=1 pytest tests/test_sharding.py

with jax {version}, which also compares the values. The batch is sharded, one operand is on every
device; the cases are the functions of `tests/sharded.py`. A gradient of an operand that is on every
device has to be summed over devices: that is what all-reduces are for.

| operation | case | {devices} |
|---|---|{rules}|
"""


@pytest.mark.skipif(not WRITE, reason="writes a file into the clone when asked to")
def test_write_the_table():
    import jax

    def cell(row):
        def side(counts):
            return ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items())) or "none"

        return f"{side(row['ours'])} / {side(row['reference'])}"

    lines = []
    for op in OPS:
        rows = json.loads(measured(op.name).stdout)
        for case in CASES:
            cells = [cell(row) for row in rows if row["case"] == case]
            assert len(cells) == len(DEVICES)
            lines.append(f"| {op.name} | {case} | {' | '.join(cells)} |\n")
    head = HEAD.format(
        version=jax.__version__,
        devices=" | ".join(f"{n} devices" for n in DEVICES),
        rules="|".join("---" for _ in DEVICES),
    )
    (TESTS / "COLLECTIVES.md").write_text(head + "".join(lines))
