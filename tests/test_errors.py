"""Bad input: a TypeError or ValueError naming the argument, what was expected, what was found.

Without these a wrong shape is read past its end, and a wrong dtype as other numbers.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import Case, by_op

import jax_siglib

CASE = Case(3, 2)
MODES = ["numpy", "torch", "jax", "jit", "eval_shape", "vmap"]


@pytest.fixture(params=MODES)
def mode(request):
    if request.param == "torch":
        request.getfixturevalue("torch")
    return request.param


def convert(mode, x):
    """A numpy array as the framework has it; anything else as it is."""
    if not isinstance(x, np.ndarray):
        return x
    if mode == "torch":
        import torch

        return torch.from_numpy(np.ascontiguousarray(x)).reshape(x.shape)
    return x if mode == "numpy" else jnp.asarray(x)


def call(mode, op, arrays, **keywords):
    """Call the operation on what mode says, tracing whatever is an array."""
    arrays = [convert(mode, x) for x in arrays]
    keywords = {**op.keywords(CASE), **keywords}
    if mode in ("numpy", "torch", "jax"):
        return op.call(*arrays, **keywords)
    traced = [i for i, x in enumerate(arrays) if isinstance(x, jax.Array)]

    def function(*values):
        operands = list(arrays)
        for i, x in zip(traced, values, strict=True):
            operands[i] = x
        return op.call(*operands, **keywords)

    values = [arrays[i] for i in traced]
    if mode == "vmap" and values:  # it wants one array at least
        return jax.vmap(function, axis_size=2)(*(jnp.stack([x, x]) for x in values))
    return (jax.jit(function) if mode == "jit" else _eval_shape(function))(*values)


def _eval_shape(function):
    return lambda *values: jax.eval_shape(function, *values)


def refuses(error, parts, mode, op, arrays, **keywords):
    label = f"{op.name} {mode} {parts} {[getattr(x, 'shape', x) for x in arrays]} {keywords}"
    try:
        call(mode, op, arrays, **keywords)
    except Exception as raised:
        assert type(raised) is error, f"{label}: {raised!r}"
        for part in parts:
            assert part in str(raised), f"{label}: {raised}"
    else:
        pytest.fail(f"accepted: {label}")


def arguments(op, batch=()):
    """Good arguments, and each of them by position, name and axes."""
    arrays = op.draw(0, CASE, "float32", batch)
    return arrays, [(i, name, axes) for i, (name, axes) in enumerate(op.takes.items())]


def replaced(arrays, i, x):
    return [*arrays[:i], x, *arrays[i + 1 :]]


@by_op
def test_good_input_is_not_refused(op, mode):
    """Else every test below would pass on a function that refuses everything."""
    arrays, _ = arguments(op, (3,))
    call(mode, op, arrays)
    call(mode, op, arrays, n_jobs=np.int64(2), degree=np.uint8(2))
    for flag in ("prepend", "scalar_term"):
        if flag in op.keywords(CASE):
            call(mode, op, arrays, **{flag: np.bool_(False)})


@by_op
def test_not_an_array(op, mode):
    arrays, each = arguments(op)
    for i, name, _ in each:
        others = ((arrays[i].tolist(), "list"), (None, "NoneType"), (1.0, "float"), ("x", "str"))
        for bad, found in others:
            if bad is None and name == "initial":  # the keyword's default
                continue
            parts = [f"{name} must be a numpy array, a torch tensor or a JAX array", found]
            refuses(TypeError, parts, mode, op, replaced(arrays, i, bad))


@by_op
def test_dtype_without_a_kernel(op, mode):
    arrays, each = arguments(op)
    for dtype in ("int32", "int64", "bool", "complex64", "complex128", "uint16"):
        parts = [f"{each[0][1]} must have dtype float16, bfloat16, float32 or float64", dtype]
        refuses(TypeError, parts, mode, op, [x.astype(dtype) for x in arrays])
        for i, name, _ in each:
            parts = [f"{name} must have dtype float16, bfloat16, float32 or float64", dtype]
            refuses(TypeError, parts, mode, op, replaced(arrays, i, arrays[i].astype(dtype)))


@by_op
def test_mixed_dtypes(op, mode):
    arrays, each = arguments(op)
    for i, name, _ in each[1:]:
        parts = [f"{name} must have the dtype of {each[0][1]}, float32", "got float64"]
        refuses(TypeError, parts, mode, op, replaced(arrays, i, arrays[i].astype("float64")))
        half = replaced([x.astype("float16") for x in arrays], i, arrays[i])
        parts = [f"{name} must have the dtype of {each[0][1]}, float16", "got float32"]
        refuses(TypeError, parts, mode, op, half)


@by_op
def test_rank(op, mode):
    arrays, each = arguments(op)
    for i, name, axes in each:
        bad = np.zeros((3,) * (len(axes) - 1), "float32")
        names = [name] if name in ("sig", "displacement", "path") else [name, "shape"]
        refuses(ValueError, [*names, f"{bad.shape}"], mode, op, replaced(arrays, i, bad))


@by_op
def test_signature_of_another_length(op, mode):
    """One entry too few or too many for either layout, or a layout of its own."""
    arrays, each = arguments(op)
    length = CASE.length()
    for i, name, axes in each:
        if axes != "L":
            continue
        for bad in (0, 1, length - 1, length + 2):
            parts = [f"{name} must have", f"{length}", "got", f"{bad}"]
            if name == "sig":
                parts += [f"{length + 1}", "dimension 3 and degree 2"]
            refuses(ValueError, parts, mode, op, replaced(arrays, i, np.zeros(bad, "float32")))
        if list(op.takes.values()).count("L") > 1:
            other = np.zeros(length + 1, "float32")
            parts = ["must have the shape of", f"({length},)", f"({length + 1},)"]
            refuses(ValueError, parts, mode, op, replaced(arrays, i, other))


@by_op
def test_displacement_of_another_space(op, mode):
    """A length of 1 must not be broadcast."""
    arrays, each = arguments(op)
    for i, name, _ in each:
        if name == "displacement":
            for bad in (0, 1, 2, 4):
                parts = [f"{name} must have a last axis of length 3", f"({bad},)"]
                refuses(ValueError, parts, mode, op, replaced(arrays, i, np.zeros(bad, "float32")))
        if name == "t_displacement":
            parts = [f"{name} must have the shape of displacement, (3,)", "got (1,)"]
            refuses(ValueError, parts, mode, op, replaced(arrays, i, np.zeros(1, "float32")))


@by_op
def test_batches_that_differ(op, mode):
    """(4, L) with (3, d), and (1, ...) too: nothing is broadcast behind anyone's back."""
    _, each = arguments(op)
    if len(each) == 1:
        return
    good = arguments(op, (3,))[0]
    for batch in ((4,), (1,), (), (3, 1)):
        other = arguments(op, batch)[0]
        for i, _, _ in each:
            shown = str(batch)[:-1] if batch else "("  # "(4," of (4,) and of (4, 12)
            names = list(op.takes)
            try:
                call(mode, op, replaced(good, i, other[i]))
            except ValueError as raised:
                text = str(raised)
                assert any(text.startswith(f"{name} must have") for name in names), text
                assert "(3," in text and shown in text, text
            else:
                pytest.fail(f"accepted: {op.name} {mode} {batch} {i}")


