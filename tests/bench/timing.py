"""Callables timed side by side: their repeats interleave, so that drift of the machine hits all."""

import gc
import itertools
import math
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Call = Callable[[], Any]


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    group_s: float = 4.0  # for all that is compared with one another
    # For one uninterrupted turn of one callable: so long that what the one before it left in
    # caches and allocator does not count. Turns of half a millisecond cost a fast call that
    # follows a wasteful one half its speed.
    turn_s: float = 1e-2
    rounds: tuple[int, int] = (7, 201)  # at least, whatever it takes; and at most


QUICK = Effort(group_s=0.5, turn_s=3e-3, rounds=(5, 51))


class Spread(NamedTuple):
    """Median and quartiles."""

    median: float
    low: float
    high: float


@dataclass
class Timing:
    """What one callable took, round by round."""

    calls: int  # in one turn
    ns: list[float] = field(default_factory=list)  # per call, one entry for each round
    cpu_ns: float = 0.0  # of all threads, over all turns
    wall_ns: float = 0.0
    page_faults: int = 0  # over all turns: memory that the kernel had to clear and hand out

    @property
    def us(self) -> Spread:
        """Time of one call in microseconds."""
        return spread([x / 1e3 for x in self.ns])

    @property
    def threads(self) -> float:
        """Processors kept busy, on average: above 1, and the work was shared by threads."""
        return self.cpu_ns / self.wall_ns if self.wall_ns else math.nan

    def over(self, other: "Timing") -> Spread:
        """This time divided by the other's of the same round."""
        return spread([a / b for a, b in zip(self.ns, other.ns, strict=True)])

    def minus_us(self, other: "Timing") -> Spread:
        """Difference of the two times of the same round, in microseconds."""
        return spread([(a - b) / 1e3 for a, b in zip(self.ns, other.ns, strict=True)])

    @property
    def faults(self) -> float:
        """Page faults of one call."""
        return self.page_faults / (self.calls * len(self.ns))

    def record(self) -> dict[str, Any]:
        """For the JSON file."""
        return {
            "us": self.us._asdict(),
            "rounds": len(self.ns),
            "calls_per_turn": self.calls,
            "threads": self.threads,
            "page_faults": self.faults,
        }


def spread(values: list[float]) -> Spread:
    """Median and quartiles of what was measured."""
    if len(values) < 2:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


def compare(calls: dict[str, Call], effort: Effort) -> dict[str, Timing]:
    """Time callables against each other.

    In each round every one has a turn: some calls that do not count, which bring caches and
    allocator into the state that this callable leaves them in, then as many as fill ``turn_s``.
    The order rotates from round to round. Garbage is collected before, not during.
    """
    with _no_garbage_collection():
        timings = {name: Timing(_calls_per_turn(call, effort)) for name, call in calls.items()}
        names = list(calls)
        least, most = effort.rounds
        end = time.perf_counter() + effort.group_s
        for number in range(most):
            if number >= least and time.perf_counter() > end:
                break
            shift = number % len(names)
            for name in names[shift:] + names[:shift]:
                _turn(calls[name], timings[name])
    return timings


def _turn(call: Call, timing: Timing) -> None:
    if timing.calls > 1:  # a single call is so long that it warms itself
        for _ in itertools.repeat(None, 1 + timing.calls // 8):
            call()
    faults = _page_faults()
    cpu = time.process_time_ns()
    start = time.perf_counter_ns()
    for _ in itertools.repeat(None, timing.calls):
        call()
    wall = time.perf_counter_ns() - start
    timing.cpu_ns += time.process_time_ns() - cpu
    timing.page_faults += _page_faults() - faults
    timing.wall_ns += wall
    timing.ns.append(wall / timing.calls)


def _page_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def _calls_per_turn(call: Call, effort: Effort) -> int:
    """Warm up, compiling what has to be compiled, and see how many calls fill a turn."""
    call()
    wanted = effort.turn_s * 1e9
    calls = 1
    while True:
        start = time.perf_counter_ns()
        for _ in itertools.repeat(None, calls):
            call()
        took = max(time.perf_counter_ns() - start, 1)
        # The first calls may be slow: settle only on a number of calls that was tried.
        if took >= wanted / 2:
            return max(1, round(calls * wanted / took))
        calls = math.ceil(calls * min(wanted / took, 8))


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    gc.collect()
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
