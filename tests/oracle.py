"""Every operation by its definition, word by word; shares no line and no scheme with the package.

Levels are multiplied out with exp(v) formed in full, S ⊗ exp(v) = sum of S_{n-m} ⊗ v^m/m!, where
the package nests (Horner). Derivatives are those of each such term. Written for numpy arrays of any
number type: with ``fractions.Fraction`` (dtype object) the results are exact. One signature or one
path at a time, the scalar term wherever the operands have it.
"""

from fractions import Fraction
from functools import cache
from math import factorial

import numpy as np


@cache
def length(d, degree, scalar_term=False):
    return sum(d**k for k in range(0 if scalar_term else 1, degree + 1))


@cache
def level_slices(d, degree, scalar_term):
    """Slices of levels (0 if it is there, and) 1..degree."""
    ends = [length(d, k, scalar_term) for k in range(degree + 1)]
    first = [slice(0, 1)] if scalar_term else []
    return (*first, *(slice(a, b) for a, b in zip(ends[:-1], ends[1:], strict=True)))


def _number(value, like):
    return Fraction(value) if like.dtype == object else like.dtype.type(value)


def _levels(flat, d, degree, scalar):
    """Levels 0..degree, ``scalar`` at level 0 whatever the operand holds there."""
    scalar_term = flat.size != length(d, degree)
    levels = [flat[s] for s in level_slices(d, degree, scalar_term)]
    return [np.full(1, _number(scalar, flat), flat.dtype)] + levels[int(scalar_term) :]


def _flat(levels, like):
    """Levels in the layout of ``like``."""
    out = np.concatenate(levels)
    return out[out.size - like.size :]


def _powers(v, degree):
    """v^{⊗m} for m = 0..degree."""
    out = [np.full(1, _number(1, v), v.dtype)]
    for _ in range(degree):
        out.append(np.multiply.outer(out[-1], v).ravel())
    return out


def _product(left, right, prepend):
    """Left ⊗ right, or right ⊗ left, flat."""
    return np.multiply.outer(*((right, left) if prepend else (left, right))).ravel()


def _exp(v, degree):
    """v^{⊗m} / m! for m = 0..degree."""
    return [power / factorial(m) for m, power in enumerate(_powers(v, degree))]


def sig_join(sig, v, d, degree, prepend=False):
    s, exp = _levels(sig, d, degree, 1), _exp(v, degree)
    out = [
        sum(_product(s[n - m], exp[m], prepend) for m in range(n + 1)) for n in range(degree + 1)
    ]
    return _flat(out, sig)


def sig_join_jvp(sig, v, t_sig, t_v, d, degree, prepend=False):
    s, t_s, power = _levels(sig, d, degree, 1), _levels(t_sig, d, degree, 0), _powers(v, degree)
    exp = _exp(v, degree)
    # d(v⊗...⊗v): the tangent in the place of each factor in turn.
    t_exp = [power[0] * _number(0, v)] + [
        sum(_product(_product(power[a], t_v, False), power[m - 1 - a], False) for a in range(m))
        / factorial(m)
        for m in range(1, degree + 1)
    ]
    out = []
    for n in range(degree + 1):
        level = _product(t_s[n], power[0], prepend)
        for m in range(1, n + 1):
            moved = _product(t_s[n - m], exp[m], prepend) + _product(s[n - m], t_exp[m], prepend)
            level = level + moved
        out.append(level)
    return _flat(out, t_sig)


def sig_join_backprop(g, sig, v, d, degree, prepend=False):
    s, gs, power = _levels(sig, d, degree, 1), _levels(g, d, degree, 0), _powers(v, degree)
    ct_s = [level * _number(0, v) for level in s]
    ct_v = v * _number(0, v)
    for m in range(degree + 1):
        x = 0  # the cotangent of v^{⊗m}
        for n in range(max(m, 1), degree + 1):
            rows = gs[n].reshape((d**m, -1) if prepend else (-1, d**m))
            rows = (rows.T if prepend else rows) / factorial(m)  # word of S, word of v^m
            if n > m:  # the scalar term is a constant
                ct_s[n - m] = ct_s[n - m] + rows @ power[m]
            x = x + s[n - m] @ rows
        for a in range(m):
            ct_v = ct_v + (power[a] @ x.reshape(d**a, -1)).reshape(d, -1) @ power[m - 1 - a]
    return _flat(ct_s, sig), ct_v


