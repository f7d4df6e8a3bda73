"""How every test runs: on the CPU, 64 bits allowed, and no dtype promoted behind anyone's back."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
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
