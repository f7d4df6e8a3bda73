"""What a Hessian-vector product costs in gradients: ``python tests/bench/second_order.py``.

Of the loss sum(out**2) through sig_join and through sig, jitted, float32, n_jobs=1. Forward over
reverse is what jax.hessian does. Medians of calls that take turns, in processor time on one thread,
which others at work on the machine lengthen least; the issue's limit is 4.
"""

import os
import statistics
import time

os.environ.setdefault("NPROC", "1")  # threads of XLA's pool

import jax
import jax.numpy as jnp
import numpy as np

import jax_siglib

JOINS = [(1024, 5, 3), (128, 5, 5), (1024, 3, 6), (64, 10, 5), (1, 10, 6), (256, 2, 10), (1, 5, 3)]
PATHS = [(128, 256, 4, 6), (120, 50, 10, 5), (128, 100, 5, 3), (1, 200, 4, 5)]


def main() -> None:
    """Print a table, a line for each size."""
    print("| operation | size | gradient us | forward over reverse | reverse over reverse |")
    print("|---|---|---|---|---|")
    for batch, d, degree in JOINS:
        length = jax_siglib.sig_length(d, degree)
        shapes = [(batch, length), (batch, d)]

        def join(sig, v, d=d, degree=degree):
            return jnp.sum(jax_siglib.sig_join(sig, v, d, degree) ** 2)

        report("sig_join", (batch, d, degree), join, shapes)
    for batch, points, d, degree in PATHS:

        def whole(path, degree=degree):
            return jnp.sum(jax_siglib.sig(path, degree) ** 2)

        report("sig", (batch, points, d, degree), whole, [(batch, points, d)], walk=True)


def report(name, size, loss, shapes, walk=False) -> None:
    """Time the gradient and both products, and print their ratios."""
    rng = np.random.default_rng(0)
    x, u = ([rng.uniform(-1, 1, s) for s in shapes] for _ in "xu")
    if walk:
        x = [np.cumsum(steps, 1) / 10 for steps in x]
    x, u = (tuple(jnp.asarray(a, "float32") for a in arrays) for arrays in (x, u))
    gradient = jax.grad(loss, tuple(range(len(x))))

    def slope(x, u):
        return sum(jnp.sum(a * b) for a, b in zip(gradient(*x), u, strict=True))

    forward = jax.jit(lambda x, u: jax.jvp(gradient, x, u)[1])
    calls = [jax.jit(lambda x, u: gradient(*x)), forward, jax.jit(jax.grad(slope))]
    times: list[list[float]] = [[] for _ in calls]
    for round_ in range(22):
        for call, taken in zip(calls, times, strict=True):
            start = time.process_time()
            jax.block_until_ready(call(x, u))
            if round_:  # the first compiles
                taken.append(time.process_time() - start)
    base, *products = map(statistics.median, times)
    ratios = " | ".join(f"{taken / base:.2f}" for taken in products)
    print(f"| {name} | {', '.join(map(str, size))} | {base * 1e6:.0f} | {ratios} |", flush=True)


if __name__ == "__main__":
    main()