def sig_combine(sig1, sig2, d, degree):
    s, t = _levels(sig1, d, degree, 1), _levels(sig2, d, degree, 1)
    return _flat(_tensor_product(s, t), sig1)


def _tensor_product(s, t):
    return [sum(_product(s[k], t[n - k], False) for k in range(n + 1)) for n in range(len(s))]


def sig_combine_jvp(sig1, sig2, t_sig1, t_sig2, d, degree):
    s, t = _levels(sig1, d, degree, 1), _levels(sig2, d, degree, 1)
    t_s, t_t = _levels(t_sig1, d, degree, 0), _levels(t_sig2, d, degree, 0)
    halves = zip(_tensor_product(t_s, t), _tensor_product(s, t_t), strict=True)
    return _flat([a + b for a, b in halves], t_sig1)


def sig_combine_backprop(g, sig1, sig2, d, degree):
    s, t = _levels(sig1, d, degree, 1), _levels(sig2, d, degree, 1)
    gs = _levels(g, d, degree, 0)
    ct_s, ct_t = ([level * _number(0, g) for level in levels] for levels in (s, t))
    for n in range(1, degree + 1):
        for k in range(n + 1):
            splits = gs[n].reshape(d**k, -1)
            if k > 0:  # the scalar term is a constant
                ct_s[k] = ct_s[k] + splits @ t[n - k]
            if k < n:
                ct_t[n - k] = ct_t[n - k] + s[k] @ splits
    return _flat(ct_s, g), _flat(ct_t, g)


