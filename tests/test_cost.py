"""Costs that are told before a call, against counts of what is done and of the memory taken."""

import json
import math
import signal
import time

import numpy as np
import oracle
import pytest
from helpers import BY_NAME, Case
from processes import run_python

import jax_siglib
from jax_siglib import multiply_add_rate, sig_cost, sig_join_cost


class Counting:
    """Numbers with tangents (None: constant), and a count of the multiplications they go through.

    A product counts once for each product of real numbers in it: that of the values, if ``values``
    says that it is wanted, and one for each factor that moves.
    """

    def __init__(self):
        self.count = 0

    def product(self, a, b, values=True):
        (x, t_x), (y, t_y) = a, b
        moved = [p for p in (None if t_x is None else t_x * y, None if t_y is None else x * t_y)
                 if p is not None]  # fmt: skip
        self.count += values + len(moved)
        return x * y, sum(moved) if moved else None


def add(a, b):
    tangents = [t for t in (a[1], b[1]) if t is not None]
    return a[0] + b[0], sum(tangents) if tangents else None


def scaled(v, factor):
    """Displacements are scaled once for a whole level: not counted."""
    return [(x * factor, None if t is None else t * factor) for x, t in v]


def chain(count, levels, v, n, ends):
    """B_0, ..., B_n of level n; the last only if it is wanted, its values only if they are."""
    b = [[(1.0, None)]]
    for k in range(1, n + 1):
        w = scaled(v, 1 / (n - k + 1))
        values = k < n or "values" in ends
        if k == n and not ends:
            break
        step = w if k == 1 else [count.product(x, y, values) for x in b[-1] for y in w]
        b.append([add(s, x) for s, x in zip(levels[k], step, strict=True)])
    return b


def join(count, levels, v, ends=("values",)):
    return [levels[0]] + [chain(count, levels, v, n, ends)[-1] for n in range(1, len(levels))]


