"""sig and sig_backprop on numpy arrays, beside pysiglib; jitted, beside signax; and memory."""

import contextlib
import ctypes
import dataclasses
import functools
from pathlib import Path as File
from typing import Any

import jax
import jax.numpy as jnp
import peers
from cases import MEMORY_POINTS, MEMORY_SIZES, PEER_BYTES, SIGNAX_GAIN, Path
from report import NOTHING, Table, at_least, at_most, number
from timing import Call, Effort, Spread, compare

import jax_siglib
from jax_siglib._native import ext

PEAK_ROUNDS = 20_000  # a tenth of a millisecond


def tables(paths: list[Path], dtypes: list[str], effort: Effort) -> list[Table]:
    """All that is said of whole paths."""
    return [
        *(_speed(paths, dtype, effort) for dtype in dtypes),
        _gradients(paths, effort),
        _memory(),
    ]


def _speed(paths: list[Path], dtype: str, effort: Effort) -> Table:
    table = Table(
        f"sig, numpy call, {dtype}",
        [
            *("B, T, d, N", "sig ms", "sig_backprop ms"),
            *("sig: times faster than pysiglib", "sig_backprop: times faster"),
            *("sig_backprop / sig", "sig: share of peak", "sig_backprop: share of peak"),
        ],
        notes=[
            "share of peak: multiply-adds that the recurrence needs (a step of sig: N-k+1 for each"
            " word of level k; of sig_backprop: twice as many, and those below the top level once"
            " more), against a loop of them in float32 registers timed in the same rounds"
        ],
    )
    for case in paths:
        path, sig, ct = case.operands(dtype)
        forward: dict[str, Call] = {
            "jax_siglib": functools.partial(jax_siglib.sig, path, case.degree)
        }
        backward: dict[str, Call] = {
            "jax_siglib": functools.partial(jax_siglib.sig_backprop, path, sig, ct, case.degree)
        }
        if peers.pysiglib is not None:
            forward["pysiglib"] = functools.partial(peers.pysiglib.sig, path, case.degree)
            backward["pysiglib"] = functools.partial(
                peers.pysiglib.sig_backprop, path, sig, ct, case.degree
            )
        both = {f"sig {name}": call for name, call in forward.items()}
        both |= {f"sig_backprop {name}": call for name, call in backward.items()}
        both["multiply-adds"] = functools.partial(ext.multiply_adds, PEAK_ROUNDS)
        taken = compare(both, effort)
        cells = [case.label]
        cells += [number(taken[f"{x} jax_siglib"].us.median / 1e3) for x in ("sig", "sig_backprop")]
        for which, limit in (("sig", case.forward_gain), ("sig_backprop", case.backward_gain)):
            theirs, own = taken.get(f"{which} pysiglib"), taken[f"{which} jax_siglib"]
            asked = limit if dtype == "float32" else None
            cells.append(NOTHING if theirs is None else at_least(theirs.over(own), asked))
        asked = case.backward_forwards if dtype == "float32" else None
        cells.append(at_most(taken["sig_backprop jax_siglib"].over(taken["sig jax_siglib"]), asked))
        shares = (("sig", case.forward_share), ("sig_backprop", case.backward_share))
        for which, limit in shares if dtype == "float32" else ():
            at_peak = taken["multiply-adds"].over(taken[f"{which} jax_siglib"])
            needed = case.multiply_adds(backward=which == "sig_backprop")
            share = Spread(*(x * needed / ext.multiply_adds(PEAK_ROUNDS) for x in at_peak))
            cells.append(at_least(share, limit))
        cells += [NOTHING] * (len(table.head) - len(cells))
        record = {name: timing.record() for name, timing in taken.items()}
        table.add(cells, size=case.label, dtype=dtype, timings=record)
        table.remark(case.label, taken)
    return table


def _gradients(paths: list[Path], effort: Effort) -> Table:
    table = Table(
        "sig in a jitted program, forward and gradient, float32",
        ["B, T, d, N", "paths", "ms", "times faster than signax"],
        notes=[
            "the signature and the derivative of the path for a given d_out, by jax.vjp in one"
            " jitted function; signax keeps the signature of every point, and where these are more"
            f" than {PEER_BYTES >> 30} GiB, both are given as many paths as fit"
        ],
    )
    for case in paths:
        kept = case.points * jax_siglib.sig_length(case.dimension, case.degree) * 4
        few = dataclasses.replace(case, batch=min(case.batch, max(PEER_BYTES // kept, 1)))
        path, _, ct = (jnp.asarray(x) for x in few.operands("float32"))
        calls = {"jax_siglib": _both(functools.partial(jax_siglib.sig, degree=case.degree))}
        if peers.signax is not None:
            calls["signax"] = _both(functools.partial(peers.signax.signature, depth=case.degree))
        taken = compare(
            {name: functools.partial(call, path, ct) for name, call in calls.items()}, effort
        )
        theirs, own = taken.get("signax"), taken["jax_siglib"]
        gain = NOTHING if theirs is None else at_least(theirs.over(own), SIGNAX_GAIN)
        record = {name: timing.record() for name, timing in taken.items()}
        cells = [case.label, str(few.batch), number(own.us.median / 1e3), gain]
        table.add(cells, size=case.label, paths=few.batch, timings=record)
        table.remark(case.label, taken)
    return table


def _both(signature: Any) -> Any:
    @jax.jit
    def both(path: Any, ct: Any) -> Any:
        out, pull_back = jax.vjp(signature, path)
        return out, pull_back(ct)

    return lambda path, ct: jax.block_until_ready(both(path, ct))


def _memory() -> Table:
    table = Table(
        "peak memory of sig_backprop beyond its operands and its result, KiB, float32",
        ["", "B, d, N", *(f"T = {points}" for points in MEMORY_POINTS)],
        notes=["from the peak of the resident set that Linux keeps, which counts in pages of 4"],
    )
    calls = {"jax_siglib": jax_siglib.sig_backprop}
    if peers.pysiglib is not None:
        calls["pysiglib"] = peers.pysiglib.sig_backprop
    for batch, dimension, degree in MEMORY_SIZES:
        for name, call in calls.items():
            lengths = [Path(batch, points, dimension, degree) for points in MEMORY_POINTS]
            extra = [_extra_kib(call, case) for case in lengths]
            cells = [NOTHING if x is None else str(x) for x in extra]
            label = f"{batch}, {dimension}, {degree}"
            table.add([name, label, *cells], library=name, size=label, extra_kib=extra)
    return table


def _extra_kib(call: Any, case: Path) -> int | None:
    path, sig, ct = case.operands("float32")
    reset, status = File("/proc/self/clear_refs"), File("/proc/self/status")
    if not (reset.exists() and status.exists()):
        return None

    def resident(what: str) -> int:
        lines = status.read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith(what + ":")))

    call(path, sig, ct, case.degree)  # what is set up once is not counted
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # nor hidden in memory that glibc kept from that call
    try:
        reset.write_text("5")  # the peak begins anew
    except OSError:
        return None
    before = resident("VmRSS")
    result = call(path, sig, ct, case.degree)
    return max(0, resident("VmHWM") - before - result.nbytes // 1024)
