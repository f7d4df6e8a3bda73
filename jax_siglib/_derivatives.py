"""The derivatives of an operation, of every order, as JAX primitives that call each other.

An operation F has five primitives. Let x be its operands, g a cotangent of its result, and a, b
tangents of x:

    forward         F(x)
    tangent         J(x; a)     = F'(x) a             the tangent of F
    backprop        B(g; x)     = F'(x)^T g           its transpose
    second_tangent  H(x; a, b)  = F''(x)[a, b]        how J changes with x
    hvp             K(g; x, b)  = F''(x)[b, .]^T g    how B changes with x: the Hessian of <g, F(x)>
                                                      times the vector b

F'' is symmetric, so <g, H(x; a, b)> = <a, K(g; x, b)> = <b, K(g; x, a)>: each of J, B, H and K,
transposed with respect to an argument that it is linear in, is one of the four again. The family is
closed, and whichever way JAX takes to a second derivative, forward or reverse first, it arrives at
these primitives. How H and K change with x, the third derivative, comes from the reference in plain
``jax.numpy``, which JAX differentiates to any order.

**Base.** What J, B, H and K know of x is ``base(x)``, and H and K know no more of b: for a join,
the levels below N. ``lift``, the transpose of the linear map ``base``, puts a cotangent of the base
back in the place of x.

**Residual.** B may be given more than the base, to spare it work: for a path, its signature. That
is a function of the base, so no derivative flows through it: what it would carry is counted with
the base.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad

from jax_siglib._precision import zeros
from jax_siglib._primitive import Kernel, make_primitive, plain, sum_to, vary

__all__ = ["Operation", "all_of", "lift_all", "operation"]

Arrays = Sequence[Any]


class Operation(NamedTuple):
    """The five primitives; bind them with all the operation's parameters."""

    forward: Primitive
    tangent: Primitive
    backprop: Primitive
    second_tangent: Primitive
    hvp: Primitive


def all_of(*x: Any, **_params: Any) -> tuple[Any, ...]:
    """The base of an operation whose derivatives know all of x."""
    return x


def lift_all(*base: Any, length: int, **_params: Any) -> tuple[Any, ...]:
    """Its transpose."""
    del length
    return base


def _no_residual(*_base: Any, **_params: Any) -> tuple[Any, ...]:
    return ()


