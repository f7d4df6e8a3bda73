"""sig_join and sig_join_backprop on numpy arrays, beside a copy of memory and beside pysiglib."""

import functools
import threading
import time

import cases
import numpy as np
import peers
from cases import Join
from report import NOTHING, Table, at_least, at_most, number
from timing import Call, Effort, Timing, compare, spread

import jax_siglib


def tables(joins: list[Join], dtypes: list[str], effort: Effort) -> list[Table]:
    """All that is said of numpy calls."""
    found = []
    for dtype in dtypes:
        found += [_speed(joins, dtype, effort), _threads(joins, dtype, effort)]
    return found


def _speed(joins: list[Join], dtype: str, effort: Effort) -> Table:
    table = Table(
        f"sig_join, numpy call, {dtype}",
        [
            *("B, d, N", "copy us", "fwd us", "bwd us", "fwd / copy", "bwd / copy"),
            *("fwd: times faster than pysiglib", "bwd: times faster"),
            *("fwd prepend / append", "bwd prepend / append"),
        ],
    )

    def limit(value: float | None) -> float | None:
        return value if dtype == "float32" else None  # limits were set for this one

    for case in joins:
        calls = _calls(case, dtype)
        taken = compare(calls, effort)
        copy, forward, backward = taken["copy"], taken["forward"], taken["backward"]
        cells = [
            case.label,
            *(number(x.us.median) for x in (copy, forward, backward)),
            at_most(forward.over(copy), limit(case.forward_copies)),
            at_most(backward.over(copy), limit(case.backward_copies)),
            _gain(taken, "forward", limit(case.forward_gain)),
            _gain(taken, "backward", limit(case.backward_gain)),
            at_most(taken["forward prepend"].over(forward), cases.PREPEND_TO_APPEND),
            at_most(taken["backward prepend"].over(backward), cases.PREPEND_TO_APPEND),
        ]
        record = {name: timing.record() for name, timing in taken.items()}
        table.add(cells, size=case.label, dtype=dtype, timings=record)
        table.remark(case.label, taken)
    table.notes.append("copy is `sig.copy()`, which allocates its result as the calls do")
    return table


def _calls(case: Join, dtype: str) -> dict[str, Call]:
    sig, step, ct = case.operands(dtype)
    statics = cases.keywords(case)
    calls: dict[str, Call] = {"copy": sig.copy}
    for name, prepend in (("", {}), (" prepend", {"prepend": True})):
        fixed = statics | prepend
        calls["forward" + name] = functools.partial(jax_siglib.sig_join, sig, step, **fixed)
        calls["backward" + name] = functools.partial(
            jax_siglib.sig_join_backprop, ct, sig, step, **fixed
        )
    if peers.pysiglib is not None:
        theirs = peers.pysiglib
        calls["forward pysiglib"] = functools.partial(theirs.sig_join, sig, step, **statics)
        calls["backward pysiglib"] = functools.partial(
            theirs.sig_join_backprop, ct, sig, step, **statics
        )
    return calls


def _gain(taken: dict[str, Timing], which: str, limit: float | None) -> str:
    theirs = taken.get(f"{which} pysiglib")
    return NOTHING if theirs is None else at_least(theirs.over(taken[which]), limit)


def _threads(joins: list[Join], dtype: str, effort: Effort) -> Table:
    table = Table(
        f"sig_join, n_jobs=2 against n_jobs=1, {dtype}",
        ["B, d, N", "memory copy: gain of 2 threads", "fwd: gain of n_jobs=2", "bwd: gain"],
        notes=[
            "memory copy: np.copyto into an array that is there, by one Python thread and by two"
            " with half each; started together, each copying many times, so that what it costs to"
            " start a thread does not count; half of its rounds before the calls, half after",
            f"at least {cases.TWO_THREADS_GAIN} is asked only where the memory copy gains as much,"
            " and from (128, 5, 5) up",
        ],
    )
    for case in joins:
        sig, step, ct = case.operands(dtype)
        statics = cases.keywords(case)
        calls: dict[str, Call] = {}
        for n_jobs in (1, 2):
            fixed = statics | {"n_jobs": n_jobs}
            calls[f"forward {n_jobs}"] = functools.partial(jax_siglib.sig_join, sig, step, **fixed)
            calls[f"backward {n_jobs}"] = functools.partial(
                jax_siglib.sig_join_backprop, ct, sig, step, **fixed
            )
        copy_gains = _copy_gains(sig, effort)
        taken = compare(calls, effort)
        copy = spread(copy_gains + _copy_gains(sig, effort))
        asked = case.two_threads and dtype == "float32" and copy.median >= cases.TWO_THREADS_GAIN
        limit = cases.TWO_THREADS_GAIN if asked else None
        gains = [taken[f"{x} 1"].over(taken[f"{x} 2"]) for x in ("forward", "backward")]
        table.add(
            [case.label, at_least(copy, None), *(at_least(gain, limit) for gain in gains)],
            size=case.label,
            dtype=dtype,
            copy_gain=copy._asdict(),
            timings={name: timing.record() for name, timing in taken.items()},
        )
    return table


def _copy_gains(source: np.ndarray, effort: Effort) -> list[float]:
    """How much faster two threads copy than one, round by round."""
    source = source.ravel()
    target = np.empty_like(source)
    half = source.size // 2
    whole = [(target, source)]
    halves = [(target[:half], source[:half]), (target[half:], source[half:])]
    once = max(_copying(whole, 8) / 8, 1.0)
    count = max(4, round(effort.turn_s * 1e9 / once))
    rounds = min(effort.rounds[1], max(effort.rounds[0], round(effort.group_s / effort.turn_s / 8)))
    return [_copying(whole, count) / _copying(halves, count) for _ in range(rounds)]


def _copying(parts: list[tuple[np.ndarray, np.ndarray]], count: int) -> float:
    """Nanoseconds from the first thread's start to the last one's end, a thread for each part."""
    ready = threading.Barrier(len(parts))
    starts, ends = [0] * len(parts), [0] * len(parts)

    def work(index: int) -> None:
        target, source = parts[index]
        np.copyto(target, source)
        ready.wait()
        starts[index] = time.perf_counter_ns()
        for _ in range(count):
            np.copyto(target, source)
        ends[index] = time.perf_counter_ns()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(parts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return max(ends) - min(starts)
