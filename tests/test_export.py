"""Programs that outlive the process: exported, compiled ahead of time, kept in JAX's cache."""

import functools
import json
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import OPS, Case, as_tuple, by_op
from jax import export, lax
from processes import run_python

import jax_siglib

CASE = Case(2, 4, prepend=True, scalar_term=True)
PLATFORMS = ("cpu", "cuda", "tpu")


def arguments(op, batch, dtype="float64"):
    """Types of the arguments, with this for their batch axis."""
    return [
        jax.ShapeDtypeStruct((batch, *op.shape(axes, CASE)), dtype) for axes in op.takes.values()
    ]


def exported(function, *types, platforms=PLATFORMS):
    checks = jax_siglib.export_checks()
    return export.export(jax.jit(function), platforms=platforms, disabled_checks=checks)(*types)


def symbolic(text="b"):
    return export.symbolic_shape(text)[0]


@jax.jit
def cotangents(results):
    """Some that differ from entry to entry."""
    return jax.tree.map(
        lambda x: jnp.cos(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape), results
    )


def results_and_gradients(function, arrays, gradients=True):
    """All that a program, and if wanted its derivative, give, in one list."""
    if not gradients:
        return [*as_tuple(jax.jit(function)(*arrays))]
    results, pull_back = jax.vjp(jax.jit(function), *arrays)
    return [*as_tuple(results), *jax.jit(pull_back)(cotangents(results))]


# Calls what it finds in its folder, and leaves what it found.
FRESH = """
import sys
import jax
jax.config.update("jax_enable_x64", True)
import numpy as np
from jax import export
from pathlib import Path
import jax_siglib
from test_export import results_and_gradients

folder = Path(sys.argv[1])
for file in folder.glob("*.program"):
    program = export.deserialize(bytearray(file.read_bytes()))
    assert program.platforms == ("cpu", "cuda", "tpu"), program.platforms
    for given in folder.glob(f"{file.stem}.*.given.npz"):
        with np.load(given) as file:
            arrays = [jax.numpy.asarray(x) for x in file.values()]
        found = results_and_gradients(program.call, arrays, program.has_vjp())
        np.savez(str(given).replace("given", "found"), *found)
"""


def test_round_trip(tmp_path, proven):
    """Any batch size, three platforms, the derivative too: in another process, the same bits."""
    expected = {}
    for op in OPS:
        program = exported(op.bind(CASE), *arguments(op, symbolic()))
        (tmp_path / f"{op.name}.program").write_bytes(program.serialize(int(op.goes_to(1))))
        for batch in (1, 5):
            arrays = op.draw(0, CASE, "float64", (batch,))
            np.savez(tmp_path / f"{op.name}.{batch}.given.npz", *arrays)
            arrays = [jnp.asarray(x) for x in arrays]
            direct = results_and_gradients(op.bind(CASE), arrays, op.goes_to(1))
            expected[f"{op.name}.{batch}.found.npz"] = direct
    done = run_python(FRESH, tmp_path, str(tmp_path))
    assert done.returncode == 0, done.stderr
    for name, direct in expected.items():
        with np.load(tmp_path / name) as found:
            same(list(found.values()), direct, name)
    for op in OPS:
        if op.goes_to(1):
            proven("jax.export, symbolic batch, vjp", op.name, "float64")


def same(found, expected, name):
    """The same bits wherever a kernel made them.

    Derivatives of derivatives are XLA's own loops in part, which it fuses in one program thus and
    in another so: a few roundings of the largest entry.
    """
    op = next(op for op in OPS if op.name == name.split(".")[0])
    by_kernel = (
        len(op.results) if op.name.endswith(("_jvp", "_backprop", "_hvp")) else len(expected)
    )
    assert len(found) == len(expected)
    for i, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        ours, theirs = np.asarray(ours), np.asarray(theirs)
        if i < by_kernel:
            np.testing.assert_array_equal(ours, theirs, err_msg=name, strict=True)
        else:
            assert ours.shape == theirs.shape and ours.dtype == theirs.dtype, name
            assert np.max(np.abs(ours - theirs)) <= 1e-14 * np.max(np.abs(theirs)), name


