"""The CUDA kernels of joins on the CPU (cuda_host.py): in tiles, and root by root."""

import itertools

import numpy as np
import pytest
from cuda_host import IN_ORDER, JOINS, SIZES, hold
from helpers import BY_NAME, Case, as_tuple


@pytest.mark.parametrize("op", JOINS, ids=lambda op: op.name)
def test_joins(host, op):
    for (d, degree), prepend, small in itertools.product(SIZES, (False, True), (False, True)):
        hold(host, op, Case(d, degree, prepend, scalar_term=small != prepend), (2,), small)
        assert host.launches() == 1 or small


@pytest.mark.parametrize("prepend", [False, True])
@pytest.mark.parametrize("op", JOINS, ids=lambda op: op.name)
def test_joins_in_tiles(host, op, prepend):
    """As large ones are cut up by the ordinary limits: several stages, and sums of many tiles."""
    for d, degree in ((2, 12), (7, 5)):
        hold(host, op, Case(d, degree, prepend, scalar_term=d == 2))
        assert host.launches() >= 2


@pytest.mark.parametrize("op", JOINS, ids=lambda op: op.name)
def test_joins_of_several_in_a_block(host, op):
    """Small limits want blocks to be few: the last one has fewer elements than the others."""
    kind = "vp" in op.name, "backprop" in op.name or "hvp" in op.name, 4
    sizes = [(1, 3), (2, 1), (2, 3), (3, 2), (4, 2)]
    for (d, degree), prepend in itertools.product(sizes, (False, True)):
        hold(host, op, Case(d, degree, prepend, scalar_term=prepend), (7,), True)
        assert host.launches() == 1
        elements = host.plan_join(d, degree, prepend, 7, *kind)[0]["elements"]
        assert elements > 1, (d, degree)


# Of each dimension that there is code for, degrees from 2 on.
BY_ROOTS = {
    2: (2, 3, 4, 5, 7, 9),
    3: (2, 3, 4, 6),
    4: (2, 3, 4, 5),
    5: (2, 3, 4),
    6: (2, 4),
    7: (3,),
    8: (2, 3),
}


@pytest.mark.parametrize("prepend", [False, True])
@pytest.mark.parametrize(
    "op", [BY_NAME["sig_join"], BY_NAME["sig_join_backprop"]], ids=lambda op: op.name
)
def test_joins_by_roots(host, op, prepend):
    """Every code that there is, several signatures in a block, the last not full."""
    depths = set()
    for d, degrees in BY_ROOTS.items():
        for degree in degrees:
            case = Case(d, degree, prepend, scalar_term=degree % 2 == 1)
            hold(host, op, case, (9,), crowded=True)
            assert host.launches() == 1
            plan = host.plan_join(d, degree, prepend, 1 << 20, False, op.name != "sig_join", 4)
            assert len(plan) == 1 and plan[0]["depth"] > 0
            depths.add((d, plan[0]["depth"]))
    assert depths == {(2, n) for n in (2, 3, 4, 5)} | {(d, n) for d in (3, 4) for n in (2, 3)} | {
        (d, 2) for d in (5, 6, 7, 8)
    }


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["sig_join", "sig_join_backprop"])
def test_joins_by_roots_of_other_strides(host, name, dtype):
    """Rows apart, and such as no one stride leads to, long and short, with gaps and without."""
    op = BY_NAME[name]
    for d, degree in ((2, 3), (2, 6), (2, 9), (3, 4), (4, 3), (4, 4), (8, 3), (2, 10)):
        for scalar_term in (False, True):
            case = Case(d, degree, scalar_term=scalar_term)
            arrays = op.draw(9, case, dtype, (3, 2, 3))
            wide = [np.concatenate([x, x[..., :1]], -1)[..., :-1] for x in arrays]
            swapped = [x.swapaxes(0, 1).copy().swapaxes(0, 1) for x in arrays]
            host.configure(*IN_ORDER, False)
            host.as_if(1, 1 << 20)
            expected = as_tuple(op.bind(case)(*arrays))
            for given in (wide, swapped):
                for ours, theirs in zip(as_tuple(op.bind(case)(*given)), expected, strict=True):
                    np.testing.assert_array_equal(ours, theirs, err_msg=f"{case}")


@pytest.mark.parametrize("prepend", [False, True])
@pytest.mark.parametrize("op", JOINS, ids=lambda op: op.name)
def test_joins_of_many_letters(host, op, prepend):
    """Half as many as a block has threads, nearly as many, and more."""
    for d, degree, small in ((100, 2, False), (200, 2, True), (300, 2, False), (600, 1, True)):
        hold(host, op, Case(d, degree, prepend), (), small)
