"""How the CUDA kernels are launched, for sizes that no test could run; and division by multiplying.

The module is that of cuda_host.py.
"""

import itertools

import pytest


def test_division(host):
    most = 2**31 - 1
    divisors = [1, 2, 3, 5, 7, 10, 31, 33, 641, 65535, 65537, 2**30, 2**30 + 1, most - 1, most]
    for d in divisors:
        near = [q * d + r for q in (0, 1, most // d - 1, most // d) for r in (-1, 0, 1)]
        for n in {*near, 0, 1, most - 1, most, 123456789}:
            if 0 <= n <= most:
                assert host.split(d, n) == divmod(n, d), (n, d)


MOST_BLOCKS, MOST_THREADS, SHARED = 2**31 - 1, 1024, 48 << 10  # of every GPU

# Whether there are tangents, whether it is an adjoint, and bytes of what is computed with.
KINDS = list(itertools.product((False, True), (False, True), (4, 8)))


def launchable(plan, items):
    assert 1 <= plan["blocks"] <= min(items, MOST_BLOCKS)
    assert 32 <= plan["threads"] <= 256 and plan["threads"] % 32 == 0
    assert plan["shared_bytes"] <= SHARED
    assert plan["shared_bytes"] in (0, plan["workspace"])
    assert plan["workspace"] % 16 == 0
    if plan["shared_bytes"] != plan["workspace"]:
        assert plan["global_bytes"] == plan["blocks"] * plan["workspace"]
    else:
        assert plan["global_bytes"] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_launches_of_joins(host, kind):
    """Everything is covered once, fits every GPU, and is cut neither too fine nor too coarse."""
    sizes = [(1, 0), (1, 1), (1, 900), (2, 1), (5, 3), (2, 31), (3, 20), (10, 6), (10, 9)]
    sizes += [(46341, 2), (1300, 3), (100_000, 1), (2**27, 1), (33, 0)]
    for (d, degree), prepend in itertools.product(sizes, (False, True)):
        for batch in (1, 2, 65_535, 65_536, 2**31 + 1):
            stages = host.plan_join(d, degree, prepend, batch, *kind)
            assert [s["to"] for s in stages] == [degree, *(s["from"] for s in stages[:-1])]
            assert stages[-1]["from"] == 0
            for s in stages:
                size = d ** s["from"]
                assert (s["tiles"] - 1) * s["words"] < size <= s["tiles"] * s["words"]
                launchable(s, batch * s["tiles"])
                # What a block counts by 32 bits.
                if degree:
                    assert s["words"] * d ** (s["to"] - s["from"]) < 2**31 - 2048
                assert max(s["rows"], 1) * d < 2**31 - 2048 and s["groups"] * d < 2**31 - 2048
                # Every member of a crew is a thread, and has a letter, if not several.
                assert s["crew"] * s["elements"] <= s["threads"]
                if s["depth"]:
                    assert s["crew"] == d ** (degree - s["depth"]) <= 128
                    assert len(stages) == 1 and 1 <= s["groups"] <= s["crew"]
                    assert s["global_bytes"] == 0
                else:
                    assert s["groups"] * d >= s["crew"] and 1 <= s["groups"] <= max(s["rows"], 1)
                assert s["elements"] == 1 or (len(stages) == 1 and s["global_bytes"] == 0)
                assert (s["elements"] - 1) * 1024 < batch
                if d <= 500 and degree < 100:
                    assert s["global_bytes"] == 0
            if d > 1 and d**degree > 10**6 and d < 1000:  # a large one is shared out, even alone
                assert stages[0]["tiles"] >= 256
    for d, degree in ((2, 3), (5, 3), (4, 4)):  # many small ones fill their blocks
        (plan,) = host.plan_join(d, degree, False, 2**19, *kind)
        assert plan["elements"] >= 2
        of_128 = plan["crew"] * plan["elements"] / 128
        if not plan["depth"]:
            assert of_128 >= 1
        else:  # or, if all words of a root are a thread's, its memory
            assert of_128 <= 1 < of_128 + plan["crew"] / 128 or plan["workspace"] > 0.9 * SHARED


@pytest.mark.parametrize("kind", KINDS)
def test_launches_of_paths(host, kind):
    sizes = [(1, 1), (1, 300), (2, 1), (5, 3), (2, 20), (4, 6), (8, 5), (10, 6), (16, 4)]
    sizes += [(300, 2), (46341, 2), (100_000, 1)]
    for (d, degree), points in itertools.product(sizes, (1, 2, 17, 100_000)):
        for batch in (1, 128, 65_536, 2**31 + 1):
            plan = host.plan_path(d, degree, batch, points, *kind)
            assert plan["tiles"] == d ** plan["root"] and plan["root"] < max(degree, 1)
            assert 1 <= plan["slots"] <= plan["tiles"] and 1 <= plan["steps"] <= 16
            launchable(plan, batch * plan["slots"])
            assert d ** (degree - plan["root"]) < 2**31 - 2048
            if d <= 300 and degree < 100:
                assert plan["global_bytes"] == 0
            # Memory does not grow with the number of tiles.
            shares = batch * plan["slots"] * max(points - 1, 1) * d * kind[2]
            assert shares <= 2**28 or plan["slots"] == 1 or not kind[1]


@pytest.mark.parametrize("kind", KINDS)
def test_launches_of_branches(host, kind):
    sizes = [(2, 2), (2, 10), (3, 8), (4, 6), (5, 3), (6, 4), (8, 5), (10, 6), (16, 4), (256, 2)]
    for (d, degree), points in itertools.product(sizes, (1, 2, 17, 100_000)):
        for batch in (1, 128, 65_537, 2**31 + 1):
            plan = host.plan_branches(d, degree, batch, points, *kind)
            side, tiles, width = plan["side"], plan["tiles"], plan["width"]
            assert side in (2, 3, 4, 5, 8) and (plan["slices"] - 1) * side < d
            assert plan["slices"] * side >= d
            assert plan["items"] == d ** (degree - 2) * plan["slices"] ** 2
            if plan["elements"] > 1:
                assert tiles == 1 and width == plan["elements"] * plan["items"]
            else:
                assert (tiles - 1) * width < plan["items"] <= tiles * width
            launchable(plan, -(-batch // plan["elements"]) * plan["slots"])
            assert width <= plan["threads"] <= 128 and plan["global_bytes"] == 0
            assert 1 <= plan["steps"] <= 32 and 1 <= plan["back"] <= 8
            assert plan["exact"] == (side == d)
            if kind[1]:
                places, of_letter = plan["places"], plan["letter_pitch"]
                assert plan["each"] <= places < plan["each"] + 4
                assert plan["elements"] * places <= of_letter
                assert not plan["fours"] or places % 4 == of_letter % 4 == 0
                assert 1 <= plan["groups"] <= min(32, places)
            shares = batch * plan["slots"] * max(points - 1, 1) * d * kind[2]
            assert shares <= 2**28 or plan["slots"] == 1 or not kind[1]
    for d, degree in ((1, 3), (3, 1), (2, 12), (257, 2)):  # those that go in tiles
        assert host.plan_branches(d, degree, 1, 9, *kind)["side"] == 0


def test_launch_configuration(host):
    for items, widest, workspace in itertools.product(
        (1, 65_535, 65_537, 2**31, 2**40), (0, 1, 31, 1000, 10**6, 2**31 - 2049), (0, 1, SHARED)
    ):
        plan = host.plan_launch(items, widest, workspace)
        launchable(plan, items)
        assert plan["global_bytes"] == 0
    plan = host.plan_launch(10**6, 10**6, SHARED + 1)
    launchable(plan, 10**6)
    assert 0 < plan["global_bytes"] <= 2**28
    assert host.plan_launch(10**6, 1, 2**35)["blocks"] == 1  # too large for two
