"""Whether what is installed computes what it should: the check that ``jax-siglib`` ends with.

It holds every function that a kernel serves, called on numpy arrays and from within jitted JAX
programs, against the reference evaluated in float64. Three kernels serve derivatives alone, the
tangent and the hvp of streams and the hvp of products: those are left to the tests.
"""

from typing import Any

import jax
import numpy as np

from jax_siglib._self_check_cases import TOLERANCES, Case, cases, exactly

__all__ = ["check"]


def check() -> int:
    """Run all cases, print what came of it; return 0 if they agree, else 1."""
    print("\nCheck against the reference in float64")
    failed: list[str] = []
    worst: dict[str, float] = {}
    count = 0
    for case in cases():
        exact = exactly(case.reference, case.reference_operands, case.batch)
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
    for kind, by_dtype in TOLERANCES.items():
        limits = ", ".join(f"{limit:.3g} in {dtype}" for dtype, limit in by_dtype.items())
        print(f"  tolerated of the scale of a level, {kind}: {limits}")
    for line in failed:
        print(f"  FAILED {line}")
    print(f"{count - len(failed)} of {count} cases agree")
    return 1 if failed else 0


def _error(case: Case, way: str, exact: Any) -> float:
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
