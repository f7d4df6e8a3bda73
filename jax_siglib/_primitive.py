"""How an operation becomes JAX primitives. The only file that knows ``jax.ffi``.

An operation is three primitives: *forward*; its *tangent*, linear in the tangents; and
*backprop*, linear in the cotangent. The last two are each other's transpose, so JAX can go back and
forth between them and stay within kernels for all that is linear. What is not linear, the
derivative of a derivative with respect to its base point, comes from the reference in plain
``jax.numpy``, which JAX differentiates to any order.

Conventions. A primitive has several results, even if it is one. All operands have the same number
of leading axes, of equal or unit size; results have the full leading shape. Thus ``vmap`` gives
an operand that is not batched a unit axis, and never copies it.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.sharding import NamedSharding, PartitionSpec

from jax_siglib import _partition
from jax_siglib._native import ext

__all__ = ["Kernel", "Operation", "operation", "served", "sum_to", "vary"]

Shape = tuple[int, ...]

_CPU_TARGETS: dict[str, Any] = ext.registrations()
for _target, _capsule in _CPU_TARGETS.items():
    jax.ffi.register_ffi_target(_target, _capsule, platform="cpu", api_version=1)


class Kernel(NamedTuple):
    """What one primitive computes.

    Attributes:
        reference: The function in plain ``jax.numpy``; takes the operands, and the operation's
            parameters (without ``n_jobs``, which changes nothing of the result) by keyword.
        target: Name of the kernel among the module's FFI targets.
        ranks: For each operand the number of its axes which are not leading axes.
        results: Shapes of the results without leading axes, given those of the operands and the
            parameters by keyword.
        linear: Positions of the operands it is linear in, jointly.
    """

    reference: Callable[..., Any]
    target: str
    ranks: tuple[int, ...]
    results: Callable[..., Sequence[Shape]]
    linear: tuple[int, ...] = ()


class Operation(NamedTuple):
    """The three primitives; bind them with all the operation's parameters."""

    forward: Primitive
    tangent: Primitive
    backprop: Primitive


def operation(
    name: str,
    *,
    forward: Kernel,
    tangent: Kernel,
    backprop: Kernel,
    attributes: tuple[str, ...],
    tangent_base: Callable[..., Sequence[Any]],
    backprop_base: Callable[..., Sequence[Any]],
    tangent_base_back: Callable[..., Sequence[Any]],
) -> Operation:
    """Make the primitives of an operation and tie them together.

    Args:
        name: Name of the operation, as it shows in a jaxpr.
        forward: Kernel of the operation itself.
        tangent: Kernel of its tangent; linear operands one per operand of ``forward``.
        backprop: Kernel of its cotangents; results one per operand of ``forward``.
        attributes: Those parameters that the kernels take as FFI attributes.
        tangent_base: Operands of ``tangent`` that it is not linear in, from those of ``forward``.
        backprop_base: The same of ``backprop``, from those of ``tangent``.
        tangent_base_back: The same of ``tangent`` again, from those of ``backprop``.

    Returns:
        The primitives, with rules for evaluation, batching, lowering and differentiation.
    """
    primitives = Operation(
        _primitive(name, forward, attributes),
        _primitive(f"{name}_jvp", tangent, attributes),
        _primitive(f"{name}_backprop", backprop, attributes),
    )

    def forward_jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> Any:
        out = primitives.forward.bind(*primals, **params)
        base = tangent_base(*primals, **params)
        operands = _merge(tangent, base, map(ad.instantiate_zeros, tangents))
        return out, primitives.tangent.bind(*vary(*operands), **params)

    ad.primitive_jvps[primitives.forward] = forward_jvp
    for kernel, primitive, other, other_primitive, other_base in (
        (tangent, primitives.tangent, backprop, primitives.backprop, backprop_base),
        (backprop, primitives.backprop, tangent, primitives.tangent, tangent_base_back),
    ):
        ad.primitive_jvps[primitive] = _linear_jvp(primitive, kernel)
        ad.primitive_transposes[primitive] = _transpose(kernel, other, other_primitive, other_base)
    return primitives


def served() -> dict[str, frozenset[str]]:
    """Names of the kernels' FFI targets by the platform they serve."""
    return {"cpu": frozenset(_CPU_TARGETS)}


