"""The compiled module, or a plain word on why it is not there."""

import importlib
from typing import Any

__all__ = ["ext"]

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
