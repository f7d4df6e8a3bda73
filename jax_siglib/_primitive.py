"""How a function with a kernel becomes a JAX primitive. The only file that knows ``jax.ffi``.

Conventions. A primitive has several results, even if it is one. All operands have the same number
of leading axes, of equal or unit size; results have the full leading shape. Thus ``vmap`` gives
an operand that is not batched a unit axis, and never copies it. How primitives are each other's
derivatives is said in ``_derivatives.py``.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir
from jax.sharding import NamedSharding, PartitionSpec

from jax_siglib import _partition
from jax_siglib._checks import Shape
from jax_siglib._in_place import overwritable
from jax_siglib._native import ext, ext_cuda
from jax_siglib._precision import cast, keeping

__all__ = ["INLINE", "Kernel", "in_place", "make_primitive", "plain", "served", "sum_to", "vary"]

# For ``jax.jit``: leave no call in a program around it. From 0.12 on True leaves one in the jaxpr,
# and its lowering does not see where its arguments come from (_in_place.py).
INLINE: Any = jax.Inline.JAX_EARLY if hasattr(jax, "Inline") else True

# By platform, as lowering rules name it, the kernels under the names of their FFI targets.
_TARGETS: dict[str, dict[str, Any]] = {"cpu": ext.registrations()}
if ext_cuda is not None:
    _TARGETS["cuda"] = ext_cuda.registrations()
for _platform, _capsules in _TARGETS.items():
    for _target, _capsule in _capsules.items():
        _xla_platform = {"cuda": "CUDA"}.get(_platform, _platform)
        jax.ffi.register_ffi_target(_target, _capsule, platform=_xla_platform, api_version=1)
_IN_PLACE: dict[str, tuple[tuple[int, int], ...]] = {}
_GPUS = {"cuda"}  # where Kernel.on_gpu counts


class Kernel(NamedTuple):
    """What one primitive computes.

    Attributes:
        reference: The function in plain ``jax.numpy``; takes the operands, all of the same leading
            shape, and the operation's parameters (without ``n_jobs``, which changes nothing of the
            result) by keyword. None where ``_derivatives.py`` makes it from those of other kernels.
        target: Name of the kernel among the module's FFI targets; None if there is none.
        ranks: For each operand the number of its axes which are not leading axes.
        results: Shapes of the results without leading axes, given those of the operands and the
            parameters by keyword.
        in_place: Pairs of positions (operand, result): the kernel can write this result over that
            operand.
        reference_of_half: As ``reference``, for operands that were rounded to half precision, if
            another function should be used for them.
        on_gpu: What a GPU does instead of calling the kernel: given the shapes of the operands, all
            of the same leading shape, and the parameters by keyword, a function like ``reference``,
            of other kernels' primitives, or None where the kernel is to be called.
    """

    reference: Callable[..., Any] | None
    target: str | None
    ranks: tuple[int, ...]
    results: Callable[..., Sequence[Shape]]
    in_place: tuple[tuple[int, int], ...] = ()
    reference_of_half: Callable[..., Any] | None = None
    on_gpu: Callable[..., Callable[..., Any] | None] | None = None


def served() -> dict[str, frozenset[str]]:
    """Names of the kernels' FFI targets by the platform they serve."""
    return {platform: frozenset(targets) for platform, targets in _TARGETS.items()}


def in_place() -> dict[str, tuple[tuple[int, int], ...]]:
    """What the kernels can write in place, as ``Kernel.in_place``, by their FFI targets."""
    return dict(_IN_PLACE)


def vary(*operands: Any, ranks: Sequence[int] | None = None) -> tuple[Any, ...]:
    """Let all operands vary over the same mesh axes, where ``shard_map`` keeps account of them.

    JAX inserts such casts for its own primitives only. A cast is linear, and its transpose is the
    sum over devices that the gradient of a replicated operand needs; so it has to stand before a
    ``custom_vjp``, where JAX still sees it.

    On a mesh with explicit axes, where shardings are part of types, operands are brought to a
    common one for the same reason: a gradient has to have that of its operand. ``ranks`` are as in
    ``Kernel``; without them one operand has to have a single axis that is not a leading one.
    """
    axes = [_varying(jax.typeof(x)) for x in operands]
    union = frozenset[Any]().union(*axes)
    alike = tuple(
        _cast_to_varying(x, tuple(union - mine)) if union - mine else x
        for x, mine in zip(operands, axes, strict=True)
    )
    avals = [jax.typeof(x) for x in alike]
    if not any(filter(None, aval.sharding.spec) for aval in avals):
        return alike
    split = avals[0].ndim - ranks[0] if ranks else min(aval.ndim for aval in avals) - 1
    return _sharded_alike(alike, avals, split)


