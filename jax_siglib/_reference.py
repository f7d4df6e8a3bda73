"""Every operation in plain ``jax.numpy``: the definition that kernels and derivatives are held to.

The same code is what runs on platforms without a kernel. Operands and results are those of the
kernels, but for leading axes of size 1, which are stretched before (``_primitive.plain``): here all
operands have the same leading shape.

**The recurrence.** Appending a straight segment v to a path multiplies its signature S by
exp(v) = 1 + v + v⊗v/2! + ... from the right (Chen's identity). Level n of the product is

    S_n + S_{n-1}⊗v/1! + S_{n-2}⊗v⊗v/2! + ... + v⊗...⊗v/n!

Neighbouring terms share a factor v, and factoring it out as often as possible nests the sum as
Horner's scheme nests a polynomial; k! is then split over the nesting depths:

    B_0 = 1,    B_k = S_k + B_{k-1} ⊗ v / (n-k+1)   for k = 1..n,    out_n = B_n

so no power of v is ever formed. It is the fused multiply-exponentiate of Kidger & Lyons,
"Signatory" (ICLR 2021); Reizenstein & Graham, "iisignature" (ACM TOMS 2020) describe the product of
which it is the factored form. Prepending multiplies from the left: every ``B ⊗ v`` becomes
``v ⊗ B``, and nothing else changes.

**Tangent.** The rule of products, step by step:  tB_0 = 0,
tB_k = tS_k + (tB_{k-1} ⊗ v + B_{k-1} ⊗ tv) / (n-k+1).

**Cotangent.** Each chain backwards. Let x be the cotangent of B_k, so x = ct_out_n at k = n. The
step above hands  x  to S_k,  <B_{k-1}, x>/(n-k+1)  to v  and  <x, v>/(n-k+1)  to B_{k-1}; the last
of these is the x of the next step. S_N occurs in no product, hence no derivative asks for it:
tangent and cotangent take ``sig_lower``, levels 1..N-1 without the scalar term.

**Products.** Level n of the product of two signatures is the sum of all splits of its words,

    out_n = S1_n + sum of S1_k ⊗ S2_{n-k} for k = 1..n-1 + S2_n

(Chen's identity, for any second path). It is bilinear but for the two outer terms. So its tangent
is the two half products; and each split hands its cotangent, contracted with the one factor, to the
other. Highest levels occur in no product here either.

The scalar term is the constant 1 of every signature, not a variable: its value on input is ignored,
the result holds 1 there, tangents and cotangents hold 0.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jax_siglib import _tensor_algebra as ta
from jax_siglib._precision import pad

__all__ = [
    "sig",
    "sig_backprop",
    "sig_combine",
    "sig_combine_backprop",
    "sig_combine_jvp",
    "sig_inverse",
    "sig_join",
    "sig_join_backprop",
    "sig_join_jvp",
    "sig_jvp",
    "sig_stream",
    "sig_stream_backprop",
    "sig_stream_jvp",
]

Array = jax.Array


def sig_join(
    sig: Array, displacement: Array, *, dimension: int, degree: int, prepend: bool
) -> Array:
    """Signature with one straight segment appended, or prepended."""
    levels, scalar_term = _levels(sig, dimension, degree)
    out = [
        levels[n - 1] + _outer(_chain(levels, displacement, n, prepend)[-1], displacement, prepend)
        for n in range(1, degree + 1)
    ]
    return _join_levels(out, displacement, scalar_term, scalar=1)


def sig_join_jvp(
    sig_lower: Array,
    displacement: Array,
    t_sig: Array,
    t_displacement: Array,
    *,
    dimension: int,
    degree: int,
    prepend: bool,
) -> Array:
    """Tangent of ``sig_join``, linear in ``t_sig`` and ``t_displacement``."""
    levels, _ = _levels(sig_lower, dimension, max(degree - 1, 0))
    t_levels, scalar_term = _levels(t_sig, dimension, degree)
    t_out = []
    for n in range(1, degree + 1):
        chain = _chain(levels, displacement, n, prepend)
        t_b = jnp.zeros_like(t_displacement[..., :1])
        for k in range(1, n + 1):
            t_product = _outer(t_b, displacement, prepend)
            t_product += _outer(chain[k - 1], t_displacement, prepend)
            t_b = t_levels[k - 1] + t_product / (n - k + 1)
        t_out.append(t_b)
    return _join_levels(t_out, t_displacement, scalar_term, scalar=0)


def sig_join_backprop(
    ct_out: Array,
    sig_lower: Array,
    displacement: Array,
    *,
    dimension: int,
    degree: int,
    prepend: bool,
) -> tuple[Array, Array]:
    """Cotangents of ``sig`` and ``displacement`` from the cotangent of ``sig_join``'s result."""
    levels, _ = _levels(sig_lower, dimension, max(degree - 1, 0))
    ct_levels, scalar_term = _levels(ct_out, dimension, degree)
    ct_sig = list(ct_levels)  # what the step k = n of each chain leaves there
    ct_displacement = jnp.zeros_like(displacement)
    for n in range(1, degree + 1):
        chain = _chain(levels, displacement, n, prepend)
        x = ct_levels[n - 1]
        for k in range(n, 0, -1):
            if k < n:
                ct_sig[k - 1] = ct_sig[k - 1] + x
            rows = _as_matrix(x, dimension, prepend)
            along_b, along_v = (-1, -2) if prepend else (-2, -1)
            b, v = jnp.expand_dims(chain[k - 1], along_v), jnp.expand_dims(displacement, along_b)
            ct_displacement = ct_displacement + jnp.sum(b * rows, along_b) / (n - k + 1)
            x = jnp.sum(rows * v, along_v) / (n - k + 1)
    return _join_levels(ct_sig, ct_out, scalar_term, scalar=0), ct_displacement


