"""Scripts in interpreters of their own, and what memory they take."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax_siglib

TESTS = Path(__file__).parent


def run_python(
    code: str, folder: Path, *arguments: str, timeout: int = 300, **env: str
) -> subprocess.CompletedProcess:
    """Run a script in a fresh interpreter, away from the clone, with this package and helpers."""
    package = Path(jax_siglib.__file__).parents[1]
    path = env.pop("PYTHONPATH", f"{TESTS}{os.pathsep}{package}")
    script = folder / "script.py"
    script.write_text(code)
    return subprocess.run(
        [sys.executable, str(script), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "JAX_PLATFORMS": "cpu", **env},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def peak_kib() -> int:
    """Most memory this process has held at once, in KiB.

    On Linux not from ``getrusage``: what the parent held when it started this process counts there.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:")))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 if sys.platform == "darwin" else peak


def warm_up(run: Callable[[], Any]) -> None:
    """On Linux: run it once, for code and threads, and forget what was the most memory then."""
    forget = Path("/proc/self/clear_refs")
    if forget.exists():
        run()
        forget.write_text("5")