def backprop(count, levels, v, g, values=True):
    """The cotangents of the levels and of v; levels of the signature before the join."""
    d = len(v)
    ct_s, ct_v = [list(x) for x in g], [(0.0, None)] * d
    for n in range(1, len(levels)):
        b, x = chain(count, levels, v, n, ()), g[n]
        for k in range(n, 0, -1):
            if k < n:
                ct_s[k] = [add(a, y) for a, y in zip(ct_s[k], x, strict=True)]
            factor = 1 / (n - k + 1)
            for i, y in enumerate(x):
                of_v = y if k == 1 else count.product(b[k - 1][i // d], y, values)
                ct_v[i % d] = add(ct_v[i % d], scaled([of_v], factor)[0])
            if k > 1:
                w = scaled(v, factor)
                terms = [count.product(y, w[i % d]) for i, y in enumerate(x)]
                x = [sum_of(terms[i : i + d]) for i in range(0, len(terms), d)]
    return ct_s, ct_v


def sum_of(terms):
    total = terms[0]
    for x in terms[1:]:
        total = add(total, x)
    return total


def numbers(values, tangents=None):
    tangents = [None] * len(values) if tangents is None else tangents
    return list(zip(map(float, values), tangents, strict=True))


def split(flat, d, degree, scalar=1.0):
    slices = oracle.level_slices(d, degree, False)
    return [[(scalar, None)]] + [flat[s] for s in slices]


def flat(levels, part=0):
    return np.array([x[part] or 0.0 for level in levels[1:] for x in level])


SIZES = [(1, 4), (2, 1), (2, 5), (3, 3), (4, 2)]


@pytest.mark.parametrize("d, degree", SIZES)
def test_multiply_adds_of_a_join(d, degree):
    """Those of the recurrence, done one by one; that it is the recurrence the oracle says."""
    case = Case(d, degree)
    cost = sig_join_cost((), d, degree)
    for name in cost._fields:
        op, count = BY_NAME[name], Counting()
        arrays = op.draw(0, case, "float64")
        given = dict(zip(op.takes, arrays, strict=True))
        tangents = {k: given.get(f"t_{k}") for k in ("sig", "displacement")}
        moving = {k: None if t is None else list(map(float, t)) for k, t in tangents.items()}
        levels = split(numbers(given["sig"], moving["sig"]), d, degree)
        v = numbers(given["displacement"], moving["displacement"])
        truth = op.truth(arrays, case).results
        if name in ("sig_join", "sig_join_jvp"):
            second = name == "sig_join_jvp"
            ends = ("tangents",) if second else ("values",)
            found = [flat(join(count, levels, v, ends), second)]
        else:
            second = name == "sig_join_hvp"
            g = split(numbers(given["d_out"]), d, degree, 0.0)
            ct_s, ct_v = backprop(count, levels, v, g, values=not second)
            found = [flat(ct_s, second), np.array([x[second] or 0.0 for x in ct_v])]
        for ours, exact in zip(found, truth, strict=True):
            np.testing.assert_allclose(ours, exact, atol=1e-12)
        assert getattr(cost, name).multiply_adds == count.count, name


@pytest.mark.parametrize("d, degree", SIZES)
def test_multiply_adds_of_a_path(d, degree):
    """As above, with the lower levels undone step by step going back."""
    case, batch = Case(d, degree, points=3), (2, 3)
    cost = sig_cost((*batch, case.points, d), degree)
    lower = max(degree - 1, 0)
    for name in cost._fields:
        op, count = BY_NAME[name], Counting()
        arrays = op.draw(1, case, "float64")
        given = dict(zip(op.takes, arrays, strict=True))
        steps = np.diff(given["path"], axis=0)
        t_steps = np.diff(given["t_path"], axis=0) if "t_path" in given else [None] * len(steps)
        v = [numbers(a, t if t is None else list(t)) for a, t in zip(steps, t_steps, strict=True)]
        backward = name in ("sig_backprop", "sig_hvp")
        second = name in ("sig_jvp", "sig_hvp")
        zero = 0.0 if second else None
        unit = [[(1.0, None)]] + [[(0.0, zero)] * d**k for k in range(1, degree + 1)]
        levels = unit[: lower + 1] if backward else unit
        signature = levels
        if name != "sig_backprop":  # which is given its signature
            for step in v:
                if name == "sig_jvp":  # the values of the top level are not wanted
                    below = join(Counting(), signature[: lower + 1], step)
                    top = (
                        chain(count, signature, step, degree, ("tangents",))[-1:] if degree else []
                    )
                    done = join(count, signature[: lower + 1], step)
                    assert flat(done, 0).tolist() == flat(below, 0).tolist()
                    signature = done + top
                else:
                    signature = join(count, signature, step)
        else:
            for step in v:
                signature = join(Counting(), signature, step)
        if not backward:
            found = flat(signature, second)
        else:
            ct = split(numbers(given["sig_derivs"]), d, degree, 0.0)
            if second:  # all levels but the top one are going to move
                ct[:-1] = [[(x, 0.0) for x, _ in level] for level in ct[:-1]]
            found = np.zeros((case.points, d))
            for t in reversed(range(len(v))):
                back = [(-x, None if tx is None else -tx) for x, tx in v[t]]
                # The chains of the adjoint undo the levels as they rise: they are counted there,
                # and what completes each level below the top, here.
                signature = join(Counting(), signature, back)
                count.count += (3 if second else 1) * sum(d**k for k in range(2, degree))
                padded = [*signature, *unit[lower + 1 :]]
                ct, ct_v = backprop(count, padded, v[t], ct, values=not second)
                moved = np.array([x[second] or 0.0 for x in ct_v])
                found[t + 1] += moved
                found[t] -= moved
        np.testing.assert_allclose(found, op.truth(arrays, case).results[0], atol=1e-12)
        assert getattr(cost, name).multiply_adds == math.prod(batch) * count.count, name


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_bytes(dtype):
    """Of arrays as they are; of a signature that is only gone back from, the levels below N."""
    path = np.zeros((5, 4, 2), dtype)
    for how in ({}, {"time_aug": True, "lead_lag": True, "basepoint": True}):
        cost = sig_cost(path.shape, 3, dtype=dtype, scalar_term=True, **how)
        sig = jax_siglib.sig(path, 3, scalar_term=True, **how)
        d = 5 if how else 2
        lower = 0 if dtype == "float16" else 5 * (d + d * d) * path.itemsize
        assert cost.sig[1:3] == (path.nbytes, sig.nbytes)
        assert cost.sig_jvp[1:3] == (2 * path.nbytes, sig.nbytes)
        assert cost.sig_backprop[1:3] == (path.nbytes + lower + sig.nbytes, path.nbytes)
        assert cost.sig_hvp[1:3] == (2 * path.nbytes + sig.nbytes, path.nbytes)
    join = sig_join_cost((5,), 2, 3, dtype=dtype, scalar_term=True)
    sig, lower, v = (5 * n * path.itemsize for n in (15, 6, 2))
    assert join.sig_join[1:3] == (sig + v, sig)
    assert join.sig_join_backprop[1:3] == (sig + lower + v, sig + v)


MEMORY = """
import ctypes, json, sys
import numpy as np
import jax_siglib
from processes import peak_kib

batch, points, d, degree, n_jobs, dtype = json.loads(sys.argv[1])
path = np.full((batch, points, d), 0.01, dtype)
sig = jax_siglib.sig(path[:, :2], degree)
g = np.ones_like(sig)
jax_siglib.sig_backprop(path[:1, :2, :1], sig[:1, :1], g[:1, :1], 1)  # code, and threads
del sig
sig = np.ones_like(g)
np.empty_like(path).fill(1)
before = peak_kib()
jax_siglib.sig_backprop(path, sig, g, degree, n_jobs=n_jobs)
print((peak_kib() - before) * 1024)
"""


@pytest.mark.parametrize(
    "size",
    [(16, 20, 8, 6, 1, "float32"), (1, 4, 9, 7, 1, "float64"), (1, 4, 10, 6, 1, "float16")],
)
def test_scratch_is_what_the_kernel_takes(size, tmp_path):
    """Pages touched during a call: what was told, within a tenth and one MB, or half of it.

    One path's chains have room for a tangent, and for sums, that not every path fills.
    """
    batch, points, d, degree, n_jobs, dtype = size
    told = sig_cost((batch, points, d), degree, dtype=dtype, n_jobs=n_jobs).sig_backprop.scratch
    assert told > 4 << 20  # else the rest is not worth much
    done = run_python(MEMORY, tmp_path, json.dumps(size))
    assert done.returncode == 0, done.stderr
    taken = int(done.stdout)
    assert 0.5 * told <= taken <= 1.1 * told + (1 << 20), (told, taken)


def test_scratch_does_not_grow_with_the_path_but_with_threads():
    one, long = (sig_cost((64, points, 4), 5).sig_backprop.scratch for points in (100, 1000))
    assert 0 < one == long
    if jax_siglib._native.ext.max_threads() > 1:
        assert sig_cost((64, 100, 4), 5, n_jobs=2).sig_backprop.scratch == 2 * one
    moved = sig_cost((64, 100, 2), 5, lead_lag=True).sig.scratch
    assert moved == sig_cost((64, 199, 4), 5).sig.scratch + 4 * 64 * 199 * 4


def test_rate():
    """Plausible: from a slow clock without vectors to 64 a cycle at 10 GHz."""
    assert 1e8 < multiply_add_rate() < 6.4e11


def test_bad_arguments():
    for bad, error, match in (
        (((3,), 2), ValueError, r"path_shape must have shape \(..., T, d\)"),
        (((0, 2), 2), ValueError, "path_shape must have .* one point"),
        (((3, -2), 2), ValueError, "path_shape must have no negative size"),
        ((5, 2), TypeError, "path_shape must be a sequence of ints; got 5"),
        (((3.0, 2), 2), TypeError, "path_shape must be a sequence of ints"),
        (((3, 2), -1), ValueError, "degree must be at least 0"),
        (((3, 2), 64), ValueError, "cannot be addressed"),
    ):
        with pytest.raises(error, match=match):
            sig_cost(*bad)
    with pytest.raises(TypeError, match="dtype must be float16, bfloat16, .*; got 'int32'"):
        sig_cost((3, 2), 2, dtype="int32")
    with pytest.raises(TypeError, match="dtype must be float16, bfloat16, .*; got None"):
        sig_cost((3, 2), 2, dtype=None)
    with pytest.raises(TypeError, match="basepoint must be a bool"):
        sig_cost((3, 2), 2, basepoint=1)
    with pytest.raises(TypeError, match="batch_shape must be a sequence of ints"):
        sig_join_cost(None, 2, 2)


class Stop(Exception):
    pass


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timers here")
@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_signal_ends_a_long_call(n_jobs, dtype):
    """A batch that would take far longer is given up between its paths, as Ctrl-C expects."""

    def stop(*_):
        raise Stop

    path = np.broadcast_to(np.zeros((2000, 4), dtype), (100_000, 2000, 4))
    alone = sig_cost(path.shape, 5).sig.multiply_adds / multiply_add_rate() / n_jobs
    assert alone > 1
    before = signal.signal(signal.SIGALRM, stop)
    try:
        start = time.perf_counter()
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(Stop):
            jax_siglib.sig(path, 5, n_jobs=n_jobs)
        assert time.perf_counter() - start < 3
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    found = jax_siglib.sig(path[:3], 5, n_jobs=n_jobs)  # all is in order afterwards
    assert not found.any()