def sig_combine(sig1: Array, sig2: Array, *, dimension: int, degree: int) -> Array:
    """Signature of one path followed by another."""
    left, scalar_term = _levels(sig1, dimension, degree)
    right, _ = _levels(sig2, dimension, degree)
    out = [a + b + c for a, b, c in zip(left, right, _products(left, right, degree), strict=True)]
    return _join_levels(out, sig1, scalar_term, scalar=1)


def sig_combine_jvp(
    sig1_lower: Array,
    sig2_lower: Array,
    t_sig1: Array,
    t_sig2: Array,
    *,
    dimension: int,
    degree: int,
) -> Array:
    """Tangent of ``sig_combine``, linear in ``t_sig1`` and ``t_sig2``."""
    left, _ = _levels(sig1_lower, dimension, max(degree - 1, 0))
    right, _ = _levels(sig2_lower, dimension, max(degree - 1, 0))
    t_left, scalar_term = _levels(t_sig1, dimension, degree)
    t_right, _ = _levels(t_sig2, dimension, degree)
    terms = (
        t_left,
        t_right,
        _products(t_left, right, degree),
        _products(left, t_right, degree),
    )
    t_out = [a + b + c + d for a, b, c, d in zip(*terms, strict=True)]
    return _join_levels(t_out, t_sig1, scalar_term, scalar=0)


def sig_combine_backprop(
    ct_out: Array, sig1_lower: Array, sig2_lower: Array, *, dimension: int, degree: int
) -> tuple[Array, Array]:
    """Cotangents of both signatures from the cotangent of ``sig_combine``'s result."""
    left, _ = _levels(sig1_lower, dimension, max(degree - 1, 0))
    right, _ = _levels(sig2_lower, dimension, max(degree - 1, 0))
    ct_levels, scalar_term = _levels(ct_out, dimension, degree)
    ct_left, ct_right = list(ct_levels), list(ct_levels)
    for n in range(2, degree + 1):
        for k in range(1, n):
            a, b, ct = left[k - 1], right[n - k - 1], ct_levels[n - 1]
            splits = ct.reshape(*ct.shape[:-1], a.shape[-1], b.shape[-1])
            ct_left[k - 1] = ct_left[k - 1] + jnp.sum(splits * b[..., None, :], -1)
            ct_right[n - k - 1] = ct_right[n - k - 1] + jnp.sum(splits * a[..., :, None], -2)
    ct_sig1 = _join_levels(ct_left, ct_out, scalar_term, scalar=0)
    return ct_sig1, _join_levels(ct_right, ct_out, scalar_term, scalar=0)


def sig_inverse(sig: Array, *, dimension: int, degree: int, linear: bool) -> Array:
    """The antipode: words backwards, with the sign of their length. A scalar term is a constant."""
    levels, scalar_term = _levels(sig, dimension, degree)
    lead = sig.shape[:-1]
    out = []
    for k, level in enumerate(levels, start=1):
        if dimension > 1:
            letters = level.reshape(*lead, *([dimension] * k))
            backwards = [*range(len(lead)), *reversed(range(len(lead), len(lead) + k))]
            level = letters.transpose(backwards).reshape(level.shape)
        out.append((-1) ** k * level)
    return _join_levels(out, sig, scalar_term, scalar=0 if linear else 1)