def sum_to(x: Any, shape: Shape) -> Any:
    """Sum over the leading axes along which an operand of this shape was stretched."""
    axes = tuple(i for i, (n, m) in enumerate(zip(x.shape, shape, strict=True)) if n != m)
    with keeping(x.dtype):
        return jnp.sum(x, axes, keepdims=True) if axes else x


def make_primitive(name: str, kernel: Kernel, attributes: tuple[str, ...]) -> Primitive:
    """Make a primitive with rules for evaluation, batching and lowering, and none to differentiate.

    Args:
        name: Its name, as it shows in a jaxpr.
        kernel: What it computes.
        attributes: Those of its parameters that the kernel takes as FFI attributes.

    Returns:
        The primitive; bind it with all the operation's parameters.
    """
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
    mlir.register_lowering(primitive, _lowering(primitive, kernel, attributes), cacheable=False)
    return primitive


def _lowering(
    primitive: Primitive, kernel: Kernel, attributes: tuple[str, ...]
) -> Callable[..., Any]:
    """Lowering in two steps: what is overwritten, then what each platform has for it.

    The first has to see the operands themselves. JAX shows them only to rules that it does not
    cache, and those can not be different ones for each platform: hence a primitive for the second.
    """
    on_platform = Primitive(primitive.name)
    on_platform.multiple_results = True
    abstract = primitive.abstract_eval
    on_platform.def_abstract_eval(lambda *avals, in_place, **params: abstract(*avals, **params)[0])
    # The rule without a platform serves every platform that has no rule of its own.
    by_reference = mlir.lower_fun(plain(kernel), multiple_results=True)
    mlir.register_lowering(on_platform, by_reference)
    for platform, targets in _TARGETS.items():
        if kernel.target is not None and kernel.target in targets:
            _IN_PLACE[kernel.target] = kernel.in_place
            by_kernel = _kernel_lowering(kernel, attributes, platform)
            mlir.register_lowering(on_platform, by_kernel, platform=platform)

    def lowering(context: Any, *operands: Any, **params: Any) -> Any:
        in_place = tuple(
            (i, o)
            for i, o in kernel.in_place
            if context.avals_in[i].shape == context.avals_out[o].shape and overwritable(operands[i])
        )
        bind = functools.partial(on_platform.bind, in_place=in_place, **params)
        return mlir.lower_fun(bind, multiple_results=True)(context, *operands)

    return lowering


def _kernel_lowering(
    kernel: Kernel, attributes: tuple[str, ...], platform: str
) -> Callable[..., Any]:
    """Lowering to a call of the kernel, by a traced function so that it can be partitioned."""
    target, ranks = kernel.target, kernel.ranks
    assert target is not None

    def lowering(context: Any, *operands: Any, **params: Any) -> Any:
        exact = {name: _attribute(params[name]) for name in attributes}

        def call(*arrays: Any) -> Any:  # of the whole batch, or of one device's part
            splits = [x.ndim - n for x, n in zip(arrays, ranks, strict=True)]
            leads = [x.shape[:split] for x, split in zip(arrays, splits, strict=True)]
            lead = jnp.broadcast_shapes(*leads)
            if platform in _GPUS and kernel.on_gpu is not None and not _in_explicit_mesh():
                cores = [x.shape[split:] for x, split in zip(arrays, splits, strict=True)]
                other = kernel.on_gpu(*((*lead, *core) for core in cores), **params)
                if other is not None:
                    by_other = kernel._replace(reference=other, reference_of_half=None)
                    return plain(by_other)(*arrays, **params)
            results = [
                jax.ShapeDtypeStruct((*lead, *aval.shape[len(lead) :]), aval.dtype)
                for aval in context.avals_out
            ]
            in_place = dict(params["in_place"])
            of_kernel = jax.ffi.ffi_call(target, results, input_output_aliases=in_place)
            return of_kernel(*arrays, **exact)

        return _partition.lower(context, call, ranks, operands)

    return lowering


def _attribute(value: int | bool) -> np.generic:
    """The FFI compares attribute types exactly, so nothing is left to JAX's choice of width."""
    return np.bool_(value) if isinstance(value, bool) else np.int64(value)


