"""How every test runs: on the CPU, 64 bits allowed, and no dtype promoted behind anyone's back.

``pytest --matrix FILE`` writes what the run has proven, transformation by operation by dtype.
"""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Half of the time of these tests was LLVM's; what XLA decides (aliases, copies, collectives) and
# what the kernels do is not its business.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
# Nor is BLAS's, which the oracle calls for small matrices: on processors that others want too, its
# threads wait for each other ten times as long as one alone computes.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import matrix
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture
def torch():
    """The torch module. Skipped is not passed: JAX_SIGLIB_REQUIRE_TORCH=1 makes it a failure."""
    try:
        import torch
    except ImportError:
        if os.environ.get("JAX_SIGLIB_REQUIRE_TORCH") == "1":
            pytest.fail("JAX_SIGLIB_REQUIRE_TORCH=1, but torch cannot be imported")
        pytest.skip("torch is not installed")
    return torch


def pytest_addoption(parser):
    parser.addoption("--matrix", metavar="FILE", help="write the table of what was proven to FILE")


@pytest.fixture
def proven(request):
    """Call it as ``proven(transformation, operation, dtype)``; it counts if the test passes."""

    def note(*cell):
        request.node.user_properties.append(("proven", cell))

    return note


_proven = set()


def pytest_runtest_logreport(report):
    if report.when == "call" and report.passed:
        _proven.update(tuple(cell) for key, cell in report.user_properties if key == "proven")


def pytest_sessionfinish(session):
    file = session.config.getoption("--matrix")
    if file and not hasattr(session.config, "workerinput"):  # one of pytest-xdist's workers
        matrix.write(file, _proven)