def sig(path: Array, *, degree: int, scalar_term: bool) -> Array:
    """Signature of piecewise linear paths (..., T, d): the fold of ``sig_join`` over the steps."""
    dimension = path.shape[-1]
    length = ta.layout_lengths(dimension, degree)[scalar_term]
    unit = _zeros(path[..., 0, :1], length)
    if scalar_term:
        unit = unit.at[..., 0].set(1)

    def step(running: Array, displacement: Array) -> tuple[Array, None]:
        joined = sig_join(running, displacement, dimension=dimension, degree=degree, prepend=False)
        return joined, None

    return jax.lax.scan(step, unit, _increments(path))[0]


def sig_jvp(path: Array, t_path: Array, *, degree: int, scalar_term: bool) -> Array:
    """Tangent of ``sig``: the tangents of the joins, carried along with the levels below N."""
    dimension = path.shape[-1]
    length = ta.layout_lengths(dimension, degree)[scalar_term]
    like = path[..., 0, :1] + t_path[..., 0, :1]
    static: dict[str, Any] = {"dimension": dimension, "prepend": False}

    def step(carry: tuple[Array, Array], steps: tuple[Array, Array]) -> tuple:
        (lower, t_sig), (displacement, t_displacement) = carry, steps
        t_sig = sig_join_jvp(lower, displacement, t_sig, t_displacement, degree=degree, **static)
        lower = sig_join(lower, displacement, degree=max(degree - 1, 0), **static)
        return (lower, t_sig), None

    carry = _zeros(like, ta.lower_length(dimension, degree)), _zeros(like, length)
    return jax.lax.scan(step, carry, (_increments(path), _increments(t_path)))[0][1]


def sig_backprop(
    ct_out: Array, path: Array, sig_lower: Array, *, degree: int, scalar_term: bool
) -> Array:
    """Cotangent of ``path``, with no prefix signature stored.

    The joins are undone from the last to the first: a segment appended is removed by appending its
    negative, so the prefix signatures come back one after another from the final one, and the
    cotangent of the running signature travels with them.
    """
    del scalar_term  # plain from the length of ct_out
    dimension = path.shape[-1]
    static: dict[str, Any] = {"dimension": dimension, "prepend": False}

    def step(carry: tuple[Array, Array], displacement: Array) -> tuple:
        ct_sig, lower = carry
        lower = sig_join(lower, -displacement, degree=max(degree - 1, 0), **static)
        ct_sig, ct = sig_join_backprop(ct_sig, lower, displacement, degree=degree, **static)
        return (ct_sig, lower), ct

    carry = ct_out, sig_lower
    ct_steps: Array = jax.lax.scan(step, carry, _increments(path), reverse=True)[1]
    return _to_points(ct_steps)


def sig_stream(
    initial: Array, path: Array, *, degree: int, scalar_term: bool, prepend: bool
) -> Array:
    """Running signatures of paths (..., T, d), continued from ``initial``: a row for each step.

    Prepending, the steps are taken from the last to the first, and so are the rows.
    """
    del scalar_term  # plain from the length of initial
    static: dict[str, Any] = {"dimension": path.shape[-1], "degree": degree, "prepend": prepend}

    def step(running: Array, displacement: Array) -> tuple[Array, Array]:
        joined = sig_join(running, displacement, **static)
        return joined, joined

    rows: Array = jax.lax.scan(step, initial, _increments(path), reverse=prepend)[1]
    return jnp.moveaxis(rows, 0, -2)


def sig_stream_jvp(
    initial_lower: Array,
    path: Array,
    t_initial: Array,
    t_path: Array,
    *,
    degree: int,
    scalar_term: bool,
    prepend: bool,
) -> Array:
    """Tangent of ``sig_stream``: as that of ``sig``, each step's kept."""
    del scalar_term
    static: dict[str, Any] = {"dimension": path.shape[-1], "prepend": prepend}

    def step(carry: tuple[Array, Array], steps: tuple[Array, Array]) -> tuple:
        (lower, t_sig), (displacement, t_displacement) = carry, steps
        t_sig = sig_join_jvp(lower, displacement, t_sig, t_displacement, degree=degree, **static)
        lower = sig_join(lower, displacement, degree=max(degree - 1, 0), **static)
        return (lower, t_sig), t_sig

    steps = _increments(path), _increments(t_path)
    rows: Array = jax.lax.scan(step, (initial_lower, t_initial), steps, reverse=prepend)[1]
    return jnp.moveaxis(rows, 0, -2)


