"""The table in TRANSFORMATIONS.md, from what a run of the tests has proven."""

from pathlib import Path

from helpers import DTYPES, OPS

# Dtypes by their short names, and the sentence for each gap; there is no gap without one.
SHORT = {"float64": "f64", "float32": "f32", "bfloat16": "bf16", "float16": "f16"}
GAPS: dict[tuple[str, str], str] = {}

HEAD = """# What was proven: operation x transformation x dtype

Written by `pytest --matrix tests/TRANSFORMATIONS.md`: a cell names the dtypes for which a test of
that run passed, `all` stands for {all}. Rows are what JAX, or the caller, does to the operation;
what exactly is computed stands in `tests/transformations.py` and in the tests named below it.
"""


def write(file: str, proven: set[tuple[str, str, str]]) -> None:
    """Write the table; raise if a cell has a gap that nothing explains."""
    names = [op.name for op in OPS]
    rows = list(dict.fromkeys(row for row, *_ in sorted(proven)))
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
                why = _why(row, name)
                if why not in notes:
                    notes.append(why)
                text += f" ({notes.index(why) + 1})"
            cells.append(text.strip())
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    lines += ["", *(f"{i}. {why}" for i, why in enumerate(notes, 1))]
    Path(file).write_text("\n".join(lines).rstrip() + "\n")


def _why(row: str, name: str) -> str:
    for key in ((row, name), (row, "")):
        if key in GAPS:
            return GAPS[key]
    raise AssertionError(f"{row!r} of {name} was not proven for all dtypes, and GAPS says no why")
