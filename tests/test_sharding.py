"""Several devices: right values and, above all, right gradients of replicated operands.

Where ``shard_map`` keeps account of what varies over the mesh, a derivative rule that does not
loses the sum over devices: the gradient is then that of one shard, with no error raised.
"""

from helpers import run_python

CODE = """
import jax
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
import numpy as np
from helpers import BY_NAME, Case, close
from jax.sharding import NamedSharding, PartitionSpec as P

assert len(jax.devices()) == 2
mesh = jax.make_mesh((2,), ("b",), axis_types=(jax.sharding.AxisType.Auto,))
case = Case(3, 3, scalar_term=True)
for name, split in (("sig_join", "s."), ("sig_join", ".s"), ("sig", "s"), ("linear_sig", "s")):
    op = BY_NAME[name]
    arrays = [
        jnp.asarray(op.draw(0, case, "float64", (4,) if how == "s" else ())[i])
        for i, how in enumerate(split)
    ]
    axes = [0 if how == "s" else None for how in split]
    weights = np.random.default_rng(1).uniform(-1, 1, (4, *op.shape("L", case)))

    def total(f, weights, *arrays):
        return jnp.sum(weights * jax.vmap(f, axes)(*arrays))

    of = tuple(range(len(split)))
    reference = lambda *x: total(op.bind_reference(case), weights, *x)
    expected = jax.value_and_grad(reference, of)(*arrays)

    # jit over arrays that lie split.
    specs = [P("b") if how == "s" else P() for how in split]
    placed = [jax.device_put(x, NamedSharding(mesh, s)) for x, s in zip(arrays, specs)]
    ours = lambda *x: total(op.bind(case), weights, *x)
    found = jax.jit(jax.value_and_grad(ours, of))(*placed)

    # shard_map with its default checks; one shard's share of the total on each device.
    def shard(weights, *x):
        return jax.lax.psum(total(op.bind(case), weights, *x), "b")

    mapped = jax.shard_map(shard, mesh=mesh, in_specs=(P("b"), *specs), out_specs=P())
    by_shards = jax.jit(jax.value_and_grad(lambda *x: mapped(weights, *x), of))(*placed)
    for results in (found, by_shards):
        for a, b in zip(jax.tree.leaves(results), jax.tree.leaves(expected), strict=True):
            close(a, b, 1e-12, name, split)  # other sums of the same terms
print("done")
"""


def test_two_devices(tmp_path):
    done = run_python(CODE, tmp_path, XLA_FLAGS="--xla_force_host_platform_device_count=2")
    assert done.returncode == 0 and "done" in done.stdout, done.stderr
