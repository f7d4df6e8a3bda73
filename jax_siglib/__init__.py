"""Truncated path signatures in JAX, with handwritten C++ kernels behind ``jax.ffi``.

Every function takes JAX arrays, numpy arrays or torch CPU tensors and answers in kind. On JAX
arrays it composes with ``jit``, ``grad``, ``vmap`` and ``scan``; on numpy and torch it goes
straight to the kernel. ``python -m jax_siglib`` (or ``jax-siglib``) reports what is installed and
checks it.
"""

from importlib import metadata as _metadata

from jax_siglib import forward_mode
from jax_siglib._export import export_checks
from jax_siglib._linear_sig import linear_sig
from jax_siglib._sig import sig, sig_backprop, sig_hvp, sig_jvp
from jax_siglib._sig_combine import sig_combine, sig_combine_backprop, sig_combine_jvp
from jax_siglib._sig_inverse import sig_inverse
from jax_siglib._sig_join import sig_join, sig_join_backprop, sig_join_hvp, sig_join_jvp
from jax_siglib._sig_stream import sig_stream, sig_stream_backprop
from jax_siglib._sig_windows import (
    dyadic_windows,
    expanding_windows,
    sig_windows,
    sliding_windows,
)
from jax_siglib._signature_stream import SignatureStream
from jax_siglib._tensor_algebra import sig_length

try:
    __version__ = _metadata.version("jax_siglib")
except _metadata.PackageNotFoundError:  # run from a build tree that pip never saw
    __version__ = "0+unknown"

__all__ = [
    "SignatureStream",
    "__version__",
    "dyadic_windows",
    "expanding_windows",
    "export_checks",
    "forward_mode",
    "linear_sig",
    "sig",
    "sig_backprop",
    "sig_combine",
    "sig_combine_backprop",
    "sig_combine_jvp",
    "sig_hvp",
    "sig_inverse",
    "sig_join",
    "sig_join_backprop",
    "sig_join_hvp",
    "sig_join_jvp",
    "sig_jvp",
    "sig_length",
    "sig_stream",
    "sig_stream_backprop",
    "sig_windows",
    "sliding_windows",
]
