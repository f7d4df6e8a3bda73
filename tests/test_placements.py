"""Where arrays can lie on 8 devices, and what becomes of a call of them.

sig_join stands for all operations, which share all of the code that is tested here.
"""

import jax
import jax.numpy as jnp
import pytest
from helpers import BY_NAME, Case, close
from jax import export, lax
from jax.sharding import AbstractMesh, AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from sharded import TOLERANCE, collectives

CASE = Case(2, 3)
OP = BY_NAME["sig_join"]
JOIN, REFERENCE = OP.bind(CASE), OP.bind_reference(CASE)
TARGET = "jax_siglib_sig_join_v1"
AUTO = jax.make_mesh((2, 4), ("a", "b"), axis_types=(AxisType.Auto,) * 2)
LINE = jax.make_mesh((8,), ("d",), axis_types=(AxisType.Auto,))


def draw(*batches):
    """A signature and a displacement, each with a batch shape of its own."""
    return [
        jnp.asarray(OP.draw(0, CASE, "float64", batch)[i])
        for i, batch in enumerate(batches if len(batches) > 1 else batches * 2)
    ]


def place(arrays, specs, mesh=AUTO):
    return [
        jax.device_put(x, NamedSharding(mesh, spec)) for x, spec in zip(arrays, specs, strict=True)
    ]


def constrain(x, spec, mesh=AUTO):
    return lax.with_sharding_constraint(x, NamedSharding(mesh, spec))


def compare(function, arrays, placed):
    """Values against the reference on one device, and collectives against the reference's."""
    ours, theirs = (jax.jit(function(f)).lower(*placed).compile() for f in (JOIN, REFERENCE))
    expected = jax.tree.leaves(jax.jit(function(REFERENCE))(*arrays))
    for x, y in zip(jax.tree.leaves(ours(*placed)), expected, strict=True):
        close(x, y, TOLERANCE)
    return collectives(ours), collectives(theirs)


def gradients(f):
    return jax.grad(lambda *x: jnp.sum(jnp.sin(f(*x))), (0, 1))


FREE = {  # the batches of sig and displacement, their shardings, that of the result
    "one axis": ((8,), (8,), P("a"), P("a"), P("a")),
    "two axes of the mesh on one": ((8,), (8,), P(("a", "b")), P(("a", "b")), P(("a", "b"))),
    "and in the other order": ((8,), (8,), P(("b", "a")), P(("b", "a")), P(("b", "a"))),
    "two batch axes": ((4, 8), (4, 8), P("a", "b"), P("a", "b"), P("a", "b")),
    "one operand on every device": ((8,), (8,), P(), P("b"), P("b")),
}


@pytest.mark.parametrize("name", FREE)
def test_nothing_moves(name):
    *batches, of_sig, of_displacement, of_result = FREE[name]
    arrays = draw(*batches)
    placed = place(arrays, (of_sig, of_displacement))
    ours, theirs = compare(lambda f: f, arrays, placed)
    assert not ours and not theirs
    assert jax.jit(JOIN)(*placed).sharding.spec == of_result
    ours, theirs = compare(gradients, arrays, placed)
    assert ours <= theirs


def test_stretched_operands():
    """Two operands, each batched along an axis of its own, and sharded along it."""
    arrays = draw((4,), (8,))

    def outer(f):
        return jax.vmap(jax.vmap(f, (None, 0)), (0, None))

    placed = place(arrays, (P("a"), P("b")))
    ours, theirs = compare(outer, arrays, placed)
    assert not ours and not theirs
    assert jax.jit(outer(JOIN))(*placed).sharding.spec == P("a", "b")
    ours, theirs = compare(lambda f: gradients(outer(f)), arrays, placed)
    assert ours <= theirs


MOVED = {
    "operands differ": ((8,), P("a"), P("b")),
    "two axes, crosswise": ((4, 8), P("a", "b"), P("b", "a")),
    "core axes sharded": ((8,), P(None, "a"), P("b", "a")),
    "core axes alone": ((8,), P(None, "a"), P(None, "a")),
}


@pytest.mark.parametrize("name", MOVED)
def test_something_has_to_move(name):
    batch, *specs = MOVED[name]
    arrays = draw(batch)
    compare(lambda f: f, arrays, place(arrays, specs))
    compare(gradients, arrays, place(arrays, specs))