def vary(*operands: Any) -> tuple[Any, ...]:
    """Let all operands vary over the same mesh axes, where ``shard_map`` keeps account of them.

    JAX inserts such casts for its own primitives only. A cast is linear, and its transpose is the
    sum over devices that the gradient of a replicated operand needs; so it has to stand before a
    ``custom_vjp``, where JAX still sees it.
    """
    axes = [_varying(jax.typeof(x)) for x in operands]
    union = frozenset[Any]().union(*axes)
    return tuple(
        _cast_to_varying(x, tuple(union - mine)) if union - mine else x
        for x, mine in zip(operands, axes, strict=True)
    )


def sum_to(x: Any, shape: Shape) -> Any:
    """Sum over the leading axes along which an operand of this shape was stretched."""
    axes = tuple(i for i, (n, m) in enumerate(zip(x.shape, shape, strict=True)) if n != m)
    return jnp.sum(x, axes, keepdims=True) if axes else x


def _primitive(name: str, kernel: Kernel, attributes: tuple[str, ...]) -> Primitive:
    primitive = Primitive(name)
    primitive.multiple_results = True

    @functools.lru_cache(maxsize=1024)
    def compiled(*params: tuple[str, Any]) -> Callable[..., Any]:
        return jax.jit(functools.partial(primitive.bind, **dict(params)))

    def evaluate(*operands: Any, **params: Any) -> Any:
        with jax.disable_jit(False):  # else jit binds the primitive again, which evaluates it, ...
            return compiled(*params.items())(*operands)

    def abstract(*avals: Any, **params: Any) -> list[Any]:
        splits = [len(a.shape) - rank for a, rank in zip(avals, kernel.ranks, strict=True)]
        if len(set(splits)) != 1:
            raise ValueError(f"{name}: operands differ in their number of leading axes: {avals}")
        cores = [a.shape[split:] for a, split in zip(avals, splits, strict=True)]
        lead = jnp.broadcast_shapes(*(a.shape[: splits[0]] for a in avals))
        return [_result(avals, lead, core) for core in kernel.results(*cores, **params)]

    def batch(operands: Sequence[Any], dims: Sequence[int | None], **params: Any) -> Any:
        moved = [
            jnp.expand_dims(x, 0) if dim is None else jnp.moveaxis(x, dim, 0)
            for x, dim in zip(operands, dims, strict=True)
        ]
        out = primitive.bind(*moved, **params)
        return out, [0] * len(out)

    primitive.def_impl(evaluate)
    primitive.def_abstract_eval(abstract)
    batching.primitive_batchers[primitive] = batch
    # The rule without a platform serves every platform that has no rule of its own.
    by_reference = mlir.lower_fun(_plain(kernel), multiple_results=True)
    mlir.register_lowering(primitive, by_reference)
    if kernel.target in _CPU_TARGETS:
        by_kernel = _kernel_lowering(kernel, attributes)
        mlir.register_lowering(primitive, by_kernel, platform="cpu")
    return primitive


def _kernel_lowering(kernel: Kernel, attributes: tuple[str, ...]) -> Callable[..., Any]:
    """Lowering to a call of the kernel, by a traced function so that it can be partitioned."""

    def lowering(context: Any, *operands: Any, **params: Any) -> Any:
        exact = {name: _attribute(params[name]) for name in attributes}

        def call(*arrays: Any) -> Any:  # of the whole batch, or of one device's part
            leads = [x.shape[: x.ndim - n] for x, n in zip(arrays, kernel.ranks, strict=True)]
            lead = jnp.broadcast_shapes(*leads)
            results = [
                jax.ShapeDtypeStruct((*lead, *aval.shape[len(lead) :]), aval.dtype)
                for aval in context.avals_out
            ]
            return jax.ffi.ffi_call(kernel.target, results)(*arrays, **exact)

        return _partition.lower(context, call, kernel.ranks, operands)

    return lowering


def _attribute(value: int | bool) -> np.generic:
    """The FFI compares attribute types exactly, so nothing is left to JAX's choice of width."""
    return np.bool_(value) if isinstance(value, bool) else np.int64(value)


