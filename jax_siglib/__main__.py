"""``jax-siglib`` and ``python -m jax_siglib``: what is installed, what serves what, a check.

The check holds every kernel, called on numpy arrays and from within jitted JAX programs, against
the reference evaluated in float64. The exit status is 0 only if all agree.
"""

import functools
import itertools
import platform
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jaxlib
import numpy as np

import jax_siglib
from jax_siglib import (
    _primitive,
    _reference,
    _sig,
    _sig_combine,
    _sig_inverse,
    _sig_join,
    _sig_stream,
)
from jax_siglib import _tensor_algebra as ta
from jax_siglib._native import ext, ext_cuda, without_cuda

# Largest error allowed, relative to the largest entry of the level (or, for what has no levels, of
# the whole): float64 rounds at 1e-16, float32 at 6e-8, and a path adds up what its joins round.
# Half precision is computed in float32 and rounded once, at 2^-11 (float16) or 2^-8 (bfloat16).
_TOLERANCES = {
    "join": {"float64": 1e-13, "float32": 2e-6, "float16": 4.91e-4, "bfloat16": 3.91e-3},
    "path": {"float64": 1e-12, "float32": 2e-5, "float16": 5.09e-4, "bfloat16": 3.93e-3},
}
_SEED = 2025
_SIZES = [(1, 3), (2, 5), (3, 4), (5, 3), (10, 2), (17, 3), (3, 0), (4, 1)]  # dimension, degree


def main() -> int:
    """Report, run the example, check; return the exit status."""
    _report()
    _example()
    return _check()


def _report() -> None:
    print(f"jax_siglib {jax_siglib.__version__}")
    print(f"  jax {jax.__version__}, jaxlib {jaxlib.__version__}, numpy {np.__version__}")
    print(f"  Python {platform.python_version()} on {platform.platform()}")
    usable = ", ".join(ext.instruction_sets())
    print("\nKernels")
    print(f"  instruction set  {ext.instruction_set()} (usable here: {usable})")
    print(f"  threads          up to {ext.max_threads()}")
    rate = jax_siglib.multiply_add_rate()
    print(f"  multiply-adds    at most {rate:.2g} a second on a thread, in float32 (see sig_cost)")
    print(f"  XLA FFI          {'.'.join(map(str, ext.ffi_api_version()))}")
    _report_cuda()
    served = _primitive.served()
    modules = _sig_join, _sig, _sig_combine, _sig_stream
    names = [primitive.name for module in modules for primitive in module.OPERATION]
    names.append(_sig_inverse.PRIMITIVE.name)
    print("\nWhat serves which platform")
    for name in names:
        for where, targets in served.items():
            kernel = f"jax_siglib_{name}_v1" in targets
            ours = {"cpu": f"C++ kernel ({ext.instruction_set()})", "cuda": "CUDA kernel"}[where]
            by = ours if kernel else "plain jax.numpy reference"
            print(f"  {name:26} {where:6} {by}")
        print(f"  {'':26} other  plain jax.numpy reference")
    print("\nDevices here")
    for device in jax.devices():
        is_cuda = device.platform == "gpu" and "cuda" in device.client.platform_version.lower()
        by = "kernels" if served.get("cuda" if is_cuda else device.platform) else "reference"
        print(f"  {device} ({device.device_kind}), served by {by}")


def _report_cuda() -> None:
    if ext_cuda is None:
        print(f"  CUDA             {without_cuda}")
        return
    toolkit = ".".join(map(str, ext_cuda.toolkit()))
    print(f"  CUDA             built with CUDA {toolkit} for {ext_cuda.architectures()}")
    gpus, problem = ext_cuda.devices()
    for gpu in gpus:
        print(f"  GPU              {gpu}")
    if not gpus:
        print(f"  GPU              none: {problem or 'no device'}")


def _example() -> None:
    dimension, degree = 5, 3
    path = np.random.default_rng(_SEED).uniform(size=(100, dimension))
    step = np.random.default_rng(_SEED + 1).uniform(size=(dimension,))
    signature = jax_siglib.sig(path, degree)
    extended = jax_siglib.sig_join(signature, step, dimension, degree)
    d_sig, d_step = jax_siglib.sig_join_backprop(
        np.ones_like(extended), signature, step, dimension, degree
    )
    print(f"\nExample: a path of 100 points in {dimension} dimensions, degree {degree}")
    for name, array in (
        ("path", path),
        ("sig(path)", signature),
        ("displacement", step),
        ("sig_join", extended),
        ("d_sig", d_sig),
        ("d_displacement", d_step),
    ):
        head = np.array2string(array.ravel()[:5], precision=6, suppress_small=True)
        print(f"  {name:15} {array.shape!s:10} {head}")


