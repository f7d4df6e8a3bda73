"""A training step on a batch of paths, in one process or in two; test_distributed.py runs it.

distributed.py alone | distributed.py ADDRESS RANK
"""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from sharded import collectives

import jax_siglib
from jax_siglib import _reference

BATCH, POINTS, D, DEGREE = 8, 5, 2, 3


def loss(sig, sig_join):
    """Signatures of paths, scaled by a factor that all share, with one more segment each."""

    def function(factor, paths, steps):
        sigs = sig(paths * factor)
        joined = jax.vmap(sig_join, (0, 0))(sigs, steps * factor)
        return jnp.sum(jnp.sin(joined))

    return function


def main(address, rank):
    jax.config.update("jax_enable_x64", True)
    if address != "alone":
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(
            address,
            num_processes=2,
            process_id=rank,
            local_device_ids=None,
            initialization_timeout=120,
        )
        assert jax.process_count() == 2
    rng = np.random.default_rng(5)  # the same draws in both processes, of which each keeps a part
    factor = rng.uniform(0.5, 1, D)
    paths = rng.uniform(-1, 1, (BATCH, POINTS, D))
    steps = rng.uniform(-1, 1, (BATCH, D))

    mesh = jax.make_mesh((len(jax.devices()),), ("b",), axis_types=(AxisType.Auto,))
    split, everywhere = NamedSharding(mesh, P("b")), NamedSharding(mesh, P())
    arrays = [
        jax.make_array_from_callback(x.shape, sharding, x.__getitem__)
        for x, sharding in ((factor, everywhere), (paths, split), (steps, split))
    ]
    ours = loss(
        lambda x: jax_siglib.sig(x, DEGREE), lambda s, v: jax_siglib.sig_join(s, v, D, DEGREE)
    )
    reference = loss(
        lambda x: _reference.sig(x, degree=DEGREE, scalar_term=False),
        lambda s, v: _reference.sig_join(s, v, dimension=D, degree=DEGREE, prepend=False),
    )
    compiled, plain = (
        jax.jit(jax.value_and_grad(f, (0, 1))).lower(*arrays).compile() for f in (ours, reference)
    )
    value, (of_factor, of_paths) = compiled(*arrays)
    shards = [
        (x.index[0].start or 0, np.asarray(x.data).tolist()) for x in of_paths.addressable_shards
    ]
    found = {
        "process": jax.process_index(),
        "devices": len(jax.devices()),
        "collectives": collectives(compiled),
        "reference": collectives(plain),
        "value": float(value),
        "factor": np.asarray(of_factor).tolist(),
        "paths": sorted(shards),
    }
    print(json.dumps(found), flush=True)
    if address != "alone":
        jax.distributed.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0)
