"""numpy, torch and JAX in, the same out: any strides, any leading shape, no operand changed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import DTYPES, OPS, Case, as_tuple, by_op, from_torch, to_torch
from processes import run_python

CASE = Case(3, 3, scalar_term=True)


def spaced(x):
    """Every other entry of twice as long a last axis."""
    return np.repeat(x, 2, axis=-1)[..., ::2]


def backward(x):
    return x[::-1, ..., ::-1].copy()[::-1, ..., ::-1]


def fortran(x):
    return np.asfortranarray(x)


def row_gaps(x):
    """Entries side by side, but gaps between the elements of the batch."""
    wide = np.zeros((*x.shape[:-1], x.shape[-1] + 5), x.dtype)
    wide[..., 2:-3] = x
    return wide[..., 2:-3]


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def unaligned(x):
    raw = np.zeros(x.nbytes + 1, np.uint8)
    out = raw[1:].view(x.dtype).reshape(x.shape)
    out[...] = x
    assert not out.flags.aligned
    return out


def swapped_batch(x):
    """Leading axes in another order in memory, as after swapaxes."""
    return x.swapaxes(0, 1).copy().swapaxes(0, 1)


class Derived(np.ndarray):
    pass


def derived(x):
    return x.copy().view(Derived)


LAYOUTS = [spaced, backward, fortran, row_gaps, read_only, unaligned, swapped_batch, derived]


@by_op
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("dtype", DTYPES)
def test_numpy_layouts(op, layout, dtype):
    """The same bits as from contiguous copies; plain, new, contiguous arrays come out."""
    arrays = op.draw(0, CASE, dtype, (2, 3))
    expected = as_tuple(op.bind(CASE)(*arrays))
    laid_out = [layout(x) for x in arrays]
    before = [np.array(x) for x in laid_out]
    for a, b in zip(laid_out, arrays, strict=True):
        np.testing.assert_array_equal(a, b)
    found = as_tuple(op.bind(CASE)(*laid_out))
    for ours, theirs in zip(found, expected, strict=True):
        assert type(ours) is np.ndarray
        assert ours.flags.c_contiguous and ours.flags.owndata and ours.flags.writeable
        np.testing.assert_array_equal(ours, theirs, strict=True)
        for operand in laid_out:
            assert not np.shares_memory(ours, operand)
    for a, b in zip(laid_out, before, strict=True):
        np.testing.assert_array_equal(a, b)


@by_op
@pytest.mark.parametrize("dtype", DTYPES)
def test_stride_0(op, dtype):
    """One element of memory for a whole batch, each operand in turn."""
    single, batched = op.draw(1, CASE, dtype), op.draw(2, CASE, dtype, (4, 2))
    for i, x in enumerate(single):
        stretched = list(batched)
        stretched[i] = np.broadcast_to(x, batched[i].shape)
        copied = [np.array(y) for y in stretched]
        for ours, theirs in zip(
            as_tuple(op.bind(CASE)(*stretched)), as_tuple(op.bind(CASE)(*copied)), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)


@by_op
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_leading_shape(op, dtype, proven):
    """Every rank gives the bits of a loop over the elements."""
    for batch in [(), (1,), (5,), (2, 3), (1, 2, 1, 3), (1,) * 20 + (2,)]:
        arrays = op.draw(3, CASE, dtype, batch)
        found = as_tuple(op.bind(CASE)(*arrays))
        for axes, result in zip(op.results, found, strict=True):
            assert result.shape == (*batch, *op.shape(axes, CASE))
        for at in np.ndindex(batch):
            one = as_tuple(op.bind(CASE)(*(x[at] for x in arrays)))
            for many, single in zip(found, one, strict=True):
                np.testing.assert_array_equal(many[at], single)
    proven("numpy", op.name, dtype)


@by_op
def test_memmap(op, tmp_path):
    arrays = op.draw(4, CASE, "float64", (3,))
    mapped = []
    for i, x in enumerate(arrays):
        np.save(tmp_path / f"{i}.npy", x)
        mapped.append(np.load(tmp_path / f"{i}.npy", mmap_mode="r"))
    found = as_tuple(op.bind(CASE)(*mapped))
    for ours, theirs in zip(found, as_tuple(op.bind(CASE)(*arrays)), strict=True):
        assert type(ours) is np.ndarray
        np.testing.assert_array_equal(ours, theirs)


@by_op
@pytest.mark.parametrize("dtype", DTYPES)
def test_jax_and_numpy_beside_jax(op, dtype):
    """JAX in, JAX out; numpy beside JAX counts as JAX, whichever comes first."""
    plain = op.draw(5, CASE, dtype, (3,))
    expected = as_tuple(op.bind(CASE)(*plain))
    for i in range(len(plain)):
        for mixed in (
            [jnp.asarray(x) if i == j else x for j, x in enumerate(plain)],
            [x if i == j and len(plain) > 1 else jnp.asarray(x) for j, x in enumerate(plain)],
        ):
            for ours, theirs in zip(as_tuple(op.bind(CASE)(*mixed)), expected, strict=True):
                assert isinstance(ours, jax.Array)
                np.testing.assert_array_equal(ours, theirs, strict=True)


@by_op
@pytest.mark.parametrize("dtype", DTYPES)
def test_torch(op, dtype, torch, proven):
    """Contiguous, strided, transposed, expanded: torch out, the bits of numpy."""
    plain = op.draw(6, CASE, dtype, (2, 3))
    expected = as_tuple(op.bind(CASE)(*plain))
    layouts = [
        lambda x: to_torch(torch, x),
        lambda x: to_torch(torch, np.repeat(x, 2, axis=-1))[..., ::2],
        lambda x: to_torch(torch, x.swapaxes(0, 1).copy()).transpose(0, 1),
        lambda x: to_torch(torch, -x)._neg_view(),
    ]
    for layout in layouts:
        tensors = [layout(x) for x in plain]
        found = as_tuple(op.bind(CASE)(*tensors))
        for ours, theirs in zip(found, expected, strict=True):
            assert type(ours) is torch.Tensor
            assert ours.is_contiguous() and not ours.requires_grad
            np.testing.assert_array_equal(from_torch(torch, ours), theirs, strict=True)
        for tensor, x in zip(tensors, plain, strict=True):
            np.testing.assert_array_equal(from_torch(torch, tensor.resolve_neg()), x)
    expanded = [to_torch(torch, x[:1, :1]).expand(x.shape) for x in plain]
    found = as_tuple(op.bind(CASE)(*expanded))
    expected = as_tuple(op.bind(CASE)(*(from_torch(torch, x) for x in expanded)))
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(from_torch(torch, ours), theirs)
    proven("torch", op.name, dtype)


@by_op
def test_torch_empty_batch(op, torch):
    arrays = [torch.zeros((0, 2, *op.shape(axes, CASE))) for axes in op.takes.values()]
    for axes, result in zip(op.results, as_tuple(op.bind(CASE)(*arrays)), strict=True):
        assert tuple(result.shape) == (0, 2, *op.shape(axes, CASE))
        assert result.dtype == torch.float32


@by_op
def test_torch_autograd(op, torch):
    """A tensor that requires grad is refused, with a way out; in a Function's forward it is not."""
    tensors = [torch.from_numpy(x) for x in op.draw(7, CASE, "float64")]
    plain = as_tuple(op.bind(CASE)(*tensors))
    for i, name in enumerate(op.takes):
        marked = [x.clone().requires_grad_(i == j) for j, x in enumerate(tensors)]
        with pytest.raises(ValueError, match=rf"(?s){name} requires grad.*detach.*backprop"):
            op.bind(CASE)(*marked)
        with torch.no_grad():
            found = as_tuple(op.bind(CASE)(*marked))
        for ours, theirs in zip(found, plain, strict=True):
            assert torch.equal(ours, theirs) and not ours.requires_grad


def test_torch_default_device_and_dtype(torch):
    """Results follow the operands, not torch's global defaults."""
    op = OPS[0]
    tensors = [torch.from_numpy(x) for x in op.draw(8, CASE, "float32")]
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    try:
        out = op.bind(CASE)(*tensors)
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
    assert out.dtype == torch.float32 and out.is_cpu


def test_import_does_not_import_torch(tmp_path):
    """Torch takes seconds to import, and nobody asked for it."""
    code = """
import sys
import numpy as np
import jax_siglib
jax_siglib.sig(np.ones((2, 2)), 2)
assert "torch" not in sys.modules
"""
    done = run_python(code, tmp_path)
    assert done.returncode == 0, done.stderr


def test_numpy_calls_start_no_jax_backend(tmp_path):
    """An explicit call on numpy arrays is a plain call: no devices, no compilation."""
    code = """
import numpy as np
import jax_siglib
s = jax_siglib.sig(np.ones((2, 2)), 2)
jax_siglib.sig_join_backprop(s, jax_siglib.sig_join(s, np.ones(2), 2, 2), np.ones(2), 2, 2)
from jax._src import xla_bridge
assert not xla_bridge._backends
"""
    done = run_python(code, tmp_path)
    assert done.returncode == 0, done.stderr
