"""TRANSFORMATIONS, the table of what JAX can do to an operation; test_transforms.py runs over it.

Each entry computes something by a transformation of a function f of arrays x, given a direction u
that looks like x: with the operation for f, in any dtype, and with the reference in float64, which
says what must come out.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from helpers import as_tuple
from jax import lax


class Transformation(NamedTuple):
    """What is computed, how often it differentiates, whether in forward mode innermost."""

    run: Callable[[Callable, list, list], Any]
    order: int = 0
    forward_mode: bool = False


def weigh(f: Callable) -> Callable:
    """A scalar function of f's arguments: its results times fixed random weights."""

    def scalar(*x):
        rng = np.random.default_rng(99)
        weighed = [
            jnp.sum(jnp.asarray(rng.integers(-16, 17, y.shape) / 16, y.dtype) * y)
            for y in as_tuple(f(*x))
        ]
        return sum(weighed[1:], weighed[0])

    return scalar


def everywhere(x):
    return tuple(range(len(x)))


def line(f, x, u):
    """The scalar along a line through x."""
    return lambda t: weigh(f)(*(a + t * b for a, b in zip(x, u, strict=True)))


def zero(x):
    return jnp.zeros((), x[0].dtype)


def pairs(x, u):
    """A batch of two."""
    return [jnp.stack(both) for both in zip(x, u, strict=True)]


def jit(f, x, u):
    return jax.jit(f)(*x)


def vmap_some(f, x, u):
    """Every other operand batched, along its last axis, the others shared."""
    axes = [None if i % 2 else -1 for i in range(len(x))]
    batched = [
        a if axis is None else jnp.stack([a, b], axis)
        for a, b, axis in zip(x, u, axes, strict=True)
    ]
    return jax.vmap(f, axes)(*batched)


def grad(f, x, u):
    return jax.value_and_grad(weigh(f), everywhere(x))(*x)


def vmap_of_grad(f, x, u):
    return jax.vmap(jax.grad(weigh(f), everywhere(x)))(*pairs(x, u))


def grad_of_vmap(f, x, u):
    """The first operand shared by the batch: its gradient is a sum over it."""
    x = [x[0], *pairs(x, u)[1:]] if len(x) > 1 else pairs(x, u)
    axes = [None if len(x) > 1 else 0] + [0] * (len(x) - 1)
    return jax.grad(lambda *x: jnp.sum(jax.vmap(weigh(f), axes)(*x)), everywhere(x))(*x)


def jvp(f, x, u):
    return jax.jvp(f, x, u)


def linearize(f, x, u):
    out, f_jvp = jax.linearize(f, *x)
    return out, f_jvp(*u)


def jacfwd(f, x, u):
    return jax.jacfwd(f, len(x) - 1)(*x)


def jacrev(f, x, u):
    return jax.jacrev(f, len(x) - 1)(*x)


def forward_over_reverse(f, x, u):
    """A Hessian-vector product as jax.hessian has it."""
    return jax.jvp(jax.grad(weigh(f), everywhere(x)), x, u)


def reverse_over_reverse(f, x, u):
    def slope(*x):
        gradient = jax.grad(weigh(f), everywhere(x))(*x)
        return sum(jnp.sum(a * b) for a, b in zip(gradient, u, strict=True))

    return jax.grad(slope, everywhere(x))(*x)


def reverse_over_forward(f, x, u):
    return jax.grad(lambda *x: jax.jvp(weigh(f), x, tuple(u))[1], everywhere(x))(*x)


def forward_over_forward(f, x, u):
    return jax.jvp(lambda *x: jax.jvp(f, x, tuple(u))[1], x, u)


def hessian_under_vmap(f, x, u):
    """Of the last operand alone, in full, per element of a batch."""
    last = len(x) - 1
    return jax.vmap(jax.hessian(weigh(f), last))(*pairs(x, u))


def third_by_grad(f, x, u):
    """Grad of grad of grad."""

    def curvature(*x):
        return jax.grad(jax.grad(line(f, x, u)))(zero(x))

    return jax.grad(curvature, everywhere(x))(*x)


def scan(f, x, u):
    """The operation as a step of a loop, and the gradient of that."""

    def total(*stacked):
        def step(carry, x):
            return carry + weigh(f)(*x), None

        return lax.scan(step, zero(stacked), stacked)[0]

    return jax.value_and_grad(total, everywhere(x))(*pairs(x, u))


def hessian_in_scan(f, x, u):
    """Hessian-vector products, as the steps of a loop and added up by it."""

    def step(total, x):
        product = jax.jvp(jax.grad(weigh(f), everywhere(x)), x, tuple(u))[1]
        return [a + b for a, b in zip(total, product, strict=True)], product

    return lax.scan(step, [jnp.zeros_like(a) for a in x], tuple(pairs(x, u)))


def checkpoint(f, x, u):
    return jax.value_and_grad(jax.checkpoint(weigh(f)), everywhere(x))(*x)


def while_and_cond(f, x, u):
    def step(state):
        i, total = state
        more = lax.cond(i > 0, lambda: weigh(f)(*x), lambda: weigh(f)(*u))
        return i + 1, total + more

    return lax.while_loop(lambda state: state[0] < 2, step, (0, zero(x)))[1]


TRANSFORMATIONS = {
    "jit": Transformation(jit),
    "vmap": Transformation(vmap_some),
    "while_loop and cond": Transformation(while_and_cond),
    "grad": Transformation(grad, 1),
    "vmap of grad": Transformation(vmap_of_grad, 1),
    "grad of vmap": Transformation(grad_of_vmap, 1),
    "jacrev": Transformation(jacrev, 1),
    "jvp": Transformation(jvp, 1, forward_mode=True),
    "linearize": Transformation(linearize, 1, forward_mode=True),
    "jacfwd": Transformation(jacfwd, 1, forward_mode=True),
    "grad of scan": Transformation(scan, 1),
    "grad of checkpoint": Transformation(checkpoint, 1),
    "forward over reverse": Transformation(forward_over_reverse, 2),
    "reverse over reverse": Transformation(reverse_over_reverse, 2),
    "reverse over forward": Transformation(reverse_over_forward, 2, forward_mode=True),
    "forward over forward": Transformation(forward_over_forward, 2, forward_mode=True),
    "hessian under vmap": Transformation(hessian_under_vmap, 2),
    "Hessian products in scan": Transformation(hessian_in_scan, 2),
    "grad of grad of grad": Transformation(third_by_grad, 3),
}
