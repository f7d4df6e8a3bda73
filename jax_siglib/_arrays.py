"""numpy, torch or JAX in, the same out. The only file that knows torch, or the memory of an array.

Explicit calls on numpy and torch go straight to the kernel: results are allocated in the caller's
framework and filled in C++, operands are read where they lie. Tensors on a GPU are for the CUDA
kernels, on torch's current stream; nothing waits for them. JAX arrays never pass through here; for
them the operation is a JAX primitive, on whatever device they are.
"""

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import numpy as np

from jax_siglib._native import ext_cuda, without_cuda
from jax_siglib._precision import from_numpy

__all__ = [
    "call",
    "check_dtypes",
    "dtype_name",
    "in_kind_of",
    "is_array",
    "memory",
    "shapes_of",
    "take",
    "zeros_like_batch",
]

Framework = Literal["numpy", "torch", "jax"]

_DTYPES = ("float16", "bfloat16", "float32", "float64")
_LISTED = f"{', '.join(_DTYPES[:-1])} or {_DTYPES[-1]}"
_BFLOAT16 = np.dtype(jax.numpy.bfloat16)  # ml_dtypes', which numpy's arrays hold as any other
_WANTED = "a numpy array, a torch tensor or a JAX array"


def take(**arrays: Any) -> tuple[Framework, tuple[Any, ...]]:
    """Tell the framework of an operation's arrays; refuse arrays that no kernel can take.

    Args:
        **arrays: The arrays under the names they have for the caller.

    Returns:
        The framework, and the arrays as that framework's own plain type. numpy arrays beside JAX
        arrays become JAX arrays after their dtypes were compared, and keep them.

    Raises:
        TypeError: If frameworks or dtypes are mixed, or one is not served.
        ValueError: If a torch tensor would need the call recorded by autograd.
    """
    torch = sys.modules.get("torch")  # whoever has a tensor has imported it
    frameworks: dict[str, Framework] = {}
    taken: dict[str, Any] = {}
    for name, array in arrays.items():
        if torch is not None and isinstance(array, torch.Tensor):
            frameworks[name] = "torch"
            array = _plain_tensor(torch, name, array)
        elif isinstance(array, jax.Array):
            frameworks[name] = "jax"
        elif isinstance(array, np.ma.MaskedArray):
            raise TypeError(f"{name} must be {_WANTED}, with no mask; got a numpy MaskedArray")
        elif isinstance(array, (np.ndarray, np.generic)):
            frameworks[name] = "numpy"
            array = np.asarray(array)
        else:
            raise TypeError(f"{name} must be {_WANTED}; got {type(array).__name__}")
        taken[name] = array
    found = set(frameworks.values())
    if "torch" in found and len(found) > 1:
        listed = ", ".join(f"{name} from {kind}" for name, kind in frameworks.items())
        raise TypeError(
            "torch tensors cannot stand beside arrays of another framework: all arrays must be"
            f" torch tensors or none; got {listed}"
        )
    if "torch" in found:
        _check_devices(taken)
    check_dtypes(**taken)
    if "jax" not in found:
        return found.pop(), tuple(taken.values())
    return "jax", tuple(
        from_numpy(x) if frameworks[name] == "numpy" else x for name, x in taken.items()
    )


def check_dtypes(**arrays: Any) -> None:
    """Refuse dtypes without a kernel, and mixed ones: nothing is converted silently."""
    first, wanted = "", ""
    for name, array in arrays.items():
        dtype = _dtype_name(array)
        if dtype not in _DTYPES:
            raise TypeError(f"{name} must have dtype {_LISTED}; got {dtype}")
        if not first:
            first, wanted = name, dtype
        elif dtype != wanted:
            raise TypeError(f"{name} must have the dtype of {first}, {wanted}; got {dtype}")