def plain(kernel: Kernel) -> Callable[..., tuple[Any, ...]]:
    """The reference with the calling convention of the primitive.

    Half precision is done in float32 and rounded once at the end, as the kernels do it.
    """

    def function(*operands: Any, n_jobs: int, in_place: Any = (), **params: Any) -> tuple[Any, ...]:
        del n_jobs, in_place  # which change nothing of the result
        dtype = operands[0].dtype
        half = dtype.itemsize == 2
        reference = kernel.reference_of_half if half else None
        reference = reference or kernel.reference
        assert reference is not None
        with keeping(dtype):
            wide = [x.astype(jnp.float32) if half else x for x in operands]
            out = reference(*_stretched(wide, kernel.ranks), **params)
        return tuple(cast(x, dtype) for x in (out if isinstance(out, tuple) else (out,)))

    return function


def _stretched(operands: Sequence[Any], ranks: Sequence[int]) -> list[Any]:
    """Operands with all their leading axes of full size.

    Not by ``jnp.broadcast_to``: on a mesh with explicit axes, what is stretched is to be
    partitioned as the others are. Zeros that are made of those see to that.
    """
    splits = [x.ndim - rank for x, rank in zip(operands, ranks, strict=True)]
    leads = [x.shape[:split] for x, split in zip(operands, splits, strict=True)]
    full = jnp.broadcast_shapes(*leads)
    if all(lead == full for lead in leads):
        return list(operands)
    zeros = [
        jnp.sum(jnp.zeros_like(x), range(split, x.ndim))
        for x, split in zip(operands, splits, strict=True)
    ]
    zero = functools.reduce(jnp.add, zeros)
    return [
        x if lead == full else x + jnp.expand_dims(zero, range(zero.ndim, x.ndim))
        for x, lead in zip(operands, leads, strict=True)
    ]


def _varying(aval: Any) -> frozenset[Any]:
    """Names of the mesh axes that a value varies over, as each version of JAX keeps them."""
    if hasattr(aval, "manual_axis_type"):
        return frozenset(aval.manual_axis_type.varying)
    return frozenset(aval.vma)


def _cast_to_varying(x: Any, axes: tuple[Any, ...]) -> Any:
    if hasattr(lax, "pcast"):
        return lax.pcast(x, axes, to="varying")
    return lax.pvary(x, axes)  # type: ignore[attr-defined]  # jax 0.8.0


def _in_explicit_mesh() -> bool:
    """Whether shardings are part of types, so that JAX puts one down for whatever it does.

    Where a program was cut into one per device already (_partition.py) no compiler takes those.
    """
    return jax.sharding.AxisType.Explicit in jax.sharding.get_abstract_mesh().axis_types


def _sharded_alike(operands: Sequence[Any], avals: Sequence[Any], split: int) -> tuple[Any, ...]:
    """Operands with leading axes partitioned as the result's will be, and core axes whole."""
    lead = jnp.broadcast_shapes(*(aval.shape[:split] for aval in avals))
    common = _leading_partition(avals, lead)

    def placed(x: Any, aval: Any) -> Any:
        own = [part if aval.shape[i] == lead[i] else None for i, part in enumerate(common)]
        spec = PartitionSpec(*own, *[None] * (aval.ndim - split))
        if tuple(spec) == tuple(aval.sharding.spec) or aval.sharding.mesh.empty:
            return x
        return jax.sharding.reshard(x, NamedSharding(aval.sharding.mesh, spec))

    return tuple(map(placed, operands, avals))


def _leading_partition(avals: Sequence[Any], lead: Shape) -> list[Any]:
    """For each leading axis the mesh axes of the first operand that is partitioned along it.

    A mesh axis can partition one axis only, so it has to be free still.
    """
    parts: list[Any] = [None] * len(lead)
    taken: set[Any] = set()
    for aval in avals:
        for i, size in enumerate(lead):
            part = aval.sharding.spec[i]
            names = part if isinstance(part, tuple) else (part,)
            if aval.shape[i] == size and parts[i] is None and taken.isdisjoint(names):
                parts[i] = part
                taken.update(filter(None, names))
    return parts


def _result(avals: Sequence[Any], lead: Shape, core: Shape) -> Any:
    """Type of a result: mesh, varying axes and leading partition are those of the operands."""
    model = max(avals, key=lambda a: (len(_varying(a)), not a.sharding.mesh.empty))
    spec = PartitionSpec(*_leading_partition(avals, lead), *[None] * len(core))
    sharding = NamedSharding(model.sharding.mesh, spec)
    return model.update(shape=(*lead, *core), weak_type=False, sharding=sharding)
