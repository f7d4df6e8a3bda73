"""``jax-siglib`` and ``python -m jax_siglib``: what is installed, what serves what, a check.

The exit status is 0 only if the check finds everything in order.
"""

import platform
import sys

import jax
import jaxlib
import numpy as np

import jax_siglib
from jax_siglib import (
    _primitive,
    _self_check,
    _sig_combine,
    _sig_inverse,
    _sig_jax,
    _sig_join,
    _sig_stream,
)
from jax_siglib._native import ext, ext_cuda, without_cuda

_SEED = 2025


def main() -> int:
    """Report, run the example, check; return the exit status."""
    _report()
    _example()
    return _self_check.check()


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
    modules = _sig_join, _sig_jax, _sig_combine, _sig_stream
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


if __name__ == "__main__":
    sys.exit(main())