@pytest.mark.parametrize("spec", [P("b"), P(None, "b"), P()], ids=str)
def test_result_wanted_elsewhere(spec):
    """The work is shared out all the same."""
    arrays = draw((8,))
    placed = place(arrays, (P("a"), P("a")))
    compare(lambda f: lambda *x: constrain(f(*x), spec), arrays, placed)
    text = jax.jit(lambda *x: constrain(JOIN(*x), spec)).lower(*placed).compile().as_text()
    (call,) = (x for x in text.splitlines() if "custom-call(" in x and TARGET in x)
    members = 2 if spec == P("b") else 4
    assert f"f64[{members},{CASE.length()}]" in call


def test_batch_that_devices_do_not_divide():
    """The compiler pads: what the kernel makes of padding must not reach a result."""
    arrays = draw((6,))

    def padded(f):
        return lambda *x: f(*(constrain(y, P("d"), LINE) for y in x))

    placed = place(arrays, (P(), P()), LINE)
    compare(padded, arrays, placed)
    compare(lambda f: gradients(padded(f)), arrays, placed)


def test_axis_of_the_mesh_split_by_a_reshape():
    """Shardings that no PartitionSpec of this mesh can express."""
    arrays = draw((8,))

    def split(f):
        return lambda s, v: f(s.reshape(2, 4, -1), v.reshape(2, 4, -1)).reshape(8, -1)

    placed = place(arrays, (P("d"), P("d")), LINE)
    ours, theirs = compare(split, arrays, placed)
    assert not ours and not theirs
    ours, theirs = compare(lambda f: gradients(split(f)), arrays, placed)
    assert not ours and not theirs


def test_shard_map_over_some_axes_of_the_mesh():
    """Of the others the compiler takes care, inside of it too."""
    arrays = draw((4, 8))

    def some(f):
        def mapped(*x):
            spec = P("a")
            function = jax.shard_map(
                f, mesh=AUTO, in_specs=spec, out_specs=spec, axis_names=frozenset("a")
            )
            return function(*x)

        return mapped

    placed = place(arrays, (P("a", "b"), P("a", "b")))
    ours, theirs = compare(lambda f: jax.jit(some(f)), arrays, placed)
    assert not ours and not theirs
    ours, theirs = compare(lambda f: gradients(jax.jit(some(f))), arrays, placed)
    assert not ours and not theirs


def test_two_meshes_in_one_program():
    arrays = draw((8,))

    def both(f):
        return lambda s, v: constrain(f(s, v), P("d"), LINE)

    compare(both, arrays, place(arrays, (P("a"), P("a"))))


def test_empty_batch():
    arrays = draw((0, 8))
    for specs in ((P("a"), P("a")), (P(None, "b"), P(None, "b"))):
        compare(lambda f: f, arrays, place(arrays, specs))
        compare(gradients, arrays, place(arrays, specs))


def test_eager_calls():
    """No jit by the user: arrays that lie on several devices bring their result there."""
    arrays = draw((8,))
    placed = place(arrays, (P("a"), P("a")))
    found = JOIN(*placed)
    close(found, REFERENCE(*arrays), TOLERANCE)
    assert found.sharding.spec == P("a")
    for x, y in zip(gradients(JOIN)(*placed), gradients(REFERENCE)(*arrays), strict=True):
        close(x, y, TOLERANCE)
        assert x.sharding.spec == P("a")


def test_one_device_gets_a_plain_call():
    arrays = draw((8,))
    text = jax.jit(JOIN).lower(*arrays).as_text()
    assert text.count("custom_call") == 1 and TARGET in text
    mesh = jax.make_mesh((1,), ("a",), axis_types=(AxisType.Auto,), devices=jax.devices()[:1])
    placed = place(arrays, (P("a"), P("a")), mesh)
    assert "CustomSPMDPartitioning" not in jax.jit(JOIN).lower(*placed).as_text()
    placed = place(arrays, (P("a"), P("a")))
    assert "CustomSPMDPartitioning" in jax.jit(JOIN).lower(*placed).as_text()
    whole = jax.shard_map(JOIN, mesh=AUTO, in_specs=P("a"), out_specs=P("a"))
    assert "CustomSPMDPartitioning" not in jax.jit(whole).lower(*placed).as_text()


def test_export_of_a_sharded_program():
    """What is exported may not call back into Python, so there operands are gathered."""
    arrays = draw((8,))
    placed = place(arrays, (P("a"), P("a")))
    allowed = [export.DisabledSafetyCheck.custom_call(TARGET)]
    exported = export.export(jax.jit(JOIN), disabled_checks=allowed)(*placed)
    assert exported.nr_devices == 8
    close(jax.jit(exported.call)(*placed), REFERENCE(*arrays), TOLERANCE)