def sig_stream_backprop(
    ct_out: Array,
    initial_lower: Array,
    path: Array,
    stream_lower: Array,
    *,
    degree: int,
    scalar_term: bool,
    prepend: bool,
) -> tuple[Array, Array]:
    """Cotangents of ``initial`` and ``path``, in one sweep against the steps.

    The cotangent of the running signature gains that of its row before it goes back through the
    join that made it; what that join started from is the row before.
    """
    del scalar_term
    static: dict[str, Any] = {"dimension": path.shape[-1], "degree": degree, "prepend": prepend}
    first = initial_lower[..., None, :]
    ends = (stream_lower[..., 1:, :], first) if prepend else (first, stream_lower[..., :-1, :])
    before = jnp.concatenate(ends, -2)[..., : stream_lower.shape[-2], :]

    def step(ct_sig: Array, row: tuple[Array, Array, Array]) -> tuple:
        g, lower, displacement = row
        return sig_join_backprop(ct_sig + g, lower, displacement, **static)

    rows = jnp.moveaxis(ct_out, -2, 0), jnp.moveaxis(before, -2, 0), _increments(path)
    zero = _zeros(path[..., 0, :1], ct_out.shape[-1])
    found: tuple[Array, Array] = jax.lax.scan(step, zero, rows, reverse=not prepend)
    return found[0], _to_points(found[1])


def _zeros(like: Array, length: int) -> Array:
    """Zeros for each of these (last axis 1), to lie and to vary over the mesh as they do."""
    return jnp.broadcast_to(jnp.zeros_like(like), (*like.shape[:-1], length))


def _to_points(ct_steps: Array) -> Array:
    """Cotangents of points from those of the segments, time in front.

    Every point but the outer two ends one segment and starts another, hence gets the difference of
    their cotangents.
    """
    ct_steps = pad(ct_steps, [(1, 1)] + [(0, 0)] * (ct_steps.ndim - 1))
    return jnp.moveaxis(ct_steps[:-1] - ct_steps[1:], 0, -2)


def _levels(flat: Array, dimension: int, degree: int) -> tuple[list[Array], bool]:
    """Levels 1..degree, and whether a scalar term stood in front of them."""
    scalar_term = ta.has_scalar_term(flat.shape[-1], dimension, degree)
    slices = ta.level_slices(dimension, degree, scalar_term=scalar_term)
    return [flat[..., s] for s in slices], scalar_term


def _join_levels(levels: list[Array], like: Array, scalar_term: bool, scalar: int) -> Array:
    """Levels back in one array. Constants come out of ``like``, to vary over its mesh axes."""
    if scalar_term:
        levels = [jnp.full_like(like[..., :1], scalar), *levels]
    if not levels:
        levels = [jnp.zeros_like(like[..., :0])]
    return jnp.concatenate(levels, -1)


def _chain(levels: list[Array], displacement: Array, n: int, prepend: bool) -> list[Array]:
    """B_0, ..., B_{n-1} of level n; see the top of this file."""
    chain = [jnp.ones_like(displacement[..., :1])]
    for k in range(1, n):
        product = _outer(chain[-1], displacement / (n - k + 1), prepend)
        chain.append(levels[k - 1] + product)
    return chain


def _outer(tensor: Array, vector: Array, prepend: bool) -> Array:
    """Product tensor ⊗ vector, or vector ⊗ tensor, flat."""
    left, right = (vector, tensor) if prepend else (tensor, vector)
    product = left[..., :, None] * right[..., None, :]
    return product.reshape(*product.shape[:-2], tensor.shape[-1] * vector.shape[-1])


def _products(left: list[Array], right: list[Array], degree: int) -> list[Any]:
    """For each level the sum of left ⊗ right over all splits into two levels that are not 0."""
    return [
        sum(_outer(left[k - 1], right[n - k - 1], False) for k in range(1, n))
        for n in range(1, degree + 1)
    ]


def _as_matrix(flat: Array, dimension: int, prepend: bool) -> Array:
    """A level with the letter that the displacement went to on an axis of its own."""
    rest = flat.shape[-1] // dimension
    return flat.reshape(*flat.shape[:-1], *((dimension, rest) if prepend else (rest, dimension)))


def _increments(path: Array) -> Array:
    """Displacements of the segments, time in front."""
    return jnp.moveaxis(path[..., 1:, :] - path[..., :-1, :], -2, 0)
