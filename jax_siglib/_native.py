"""The compiled modules, or a plain word on why one is not there."""

import importlib
from typing import Any

__all__ = ["ext", "ext_cuda", "without_cuda"]

try:
    ext: Any = importlib.import_module("jax_siglib._ext")
except ModuleNotFoundError as error:
    if error.name != "jax_siglib._ext":
        raise
    raise ImportError(
        "jax_siglib was imported from a folder that holds its Python sources but not its compiled"
        f" kernels ({__file__}). This happens when Python runs inside a clone of the repository:"
        " the current folder comes before the installed package. Install the package with"
        " `pip install .` in the clone, then run Python from another folder, or use the console"
        " script `jax-siglib`, which does not look into the current folder."
    ) from None

# The CUDA kernels, which an installation may lack; then why. A module that is there but can not be
# loaded must not keep those from working who have no use for it.
ext_cuda: Any
try:
    ext_cuda, without_cuda = importlib.import_module("jax_siglib._ext_cuda"), ""
except ModuleNotFoundError as error:
    if error.name != "jax_siglib._ext_cuda":
        raise
    ext_cuda, without_cuda = None, "not built: there was no CUDA compiler, or it was not asked for"
except ImportError as error:
    ext_cuda, without_cuda = None, f"built, but cannot be loaded: {error}"
