"""Threads: the same bits however many, from however many, without the GIL, and after a fork."""

import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import BY_NAME, DTYPES, OPS, Case, as_tuple, by_op
from processes import run_python

# A batch over threads; one signature cut into tiles, from both ends; and beyond 16, whole again.
SHAPES = [
    (Case(4, 4), (300,)),
    (Case(4, 4, prepend=True), (300,)),
    (Case(6, 6), (2,)),
    (Case(11, 5, prepend=True), ()),
    (Case(4, 6), (17,)),
    (Case(3, 4, points=40), (50,)),
]


@pytest.mark.parametrize("dtype", DTYPES)
@by_op
def test_same_bits_for_any_number_of_threads(op, dtype):
    """Sums split by thread would make results depend on the machine."""
    for case, batch in SHAPES:
        if case.prepend and not op.has_prepend:
            continue
        rng = np.random.default_rng(0)
        arrays = [
            rng.uniform(-1, 1, (*batch, *op.shape(axes, case))).astype(dtype)
            for axes in op.takes.values()
        ]
        one = as_tuple(op.bind(case, n_jobs=1)(*arrays))
        for n_jobs in (2, 3, 64, -1, -2, -100):
            for a, b in zip(one, as_tuple(op.bind(case, n_jobs=n_jobs)(*arrays)), strict=True):
                assert a.tobytes() == b.tobytes(), (case, batch, n_jobs)


def test_same_bits_from_many_threads_at_once():
    """Scratch or plans shared by mistake would be overwritten by a neighbour.

    JAX's calls are made here for the first time, and so are traced and compiled by many at once.
    """
    calls, expected = [], []
    for op in OPS:
        for case, batch in SHAPES:
            if case.prepend > op.has_prepend or case.length() * math.prod(batch) > 120_000:
                continue
            call, arrays = op.bind(case, n_jobs=2), op.draw(1, case, "float32", batch)
            calls.append((call, arrays))
            expected.append([x.tobytes() for x in as_tuple(call(*arrays))])
        calls.append((call, [jnp.asarray(x) for x in arrays]))
        expected.append(expected[-1])

    def work(shift):
        for i in range(3 * len(calls)):
            at = (i + shift) % len(calls)
            call, arrays = calls[at]
            if [np.asarray(x).tobytes() for x in as_tuple(call(*arrays))] != expected[at]:
                return calls[at][0]
        return None

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, (i * len(calls) // 8 for i in range(8)))) == [None] * 8


def test_gil_is_released():
    """While one thread is inside a kernel, another runs Python."""
    op, case = BY_NAME["sig"], Case(4, 5, points=1000)
    (path,) = op.draw(2, case, "float32")
    path = np.broadcast_to(path, (4000, *path.shape))
    began, done, ticks = threading.Event(), threading.Event(), []

    def tick():
        began.wait()
        while not done.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    start = time.perf_counter()
    began.set()
    op.bind(case)(path)
    end = time.perf_counter()
    done.set()
    thread.join()
    assert end - start > 0.05, "too short a call to tell"
    # Held through the call, the lock would let the other thread in before and after it only.
    middle = [t for t in ticks if start + 0.2 * (end - start) < t < start + 0.8 * (end - start)]
    assert len(middle) >= 3


FORK = """
import multiprocessing
import warnings
import numpy as np
from jax_siglib import sig_join

warnings.simplefilter("ignore")  # JAX's, on fork; this process never runs a JAX computation
rng = np.random.default_rng(0)
sig, v = rng.uniform(size=(400, 1364)), rng.uniform(size=(400, 4))

def call(n_jobs):
    return sig_join(sig, v, 4, 5, n_jobs=n_jobs)

if __name__ == "__main__":
    parent = call(2)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for child in pool.map_async(call, [2, 2, 1, -1]).get(timeout=60):
            assert np.array_equal(child, parent)
    assert np.array_equal(call(2), parent)
    print("forked")
"""


def test_fork_after_use(tmp_path):
    """A pool's threads do not come along in a fork; waiting for them would hang the child."""
    done = run_python(FORK, tmp_path)
    assert done.returncode == 0 and "forked" in done.stdout, done.stderr