@by_op
def test_paths_without_points(op, mode):
    arrays, each = arguments(op)
    for i, name, axes in each:
        if name == "path":
            for bad in ((0, 3), (4, 0)):
                parts = ["path must have shape (..., T, d)", "T >= 1", "d >= 1", f"{bad}"]
                refuses(ValueError, parts, mode, op, replaced(arrays, i, np.zeros(bad, "float32")))
        if axes == "Td" and name != "path":
            bad = np.zeros((5, 3), "float32")
            parts = [f"{name} must have the shape of path, (4, 3)", "(5, 3)"]
            refuses(ValueError, parts, mode, op, replaced(arrays, i, bad))


@by_op
def test_numbers(op, mode):
    arrays, _ = arguments(op)
    for name in ("dimension", "degree", "n_jobs"):
        if name not in {**op.keywords(CASE), "n_jobs": 1}:
            continue
        for bad in (1.0, 2.5, "2", None, True, np.float64(2), [2]):
            refuses(
                TypeError, [f"{name} must be an int", f"{bad!r}"], mode, op, arrays, **{name: bad}
            )
    for bad in (0, 2**31, -(2**31), 2**70):
        refuses(ValueError, ["n_jobs must be", f"{bad}"], mode, op, arrays, n_jobs=bad)
    refuses(ValueError, ["degree must be at least 0", "-1"], mode, op, arrays, degree=-1)
    if "dimension" in op.keywords(CASE):
        for bad in (0, -3):
            parts = ["dimension must be at least 1", f"{bad}"]
            refuses(ValueError, parts, mode, op, arrays, dimension=bad)
    for name in ("prepend", "scalar_term"):
        if name in op.keywords(CASE):
            for bad in (1, 0, "yes", None):
                parts = [f"{name} must be a bool", f"{bad!r}"]
                refuses(TypeError, parts, mode, op, arrays, **{name: bad})


