"""Derivatives of a linear map, as JAX primitives: it is its own tangent, at every point.

A linear operation needs nothing of what ``_derivatives.py`` makes: no residual, since the tangent
does not depend on the operand, and no second derivative, since there is none. What is left is the
map and its transpose, each of which is the other's. A map may also add constants to its result; its
tangent, told by the parameter ``linear``, does not.
"""

from typing import Any

from jax.extend.core import Primitive
from jax.interpreters import ad

from jax_siglib._primitive import Kernel, make_primitive

__all__ = ["linear_map"]


def linear_map(
    name: str, kernel: Kernel, attributes: tuple[str, ...], transpose: Kernel | None = None
) -> Primitive:
    """Make the primitive of a map with one operand and one result, linear up to constants.

    Args:
        name: Name of the operation, as it shows in a jaxpr.
        kernel: Of the map. Among its parameters is ``linear``: whether to leave the constants out.
        attributes: Those parameters that the kernel takes as FFI attributes.
        transpose: Kernel of the transpose of the linear part, with the same parameters; None if
            that is the linear part itself.

    Returns:
        The primitive, with rules for evaluation, batching, lowering and differentiation.
    """
    forward = make_primitive(name, kernel, attributes)
    backward = forward
    if transpose is not None:
        backward = make_primitive(name + "_transpose", transpose, attributes)
    _tie(forward, backward)
    if backward is not forward:
        _tie(backward, forward)
    return forward


def _tie(primitive: Primitive, transposed: Primitive) -> None:
    def linear_part(of: Primitive, x: Any, params: dict[str, Any]) -> list[Any]:
        if type(x) is ad.Zero:
            x = ad.instantiate_zeros(x)
        return of.bind(x, **{**params, "linear": True})

    def jvp(primals: Any, tangents: Any, **params: Any) -> Any:
        return primitive.bind(*primals, **params), linear_part(primitive, tangents[0], params)

    def transpose(cts: Any, x: Any, **params: Any) -> list[Any]:
        if type(cts[0]) is ad.Zero:
            return [None]
        if not params["linear"]:  # of tangents, which know no constants, it always is
            raise TypeError(
                f"{primitive.name} can be transposed without the scalar term alone: that is the"
                " constant 1, so with it the map is not linear. Leave it out, or use jax.vjp"
            )
        return linear_part(transposed, cts[0], params)

    ad.primitive_jvps[primitive] = jvp
    ad.primitive_transposes[primitive] = transpose
