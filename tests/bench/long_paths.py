"""Rounding on long paths: float32 against float64."""

import functools

import cases
import numpy as np
from report import Table, error_at_most

import jax_siglib


def tables() -> list[Table]:
    """Errors of numpy calls."""
    table = Table(
        f"float32 paths of {cases.LONG_POINTS} points against float64",
        ["path", "B, d, N", "sig", "sig_backprop", "sig_hvp"],
        notes=[
            "norm of the error relative to the norm, the worst of the batch; float64 starts from"
            " the same float32 numbers",
            "walk: normal steps; line: to a random point, with a tenth of such a walk on it; waves:"
            " sines, each coordinate with a frequency of its own, where what the points get are"
            " differences, a millionth as large, of what the steps get; closed: the same of whole"
            " periods",
        ],
    )
    closed = functools.partial(_waves, whole=True)
    draws = {"walk": _walk, "line": _line, "waves": _waves, "closed": closed}
    for kind, draw in draws.items():
        for batch, dimension, degree in cases.LONG_SIZES:
            random = np.random.default_rng(cases.SEED)
            path = draw(random, batch, cases.LONG_POINTS, dimension)
            errors = _errors(path.astype(np.float32), degree, random)
            limits = [None, cases.LONG_ERROR, None]
            label = f"{batch}, {dimension}, {degree}"
            cells = [error_at_most(x, limit) for x, limit in zip(errors, limits, strict=True)]
            table.add([kind, label, *cells], path=kind, size=label, errors=errors)
    return [table]


def _walk(random: np.random.Generator, *shape: int) -> np.ndarray:
    return np.cumsum(random.normal(0, shape[1] ** -0.5, shape), axis=1)


def _line(random: np.random.Generator, *shape: int) -> np.ndarray:
    end = random.uniform(-1, 1, (shape[0], 1, shape[2]))
    return np.linspace(0, 1, shape[1])[:, None] * end + _walk(random, *shape) / 10


def _waves(random: np.random.Generator, *shape: int, whole: bool = False) -> np.ndarray:
    frequency, phase = (random.uniform(0, x, (shape[0], 1, shape[2])) for x in (20, 2 * np.pi))
    if whole:
        frequency = np.ceil(frequency)
    return np.sin(2 * np.pi * frequency * np.linspace(0, 1, shape[1])[:, None] + phase) / 2


def _errors(path: np.ndarray, degree: int, random: np.random.Generator) -> list[float]:
    length = jax_siglib.sig_length(path.shape[-1], degree)
    ct = random.uniform(-1, 1, (len(path), length)).astype(np.float32)
    t_path = random.uniform(-1, 1, path.shape).astype(np.float32)
    found, wanted = (
        _results(*(x.astype(dtype) for x in (path, t_path, ct)), degree)
        for dtype in (np.float32, np.float64)
    )
    return [_error(a, b) for a, b in zip(found, wanted, strict=True)]


def _results(path: np.ndarray, t_path: np.ndarray, ct: np.ndarray, degree: int) -> list[np.ndarray]:
    sig = jax_siglib.sig(path, degree)
    return [
        sig,
        jax_siglib.sig_backprop(path, sig, ct, degree),
        jax_siglib.sig_hvp(path, t_path, ct, degree),
    ]


def _error(found: np.ndarray, wanted: np.ndarray) -> float:
    error, size = (
        np.linalg.norm(x.reshape(len(x), -1), axis=1)
        for x in (found.astype(np.float64) - wanted, wanted)
    )
    return float((error / size).max())
