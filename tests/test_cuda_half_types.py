"""Half types as the CUDA kernels widen them and round to them, without a GPU.

The module is that of cuda_host.py.
"""

import numpy as np
from helpers import HALVES


def test_half_types(host):
    """Every pattern widened as numpy does it, and roundings at and around every boundary."""
    patterns = np.arange(1 << 16, dtype=np.uint16)
    for dtype in HALVES:
        exact = patterns.view(dtype).astype(np.float32)
        widen, to_bits = getattr(host, f"widen_{dtype}"), getattr(host, f"round_{dtype}")
        found = np.array([widen(int(x)) for x in patterns], np.float32)
        np.testing.assert_array_equal(found, exact)
        finite = exact[np.isfinite(exact)]
        halfway = finite[:-1] / 2 + finite[1:] / 2
        sample = np.concatenate(
            [
                exact[::7],
                *(np.nextafter(halfway[::13], s * np.inf) for s in (np.float32(-1), 1)),
                halfway[::13],
                np.float32([65519.996, 65520, 3.3895e38, np.inf, -np.inf, 1e-45, 2.0**-25]),
            ]
        ).astype(np.float32)
        sample = sample[~np.isnan(sample)]
        with np.errstate(over="ignore"):
            expected = sample.astype(dtype).view(np.uint16)
        rounded = np.array([to_bits(float(x)) for x in sample], np.uint16)
        np.testing.assert_array_equal(rounded, expected)
        assert np.isnan(widen(to_bits(float("nan"))))