def dtype_name(name: str, dtype: Any) -> str:
    """Name of a dtype of any framework, or a name itself, if there are kernels for it."""
    try:
        found = "None" if dtype is None else np.dtype(dtype).name  # numpy's None is float64
    except TypeError:  # torch's
        found = str(dtype).removeprefix("torch.")
    if found not in _DTYPES:
        raise TypeError(f"{name} must be {_LISTED}; got {dtype!r}")
    return found


def call(
    kernel: Callable[..., None],
    arrays: Sequence[Any],
    static: Sequence[Any],
    shapes: Sequence[tuple[int, ...]],
) -> tuple[Any, ...]:
    """Run a kernel on numpy arrays or torch tensors.

    Args:
        kernel: Function of the compiled module: operands, statics and results in this order.
        arrays: The operands, as ``take`` returned them, their shapes checked.
        static: The remaining arguments.
        shapes: Shapes of the results.

    Returns:
        The results: new, contiguous, of the framework and dtype of the operands.
    """
    torch = sys.modules.get("torch")
    memory: Callable[[Any], Any]
    if torch is None or isinstance(arrays[0], np.ndarray):
        outs: tuple[Any, ...] = tuple(np.empty(shape, arrays[0].dtype) for shape in shapes)
        memory = _memory_of_numpy
    else:
        dtype, device = arrays[0].dtype, arrays[0].device
        outs = tuple(torch.empty(shape, dtype=dtype, device=device) for shape in shapes)
        if not arrays[0].is_cpu:
            _call_on_gpu(torch, kernel, arrays, static, outs)
            return outs
        memory = _memory_of_bfloat16_tensor if dtype is torch.bfloat16 else _memory_of_tensor
    kernel(*(_packed(memory(x)) for x in arrays), *static, *map(memory, outs))
    return outs


def shapes_of(arrays: Sequence[Any]) -> list[tuple[int, ...]]:
    """Shapes as tuples, which torch's are not quite."""
    return [tuple(x.shape) for x in arrays]


def is_array(value: Any) -> bool:
    """Whether it is an array of a framework known here; ``take`` says whether it will do."""
    torch = sys.modules.get("torch")
    return isinstance(value, (np.ndarray, np.generic, jax.Array)) or (
        torch is not None and isinstance(value, torch.Tensor)
    )


def memory(array: Any) -> np.ndarray:
    """The numbers of a numpy array or torch tensor where they lie, as a numpy array."""
    if isinstance(array, np.ndarray):
        return array
    if not array.is_cpu:
        raise TypeError(
            "path transforms, windows and what continues a signature take torch tensors on the CPU"
            f" alone; got one on device {array.device}. Move it with .cpu()"
        )
    if array.dtype is sys.modules["torch"].bfloat16:
        return _memory_of_bfloat16_tensor(array).view(_BFLOAT16)
    return array.numpy()  # type: ignore[no-any-return]


def in_kind_of(like: Any, array: np.ndarray) -> Any:
    """A new numpy array as one of the framework of ``like``; the other way of ``memory``."""
    if isinstance(like, np.ndarray):
        return array
    torch = sys.modules["torch"]
    if array.dtype == _BFLOAT16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def zeros_like_batch(like: Any, length: int) -> Any:
    """A zero vector for each member of the batch of ``like``, all in the memory of one."""
    if isinstance(like, np.ndarray):
        return np.broadcast_to(np.zeros(length, like.dtype), (*like.shape[:-1], length))
    torch = sys.modules["torch"]
    zeros = torch.zeros(length, dtype=like.dtype, device=like.device)
    return zeros.expand(*like.shape[:-1], length)


