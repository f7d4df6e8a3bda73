"""The table in COLLECTIVES.md, from what test_sharding.py has measured."""

from pathlib import Path
from typing import Any

import jax
from helpers import OPS
from sharded import CASES, DEVICES

HEAD = """# Collectives

What XLA put into compiled programs of every operation over 2, 4 and 8 devices: ours / those of the
reference in plain `jax.numpy`, for the same sharded arrays. Written by

    JAX_SIGLIB_EXHAUSTIVE=1 pytest tests/test_sharding.py --collectives tests/COLLECTIVES.md

with jax {version}, which also compares the values. The batch is sharded, one operand is on every
device; the cases are the functions of `tests/sharded.py`. A gradient of an operand that is on every
device has to be summed over devices: that is what all-reduces are for.

| operation | case | {devices} |
|---|---|{rules}|
"""


def write(file: str, measured: dict[str, list[dict[str, Any]]]) -> None:
    """Write the table; raise if an operation, a case or a number of devices is missing.

    The rows of operations that this run has not measured stay as they are.
    """
    path = Path(file)
    before = path.read_text().splitlines(keepends=True) if path.exists() else []
    lines = []
    for op in OPS:
        if op.name not in measured:
            kept = [line for line in before if line.startswith(f"| {op.name} |")]
            assert len(kept) == len(CASES), f"{op.name} was not measured"
            lines += kept
            continue
        for case in CASES:
            rows = {row["devices"]: row for row in measured[op.name] if row["case"] == case}
            assert set(rows) == set(DEVICES), f"{op.name}, {case}: JAX_SIGLIB_EXHAUSTIVE?"
            cells = " | ".join(_cell(rows[count]) for count in DEVICES)
            lines.append(f"| {op.name} | {case} | {cells} |\n")
    head = HEAD.format(
        version=jax.__version__,
        devices=" | ".join(f"{n} devices" for n in DEVICES),
        rules="|".join("---" for _ in DEVICES),
    )
    path.write_text(head + "".join(lines))


def _cell(row: dict[str, Any]) -> str:
    def side(counts: dict[str, int]) -> str:
        return ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items())) or "none"

    return f"{side(row['ours'])} / {side(row['reference'])}"
