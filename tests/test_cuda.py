"""The CUDA module where there need not be a GPU: what it serves, what is lowered, what is refused.

What its kernels compute is held in test_cuda_on_host*.py, and on a GPU in test_gpu.py.
"""

import contextlib
import math
import types
import weakref

import jax
import pytest
from helpers import Case, by_op
from processes import run_python

import jax_siglib
from jax_siglib import _arrays, _native, _primitive

CASE = Case(3, 3)


def test_every_target_has_a_twin(module):
    served = _primitive.served()
    assert served["cuda"] == served["cpu"]
    assert frozenset(module.registrations()) == served["cuda"]
    for target in served["cuda"]:  # and every direct call
        name = target.removeprefix("jax_siglib_").removesuffix("_v1")
        assert callable(getattr(module, name)) and callable(getattr(_native.ext, name))


@by_op
def test_lowering(module, op):
    """The same calls under the same names and with the same attributes as for the CPU."""
    arrays = op.draw(0, CASE, "float64")
    traced = jax.jit(op.bind(CASE)).trace(*map(jax.numpy.asarray, arrays))
    for_gpu, for_cpu = (calls_in(traced, platform) for platform in ("cuda", "cpu"))
    assert for_cpu and for_gpu == for_cpu


def calls_in(traced, platform):
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    lines = [line for line in text.splitlines() if "@jax_siglib_" in line]
    return [line.split("custom_call", 1)[1] for line in lines]


def test_without_a_gpu(module, tmp_path):
    """Import, and the report, without a driver."""
    code = """
from jax_siglib._native import ext_cuda
gpus, problem = ext_cuda.devices()
assert gpus or problem, (gpus, problem)
major, minor = ext_cuda.toolkit()
assert major >= 12 and ext_cuda.architectures()
assert ext_cuda.ffi_api_version() == __import__("jax_siglib._ext")._ext.ffi_api_version()
"""
    done = run_python(code, tmp_path)
    assert done.returncode == 0, done.stderr


def test_bad_direct_calls_are_refused(module):
    """Before anything is launched, and so without a GPU."""

    def array(*shape):
        return 0, "float32", list(shape), [math.prod(shape[i + 1 :]) for i in range(len(shape))]

    def allocate(size):
        raise AssertionError(size)

    with pytest.raises(ValueError, match=r"displacement has 3 entries .* expected 2"):
        module.sig_join(array(14), array(3), 2, 3, False, 1, array(14), 0, allocate)
    with pytest.raises(ValueError, match="no GPU kernel"):
        module.sig(array(4, 2), 80, 1, array(14), 0, allocate)
    module.sig(array(0, 4, 2), 3, 1, array(0, 14), 0, allocate)  # no batch, nothing to launch


def on_gpu(torch, tensor):
    """What looks like a tensor on a GPU from outside."""

    class Fake(torch.Tensor):
        is_cpu, is_cuda = False, True
        device = torch.device("cuda:0")

    return tensor.as_subclass(Fake)


def test_what_numpy_does_is_refused(torch, monkeypatch):
    """Calls that are made on the memory of a tensor, which no CPU can read on a GPU."""
    monkeypatch.setattr(_arrays, "ext_cuda", object())
    path, initial = torch.zeros(4, 2), torch.zeros(14)
    on_device = on_gpu(torch, path)
    for call in (
        lambda: jax_siglib.transform_path(on_device, time_aug=True),
        lambda: jax_siglib.sig(on_device, 3, lead_lag=True),
        lambda: jax_siglib.sig(on_device, 3, initial=on_gpu(torch, initial)),
        lambda: jax_siglib.sig_windows(on_device, [(0, 2)], 3),
    ):
        with pytest.raises(TypeError, match=r"on the CPU alone; got one on device cuda:0"):
            call()


@by_op
def test_devices_may_not_be_mixed(op, torch, monkeypatch):
    tensors = [torch.from_numpy(x) for x in op.draw(0, CASE, "float32")]
    names = list(op.takes)
    monkeypatch.setattr(_arrays, "ext_cuda", object())
    if len(tensors) > 1:
        with pytest.raises(TypeError, match="same device") as caught:
            op.bind(CASE)(*tensors[:-1], on_gpu(torch, tensors[-1]))
        for part in (f"{names[0]} on cpu", f"{names[-1]} on cuda:0"):
            assert part in str(caught.value)
    monkeypatch.setattr(_arrays, "ext_cuda", None)
    monkeypatch.setattr(_arrays, "without_cuda", "not built today")
    with pytest.raises(TypeError, match=r"on the CPU.*cuda:0.*not built today"):
        op.bind(CASE)(*(on_gpu(torch, x) for x in tensors))


def test_copies_live_until_the_launch(torch, monkeypatch):
    """Of tensors whose entries lie apart: torch would hand out their memory again."""
    copies, launched = [], []

    class Spaced(torch.Tensor):
        def contiguous(self):
            copy = super().contiguous()
            copies.append(weakref.ref(copy))
            return copy

    def sig_jvp(path, t_path, degree, out, stream, allocate):
        assert [path[0], t_path[0]] == [copy().data_ptr() for copy in copies]
        launched.append((degree, stream, allocate(64) != 0))

    spaced = [torch.zeros(2, 4).mT.as_subclass(Spaced) for _ in range(2)]
    monkeypatch.setattr(_arrays, "ext_cuda", types.SimpleNamespace(sig_jvp=sig_jvp))
    monkeypatch.setattr(torch.cuda, "device", contextlib.nullcontext)
    current = types.SimpleNamespace(cuda_stream=7)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: current)
    _arrays._call_on_gpu(torch, sig_jvp, spaced, (3,), [torch.zeros(14)])
    assert len(copies) == 2 and launched == [(3, 7, True)]