@by_op
def test_stretched_operands_and_loops(op):
    """Symbolic sizes where the library compares shapes: a scan of vmap over some operands.

    What it gives at the size 3, and the gradients of that.
    """
    n = len(op.takes)
    over = [None if i and i % 2 else 0 for i in range(n)]
    types, arrays = arguments(op, symbolic()), op.draw(0, CASE, "float64", (3,))
    for i in range(n):
        if over[i] is None:
            types[i] = jax.ShapeDtypeStruct(types[i].shape[1:], types[i].dtype)
            arrays[i] = arrays[i][0]
    arrays = [jnp.asarray(x) for x in arrays]

    def mapped(*x):
        return jax.vmap(op.bind(CASE), over)(*x)

    def looped(*x):
        def step(carry, _):
            results = as_tuple(mapped(carry, *x[1:]))
            return carry + sum(jnp.sum(y) for y in results), results

        return lax.scan(step, x[0], length=3)

    program = exported(looped, *types)
    again = export.deserialize(program.serialize(int(op.goes_to(1))))
    ours, theirs = (
        results_and_gradients(lambda *x, f=f: jax.tree.leaves(f(*x)), arrays, op.goes_to(1))
        for f in (again.call, looped)
    )
    for a, b in zip(ours, theirs, strict=True):
        # Sums over the batch and over the results, which XLA may add in another order.
        assert a.shape == b.shape
        assert jnp.max(jnp.abs(a - b)) <= 1e-13 * jnp.max(jnp.abs(b))


def test_stream_object_of_any_batch():
    def function(path):
        begin = jax_siglib.SignatureStream.begin(2, 3, batch=path.shape[:1], dtype=path.dtype)
        return begin.mark().push_path(path).since_mark

    program = exported(function, jax.ShapeDtypeStruct((symbolic(), 4, 2), "float64"))
    path = np.random.default_rng(0).uniform(size=(5, 4, 2))
    np.testing.assert_array_equal(program.call(path), jax.jit(function)(path))


def test_sizes_that_have_to_be_static():
    """Coordinates, by which signatures have their length, and points where windows lie in them."""
    by_points = jax.ShapeDtypeStruct((symbolic("T"), 2), "float64")
    with pytest.raises(ValueError, match="path must have a static number of points T for its wind"):
        exported(lambda path: jax_siglib.sig_windows(path, [[0, 2]], 2), by_points)
    by_coordinates = jax.ShapeDtypeStruct((5, symbolic("d")), "float64")
    for function in (
        lambda path: jax_siglib.sig(path, 2),
        lambda path: jax_siglib.sig(path, 2, initial=jnp.zeros(6)),
        lambda path: jax_siglib.sig_stream(path, 2),
        lambda path: jax_siglib.sig_windows(path, [[0, 2]], 2),
    ):
        with pytest.raises(ValueError, match=r"path must have a static .* d, .*got shape \(5, d\)"):
            exported(function, by_coordinates)
    program = exported(lambda path: jax_siglib.transform_path(path, lead_lag=True), by_coordinates)
    path = np.arange(10.0).reshape(5, 2)
    moved = jax_siglib.transform_path(path, lead_lag=True)
    np.testing.assert_array_equal(program.call(path), moved)


@by_op
def test_check_is_needed_and_narrow(op):
    """JAX would not export without; what is not ours it still refuses."""
    types = arguments(op, 3)
    with pytest.raises(ValueError, match="jax_siglib_.*_v1"):
        export.export(jax.jit(op.bind(CASE)), platforms=["cpu"])(*types)
    exported(op.bind(CASE), *types, platforms=["cpu"])

    def foreign(*x):
        x = jax.ffi.ffi_call("not_of_jax_siglib", jax.ShapeDtypeStruct(x[0].shape, x[0].dtype))(*x)
        return x

    with pytest.raises(ValueError, match="not_of_jax_siglib"):
        exported(foreign, *types, platforms=["cpu"])


WITHOUT_IMPORT = """
import sys
import jax
jax.config.update("jax_enable_x64", True)
from jax import export
from pathlib import Path

program = export.deserialize(bytearray(Path(sys.argv[1]).read_bytes()))
program.call(*(jax.numpy.zeros(x.shape, x.dtype) for x in program.in_avals))
"""