class _Case(NamedTuple):
    """One operation on one set of operands."""

    name: str
    call: Callable[..., Any]
    operands: tuple[np.ndarray, ...]
    reference: Callable[..., Any]
    reference_operands: tuple[np.ndarray, ...]
    sections: list[list[slice]]  # of each result: what its errors are measured relative to
    tolerance: float


def _check() -> int:
    print("\nCheck against the reference in float64")
    failed: list[str] = []
    worst: dict[str, float] = {}
    count = 0
    for case in _cases():
        with jax.enable_x64(True):
            wide = (x.astype(np.float64) for x in case.reference_operands)
            exact = jax.jit(case.reference)(*wide)
        for way in ("numpy", "jax.jit"):
            name, count = f"{case.name} {way}", count + 1
            try:
                error = _error(case, way, exact)
                verdict = f"error {error:.2e}, at most {case.tolerance:.2e}"
            except Exception as raised:  # whatever it is, this case is not in order
                error, verdict = float("nan"), f"{type(raised).__name__}: {raised}"
            if error <= case.tolerance:  # not so of a NaN
                operation = case.name.split(" ")[0]
                worst[operation] = max(worst.get(operation, 0.0), error / case.tolerance)
            else:
                failed.append(f"{name}: {verdict}")
    for operation, share in worst.items():
        print(f"  {operation:20} largest error {share:6.1%} of what is tolerated")
    for kind, by_dtype in _TOLERANCES.items():
        limits = ", ".join(f"{limit:.3g} in {dtype}" for dtype, limit in by_dtype.items())
        print(f"  tolerated of the scale of a level, {kind}: {limits}")
    for line in failed:
        print(f"  FAILED {line}")
    print(f"{count - len(failed)} of {count} cases agree")
    return 1 if failed else 0


def _error(case: _Case, way: str, exact: Any) -> float:
    """Largest error over all results and sections, relative to each section's scale."""
    with jax.enable_x64(True):
        call = jax.jit(case.call) if way == "jax.jit" else case.call
        found = call(*case.operands)
    worst = 0.0
    found, exact = (x if isinstance(x, tuple) else (x,) for x in (found, exact))
    for ours, theirs, sections in zip(found, exact, case.sections, strict=True):
        ours, theirs = np.asarray(ours), np.asarray(theirs)
        if ours.shape != theirs.shape or ours.dtype != case.operands[0].dtype:
            raise AssertionError(f"{ours.dtype}{ours.shape} instead of {theirs.shape}")
        for section in sections:
            a, b = ours[..., section].astype(np.float64), theirs[..., section]
            if b.size:
                scale = max(float(np.max(np.abs(b))), float(np.finfo(b.dtype).tiny))
                worst = float(np.maximum(worst, np.max(np.abs(a - b)) / scale))
    return worst


def _cases() -> Iterator[_Case]:
    # Options are dealt out over the sizes, not multiplied with them: all appear, and it is quick.
    options = itertools.cycle(itertools.product((False, True), (False, True), ((), (3,), (2, 2))))
    halves = itertools.cycle(("float16", "bfloat16"))
    dtypes = itertools.cycle(_TOLERANCES["join"])
    layouts = itertools.cycle(itertools.product((False, True), ((), (3,), (2, 2))))
    random = np.random.default_rng(_SEED)
    for dimension, degree in _SIZES:
        for dtype in ("float32", "float64", next(halves)):
            for _ in range(2):
                prepend, scalar_term, batch = next(options)
                yield from _join_cases(
                    random, dimension, degree, dtype, prepend, scalar_term, batch
                )
            yield from _path_cases(random, dimension, degree, dtype, scalar_term, batch)
        yield from _product_cases(random, dimension, degree, next(dtypes), *next(layouts))