@by_op
def test_beyond_what_can_be_addressed(op, mode):
    """d^N overflows 64 bits early, and must not wrap around to something small."""
    arrays, _ = arguments(op)
    for degree in (39, 41, 64, 10**9, 2**70):
        parts = ["dimension 3", f"degree {degree}", "cannot be addressed"]
        refuses(ValueError, parts, mode, op, arrays, degree=degree)


@by_op
def test_traced_numbers(op):
    """Under jit a number that was not marked static."""
    arrays = [jnp.asarray(x) for x in arguments(op)[0]]
    for name, value in {**op.keywords(CASE), "n_jobs": 1}.items():

        def function(traced, name=name):
            return op.call(*arrays, **{**op.keywords(CASE), name: traced})

        match = f"{name} must be a static Python (int|bool); got a traced .* with static_argnames"
        with pytest.raises(TypeError, match=match):
            jax.jit(function)(value)


@by_op
def test_torch_beside_another_framework(op, torch):
    arrays, each = arguments(op)
    if len(each) == 1:
        return
    for other in (np.asarray, jnp.asarray):
        for i, name, _ in each:
            mixed = [torch.from_numpy(x) if i == j else other(x) for j, x in enumerate(arrays)]
            with pytest.raises(TypeError, match=f"torch tensors cannot stand.*{name} from torch"):
                op.call(*mixed, **op.keywords(CASE))


@by_op
def test_torch_tensors_without_cpu_memory(op, torch):
    arrays, each = arguments(op)
    tensors = [torch.from_numpy(x) for x in arrays]
    for i, name, _ in each:
        for bad, found in ((tensors[i].to("meta"), "meta"), (tensors[i].to_sparse(), "sparse")):
            with pytest.raises(TypeError, match=f"{name} must be a dense torch tensor.*{found}"):
                op.call(*replaced(tensors, i, bad), **op.keywords(CASE))


@by_op
def test_numpy_arrays_that_are_more_than_numbers(op):
    arrays, each = arguments(op)
    for i, name, _ in each:
        swapped = arrays[i].astype(arrays[i].dtype.newbyteorder())
        masked = np.ma.masked_array(arrays[i], mask=False)
        for bad, found in ((swapped, "byte order"), (masked, "MaskedArray")):
            with pytest.raises(TypeError, match=f"{name} must .*{found}"):
                op.call(*replaced(arrays, i, bad), **op.keywords(CASE))


def test_sig_length():
    for arguments, error, match in (
        ((0, 2), ValueError, "dimension must be at least 1; got 0"),
        ((2, -1), ValueError, "degree must be at least 0; got -1"),
        ((2.0, 2), TypeError, r"dimension must be an int; got 2\.0 of type float"),
        ((2, True), TypeError, "degree must be an int; got True of type bool"),
        ((2, 63), ValueError, "dimension 2 and degree 63 cannot be addressed"),
        ((2**61, 2), ValueError, "cannot be addressed"),
    ):
        with pytest.raises(error, match=match):
            jax_siglib.sig_length(*arguments)
    with pytest.raises(TypeError, match="scalar_term must be a bool; got 1 of type int"):
        jax_siglib.sig_length(2, 2, scalar_term=1)
