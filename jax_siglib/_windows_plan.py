"""How the signatures of many windows of a path are computed: the plan, made in numpy beforehand.

A signature can be grown at either end, but not shortened without cancellation: multiplying with the
inverse of what came before leaves the rounding error of a long signature in a short one. So no plan
has an inverse. Each window is cut at a point inside of it, its **cut**, into a left part that ends
there and a right part that begins there; its signature is the product of those of the two. The
parts that end at one cut are the beginnings of one **run** leftwards, those that begin there of one
run to the right, and a run gives all its signatures one after another.

Cuts are chosen by the greedy rule for stabbing intervals: go through the windows by their ends, and
cut at the end of the first that holds no cut yet. Then runs to the right never overlap, and runs to
the left overlap no more than twice where windows differ in width by less than a factor of 2. So for
windows of one width a plan costs two steps for each step of the path, whatever the width. Windows
of many widths are planned octave by octave, or all together, or by the mirrored rule (which cuts
expanding windows at their beginning, into right parts alone), whichever costs least. Narrow windows
may cost least if each is cut at its end: it is a single part then, that it shares with none.

A run which asks for a good part of its steps is a stream (``sig_stream``). From others only the
steps asked for are kept: between them lie **pieces**, each the signature of a path by itself, and
the run is their products one after another.

Widths and positions are counted in steps between points: the window (start, end) has the steps
``start`` to ``end - 2``.
"""

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np

__all__ = ["Plan", "plan"]

Ints = np.ndarray

# What goes into the choice between plans, as measured, roughly: a row of a stream is 1. The steps
# of a piece go at the speed of a matrix product and write nothing.
_STEP_OF_A_PIECE, _PRODUCT = 0.2, 3.0
# How many times what is asked for may be computed for the sake of fewer, even batches.
_WASTE = 2


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """Which batches to compute, and where each window's signature is found in them.

    Rows are counted through: those of the streams, one stream and one row after another, then those
    of the products, all that are first in their runs, then the second, and so on.

    Attributes:
        streams: Points of the streams of a batch, (runs, points), and whether they grow leftwards.
        pieces: Points of the pieces of a batch, (pieces, points). Pieces are counted through too.
        products: Pieces of the runs of a batch, (rows, runs), and whether they grow leftwards.
        left, right: Rows whose products are windows.
        whole: Rows that are windows as they stand.
        units: How many windows are single points.
        order: Where in all these, in this order, each window is found.
        cost: In rows of a stream, about.
    """

    streams: list[tuple[Ints, bool]]
    pieces: list[Ints]
    products: list[tuple[Ints, bool]]
    left: Ints
    right: Ints
    whole: Ints
    units: int
    order: Ints
    cost: float


@functools.lru_cache(maxsize=256)
def plan(windows: bytes) -> Plan:
    """The plan for windows given as the bytes of an int64 array of pairs (start, end)."""
    start, end = np.frombuffer(windows, np.int64).reshape(-1, 2).T
    a, b = start, end - 1
    octave = np.frexp(b - a)[1]
    alike = len(np.unique(octave)) < 2
    choices = [a, b] + [
        cuts(a, b, group)
        for group in ([octave] if alike else [np.zeros_like(octave), octave])
        for cuts in (_cuts_at_ends, _cuts_at_starts)
    ]
    # Those first that reach least far, all runs together, for the others may reach very far: what
    # cannot be the best is not worked out.
    sides = [
        (_Side(cuts, cuts - a, leftwards=True), _Side(cuts, b - cuts, leftwards=False))
        for cuts in choices
    ]
    reach = [left.reach + right.reach for left, right in sides]
    best = None
    for i in np.argsort(reach, kind="stable"):
        if best is not None and _STEP_OF_A_PIECE * reach[i] > best.cost:
            break
        found = _with_cuts(a, b, choices[i], sides[i])
        best = found if best is None or found.cost < best.cost else best
    assert best is not None
    return best


def _cuts_at_ends(a: Ints, b: Ints, group: Ints) -> Ints:
    """A cut in each window, by the greedy rule within each group."""
    order = np.lexsort((b, group))
    cuts = np.empty_like(b)
    last, last_group = 0, None
    rows = zip(*(x[order].tolist() for x in (a, b, group)), strict=True)
    for i, (begin, end, of) in zip(order.tolist(), rows, strict=True):
        if of != last_group or begin > last:
            last, last_group = end, of
        cuts[i] = last
    return cuts


def _cuts_at_starts(a: Ints, b: Ints, group: Ints) -> Ints:
    return -_cuts_at_ends(-b, -a, group)


def _with_cuts(a: Ints, b: Ints, cuts: Ints, sides: tuple["_Side", "_Side"]) -> Plan:
    cost, rows = 0.0, 0
    streams: list[tuple[Ints, bool]] = []
    for side in sides:
        for points in side.streams(rows):
            streams.append((points, side.leftwards))
            rows += points.shape[0] * (points.shape[1] - 1)
    cost += rows

    # Pieces are many runs' at a time; each is computed once.
    wanted = [side.pieces() for side in sides]
    unique, which = _unique_rows(np.concatenate(wanted))
    pieces, place = [], np.empty(len(unique), np.int64)
    length, found = unique[:, 1] - unique[:, 0], 0
    for chosen in _batches(length):
        most = length[chosen].max()
        steps = np.minimum(np.arange(most + 1), length[chosen, None])
        pieces.append(unique[chosen, :1] + steps)
        place[chosen] = found + np.arange(len(chosen))
        found += len(chosen)
        cost += _STEP_OF_A_PIECE * most * len(chosen)
    products: list[tuple[Ints, bool]] = []
    numbers = np.split(place[which], [len(wanted[0])])
    for side, number in zip(sides, numbers, strict=True):
        for batch in side.products(number, rows):
            products.append((batch, side.leftwards))
            rows += batch.size
            cost += _PRODUCT * (batch.size - batch.shape[1])

    has_left, has_right = a < cuts, b > cuts
    both, neither = has_left & has_right, ~(has_left | has_right)
    left, right = (side.row_of_window for side in sides)
    one = np.where(has_left, left, right)[has_left ^ has_right]
    order = np.argsort(np.argsort(np.where(both, 0, np.where(neither, 2, 1)), kind="stable"))
    cost += _PRODUCT * both.sum()
    return Plan(
        streams, pieces, products, left[both], right[both], one, int(neither.sum()), order, cost
    )


