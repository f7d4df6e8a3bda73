"""Those of whole paths: in tiles and in branches."""

import itertools

import numpy as np
import pytest
from cuda_host import IN_ORDER, PATHS, SIZES, hold
from helpers import BY_NAME, Case


@pytest.mark.parametrize("branches", [False, True], ids=["tiles", "branches"])
@pytest.mark.parametrize("op", PATHS, ids=lambda op: op.name)
def test_paths(host, op, branches):
    for (d, degree), small in itertools.product(SIZES, (False, True)):
        case = Case(d, degree, False, scalar_term=small, points=4)
        hold(host, op, case, (2,), small, branches=branches)
    for d, degree in ((1, 2), (2, 4), (4, 3)):  # several blocks of steps, the last not full
        case = Case(d, degree, points=36)
        hold(host, op, case, (1,), d > 2, shrink=1 / 8, branches=branches)
    hold(host, op, Case(3, 3, points=1), (2,), branches=branches)


@pytest.mark.parametrize("d, degree, more_than", [(7, 5, 8), (12, 4, 16), (300, 2, 32)])
def test_sums_of_many_shares(host, d, degree, more_than):
    """What many blocks find for the increments, added up in 2, 4 and 8 groups."""
    plan = host.plan_path if d > 256 else host.plan_branches
    host.configure(*IN_ORDER, False)
    assert plan(d, degree, 1, 12, False, True, 4)["slots"] > more_than
    hold(host, BY_NAME["sig_backprop"], Case(d, degree, points=12), shrink=1 / 4)


@pytest.mark.parametrize("op", PATHS, ids=lambda op: op.name)
def test_paths_in_tiles(host, op):
    hold(host, op, Case(7, 4, points=3), branches=False)
    assert host.plan_path(7, 4, 1, 3, False, True, 4)["tiles"] > 1


@pytest.mark.parametrize("op", PATHS, ids=lambda op: op.name)
def test_paths_in_branches(host, op):
    """Every side, whole and in slices, some not full; several elements in a block, and blocks."""
    kind = op.name in ("sig_jvp", "sig_hvp"), op.name in ("sig_backprop", "sig_hvp")
    sides, sliced, shared, cut_up, exact, fours = set(), set(), set(), set(), set(), set()
    for d, degree, batch in (
        (2, 2, 70), (2, 9, 1), (3, 5, 3), (4, 3, 9), (5, 3, 8), (6, 3, 1), (7, 3, 5), (8, 3, 1),
        (9, 2, 2), (10, 3, 1), (17, 2, 3),
    ):  # fmt: skip
        case = Case(d, degree, points=4 if d < 9 else 3, scalar_term=d % 2 == 1)
        for small in (False, True):
            hold(host, op, case, (batch,), small)
            for entry_bytes in (4, 8):
                plan = host.plan_branches(d, degree, batch, 4, *kind, entry_bytes)
                side = entry_bytes, plan["side"]
                sides.add(side)
                sliced |= {side} if plan["slices"] > 1 else set()
                shared |= {side} if 1 < plan["elements"] and batch % plan["elements"] else set()
                cut_up |= {side} if plan["tiles"] > 1 else set()
                exact |= {side} if plan["exact"] else set()
                fours.add((plan["fours"], plan["each"] % 4 == 0))
    dual = kind[0]
    floats, doubles = ({2, 3, 5}, {2, 3}) if dual else ({2, 3, 4, 5, 8}, {2, 3, 5})
    assert sides == exact == {(4, s) for s in floats} | {(8, s) for s in doubles}
    # Sums by fours, of which the last one is full, or is not; and one by one.
    assert fours >= {(True, True), (True, False), (False, False)} or not kind[1]
    assert {b for b, _ in sliced} == {b for b, _ in cut_up} == {b for b, _ in shared} == {4, 8}


def test_infinities_have_no_low_part(host):
    """S of the second level passes the largest float by a step that is finite itself."""
    path = np.array([[0], [2.4e19], [2.7e19], [2.8e19]], "float32")
    for small in (False, True):
        host.configure(*IN_ORDER, small)
        found = BY_NAME["sig"].call(path, 3)
        np.testing.assert_array_equal(found, np.float32([2.8e19, np.inf, np.inf]))
