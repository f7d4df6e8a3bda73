"""Other libraries, each None where it is not installed. Nothing else imports them."""

import contextlib
import importlib
import warnings
from typing import Any


def _optional(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except Exception:  # a peer that cannot be imported is a peer that is not there
        return None


torch = _optional("torch")  # pysiglib brings it, and may leave some work to it
if torch is not None:
    torch.set_num_threads(1)
    with contextlib.suppress(RuntimeError):
        torch.set_num_interop_threads(1)
pysiglib = _optional("pysiglib")
pysiglib_jax = _optional("pysiglib.jax_api") if pysiglib is not None else None
signax_ops = _optional("signax.tensor_ops")
signax = _optional("signax") if signax_ops is not None else None

# JAX says once that it copies what pysiglib's host callback returns.
warnings.filterwarnings("ignore", message="Detected a non-contiguous or view-based array")
