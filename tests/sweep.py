"""All kernels against the oracle, called on numpy arrays: what the sizes below are chosen to reach.

Dimensions 1 to 10 have code of their own (1 to 4 without AVX2), 11 up to the vector width run
together, wider ones straight through; 16 and 17 stand on both sides of the float32 vectors of
AVX-512. Lengths beyond 32768 entries in float32, 16384 in float64, are cut into tiles if the batch
is below 16, and done whole if not.
"""

import itertools

import numpy as np
from helpers import BY_NAME, HALVES, OPS, Case, as_tuple, check

SMALL = {
    1: [1, 2, 3, 4, 5, 12],
    2: [1, 2, 3, 4, 5, 6, 10],
    3: [1, 2, 3, 4, 5, 6],
    4: [1, 2, 3, 4, 5],
    5: [1, 2, 3, 4],
    6: [1, 2, 3, 4],
    7: [1, 2, 3],
    8: [1, 2, 3, 4],
    9: [1, 2, 3],
    10: [1, 2, 3],
    11: [1, 2, 3],
    16: [1, 2, 3],
    17: [1, 2, 3],
    20: [1, 2],
    33: [1, 2],
    300: [1],
}
# Degrees where a signature is cut into tiles: the first length above each limit, or so.
LARGE = {
    2: [14, 15],
    3: [9, 10],
    4: [8],
    5: [7],
    6: [6],
    7: [6],
    8: [5],
    9: [5],
    10: [5],
    11: [5],
    16: [4],
    17: [4],
    20: [4],
    33: [3],
    300: [2],
}
# Paths side by side: steps are taken up to 16 at a time, words 24 at a time or a word's children,
# and from 128 words below the top level on sums for the increments are made in parts.
POINTS = (16, 17, 18, 36)
LONG_SUMS = {
    **{2: 8, 3: 6, 4: 5, 5: 5, 6: 4, 7: 4, 8: 4, 9: 4, 10: 4, 11: 4},
    **{16: 3, 17: 3, 20: 3, 33: 3},
}
JOINS = [BY_NAME[name] for name in ("sig_join", "sig_join_jvp", "sig_join_backprop")]
SIDE_BY_SIDE = [BY_NAME[name] for name in ("sig", "sig_jvp", "sig_backprop", "sig_hvp")]
DTYPES = ("float32", "float64")


def small(d: int) -> None:
    """Every operation, both ends, both layouts, both dtypes."""
    for degree, prepend, scalar_term in itertools.product(SMALL[d], (False, True), (False, True)):
        case = Case(d, degree, prepend, scalar_term)
        for op in OPS:
            if prepend and not op.has_prepend:
                continue
            if op.name in ("sig", "sig_jvp", "sig_backprop") and case.length() > 800:
                continue
            arrays = op.draw(1, case, "float64", (5,))
            truth = op.truth(arrays, case, (5,))
            for dtype in DTYPES:
                found = op.bind(case)(*(x.astype(dtype) for x in arrays))
                check(op, case, found, truth, dtype)


def large(d: int, ops: list = JOINS) -> None:
    """Cut into tiles (one signature, one and two threads) and whole (a batch of 16)."""
    for index, (degree, prepend) in enumerate(itertools.product(LARGE[d], (False, True))):
        case = Case(d, degree, prepend, scalar_term=bool(index % 2))
        for op in ops:
            if prepend and not op.has_prepend:
                continue
            arrays = op.draw(2, case, "float64")
            truth = op.truth(arrays, case)
            for dtype in DTYPES:
                narrow = [x.astype(dtype) for x in arrays]
                for n_jobs in (1, 2):
                    found = op.bind(case, n_jobs=n_jobs)(*narrow)
                    check(op, case, found, truth, dtype, f"{n_jobs=}")
                batch = [np.broadcast_to(x, (16, *x.shape)) for x in narrow]
                found = as_tuple(op.bind(case, n_jobs=2)(*batch))
                check(op, case, [x[0] for x in found], truth, dtype, "whole")
                for x in found:
                    assert (x[1:] == x[:1]).all(), (op.name, case, dtype)