def operation(
    name: str,
    *,
    forward: Kernel,
    tangent: Kernel,
    backprop: Kernel,
    hvp: Kernel,
    attributes: tuple[str, ...],
    base: Callable[..., tuple[Any, ...]] = all_of,
    lift: Callable[..., tuple[Any, ...]] = lift_all,
    residual: Callable[..., tuple[Any, ...]] = _no_residual,
) -> Operation:
    """Make the primitives of an operation with one result, and tie them together.

    Args:
        name: Name of the operation, as it shows in a jaxpr.
        forward: Kernel of F; operands x.
        tangent: Kernel of J; operands base(x), a.
        backprop: Kernel of B; operands g, base(x), residual(base(x)); a result for each of x.
        hvp: Kernel of K; operands g, base(x), base(b); a result for each of base(x). Its reference
            is made here, from that of ``backprop``.
        attributes: Those parameters that the kernels take as FFI attributes.
        base: What derivatives know of x, one array for each of x; linear.
        lift: Its transpose; ``length`` is that of the last axis of the operation's result.
        residual: What B is given beside the base, as a function of it.

    Returns:
        The primitives, with rules for evaluation, batching, lowering and differentiation.
    """
    n = len(forward.ranks)
    base_ranks, x_ranks = tangent.ranks[:n], forward.ranks

    def second_tangent_reference(*operands: Any, **params: Any) -> Any:
        x, a, b = operands[:n], operands[n : 2 * n], operands[2 * n :]

        def along_a(*x: Any) -> Any:
            return _reference(tangent)(*x, *a, **params)

        return jax.jvp(along_a, x, b)[1]

    def hvp_reference(*operands: Any, **params: Any) -> tuple[Any, ...]:
        g, x, b = operands[0], operands[1 : 1 + n], operands[1 + n :]

        def gradient(*x: Any) -> tuple[Any, ...]:
            found = _reference(backprop)(g, *x, *residual(*x, **params), **params)
            return base(*(found if isinstance(found, tuple) else (found,)), **params)

        return jax.jvp(gradient, x, b)[1]

    def backprop_of_half(g: Any, *x: Any, **params: Any) -> Any:
        # A residual that was rounded is not the function of the base that it should be.
        return _reference(backprop)(g, *x[:n], *residual(*x[:n], **params), **params)

    backprop = backprop._replace(reference_of_half=backprop_of_half)
    hvp = hvp._replace(reference=hvp_reference)
    second_tangent = Kernel(
        second_tangent_reference,
        target=None,
        ranks=base_ranks + x_ranks + base_ranks,
        results=lambda *shapes, **params: tangent.results(*shapes[: 2 * n], **params),
    )
    kernels = forward, tangent, backprop, second_tangent, hvp
    suffixes = "", "_jvp", "_backprop", "_second_tangent", "_hvp"
    primitives = Operation(
        *(
            make_primitive(name + suffix, kernel, attributes)
            for suffix, kernel in zip(suffixes, kernels, strict=True)
        )
    )
    f, j, b, h, k = map(_caller, primitives, kernels)

    def forward_jvp(x: Arrays, a: Arrays, **params: Any) -> Any:
        known = base(*x, **params)  # first: see _in_place.py
        return f(*x, **params), j(*known, *a, **params)

    def lifted(found: Arrays, length: int, params: dict[str, Any]) -> Arrays:
        return lift(*found, length=length, **params)

    ad.primitive_jvps[primitives.forward] = forward_jvp
    # Below, each group of operands that a primitive is linear in with its transpose: a function of
    # the cotangents, the other operands in their order, and the types of the group.
    x_at, a_at, b_at = range(n), range(n, 2 * n), range(2 * n, 3 * n)
    _tie(
        primitives.tangent,
        tangent,
        linear={a_at: lambda g, x, _, **params: b(*g, *x, *residual(*x, **params), **params)},
        base=x_at,
        of_base=lambda xa, t_x, **params: h(*xa, *t_x, **params),
    )
    _tie(
        primitives.second_tangent,
        second_tangent,
        linear={
            a_at: lambda g, xb, _, **params: lifted(k(*g, *xb, **params), g[0].shape[-1], params),
            b_at: lambda g, xa, _, **params: k(*g, *xa[:n], *base(*xa[n:], **params), **params),
        },
        base=x_at,
    )
    g_at, gx_at, gb_at = range(1), range(1, 1 + n), range(1 + n, 1 + 2 * n)
    _tie(
        primitives.backprop,
        backprop,
        linear={g_at: lambda a, x, _, **params: j(*x[:n], *a, **params)},
        base=gx_at,
        of_base=lambda gx, t_x, **params: lifted(
            k(*gx[: 1 + n], *t_x, **params), gx[0].shape[-1], params
        ),
    )
    _tie(
        primitives.hvp,
        hvp,
        linear={
            g_at: lambda a, xb, g, **params: h(
                *xb[:n], *lifted(a, g[0].shape[-1], params), *xb[n:], **params
            ),
            gb_at: lambda a, gx, _, **params: k(*gx, *a, **params),
        },
        base=gx_at,
    )
    return primitives


def _reference(kernel: Kernel) -> Callable[..., Any]:
    assert kernel.reference is not None
    return kernel.reference


def _caller(primitive: Primitive, kernel: Kernel) -> Callable[..., Any]:
    """The primitive as a function, of symbolic zeros too."""

    def call(*operands: Any, **params: Any) -> Any:
        return primitive.bind(*vary(*_filled(operands, kernel.ranks), ranks=kernel.ranks), **params)

    return call