class _Side:
    """The runs that begin at cuts, to one side of them.

    Attributes:
        leftwards: Which side.
        reach: How many steps the runs have together.
        row_of_window: Where the run's row for a window is found, once it has been placed; -1 for a
            window with nothing to this side.
    """

    def __init__(self, cuts: Ints, distance: Ints, leftwards: bool) -> None:
        """With the cut of each window, and how far the window reaches from there."""
        self.leftwards = leftwards
        wanted = distance > 0
        pairs, which = _unique_rows(np.stack([cuts[wanted], distance[wanted]], -1))
        # All rows asked for, run by run, those of a run from the cut outwards.
        self._cut, self._distance = pairs.T
        self._first = np.flatnonzero(np.diff(self._cut, prepend=-1))  # row of each run
        self._count = np.diff(self._first, append=len(pairs))
        self._run = np.repeat(np.arange(len(self._first)), self._count)
        self._extent = self._distance[self._first + self._count - 1]
        self.reach = int(self._extent.sum())
        self._is_stream = self._extent <= _WASTE * self._count
        self._placed = np.full(len(pairs), -1)
        self._wanted, self._which = wanted, which

    @property
    def row_of_window(self) -> Ints:
        rows = np.full(len(self._wanted), -1)
        rows[self._wanted] = self._placed[self._which]
        return rows

    def _at(self, cut: Ints, distance: Ints) -> Ints:
        return cut - distance if self.leftwards else cut + distance

    def streams(self, row: int) -> Iterator[Ints]:
        """Points of the runs that are streams, in batches; the rows are placed from ``row`` on.

        Streams are made equally long by repeating their last point, which adds no signature.
        """
        streams = np.flatnonzero(self._is_stream)
        for chosen in _batches(self._extent[streams]):
            runs = streams[chosen]
            most = self._extent[runs].max()
            distance = np.minimum(np.arange(most + 1), self._extent[runs, None])
            distance = distance[:, ::-1] if self.leftwards else distance
            yield self._at(self._cut[self._first[runs], None], distance)
            rows, member = self._rows_of(runs)
            nearest = self._distance[rows] - 1
            self._placed[rows] = row + member * most
            self._placed[rows] += most - 1 - nearest if self.leftwards else nearest
            row += len(runs) * most

    def pieces(self) -> Ints:
        """Begin and end of the pieces of all other runs, in the order of their rows."""
        rows, _ = self._rows_of(np.flatnonzero(~self._is_stream))
        far = self._distance[rows]
        near = np.where(np.isin(rows, self._first), 0, self._distance[rows - 1])
        ends = self._at(self._cut[rows], far), self._at(self._cut[rows], near)
        return np.stack(ends if self.leftwards else ends[::-1], -1)

    def products(self, pieces: Ints, row: int) -> Iterator[Ints]:
        """The numbers of the pieces of these runs, in batches; rows are placed from ``row`` on.

        Where a run has fewer rows than others, pieces follow that nobody asks for.
        """
        others = np.flatnonzero(~self._is_stream)
        of_row = np.zeros(len(self._distance), np.int64)
        of_row[self._rows_of(others)[0]] = pieces
        for chosen in _batches(self._count[others]):
            runs = others[chosen]
            step = np.minimum(np.arange(self._count[runs].max())[:, None], self._count[runs] - 1)
            yield of_row[self._first[runs] + step]
            rows, member = self._rows_of(runs)
            nth = rows - self._first[self._run[rows]]
            self._placed[rows] = row + nth * len(runs) + member
            row += step.size

    def _rows_of(self, runs: Ints) -> tuple[Ints, Ints]:
        """The rows asked for of these runs, and for each which of the runs it is from."""
        member = np.full(len(self._first), -1)
        member[runs] = np.arange(len(runs))
        of_row = member[self._run]
        rows = np.flatnonzero(of_row >= 0)
        return rows, of_row[rows]


def _unique_rows(pairs: Ints) -> tuple[Ints, Ints]:
    """Pairs of positions in order, each once, and where each of those given is among them.

    As ``numpy.unique`` along an axis, but ten times quicker: a pair is taken for one number.
    """
    base = pairs.max(initial=0) + 1
    unique, which = np.unique(pairs[:, 0] * base + pairs[:, 1], return_inverse=True)
    return np.stack(np.divmod(unique, base), -1), which.reshape(-1)


def _batches(size: Ints) -> Iterator[Ints]:
    """Members of one batch if that wastes little, else octave by octave."""
    if len(size) == 0:
        return
    if size.max() * len(size) <= _WASTE * size.sum():
        yield np.arange(len(size))
        return
    octave = np.frexp(size)[1]
    for each in np.unique(octave):
        yield np.flatnonzero(octave == each)