def paths(d: int) -> None:
    """Paths long enough for several blocks of steps, and signatures too large to lie still."""
    for degree, points in ((3, 40), (LARGE[d][0], 3)) if 1 < d < 11 else ((2, 20),):
        for op in OPS[3:6]:
            case = Case(d, degree, False, True, points)
            arrays = op.draw(3, case, "float64")
            if points > 9:  # steps that keep the signature of a long path near 1
                arrays = [arrays[0] / 8, *arrays[1:]]
                arrays = [x.astype("float32").astype("float64") for x in arrays]
                if op.name == "sig_backprop":
                    arrays[1] = BY_NAME["sig"].truth(arrays[:1], case).results[0]
            truth = op.truth(arrays, case)
            for dtype in DTYPES:
                found = op.bind(case)(*(x.astype(dtype) for x in arrays))
                check(op, case, found, truth, dtype)


def side_by_side(d: int) -> None:
    """Batches of paths: blocks of steps of every kind, full and partly empty vectors of paths.

    High degrees take more steps to be worth it.
    """
    high = LONG_SUMS.get(d, 5)
    sizes = [*itertools.product((1, 2, 3), POINTS), (high, 18 if high < 7 else 40)]
    for index, (degree, points) in enumerate(sizes):
        if d > 40 and degree > 1:  # level 2 of 300 letters is read by large()
            continue
        _three_and_nineteen(Case(d, degree, False, bool(index % 2), points))


def tiles() -> None:
    """Paths side by side of every dimension until tiles of the top level repeat themselves.

    They do from 72 on (``Occurs`` in bundle_products.h).
    """
    for d in range(1, 80):
        _three_and_nineteen(Case(d, 2, points=4))


def _three_and_nineteen(case: Case) -> None:
    which = np.arange(19) * 2 % 3  # more than the widest vector holds; three paths in turn
    for op in SIDE_BY_SIDE:
        arrays = op.draw(4, case, "float64", (3,))
        arrays = [x / 8 if x.shape[-2:] == (case.points, case.d) else x for x in arrays]
        if op.name == "sig_backprop":
            arrays[1] = BY_NAME["sig"].truth(arrays[:1], case, (3,)).results[0]
        truth = op.truth(arrays, case, (3,))
        many = type(truth)(*([x[which] for x in part] for part in truth))
        for dtype in DTYPES:
            narrow = [x.astype(dtype) for x in arrays]
            check(op, case, op.bind(case)(*narrow), truth, dtype, "three")
            found = op.bind(case)(*(_apart(x[which]) for x in narrow))
            check(op, case, found, many, dtype, "nineteen")


def transformed(d: int) -> None:
    """Paths with a point in front, with lead and lag, with time: every choice, every dtype."""
    choices = itertools.product((False, True), repeat=3)
    for index, (time_aug, lead_lag, basepoint) in enumerate(choices):
        for points in (1, 3):
            case = Case(d, 3, False, bool(index % 2), points, time_aug, lead_lag, 1.0, basepoint)
            case = case._replace(end_time=case.joins() / 2)  # all times are halves, in any dtype
            for op in OPS:
                if "path" not in op.takes or "initial" in op.takes:  # sig_stream has no transforms
                    continue
                arrays = op.draw(5, case, "float64", (2,))
                truth = op.truth(arrays, case, (2,))
                for dtype in (*HALVES, *DTYPES):
                    narrow = [x.astype(dtype) for x in arrays]
                    check(op, case, op.bind(case)(*narrow), truth, dtype, "transformed")


def _apart(x: np.ndarray) -> np.ndarray:
    """The same numbers with room between the rows."""
    wide = np.full((*x.shape[:-1], x.shape[-1] + 3), np.nan, x.dtype)
    wide[..., :-3] = x
    return wide[..., :-3]