def _plain(kernel: Kernel) -> Callable[..., tuple[Any, ...]]:
    """The reference with the calling convention of the primitive."""

    def plain(*operands: Any, n_jobs: int, **params: Any) -> tuple[Any, ...]:
        del n_jobs
        out = kernel.reference(*operands, **params)
        return out if isinstance(out, tuple) else (out,)

    return plain


def _merge(kernel: Kernel, base: Any, linear: Any) -> list[Any]:
    """All operands in order, from those the kernel is not linear in and those it is linear in."""
    base, linear = iter(base), iter(linear)
    return [next(linear if i in kernel.linear else base) for i in range(len(kernel.ranks))]


def _linear_jvp(primitive: Primitive, kernel: Kernel) -> Callable[..., Any]:
    """Derivative of f(p; x), linear in x:  f(p; dx) + (d/dp f)(p; x) dp."""
    plain = _plain(kernel)

    @functools.lru_cache(maxsize=1024)
    def compiled(*params: tuple[str, Any]) -> Callable[..., Any]:
        return jax.jit(functools.partial(plain, **dict(params)))

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> Any:
        out = primitive.bind(*primals, **params)
        moving = [i for i, t in enumerate(tangents) if type(t) is not ad.Zero]
        parts = []
        if any(i in kernel.linear for i in moving):
            operands = list(primals)
            for i in kernel.linear:
                operands[i] = ad.instantiate_zeros(tangents[i])
            parts.append(primitive.bind(*vary(*operands), **params))
        moving = [i for i in moving if i not in kernel.linear]
        if moving:

            def of_moving(*values: Any) -> tuple[Any, ...]:
                operands = list(primals)
                for i, x in zip(moving, values, strict=True):
                    operands[i] = x
                return compiled(*params.items())(*operands)

            direction = [primals[i] for i in moving], [tangents[i] for i in moving]
            parts.append(jax.jvp(of_moving, *direction)[1])
        return out, [sum(terms[1:], terms[0]) for terms in zip(*parts, strict=True)]

    return jvp


def _transpose(
    kernel: Kernel, other: Kernel, other_primitive: Primitive, other_base: Callable[..., Any]
) -> Callable[..., Any]:
    """Transpose of a linear primitive: the other one, summed over what was stretched."""

    def transpose(cts: Sequence[Any], *operands: Any, **params: Any) -> Any:
        wanted: list[Any] = [None] * len(operands)
        if all(type(ct) is ad.Zero for ct in cts):
            return wanted
        base = [x for i, x in enumerate(operands) if i not in kernel.linear]
        other_operands = _merge(other, other_base(*base, **params), map(ad.instantiate_zeros, cts))
        out = other_primitive.bind(*vary(*other_operands), **params)
        for i, ct in zip(kernel.linear, out, strict=True):
            if ad.is_undefined_primal(operands[i]):
                wanted[i] = sum_to(ct, operands[i].aval.shape)
        return wanted

    return transpose


def _varying(aval: Any) -> frozenset[Any]:
    """Names of the mesh axes that a value varies over, as each version of JAX keeps them."""
    if hasattr(aval, "manual_axis_type"):
        return frozenset(aval.manual_axis_type.varying)
    return frozenset(aval.vma)


def _cast_to_varying(x: Any, axes: tuple[Any, ...]) -> Any:
    if hasattr(lax, "pcast"):
        return lax.pcast(x, axes, to="varying")
    return lax.pvary(x, axes)  # type: ignore[attr-defined]  # jax 0.8.0


def _result(avals: Sequence[Any], lead: Shape, core: Shape) -> Any:
    """Type of a result: mesh, varying axes and leading partition are those of the operands."""
    model = max(avals, key=lambda a: (len(_varying(a)), not a.sharding.mesh.empty))
    spec: list[Any] = [None] * (len(lead) + len(core))
    for aval in avals:
        for i, size in enumerate(lead):
            if aval.shape[i] == size and spec[i] is None:
                spec[i] = aval.sharding.spec[i]
    sharding = NamedSharding(model.sharding.mesh, PartitionSpec(*spec))
    return model.update(shape=(*lead, *core), weak_type=False, sharding=sharding)
