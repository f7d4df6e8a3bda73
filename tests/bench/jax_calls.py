"""sig_join on JAX arrays: what a call costs, and whole programs beside pysiglib's and signax's."""

import functools
from collections.abc import Callable
from typing import Any

import cases
import jax
import jax.numpy as jnp
import oracle
import peers
from cases import SMALL, Join
from report import NOTHING, Table, at_least, at_most, number
from timing import Call, Effort, compare

import jax_siglib


def tables(joins: list[Join], dtypes: list[str], effort: Effort) -> list[Table]:
    """All that is said of calls from JAX; float64, if wanted, comes last and stays switched on."""
    found = []
    for dtype in dtypes:
        if dtype == "float64":
            jax.config.update("jax_enable_x64", True)
        found += [_small(dtype, effort), _programs(joins, dtype, effort)]
    return found


def _small(dtype: str, effort: Effort) -> Table:
    sig, step, _ = (jnp.asarray(x) for x in SMALL.operands(dtype))
    eager = functools.partial(jax_siglib.sig_join, **cases.keywords(SMALL))
    add, join = jax.jit(lambda x: x + 1), jax.jit(eager)
    taken = compare(
        {
            "x + 1": lambda: add(sig).block_until_ready(),
            "jitted": lambda: join(sig, step).block_until_ready(),
            "eager": lambda: eager(sig, step).block_until_ready(),
        },
        effort,
    )
    table = Table(
        f"one call of sig_join at ({SMALL.label}), JAX arrays, {dtype}",
        ["jitted x + 1 us", "jitted us", "jitted - (x + 1) us", "eager us"],
        notes=["each until its result is ready; x is sig"],
    )
    table.add(
        [
            at_most(taken["x + 1"].us, None),
            at_most(taken["jitted"].us, None),
            at_most(taken["jitted"].minus_us(taken["x + 1"]), cases.JIT_OVER_ADD_US),
            at_most(taken["eager"].us, cases.EAGER_US),
        ],
        size=SMALL.label,
        dtype=dtype,
        timings={name: timing.record() for name, timing in taken.items()},
    )
    return table


def _programs(joins: list[Join], dtype: str, effort: Effort) -> Table:
    table = Table(
        f"sig_join in a jitted program, {dtype}",
        [
            *("B, d, N", "fwd us", "fwd + bwd us"),
            *("fwd: times faster than pysiglib.jax_api", "fwd + bwd: times faster"),
            *("fwd: times faster than signax", "fwd + bwd: times faster than signax"),
        ],
        notes=[
            "fwd + bwd: the result and the derivatives of both operands for a given d_out, by"
            " jax.vjp in one jitted function",
            "signax: its mult_fused_restricted_exp under vmap, on its own lists of levels",
        ],
    )
    for case in joins:
        calls = {}
        for name, sides in _sides(case, dtype).items():
            calls |= {f"{which} {name}": call for which, call in sides.items()}
        taken = compare(calls, effort)
        cells = [
            case.label,
            number(taken["forward jax_siglib"].us.median),
            number(taken["both jax_siglib"].us.median),
        ]
        for peer, limit in (("pysiglib", cases.JAX_GAIN), ("signax", None)):
            for which in ("forward", "both"):
                theirs = taken.get(f"{which} {peer}")
                own = taken[f"{which} jax_siglib"]
                asked = limit if dtype == "float32" else None
                cells.append(NOTHING if theirs is None else at_least(theirs.over(own), asked))
        record = {name: timing.record() for name, timing in taken.items()}
        table.add(cells, size=case.label, dtype=dtype, timings=record)
        table.remark(case.label, taken)
    return table


def _sides(case: Join, dtype: str) -> dict[str, dict[str, Call]]:
    sig, step, ct = (jnp.asarray(x) for x in case.operands(dtype))
    statics = cases.keywords(case)
    sides = {"jax_siglib": _calls(functools.partial(jax_siglib.sig_join, **statics), sig, step, ct)}
    if peers.pysiglib_jax is not None:
        theirs = functools.partial(peers.pysiglib_jax.sig_join, **statics)
        sides["pysiglib"] = _calls(theirs, sig, step, ct)
    if peers.signax_ops is not None:
        update = jax.vmap(peers.signax_ops.mult_fused_restricted_exp)
        levels = [_levels(x, case) for x in (sig, ct)]
        sides["signax"] = _calls(lambda x, v: update(v, x), levels[0], step, levels[1])
    return sides


def _calls(join: Callable[..., Any], sig: Any, step: Any, ct: Any) -> dict[str, Call]:
    @jax.jit
    def both(sig: Any, step: Any, ct: Any) -> Any:
        out, pull_back = jax.vjp(join, sig, step)
        return out, pull_back(ct)

    forward = jax.jit(join)
    return {
        "forward": lambda: jax.block_until_ready(forward(sig, step)),
        "both": lambda: jax.block_until_ready(both(sig, step, ct)),
    }


def _levels(flat: Any, case: Join) -> list[Any]:
    slices = oracle.level_slices(case.dimension, case.degree, scalar_term=False)
    return [
        flat[:, s].reshape((case.batch,) + (case.dimension,) * level)
        for level, s in enumerate(slices, 1)
    ]
