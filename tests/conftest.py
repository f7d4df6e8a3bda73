"""How every test runs: on the CPU, 64 bits allowed, and nothing promoted behind anyone's back.

Neither dtypes nor ranks: users may have forbidden both.

``pytest --matrix FILE`` writes what the run has proven, transformation by operation by dtype, and
``pytest --collectives FILE`` what communication test_sharding.py has found.
"""

import functools
import importlib
import os
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Half of the time of these tests was LLVM's; what XLA decides (aliases, copies, collectives) and
# what the kernels do is not its business. The host is 8 devices, of which all tests but those of
# sharding use the first.
os.environ["XLA_FLAGS"] = (
    "--xla_backend_optimization_level=0 --xla_force_host_platform_device_count=8 "
    + os.environ.get("XLA_FLAGS", "")  # the last one counts
)
# Nor is it BLAS's, which the oracle calls for small matrices: on processors that others want too,
# its threads wait for each other ten times as long as one alone computes.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import collectives_table
import jax
import matrix
import pytest

from jax_siglib import _native

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


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
    parser.addoption("--collectives", metavar="FILE", help="write the table of collectives to FILE")


@pytest.fixture
def proven(request):
    """Call it as ``proven(transformation, operation, dtype)``; it counts if the test passes."""

    def note(*cell):
        request.node.user_properties.append(("proven", cell))

    return note


_noted = {"proven": [], "collectives": []}


def pytest_runtest_logreport(report):
    if report.when == "call" and report.passed:
        for key, value in report.user_properties:
            _noted[key].append(tuple(value))


def pytest_sessionfinish(session):
    if hasattr(session.config, "workerinput"):  # one of pytest-xdist's workers
        return
    if file := session.config.getoption("--matrix"):
        matrix.write(file, set(_noted["proven"]))
    if file := session.config.getoption("--collectives"):
        collectives_table.write(file, dict(_noted["collectives"]))


_held = []  # the files of PTX that the module of the kernels has read


def _hold(module, files):
    if files != _held:  # it takes seconds
        module.read_ptx(files)
        _held[:] = files


@pytest.fixture
def host(monkeypatch):
    """The CUDA kernels compiled for the CPU, as the module that is called.

    JAX_SIGLIB_REQUIRE_CUDA=1: it may not be missing. JAX_SIGLIB_PTX=FOLDER: not those that were
    compiled are run, but their PTX (tests/cuda_ptx.sh).
    """
    try:
        module = importlib.import_module("jax_siglib._cuda_on_host")
    except ImportError:
        if os.environ.get("JAX_SIGLIB_REQUIRE_CUDA") == "1":
            pytest.fail("JAX_SIGLIB_REQUIRE_CUDA=1, but jax_siglib._cuda_on_host was not built")
        pytest.skip("jax_siglib._cuda_on_host was not built")
    for caller in ("sig_join", "sig", "linear_sig", "sig_combine", "sig_inverse", "sig_stream"):
        monkeypatch.setattr(f"jax_siglib._{caller}.ext", module)
    folder = os.environ.get("JAX_SIGLIB_PTX")
    _hold(module, [str(file) for file in sorted(Path(folder).glob("*.ptx"))] if folder else [])
    yield module
    module.configure(True, 1 << 20, 0, False)


@pytest.fixture
def module():
    """The CUDA module. JAX_SIGLIB_REQUIRE_CUDA=1: it may not be missing."""
    if _native.ext_cuda is None:
        if os.environ.get("JAX_SIGLIB_REQUIRE_CUDA") == "1":
            pytest.fail(f"JAX_SIGLIB_REQUIRE_CUDA=1, but the CUDA module is {_native.without_cuda}")
        pytest.skip(f"the CUDA module is {_native.without_cuda}")
    return _native.ext_cuda


@pytest.fixture
def read_ptx(host):
    """Called with files of PTX: in this test ``host`` is carried out by what they hold."""
    return functools.partial(_hold, host)