def test_lowering_for_a_mesh_without_devices():
    mesh = AbstractMesh((2, 4), ("a", "b"), axis_types=(AxisType.Auto,) * 2)
    arrays = [
        jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(mesh, P("a")))
        for x in draw((8,))
    ]
    text = jax.jit(JOIN).trace(*arrays).lower(lowering_platforms=("cpu",)).as_text()
    assert "CustomSPMDPartitioning" in text


def explicitly(arrays, specs, function):
    """Types of a function's results where shardings are part of them, and the results."""
    mesh = jax.make_mesh((2, 4), ("a", "b"), axis_types=(AxisType.Explicit,) * 2)
    with jax.set_mesh(mesh):
        found = jax.jit(function)(*place(arrays, specs, mesh))
        return [(jax.typeof(x).sharding.spec, x) for x in jax.tree.leaves(found)]


EXPLICIT = {  # the batch, the operands' shardings, that of the result
    "one axis of the mesh after the other": ((8,), P("a"), P("b"), P("a", None)),
    "one of them for two axes": ((8, 8), P("a"), P(None, "a"), P("a", None, None)),
    "crosswise": ((8, 8), P("a", "b"), P("b", "a"), P("a", "b", None)),
    "core axes": ((8,), P(None, "a"), P("b", "a"), P("b", None)),
}


@pytest.mark.parametrize("name", EXPLICIT)
def test_explicit_shardings_that_differ(name):
    """The first operand that is partitioned along an axis decides; gradients go back to theirs."""
    batch, *specs, of_result = EXPLICIT[name]
    arrays = draw(batch)
    ((spec, found),) = explicitly(arrays, specs, JOIN)
    assert spec == of_result
    close(found, REFERENCE(*arrays), TOLERANCE)
    found = explicitly(arrays, specs, gradients(JOIN))
    expected = gradients(REFERENCE)(*arrays)
    for (spec, x), wanted, y in zip(found, specs, expected, strict=True):
        assert spec == P(*wanted, *[None] * (len(batch) + 1 - len(wanted)))
        close(x, y, TOLERANCE)


def test_explicit_sharding_of_points():
    """No path is cut up along its points: they are gathered, and their gradients sent back."""
    op, case = BY_NAME["sig"], Case(2, 3, points=4)
    arrays, specs = [jnp.asarray(op.draw(0, case, "float64", (8,))[0])], [P("a", "b")]

    def gradient(f):
        return jax.grad(lambda x: jnp.sum(jnp.sin(f(x))))

    ((spec, found),) = explicitly(arrays, specs, gradient(op.bind(case)))
    assert spec == P("a", "b", None)
    close(found, gradient(op.bind_reference(case))(*arrays), TOLERANCE)
    moved = op.bind(case._replace(lead_lag=True, basepoint=True))
    ((spec, found),) = explicitly(arrays, specs, gradient(moved))
    assert spec == P("a", "b", None)
    close(found, gradient(moved)(*arrays), TOLERANCE)


@pytest.mark.parametrize("name", ["sig_join", "sig"])
def test_explicit_sharding(name):
    """Where shardings are part of types, results have those of their operands."""
    op, case = BY_NAME[name], Case(2, 3, points=3)
    ours, reference = op.bind(case), op.bind_reference(case)
    arrays = [jnp.asarray(x) for x in op.draw(0, case, "float64", (8,))]
    mesh = jax.make_mesh((2, 4), ("a", "b"), axis_types=(AxisType.Explicit,) * 2)
    with jax.set_mesh(mesh):
        placed = [jax.device_put(x, NamedSharding(mesh, P("a"))) for x in arrays]

        of = tuple(range(len(arrays)))

        def gradient(f):
            return jax.grad(lambda *x: jnp.sum(jnp.sin(f(*x))), of)

        for wrap in (lambda f: f, jax.jit):
            result = wrap(ours)(*placed)
            assert jax.typeof(result).sharding.spec == P("a", None)
            close(result, reference(*arrays), TOLERANCE)
            for function in (gradient, lambda f: jax.vmap(gradient(f))):
                found, expected = wrap(function(ours))(*placed), function(reference)(*arrays)
                for x, y in zip(found, expected, strict=True):
                    close(x, y, TOLERANCE)
                    assert jax.typeof(x).sharding.spec[0] == "a"