def _plain_tensor(torch: Any, name: str, tensor: Any) -> Any:
    served = tensor.is_cpu or (tensor.is_cuda and ext_cuda is not None)
    if not served or tensor.layout is not torch.strided:
        where = "on the CPU" if ext_cuda is None else "on the CPU or on a CUDA device"
        why = f" (CUDA kernels: {without_cuda})" if tensor.is_cuda and ext_cuda is None else ""
        raise TypeError(
            f"{name} must be a dense torch tensor {where}; got one on device {tensor.device} with"
            f" layout {tensor.layout}{why}. Move it with .cpu(), or .to_dense()"
        )
    if tensor.is_neg():  # its sign may be a mark on the tensor, not in its memory
        tensor = tensor.resolve_neg()
    if not tensor.requires_grad:
        return tensor
    if torch.is_grad_enabled():
        raise ValueError(
            f"{name} requires grad, but torch's autograd does not see through this call and would"
            " lose the gradient. Pass a tensor without it, as by .detach(); to differentiate, make"
            " the call inside a torch.autograd.Function whose backward calls the matching"
            " ..._backprop function of jax_siglib"
        )
    # autograd.Function.forward runs with gradients off on tensors that still carry the mark.
    return tensor.detach()


def _check_devices(tensors: dict[str, Any]) -> None:
    """Refuse tensors on several devices: nothing is moved silently."""
    devices = {name: str(tensor.device) for name, tensor in tensors.items()}
    if len(set(devices.values())) > 1:
        listed = ", ".join(f"{name} on {device}" for name, device in devices.items())
        raise TypeError(f"all torch tensors must be on the same device; got {listed}")


def _call_on_gpu(
    torch: Any,
    kernel: Callable[..., None],
    tensors: Sequence[Any],
    static: Sequence[Any],
    outs: Sequence[Any],
) -> None:
    """Launch the CUDA twin of a kernel, after what torch's current stream has been given so far."""
    twin = getattr(ext_cuda, kernel.__name__, None)
    if twin is None:
        raise TypeError(f"{kernel.__name__} has no CUDA kernel; move the tensors with .cpu()")
    device, scratch = tensors[0].device, []

    def allocate(size: int) -> int:  # torch hands it on to later work of the same stream only
        scratch.append(torch.empty(size, dtype=torch.uint8, device=device))
        return int(scratch[-1].data_ptr())

    with torch.cuda.device(device):
        stream = torch.cuda.current_stream(device).cuda_stream
        # Copies have to live until the kernel has been launched: what is freed before, torch
        # hands to the next copy, or to the kernel's own scratch.
        operands = [_side_by_side(x) for x in tensors]
        twin(*map(_described, operands), *static, *map(_described, outs), stream, allocate)


def _described(tensor: Any) -> tuple[int, str, list[int], list[int]]:
    """What a CUDA kernel has to know of a tensor: address, dtype, shape, strides in entries."""
    return tensor.data_ptr(), _dtype_name(tensor), list(tensor.shape), list(tensor.stride())


def _side_by_side(tensor: Any) -> Any:
    """As ``_packed``, of a tensor, which is always at its natural address."""
    return tensor if tensor.shape[-1] < 2 or tensor.stride(-1) == 1 else tensor.contiguous()


def _dtype_name(array: Any) -> str:
    return _name_of(array.dtype)


@functools.lru_cache(maxsize=64)  # numpy takes microseconds to spell a name
def _name_of(dtype: Any) -> str:
    """Name of a dtype, byte order included; torch's are called as numpy's."""
    if isinstance(dtype, np.dtype) and not dtype.isnative:
        return f"{dtype.name} of foreign byte order ({dtype.str})"
    return str(dtype).removeprefix("torch.")


# What the kernels read and write: an array of numpy's own dtypes in the memory of another array,
# bfloat16 as its bits. Tensors go this way too, for it is shorter than through torch's own DLPack.


def _memory_of_numpy(array: Any) -> Any:
    return array.view(np.uint16) if array.dtype == _BFLOAT16 else array


def _memory_of_tensor(tensor: Any) -> Any:
    return tensor.numpy()


def _memory_of_bfloat16_tensor(tensor: Any) -> Any:
    return tensor.view(sys.modules["torch"].int16).numpy().view(np.uint16)


def _packed(array: Any) -> Any:
    """Kernels ask for whole elements at their natural addresses, side by side on the last axis."""
    side_by_side = array.shape[-1] < 2 or array.strides[-1] == array.itemsize
    return array if side_by_side and array.flags.aligned else np.array(array, order="C")
