"""sig_combine, its backward pass and sig_inverse, beside a copy of memory and beside pysiglib."""

import functools

import cases
import numpy as np
import peers
from cases import Join
from report import NOTHING, Table, at_least, at_most, number
from timing import Call, Effort, compare

import jax_siglib

TITLES = ["B, d, N", "copy us", "fwd / copy", "bwd / copy", "inverse / copy"]
GAINS = ["fwd: times faster than pysiglib", "bwd: times faster"]


def tables(joins: list[Join], dtypes: list[str], effort: Effort) -> list[Table]:
    """A table for each dtype."""
    return [_speed(joins, dtype, effort) for dtype in dtypes]


def _speed(joins: list[Join], dtype: str, effort: Effort) -> Table:
    table = Table(f"sig_combine and sig_inverse, numpy call, {dtype}", [*TITLES, *GAINS])
    for case in joins:
        taken = compare(_calls(case, dtype), effort)
        copy = taken["copy"]
        cells = [case.label, number(copy.us.median)]
        cells += [at_most(taken[x].over(copy), None) for x in ("forward", "backward", "inverse")]
        for which in ("forward", "backward"):
            theirs = taken.get(f"{which} pysiglib")
            cells.append(NOTHING if theirs is None else at_least(theirs.over(taken[which]), None))
        record = {name: timing.record() for name, timing in taken.items()}
        table.add(cells, size=case.label, dtype=dtype, timings=record)
        table.remark(case.label, taken)
    table.notes.append("copy is `sig1.copy()`: a product reads two signatures and writes one")
    return table


def _calls(case: Join, dtype: str) -> dict[str, Call]:
    sig1, _, ct = case.operands(dtype)
    sig2 = np.roll(sig1, 1, axis=-1)
    statics = cases.keywords(case)
    calls: dict[str, Call] = {
        "copy": sig1.copy,
        "inverse": functools.partial(jax_siglib.sig_inverse, sig1, **statics),
    }
    for name, library in (("", jax_siglib), (" pysiglib", peers.pysiglib)):
        if library is not None:
            calls[f"forward{name}"] = functools.partial(library.sig_combine, sig1, sig2, **statics)
            calls[f"backward{name}"] = functools.partial(
                library.sig_combine_backprop, ct, sig1, sig2, **statics
            )
    return calls