def sig_inverse(sig, d, degree):
    levels = _levels(sig, d, degree, 1)
    out = [level.copy() for level in levels]
    for k in range(1, degree + 1):
        for word in range(d**k):
            letters = [word // d**i % d for i in range(k)]  # from the last to the first
            backwards = sum(letter * d ** (k - 1 - i) for i, letter in enumerate(letters))
            out[k][backwards] = (-1) ** k * levels[k][word]
    return _flat(out, sig)


def _unit(path, degree, scalar_term):
    unit = np.full(length(path.shape[1], degree, scalar_term), _number(0, path), path.dtype)
    if scalar_term:
        unit[0] = _number(1, path)
    return unit


def sig(path, degree, scalar_term=False):
    out = _unit(path, degree, scalar_term)
    for v in path[1:] - path[:-1]:
        out = sig_join(out, v, path.shape[1], degree)
    return out


def sig_jvp(path, t_path, degree, scalar_term=False):
    d = path.shape[1]
    out = _unit(path, degree, scalar_term)
    t_out = out * _number(0, path)
    for v, t_v in zip(path[1:] - path[:-1], t_path[1:] - t_path[:-1], strict=True):
        t_out = sig_join_jvp(out, v, t_out, t_v, d, degree)
        out = sig_join(out, v, d, degree)
    return t_out


def sig_backprop(path, g, degree):
    """From the path alone: every prefix signature is kept, none undone."""
    d = path.shape[1]
    prefixes, steps = [_unit(path, degree, g.size != length(d, degree))], path[1:] - path[:-1]
    for v in steps:
        prefixes.append(sig_join(prefixes[-1], v, d, degree))
    ct_path = path * _number(0, path)
    for t in reversed(range(len(steps))):
        g, ct_v = sig_join_backprop(g, prefixes[t], steps[t], d, degree)
        ct_path[t + 1] += ct_v
        ct_path[t] -= ct_v
    return ct_path


def sig_stream(path, initial, degree, prepend=False):
    """A row for each step, continued from ``initial`` and in its layout."""
    steps, rows = path[1:] - path[:-1], []
    for v in steps[::-1] if prepend else steps:
        rows.append(sig_join(rows[-1] if rows else initial, v, path.shape[1], degree, prepend))
    shape = (len(steps), initial.size)
    return np.array(rows[::-1] if prepend else rows, path.dtype).reshape(shape)


def sig_stream_backprop(path, initial, g, degree, prepend=False):
    """Each row's cotangent carried back to the beginning by itself, and all added up."""
    d, steps = path.shape[1], path[1:] - path[:-1]
    order = range(len(steps))[::-1] if prepend else range(len(steps))
    rows = sig_stream(path, initial, degree, prepend)
    ct_path, ct_initial = path * _number(0, path), initial * _number(0, initial)
    for last in range(len(steps)):
        ct = g[order[last]]
        for i in range(last, -1, -1):
            before = rows[order[i - 1]] if i else initial
            ct, ct_v = sig_join_backprop(ct, before, steps[order[i]], d, degree, prepend)
            ct_path[order[i] + 1] += ct_v
            ct_path[order[i]] -= ct_v
        ct_initial = ct_initial + ct
    return ct_path, ct_initial


# Second order: the functions above run as they are on x + e t with e * e = 0, and what they give
# with e is the derivative along t. Exact numbers are Duals; for floats e is i * EPSILON, whose
# square vanishes beside 1.
EPSILON = 2.0**-400


class Dual:
    """A number x + e t."""

    def __init__(self, x, t):
        self.x, self.t = x, t

    def __add__(self, other):
        other = _dual(other)
        return Dual(self.x + other.x, self.t + other.t)

    def __sub__(self, other):
        return self + -1 * _dual(other)

    def __mul__(self, other):
        other = _dual(other)
        return Dual(self.x * other.x, self.x * other.t + self.t * other.x)

    def __truediv__(self, number):
        return Dual(self.x / number, self.t / number)

    __radd__, __rmul__ = __add__, __mul__


def _dual(number):
    return number if isinstance(number, Dual) else Dual(number, 0)


def _along(x, t_x):
    """The array x + e t_x."""
    if x.dtype == object:
        return np.frompyfunc(Dual, 2, 1)(x, t_x)
    return x + 1j * EPSILON * t_x


def _tangent(duals, like):
    """What the array's entries have with e; constants have nothing."""
    if duals.dtype != object:
        return (duals.imag / EPSILON).astype(like.dtype)
    return np.array([_dual(x).t for x in duals.ravel()], object).reshape(duals.shape)


def sig_join_hvp(g, sig, v, t_sig, t_v, d, degree, prepend=False):
    """The derivative of sig_join_backprop along (t_sig, t_v)."""
    zero = g * _number(0, g)
    moved = _along(g, zero), _along(sig, t_sig), _along(v, t_v)
    ct_sig, ct_v = sig_join_backprop(*moved, d, degree, prepend)
    return _tangent(ct_sig, sig), _tangent(ct_v, v)


def sig_hvp(path, t_path, g, degree):
    """The derivative of sig_backprop along t_path."""
    moved = _along(path, t_path), _along(g, g * _number(0, g))
    return _tangent(sig_backprop(*moved, degree), path)


def transform(path, time_aug=False, lead_lag=False, end_time=1, basepoint=None):
    """The points of the transformed path, one after another."""
    points = [list(x) for x in path]
    if basepoint is not None:
        points.insert(0, list(basepoint))
    if lead_lag:
        moved = [points[0] + points[0]]
        for before, after in zip(points[:-1], points[1:], strict=True):
            moved += [before + after, after + after]
        points = moved
    if time_aug:
        steps = max(len(points) - 1, 1)
        end = Fraction(end_time)
        points = [x + [_number(end * t / steps, path)] for t, x in enumerate(points)]
    return np.array(points, path.dtype)


def transform_backprop(g, path, **how):
    """Each coordinate of each point gets what the whole moves with it: the map is affine."""
    zero = path * _number(0, path)
    still, ct_path = transform(zero, **how), zero.copy()
    for at in np.ndindex(path.shape):
        unit = zero.copy()
        unit[at] = _number(1, path)
        ct_path[at] = np.sum((transform(unit, **how) - still) * g)
    return ct_path


def linear_sig(v, degree, scalar_term=False):
    out = np.concatenate(_exp(v, degree))
    return out if scalar_term else out[1:]
