"""Every operation over several devices: what is compiled, and what it computes.

``measure`` compiles an operation, and its reference in plain jax.numpy, for the same sharded
arrays, and counts the collectives that XLA put into either.
"""

import collections
import functools
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from helpers import EXHAUSTIVE, Case, Op, as_tuple, close
from jax import lax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jax_siglib._primitive import vary

DEVICES = (2, 4, 8)
BATCH, STEPS = 8, 2
CASE = Case(2, 3, points=3)
TOLERANCE = 1e-12  # sums in another order, as in test_transforms.py
KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")


class Problem(NamedTuple):
    """What the cases are made of: an operation or its reference, for one member of a batch.

    Attributes:
        function: Its last operand is the one that cases do not batch. Where an operation has one
            operand only, there is another, a factor for each coordinate.
        scalar: The same, summed up with fixed weights.
        mesh: The devices.
    """

    function: Callable[..., Any]
    scalar: Callable[..., Any]
    mesh: jax.sharding.Mesh | None
    operands: int

    @property
    def of(self) -> tuple[int, ...]:
        return tuple(range(self.operands))

    def axes(self, batch: Any, shared: Any) -> tuple[Any, ...]:
        """One thing for every operand, the last one apart."""
        return (*[batch] * (self.operands - 1), shared)

    def vmap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Over all operands but the last."""
        return jax.vmap(function, self.axes(0, None))

    def shards(self, function: Callable[..., Any], specs: Any, out: Any) -> Callable[..., Any]:
        if self.mesh is None:
            return function
        return jax.shard_map(function, mesh=self.mesh, in_specs=specs, out_specs=out)


def _batch(p: Problem) -> Any:
    return jax.vmap(p.function)


def _vmap(p: Problem) -> Any:
    return p.vmap(p.function)


def _gradient(p: Problem) -> Any:
    return jax.value_and_grad(lambda *x: jnp.sum(p.vmap(p.scalar)(*x)), p.of)


def _gradients(p: Problem) -> Any:
    return p.vmap(jax.grad(p.scalar, p.of))


def _hessians(p: Problem) -> Any:
    # By the first operand and the last: one batched, one not.
    of = (0, p.operands - 1)
    return p.vmap(jax.jacfwd(jax.jacrev(p.scalar, of), of))


def _scan(p: Problem, wrap: Any = lambda f: f) -> Any:
    """The operation as a step; its last operand is the same in all steps."""

    def total(*stacked: Any) -> Any:
        def step(carry: Any, x: Any) -> Any:
            return jnp.sin(carry) + p.vmap(wrap(p.scalar))(*x, stacked[-1]), None

        start = jnp.zeros_like(stacked[0][0].reshape(stacked[0].shape[1], -1)[:, 0])
        return lax.scan(step, start, stacked[:-1])[0]

    return total


def _scan_gradient(p: Problem) -> Any:
    return jax.value_and_grad(lambda *x: jnp.sum(_scan(p)(*x)), p.of)


def _shard_map(p: Problem) -> Any:
    return p.shards(jax.vmap(p.function), P("b"), P("b"))


def _shard_map_gradient(p: Problem) -> Any:
    mapped = p.shards(p.vmap(p.scalar), p.axes(P("b"), P()), P("b"))
    return jax.value_and_grad(lambda *x: jnp.sum(mapped(*x)), p.of)


def _shard_map_remat(p: Problem) -> Any:
    mapped = p.shards(_scan(p, jax.checkpoint), p.axes(P(None, "b"), P()), P("b"))
    return jax.value_and_grad(lambda *x: jnp.sum(mapped(*x)), p.of)


class Plan(NamedTuple):
    """A case.

    Attributes:
        build: Makes its function.
        shared: Whether the last operand is the same for the whole batch, and on every device.
        stacked: Whether the others are stacks of batches, one for each step of a loop.
        order: How often it differentiates.
        devices: How many, where not everything is tested.
        like: Another case that computes the same if there is one device, where it is not this one.
    """

    build: Callable[[Problem], Any]
    shared: bool = True
    stacked: bool = False
    order: int = 0
    devices: tuple[int, ...] = (2,)
    like: str = ""


CASES = {
    "batch": Plan(_batch, shared=False, devices=(2, 8)),
    "vmap": Plan(_vmap),
    "gradient of vmap": Plan(_gradient, order=1, devices=(2, 8)),
    "vmap of gradient": Plan(_gradients, order=1),
    "vmap of Hessian": Plan(_hessians, order=2),
    "gradient of scan": Plan(_scan_gradient, stacked=True, order=1),
    "shard_map": Plan(_shard_map, shared=False, like="batch"),
    "gradient of shard_map": Plan(_shard_map_gradient, order=1, like="gradient of vmap"),
    "gradient of shard_map of scan of checkpoint": Plan(
        _shard_map_remat, stacked=True, order=1, like="gradient of scan"
    ),
}


def cases(op: Op) -> dict[str, Plan]:
    """The cases to test of an operation.

    A loop around it costs as much as another derivative, and there is as little of the operation
    in it. The gradient of ``shard_map`` is always among them: operations have to say for themselves
    what varies over a mesh (``vary``), and what is not said is not summed over devices.
    """
    return {
        name: plan
        for name, plan in CASES.items()
        if op.goes_to(plan.order + plan.stacked) or name == "gradient of shard_map"
    }


def problem(op: Op, mesh: Any, reference: bool) -> tuple[Problem, list[Any]]:
    """A problem, and stacks of batches of all its operands."""
    free = op.free(CASE, reference=reference)
    function = (lambda *x: free(*vary(*x))) if reference else free  # as the operation does itself
    arrays = op.draw_free(0, CASE, "float64", (STEPS, BATCH))
    if len(arrays) == 1:
        row = (1,) * (arrays[0].ndim - 3) + arrays[0].shape[-1:]
        factors = np.random.default_rng(1).uniform(0.5, 1, (STEPS, BATCH, *row))
        arrays, function = [*arrays, factors], lambda x, factor: free(x * factor)
    rng = np.random.default_rng(2)
    weights = [rng.uniform(-1, 1, op.shape(axes, CASE)) for axes in op.results]

    def scalar(*operands: Any) -> Any:
        results = as_tuple(function(*operands))
        return sum(jnp.sum(w * jnp.sin(x)) for w, x in zip(weights, results, strict=True))

    return Problem(function, scalar, mesh, len(arrays)), arrays


def compile_case(op: Op, plan: Plan, mesh: Any, reference: bool) -> tuple[Any, list[Any]]:
    """The compiled program, and its arrays, sharded if there is a mesh."""
    made, arrays = problem(op, mesh, reference)
    if not plan.stacked:
        arrays = [x[0] for x in arrays]
    if plan.shared:
        arrays[-1] = arrays[-1][0, 0] if plan.stacked else arrays[-1][0]
    batch = P(None, "b") if plan.stacked else P("b")
    specs = made.axes(batch, P() if plan.shared else batch)
    if mesh is not None:
        arrays = [
            jax.device_put(x, NamedSharding(mesh, s)) for x, s in zip(arrays, specs, strict=True)
        ]
    return jax.jit(plan.build(made)).lower(*arrays).compile(), arrays


def collectives(compiled: Any) -> collections.Counter[str]:
    """How often each kind of collective stands in the program."""
    found = re.findall(rf" ({'|'.join(KINDS)})(?:-start)?\(", compiled.as_text())
    return collections.Counter(found)


def measure(op: Op) -> list[dict[str, Any]]:
    """The collectives of the cases; values are compared on the way.

    Where ours has none at all, how many the reference has is not asked, and it has no fewer on
    more devices.
    """

    @functools.cache
    def expected(name: str) -> list[Any]:
        alone, arrays = compile_case(op, CASES[name], None, reference=True)
        return jax.tree.leaves(alone(*arrays))

    rows = []
    for name, plan in cases(op).items():
        of_reference = None
        for count in DEVICES if EXHAUSTIVE else plan.devices:
            mesh = jax.make_mesh(
                (count,), ("b",), axis_types=(AxisType.Auto,), devices=jax.devices()[:count]
            )
            ours, placed = compile_case(op, plan, mesh, reference=False)
            found = jax.tree.leaves(ours(*placed))
            for x, y in zip(found, expected(plan.like or name), strict=True):
                close(x, y, TOLERANCE, op.name, name, count)
                assert len(x.sharding.device_set) == count
            row = {"case": name, "devices": count, "sharded": _batch_stays_sharded(ours)}
            row["ours"] = row["reference"] = dict(collectives(ours))
            if EXHAUSTIVE or (row["ours"] and of_reference is None):
                theirs, _ = compile_case(op, plan, mesh, reference=True)
                of_reference = dict(collectives(theirs))
            if of_reference is not None:
                row["reference"] = of_reference
            rows.append(row)
    return rows


def _batch_stays_sharded(compiled: Any) -> bool:
    """Whether no device holds all of a result that has a batch axis."""
    shardings = jax.tree.leaves(compiled.output_shardings)
    shapes = [x.shape for x in jax.tree.leaves(compiled.out_info)]
    return all(
        sharding.shard_shape(shape) != shape
        for sharding, shape in zip(shardings, shapes, strict=True)
        if BATCH in shape
    )
