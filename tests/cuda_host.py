"""The CUDA kernels, compiled for the CPU and run by the OPS table.

The bodies are those that a GPU runs (ffi/cuda/block.h), on threads and blocks in any order. The
module is built with the CUDA module, or for itself by -C cmake.define.JAX_SIGLIB_CUDA_ON_HOST=ON.
"""

import numpy as np
from helpers import HALVES, OPS, as_tuple, check

IN_ORDER = True, 1 << 20, 0  # threads and blocks in order, as many as planned
ORDERS = [IN_ORDER, (False, 1 << 20, 0), (False, 3, 7)]


def hold(host, op, case, batch=(), small=False, shrink=1.0, branches=True, crowded=False):
    """Results against the oracle in every dtype, with the same bits in every order.

    Crowded: as if there were many more, so that blocks take as many elements as they can.
    """
    arrays = op.draw(5, case, "float64", batch)
    if "path" in op.takes:
        arrays = [x * shrink if x.shape[-2:] == (case.points, case.d) else x for x in arrays]
    if op.tied:
        n = len(op.forward.takes)
        arrays[n] = op.forward.truth(arrays[:n], case, batch).results[0]
    truth = op.truth(arrays, case, batch)
    for dtype in (*HALVES, "float32", "float64"):
        if dtype in HALVES and (case.degree > 5 or shrink != 1):
            continue  # where float16 has few of its digits left, or none
        narrow = [x.astype(dtype) for x in arrays]
        exact = op.truth(narrow, case, batch) if dtype in HALVES else truth
        first = None
        for order in ORDERS:
            host.configure(*order, small, branches)
            if crowded:
                host.as_if(1, 1 << 20)
            found = as_tuple(op.bind(case)(*narrow))
            check(op, case, found, exact, dtype, order)
            first = first or found
            for ours, theirs in zip(found, first, strict=True):
                np.testing.assert_array_equal(ours, theirs, err_msg=f"{op.name} {case} {order}")


JOINS = [op for op in OPS if op.name.startswith("sig_join")]
PATHS = [op for op in OPS if op.name in ("sig", "sig_jvp", "sig_backprop", "sig_hvp")]
PRODUCTS = [op for op in OPS if op.name.startswith(("sig_combine", "sig_inverse"))]
STREAMS = [op for op in OPS if op.name.startswith("sig_stream")]
ALL = JOINS + PATHS + PRODUCTS + STREAMS
# Whole in one block, and cut up by small limits; d around a warp, levels of one letter.
SIZES = [(1, 5), (2, 1), (2, 7), (3, 4), (5, 3), (33, 2)]
