"""A kernel's call on several devices: each computes its part of the batch, and nothing is gathered.

Of a foreign call XLA knows nothing; left alone it gathers the operands and lets every device do all
the work. What it has to know is little: members of a batch have nothing to do with each other, and
core axes are for one device to see whole. A Shardy rule says so while shardings are propagated, and
``_shares`` when the program is cut into one per device.

This concerns automatic partitioning only, that of plain ``jit``. On one device, and inside of a
``shard_map`` over all axes of a mesh, the call is lowered as it stands.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental.custom_partitioning import custom_partitioning
from jax.interpreters import mlir

from jax_siglib._checks import Shape

try:
    from jaxlib.xla_client import HloSharding, OpSharding
except ImportError:  # then calls are not partitioned, see _automatic
    HloSharding = None

__all__ = ["lower"]


def lower(
    context: Any, call: Callable[..., Sequence[Any]], ranks: Sequence[int], operands: Any
) -> Any:
    """Lower a call, so that it can be partitioned where there are devices to share it out to.

    Args:
        context: Of the lowering rule.
        call: Maps operands to results, of whatever leading shape; a part of the batch will do.
        ranks: For each operand the number of its core axes, which are its last.
        operands: Values to lower for.

    Returns:
        The values of the results.
    """
    partitioning = _automatic(context)
    if partitioning is not None:
        context, call = partitioning, _partitioned(context, call, ranks)
    return mlir.lower_fun(call, multiple_results=True)(context, *operands)


def _automatic(context: Any) -> Any:
    """A context to lower a partitioned call in, or None where a plain call has to do.

    All that is read here is private to JAX. Should a later JAX lack a name, no call is partitioned
    any more: results stay right, at the price of gathered operands, which the tests would tell of.
    """
    module = context.module_context
    exported = getattr(getattr(module, "lowering_parameters", None), "for_export", True)
    shardy = getattr(jax.config, "jax_use_shardy_partitioner", True)
    axes: Any = getattr(module, "axis_context", None)
    # What is partitioned calls back into this process at compile time: not for export.
    if HloSharding is None or exported or not shardy:
        return None
    if hasattr(axes, "manual_axes"):  # inside of shard_map, where all axes may be manual
        mesh = axes.mesh
        automatic = [n for name, n in mesh.shape.items() if name not in axes.manual_axes]
        concrete = isinstance(mesh, jax.sharding.Mesh)
        return context if concrete and np.prod(automatic, dtype=int) > 1 else None
    count = getattr(axes, "num_devices", 0)
    if count < 2 or not hasattr(axes, "device_assignment"):
        return None
    # custom_partitioning wants to see devices, and JAX shows them only to primitives in a private
    # list, whose members it then refuses wherever there are two meshes or an abstract one. But of
    # the devices nothing is used, with shardings left encoded: any device can stand for them all.
    devices = (jax.local_devices()[0],) * count
    axes = dataclasses.replace(axes, device_assignment=devices, abstract_mesh=None)
    return context.replace(module_context=module.replace(axis_context=axes))


def _partitioned(context: Any, call: Callable[..., Any], ranks: Sequence[int]) -> Any:
    """The call with what Shardy and XLA's partitioner have to know of it."""
    avals = [*context.avals_in, *context.avals_out]
    split = len(avals[0].shape) - ranks[0]
    lead = context.avals_out[0].shape[:split]
    rule, whole = _rule([a.shape for a in avals], lead, len(ranks))

    def partition(mesh: Any, operands: Any, results: Any) -> Any:
        arrays = [*operands, *results]
        shares = _shares([x.sharding for x in arrays], [x.shape for x in arrays], lead)
        of_results = jax.tree.unflatten(jax.tree.structure(results), shares[len(operands) :])
        return mesh, call, of_results, tuple(shares[: len(operands)])

    function = custom_partitioning(call)
    function.def_partition(
        partition,
        sharding_rule=rule,
        need_replication_factors=whole,
        # Encoded as XLA has them: as a NamedSharding not every one can be expressed, for the
        # compiler may split an axis of the mesh, and inside of shard_map sees a part of the mesh.
        decode_shardings=False,
    )
    return function


def _rule(shapes: Sequence[Shape], lead: Shape, operands: int) -> tuple[str, tuple[str, ...]]:
    """A Shardy rule, and those of its factors that need replication.

    Axes of the same factor are to be sharded alike. So the batch axes share theirs with those of
    the results, and core axes, and unit axes that are stretched, have one each.
    """
    factors: list[list[str]] = []
    whole = []
    for k, shape in enumerate(shapes):
        factors.append([])
        for i, n in enumerate(shape):
            shared = i < len(lead) and n == lead[i]
            factors[k].append(f"batch{i}" if shared else f"whole{k}_{i}")
            if not shared:
                whole.append(factors[k][i])
    terms = [" ".join(row) for row in factors]
    return f"{', '.join(terms[:operands])} -> {', '.join(terms[operands:])}", tuple(whole)


def _shares(shardings: Sequence[Any], shapes: Sequence[Shape], lead: Shape) -> list[Any]:
    """Shardings to compute with, from those that operands and results have been assigned.

    These need not agree: an operand may come from elsewhere, a result may be wanted elsewhere, and
    XLA moves what has to move. All are given the finest split of the batch that one of them has,
    for what costs is to compute.
    """
    # Of each array the axes along which it has members of its own for several devices.
    own = [[i for i, n in enumerate(lead) if n > 1 and shape[i] == n] for shape in shapes]
    tiles = [
        _along(_tiles(sharding, len(shape)), keep, len(lead))
        for sharding, shape, keep in zip(shardings, shapes, own, strict=True)
    ]
    finest = max(reversed(tiles), key=_parts)  # the first of several: results before operands
    return [
        _encoded(_along(finest, keep, len(shape)), like)
        for like, shape, keep in zip(shardings, shapes, own, strict=True)
    ]


def _tiles(sharding: Any, ndim: int) -> np.ndarray:
    """Devices by the tile they hold: axes of tiles, and a last one of copies of the same tile."""
    encoded = sharding._to_xla_hlo_sharding(ndim)
    if not encoded.is_tiled():
        return np.zeros((1,) * (ndim + 1), np.int64)  # a single tile; who holds it is not asked
    tiles = np.reshape(encoded.tile_assignment_devices(), encoded.tile_assignment_dimensions())
    return tiles if encoded.replicate_on_last_tile_dim() else tiles[..., None]


def _along(tiles: np.ndarray, keep: Sequence[int], ndim: int) -> np.ndarray:
    """Tiles along the axes ``keep`` only: devices that differ along others hold copies."""
    others = [i for i in range(tiles.ndim) if i not in keep]
    shape = [tiles.shape[i] if i in keep else 1 for i in range(ndim)]
    return tiles.transpose([*keep, *others]).reshape(*shape, -1)


def _parts(tiles: np.ndarray) -> int:
    return tiles.size // tiles.shape[-1]


def _encoded(tiles: np.ndarray, like: Any) -> Any:
    """A sharding of the class and devices of another one."""
    if _parts(tiles) == 1:
        encoded = HloSharding.replicate()
    else:
        tiles = np.ascontiguousarray(tiles, np.int64)
        encoded = HloSharding.subgroup_with_device_ordering(tiles, [OpSharding.Type.REPLICATED])
    return type(like)(like._internal_device_list, encoded)