def _join_cases(
    random: np.random.Generator,
    dimension: int,
    degree: int,
    dtype: str,
    prepend: bool,
    scalar_term: bool,
    batch: tuple[int, ...],
) -> Iterator[_Case]:
    length = ta.layout_lengths(dimension, degree)[scalar_term]
    sig, t_sig, ct_out = _numbers(random, 3, (*batch, length), dtype)
    step, t_step = _numbers(random, 2, (*batch, dimension), dtype)
    lower = ta.lower(sig, dimension, degree)
    levels, whole = _levels(dimension, degree, scalar_term), [slice(None)]
    static: dict[str, Any] = {"dimension": dimension, "degree": degree, "prepend": prepend}
    label = f"{dimension=} {degree=} {dtype} {prepend=} {scalar_term=} {batch=}"
    for call, operands, reference_operands, sections in (
        (_sig_join.sig_join, (sig, step), (sig, step), [levels]),
        (
            _sig_join.sig_join_jvp,
            (sig, step, t_sig, t_step),
            (lower, step, t_sig, t_step),
            [levels],
        ),
        (_sig_join.sig_join_backprop, (ct_out, sig, step), (ct_out, lower, step), [levels, whole]),
    ):
        yield _Case(
            f"{call.__name__} {label}",
            functools.partial(call, **static),
            operands,
            functools.partial(getattr(_reference, call.__name__), **static),
            reference_operands,
            sections,
            _TOLERANCES["join"][dtype],
        )


def _product_cases(
    random: np.random.Generator,
    dimension: int,
    degree: int,
    dtype: str,
    scalar_term: bool,
    batch: tuple[int, ...],
) -> Iterator[_Case]:
    length = ta.layout_lengths(dimension, degree)[scalar_term]
    sig1, sig2, t_sig1, t_sig2, ct_out = _numbers(random, 5, (*batch, length), dtype)
    lower = tuple(ta.lower(x, dimension, degree) for x in (sig1, sig2))
    levels = _levels(dimension, degree, scalar_term)
    static: dict[str, Any] = {"dimension": dimension, "degree": degree}
    label = f"{dimension=} {degree=} {dtype} {scalar_term=} {batch=}"
    inverse = functools.partial(_reference.sig_inverse, linear=False)
    tangents = t_sig1, t_sig2
    for call, reference, operands, reference_operands in (
        (_sig_combine.sig_combine, _reference.sig_combine, (sig1, sig2), (sig1, sig2)),
        (
            _sig_combine.sig_combine_jvp,
            _reference.sig_combine_jvp,
            (sig1, sig2, *tangents),
            (*lower, *tangents),
        ),
        (
            _sig_combine.sig_combine_backprop,
            _reference.sig_combine_backprop,
            (ct_out, sig1, sig2),
            (ct_out, *lower),
        ),
        (_sig_inverse.sig_inverse, inverse, (sig1,), (sig1,)),
    ):
        yield _Case(
            f"{call.__name__} {label}",
            functools.partial(call, **static),
            operands,
            functools.partial(reference, **static),
            reference_operands,
            [levels, levels] if call is _sig_combine.sig_combine_backprop else [levels],
            _TOLERANCES["join"][dtype],
        )


def _path_cases(
    random: np.random.Generator,
    dimension: int,
    degree: int,
    dtype: str,
    scalar_term: bool,
    batch: tuple[int, ...],
) -> Iterator[_Case]:
    path, t_path = _numbers(random, 2, (*batch, 9, dimension), dtype)
    static: dict[str, Any] = {"degree": degree, "scalar_term": scalar_term}
    sig = _sig.sig(path, **static)  # checked itself, one line below
    (ct_out,) = _numbers(random, 1, sig.shape, dtype)
    # Rounded to half precision sig is not near enough to the signature to take steps off it.
    lower = ta.lower(_sig.sig(path.astype("float64"), **static), dimension, degree)
    label = f"{dimension=} {degree=} {dtype} {scalar_term=} {batch=}"
    levels, whole = _levels(dimension, degree, scalar_term), [slice(None)]
    for call, operands, reference_operands, sections in (
        (_sig.sig, (path,), (path,), [levels]),
        (_sig.sig_jvp, (path, t_path), (path, t_path), [levels]),
        (_sig.sig_backprop, (path, sig, ct_out), (ct_out, path, lower), [whole]),
    ):
        # The layout is known to sig_backprop from its operands.
        keywords = {"degree": degree} if call is _sig.sig_backprop else static
        yield _Case(
            f"{call.__name__} {label}",
            functools.partial(call, **keywords),
            operands,
            functools.partial(getattr(_reference, call.__name__), **static),
            reference_operands,
            sections,
            _TOLERANCES["path"][dtype],
        )


def _levels(dimension: int, degree: int, scalar_term: bool) -> list[slice]:
    scalar = [slice(0, 1)] if scalar_term else []
    return scalar + ta.level_slices(dimension, degree, scalar_term=scalar_term)


def _numbers(
    random: np.random.Generator, count: int, shape: tuple[int, ...], dtype: str
) -> list[np.ndarray]:
    return [random.uniform(-1, 1, shape).astype(dtype) for _ in range(count)]


if __name__ == "__main__":
    sys.exit(main())
