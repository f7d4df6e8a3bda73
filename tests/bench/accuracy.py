"""Rounding: float64 against rational arithmetic, float32 against float64."""

from fractions import Fraction
from typing import Any

import cases
import numpy as np
import oracle
import peers
from cases import Join
from report import NOTHING, Table, error_at_most

import jax_siglib


def tables(joins: list[Join]) -> list[Table]:
    """Errors of numpy calls; what JAX programs run is the same kernel."""
    return [_against_exact(), _against_float64(joins)]


def _against_exact() -> Table:
    limit = cases.EXACT_ERROR
    table = Table(
        "float64 against exact rationals",
        ["B, d, N", "prepend", "sig_join", "d_sig", "d_displacement"],
        notes=["relative to the largest entry of the level; d_displacement to its norm"],
    )
    for case in cases.EXACT:
        for prepend in (False, True):
            statics: dict[str, Any] = cases.keywords(case) | {"prepend": prepend}
            sig, step, ct = (x[0] for x in case.operands("float64"))
            rational = [np.array([Fraction(x) for x in y.tolist()]) for y in (sig, step, ct)]
            out = jax_siglib.sig_join(sig, step, **statics)
            d_sig, d_step = jax_siglib.sig_join_backprop(ct, sig, step, **statics)
            size = (case.dimension, case.degree, prepend)
            exact_out = oracle.sig_join(*rational[:2], *size)
            exact_d_sig, exact_d_step = oracle.sig_join_backprop(
                rational[2], rational[0], rational[1], *size
            )
            errors = [
                _level_error(_minus(out, exact_out), exact_out, case),
                _level_error(_minus(d_sig, exact_d_sig), exact_d_sig, case),
                _norm_error(_minus(d_step, exact_d_step), exact_d_step),
            ]
            table.add(
                [case.label, str(prepend), *(error_at_most(x, limit) for x in errors)],
                size=case.label,
                prepend=prepend,
                errors=errors,
            )
    return table


def _against_float64(joins: list[Join]) -> Table:
    table = Table(
        "float32 against float64, worse of append and prepend",
        [
            *("B, d, N", "sig_join", "d_sig", "d_displacement"),
            *("pysiglib: sig_join", "d_sig", "d_displacement"),
        ],
        notes=[
            "sig_join and d_sig relative to the largest entry of the level in the same batch"
            " element, d_displacement to its norm there; the worst of the batch",
            "operands uniform on [-1, 1]; float64 starts from the same float32 numbers",
        ],
    )
    for case in joins:
        own = _float32_errors(jax_siglib, case)
        limits = [
            cases.FLOAT32_LEVEL_ERROR,
            cases.FLOAT32_LEVEL_ERROR,
            cases.FLOAT32_DISPLACEMENT_ERROR.get(case.label),
        ]
        cells = [error_at_most(x, y) for x, y in zip(own, limits, strict=True)]
        theirs = None if peers.pysiglib is None else _float32_errors(peers.pysiglib, case)
        cells += [NOTHING] * 3 if theirs is None else [error_at_most(x, None) for x in theirs]
        table.add([case.label, *cells], size=case.label, errors=own, pysiglib=theirs)
    return table


def _float32_errors(library: Any, case: Join) -> list[float]:
    """Of sig_join, d_sig and d_displacement; what is right comes from jax_siglib in float64."""
    narrow = case.operands("float32")
    worst = [0.0, 0.0, 0.0]
    for prepend in (False, True):
        statics: dict[str, Any] = cases.keywords(case) | {"prepend": prepend}
        found, wanted = (
            (
                lib.sig_join(x[0], x[1], **statics),
                *lib.sig_join_backprop(x[2], x[0], x[1], **statics),
            )
            for lib, x in (
                (library, narrow),
                (jax_siglib, tuple(x.astype(np.float64) for x in narrow)),
            )
        )
        errors = [
            *(_level_error(a - b, b, case) for a, b in zip(found[:2], wanted[:2], strict=True)),
            _norm_error(found[2] - wanted[2], wanted[2]),
        ]
        worst = [max(pair) for pair in zip(worst, errors, strict=True)]
    return worst


def _minus(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The error, rounded only after the subtraction."""
    pairs = zip(found.tolist(), wanted, strict=True)
    return np.array([float(Fraction(x) - y) for x, y in pairs])


def _level_error(error: Any, wanted: Any, case: Join) -> float:
    error, wanted = np.abs(np.asarray(error, float)), np.abs(np.asarray(wanted, float))
    levels = oracle.level_slices(case.dimension, case.degree, scalar_term=False)
    return max(float((error[..., s].max(-1) / wanted[..., s].max(-1)).max()) for s in levels)


def _norm_error(error: Any, wanted: Any) -> float:
    error, wanted = (np.linalg.norm(np.asarray(x, float), axis=-1) for x in (error, wanted))
    return float((error / wanted).max())