def _tie(
    primitive: Primitive,
    kernel: Kernel,
    *,
    linear: Mapping[range, Callable[..., Arrays]],
    base: range,
    of_base: Callable[..., Arrays] | None = None,
) -> None:
    """Rules for a function that is linear in some groups of operands, in each by itself.

    Its derivative is, for each group, the same function of the group's tangents, and with respect
    to the base ``of_base``; without that, the derivative of the reference.
    """
    call = _caller(primitive, kernel)

    @functools.lru_cache(maxsize=1024)
    def compiled(*params: tuple[str, Any]) -> Callable[..., Any]:
        return jax.jit(functools.partial(plain(kernel), **dict(params)))

    def of_reference(operands: Arrays, t_base: Arrays, **params: Any) -> Arrays:
        moving = [i for i, t in zip(base, t_base, strict=True) if type(t) is not ad.Zero]

        def of_moving(*values: Any) -> tuple[Any, ...]:
            return compiled(*params.items())(*_replaced(operands, moving, values))

        directions = [t for t in t_base if type(t) is not ad.Zero]
        return jax.jvp(of_moving, [operands[i] for i in moving], directions)[1]

    def jvp(primals: Arrays, tangents: Arrays, **params: Any) -> Any:
        out = call(*primals, **params)
        parts = []
        for group in linear:
            if _moves(tangents, group):
                operands = _replaced(primals, group, [tangents[i] for i in group])
                parts.append(call(*operands, **params))
        if _moves(tangents, base):
            t_base = [tangents[i] for i in base]
            parts.append((of_base or of_reference)(primals, t_base, **params))
        if not parts:
            return out, [ad.Zero(jax.typeof(x).to_tangent_aval()) for x in out]
        return out, [functools.reduce(jnp.add, terms) for terms in zip(*parts, strict=True)]

    def transpose(cts: Arrays, *operands: Any, **params: Any) -> list[Any]:
        wanted: list[Any] = [None] * len(operands)
        if all(type(ct) is ad.Zero for ct in cts):
            return wanted
        for group, transposed in linear.items():
            unknown = [i for i in group if ad.is_undefined_primal(operands[i])]
            if unknown:
                others = [x for i, x in enumerate(operands) if i not in group]
                types = [operands[i].aval if i in unknown else operands[i] for i in group]
                found = transposed([*map(ad.instantiate_zeros, cts)], others, types, **params)
                for i in unknown:
                    wanted[i] = sum_to(found[i - group[0]], operands[i].aval.shape)
        return wanted

    ad.primitive_jvps[primitive] = jvp
    ad.primitive_transposes[primitive] = transpose


def _moves(tangents: Arrays, group: range) -> bool:
    return any(type(tangents[i]) is not ad.Zero for i in group)


def _replaced(operands: Arrays, positions: Sequence[int], values: Arrays) -> list[Any]:
    replaced = list(operands)
    for i, x in zip(positions, values, strict=True):
        replaced[i] = x
    return replaced


def _lead(shape: tuple[Any, ...], rank: int) -> tuple[Any, ...]:
    return shape[: len(shape) - rank]


def _filled(operands: Arrays, ranks: tuple[int, ...]) -> list[Any]:
    """Operands with arrays for symbolic zeros, of unit leading axes where nothing is lost by it.

    A batch of zeros would have to be written, and read again by the kernel; results must have all
    the leading axes nonetheless, from some operand.
    """
    types: list[Any] = [x.aval if type(x) is ad.Zero else x for x in operands]
    leads = [_lead(x.shape, rank) for x, rank in zip(types, ranks, strict=True)]
    known = [lead for x, lead in zip(operands, leads, strict=True) if type(x) is not ad.Zero]
    full = jnp.broadcast_shapes(*leads)
    if jnp.broadcast_shapes(*known) != full:
        return list(map(ad.instantiate_zeros, operands))
    return [
        zeros((1,) * len(lead) + like.shape[len(lead) :], like.dtype) if type(x) is ad.Zero else x
        for x, like, lead in zip(operands, types, leads, strict=True)
    ]
