"""On what the figures were obtained."""

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from jax_siglib._native import ext

_PACKAGES = ("jax_siglib", "numpy", "jax", "jaxlib", "torch", "pysiglib", "signax")


def describe(xla_threads: int, *, keep_memory: bool) -> dict[str, Any]:
    """Machine, versions and threads."""
    versions = {"python": platform.python_version()}
    versions |= {name: _version(name) for name in _PACKAGES}
    own = f"{xla_threads}, set through NPROC" if xla_threads else "as many as it likes"
    return {
        "cpu": _cpu_model(),
        "cores": f"{os.cpu_count()}, of which usable {ext.max_threads()}",
        "system": platform.platform(),
        "versions": versions,
        "instruction set": f"{ext.instruction_set()} (usable: {', '.join(ext.instruction_sets())})",
        "threads": f"n_jobs=1 on either side where nothing else is said; torch 1; XLA {own}",
        "allocator": "glibc keeping freed memory" if keep_memory else "as it comes",
        "load before": load(),
    }


def load() -> str:
    """Load averages: what else ran."""
    return ", ".join(f"{x:.2f}" for x in os.getloadavg()) + " (1, 5, 15 minutes)"


def head(about: dict[str, Any], *, markdown: bool) -> str:
    """The description as lines of text."""
    listed = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    lines = [f"{key}: {value}" for key, value in (about | {"versions": listed}).items()]
    return "\n".join(f"- {line}" if markdown else line for line in lines)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "-"


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.lower().startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