def test_without_import(tmp_path):
    """The kernel that is missing is named, as the documentation of export_checks says."""
    op, file = OPS[0], tmp_path / "program"
    file.write_bytes(exported(op.bind(CASE), *arguments(op, 3)).serialize())
    done = run_python(WITHOUT_IMPORT, tmp_path, str(file))
    assert done.returncode != 0
    assert f"No FFI handler registered for jax_siglib_{op.name}_v1" in done.stderr


EXECUTABLE = """
import pickle, sys
import jax
jax.config.update("jax_enable_x64", True)
import numpy as np
from jax.experimental import serialize_executable
from pathlib import Path
import jax_siglib

folder = Path(sys.argv[1])
for file in folder.glob("*.executable"):
    compiled = serialize_executable.deserialize_and_load(*pickle.loads(file.read_bytes()))
    with np.load(file.with_suffix(".npz")) as arrays:
        found = compiled(*arrays.values())
    np.savez(file.with_suffix(".found.npz"), *jax.tree.leaves(found))
"""


def test_ahead_of_time(tmp_path, proven):
    """Compiled for types alone; called here, and, as an executable, in another process."""
    from jax.experimental import serialize_executable

    expected = {}
    for op in OPS:
        arrays = [jnp.asarray(x) for x in op.draw(0, CASE, "float64", (3,))]

        def both(*x, op=op):
            results = op.bind(CASE)(*x)
            pull_back = jax.vjp(op.bind(CASE), *x)[1] if op.goes_to(1) else lambda _: ()
            return jax.tree.leaves((results, pull_back(x_of(op, x))))

        compiled = jax.jit(both).lower(*arguments(op, 3)).compile()
        direct = jax.jit(both)(*arrays)
        same(compiled(*arrays), direct, op.name)
        with pytest.raises(TypeError, match="compiled|aval|shape"):
            compiled(*(x[:2] for x in arrays))
        serialized = pickle.dumps(serialize_executable.serialize(compiled))
        (tmp_path / f"{op.name}.executable").write_bytes(serialized)
        np.savez(tmp_path / f"{op.name}.npz", *arrays)
        expected[f"{op.name}.found.npz"] = direct
    # It would be loaded for all devices of the process.
    done = run_python(EXECUTABLE, tmp_path, str(tmp_path), XLA_FLAGS="")
    assert done.returncode == 0, done.stderr
    for name, direct in expected.items():
        with np.load(tmp_path / name) as found:
            same(list(found.values()), direct, name)
    for op in OPS:
        proven("compiled ahead of time", op.name, "float64")


def x_of(op, arrays):
    """Cotangents for results of the shapes that an operation gives."""
    results = jax.eval_shape(op.bind(CASE), *arrays)
    return jax.tree.map(lambda r: jnp.full(r.shape, 0.75, r.dtype), results)


CACHED = """
import json
import jax
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
import jax.numpy as jnp

events = []
jax.monitoring.register_event_listener(lambda name, **_: events.append(name))
from helpers import OPS
from test_export import CASE, results_and_gradients

counts = {}
for op in OPS:
    arrays = [jnp.asarray(x) for x in op.draw(0, CASE, "float64", (3,))]
    events.clear()
    found = results_and_gradients(op.bind(CASE), arrays, op.goes_to(1))
    counts[op.name] = [
        events.count("/jax/compilation_cache/cache_hits"),
        events.count("/jax/compilation_cache/cache_misses"),
        [x.tobytes().hex() for x in map(jax.device_get, found)],
    ]
print(json.dumps(counts))
"""


def test_persistent_cache(tmp_path):
    """The second process compiles nothing, and its programs give the same bits."""
    run = functools.partial(
        run_python, CACHED, tmp_path, JAX_COMPILATION_CACHE_DIR=f"{tmp_path}/cache"
    )
    first, second = run(), run()
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    first, second = (json.loads(x.stdout.splitlines()[-1]) for x in (first, second))
    for op in OPS:
        (_, missed, bits), (hit, missed_again, same_bits) = first[op.name], second[op.name]
        assert missed > 0 and hit > 0 and missed_again == 0, op.name
        assert same_bits == bits, op.name
