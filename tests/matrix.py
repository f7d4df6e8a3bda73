"""The table in TRANSFORMATIONS.md, from what a run of the tests has proven."""

from pathlib import Path

from helpers import DTYPES, OPS
from transformations import TRANSFORMATIONS

# Dtypes by their short names, and the sentence for each gap; there is no gap without one.
SHORT = {"float64": "f64", "float32": "f32", "bfloat16": "bf16", "float16": "f16"}
_ONE_DTYPE = "The dtype plays no part in it: float64 stands for all."
_RESIDENT = (
    "No operand's memory is reused: none looks like a result and is read before it is written."
)
GAPS = {
    "disable_jit": _ONE_DTYPE,
    "nested vmap, and its gradients": _ONE_DTYPE,
    "sharded over devices": _ONE_DTYPE,
    "jax.export, symbolic batch, vjp": _ONE_DTYPE,
    "compiled ahead of time": _ONE_DTYPE,
    "donated operand reused": _RESIDENT,
}
BEYOND = (
    "Beyond the second order of sig_join and sig, whose derivatives up to there are kernels of"
    " their own, JAX differentiates the plain jax.numpy reference: float64 stands for all."
)

HEAD = """# What was proven: operation x transformation x dtype

Written by `JAX_SIGLIB_EXHAUSTIVE=1 pytest --matrix tests/TRANSFORMATIONS.md`: a cell names the
dtypes for which a test of that run passed, `all` stands for {all}. Rows are what JAX, or the
caller, does to the operation; what exactly is computed stands in `tests/transformations.py` and in
the tests named below it.
"""


def write(file: str, proven: set[tuple[str, str, str]]) -> None:
    """Write the table; raise if a cell has a gap that nothing explains."""
    names = [op.name for op in OPS]
    orders = {op.name: op.order for op in OPS}
    others = sorted({row for row, *_ in proven} - set(TRANSFORMATIONS))
    rows = [row for row in TRANSFORMATIONS if any(row == cell[0] for cell in proven)] + others
    lines = [HEAD.format(all=", ".join(SHORT.values()))]
    lines.append("| | " + " | ".join(f"`{name}`" for name in names) + " |")
    lines.append("|---" * (len(names) + 1) + "|")
    notes: list[str] = []
    for row in rows:
        cells = []
        for name in names:
            have = [dtype for dtype in DTYPES if (row, name, dtype) in proven]
            text = "all" if len(have) == len(DTYPES) else " ".join(SHORT[dtype] for dtype in have)
            if len(have) < len(DTYPES):
                if not have and row in TRANSFORMATIONS:
                    raise AssertionError(f"{row} was not proven for {name}: JAX_SIGLIB_EXHAUSTIVE?")
                why = _why(row, orders[name])
                if why not in notes:
                    notes.append(why)
                text += f" ({notes.index(why) + 1})"
            cells.append(text.strip())
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    lines += ["", *(f"{i}. {why}" for i, why in enumerate(notes, 1))]
    Path(file).write_text("\n".join(lines).rstrip() + "\n")


def _why(row: str, order: int) -> str:
    if row in TRANSFORMATIONS and TRANSFORMATIONS[row].order + order > 2:
        return BEYOND
    if row not in GAPS:
        raise AssertionError(f"{row} was not proven for all dtypes, and GAPS says no why")
    return GAPS[row]
