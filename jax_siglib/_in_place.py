"""Whether a kernel may write its result over an operand: a question for the moment of lowering.

XLA holds a custom call to the aliases it declares: where an operand must outlive the call, XLA
copies it first, and a call that would have read and written once then does so twice. So an alias is
declared only where nothing tells against it.
"""

from typing import Any

from jax.extend.mlir import ir

__all__ = ["overwritable"]

_SHAPE_ONLY = (
    "stablehlo.reshape",
    "stablehlo.dynamic_reshape",
    "stablehlo.broadcast_in_dim",
    "stablehlo.dynamic_broadcast_in_dim",
)
_DONATED = ("tf.aliasing_output", "jax.buffer_donor")


def overwritable(operand: Any) -> bool:
    """Whether a call about to be built may take the buffer of this operand for its result.

    It may not if the buffer belongs to the caller, who did not donate it; if it holds a constant;
    or if something else has read the operand already, as XLA does not put such a reader first. What
    will read it later is not known yet, nor, in a function lowered apart (the body of a ``scan``, a
    ``shard_map``, a nested ``jit``), who passes its arguments. There the alias is declared: a
    loop's carry gains at every step what an argument passed straight on loses once.
    """
    blocks = _around(ir.InsertionPoint.current.block)
    if _uses(operand, blocks):
        return False
    while not isinstance(operand.owner, ir.Block):
        maker = operand.owner.operation
        if maker.name not in _SHAPE_ONLY:
            return bool(maker.name != "stablehlo.constant")
        source = maker.operands[0]
        if _size(source) != _size(operand):
            return True  # stretched into a buffer of its own
        if any(use != maker for use in _uses(source, blocks)):
            return False
        operand = source
    return _writable(operand.owner.owner.operation, ir.BlockArgument(operand).arg_number)


def _writable(owner: Any, position: int) -> bool:
    """Whether an argument is a loop's, a function's within the program, or donated to it."""
    if owner.name != "func.func" or owner.attributes["sym_name"].value != "main":
        return True
    if "arg_attrs" not in owner.attributes:
        return False
    attributes = owner.attributes["arg_attrs"][position]
    return any(name in attributes for name in _DONATED)


def _around(block: Any) -> list[Any]:
    """The block and those it lies in. Not among them: other branches of a conditional."""
    blocks = [block]
    while (owner := block.owner.operation).name not in ("func.func", "builtin.module"):
        block = owner.block
        blocks.append(block)
    return blocks


def _uses(value: Any, blocks: list[Any]) -> list[Any]:
    """Operations in these blocks that take the value."""
    users = (use.owner.operation for use in value.uses)
    return [user for user in users if user.block in blocks]


def _size(value: Any) -> list[int]:
    """Sizes of the axes, unit axes apart."""
    return [n for n in ir.RankedTensorType(value.type).shape if n != 1]
