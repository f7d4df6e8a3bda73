"""Every instruction set that runs here, not only the best one, against the oracle.

That one, in use already, goes through the same sweeps in test_sig_join.py and test_sig.py.
"""

import pytest
from processes import run_python

from jax_siglib._native import ext

SWEEP = """
import sys
import sweep
from jax_siglib._native import ext

assert ext.instruction_set() == sys.argv[1]
for d in sweep.SMALL:
    sweep.small(d)
for d in sweep.LARGE:
    sweep.large(d)
for d in (2, 5, 10, 12):
    sweep.paths(d)
for d in (1, 2, 3, 4, 5, 7, 10, 16):
    sweep.side_by_side(d)
sweep.tiles()
"""


@pytest.mark.parametrize(
    "name", [name for name in ext.instruction_sets() if name != ext.instruction_set()]
)
def test_sweep(name, tmp_path):
    done = run_python(SWEEP, tmp_path, name, JAX_SIGLIB_ISA=name)
    assert done.returncode == 0, done.stderr


def test_unknown_name_is_refused(tmp_path):
    """A typo must not quietly run something else."""
    done = run_python("import jax_siglib", tmp_path, JAX_SIGLIB_ISA="avx1024")
    assert done.returncode != 0
    for word in ("JAX_SIGLIB_ISA", "avx1024", *ext.instruction_sets()):
        assert word in done.stderr
