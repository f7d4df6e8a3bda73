"""What nvcc makes of the CUDA kernels, carried out on the CPU (ffi/cuda/ptx_machine.h).

Here the float32 kernels of joins and products, on small sizes; tests/cuda_ptx.sh runs them all.
"""

import itertools
import os
import re
import shutil

import numpy as np
import pytest
from compile_ptx import compile_ptx
from helpers import OPS, Case, as_tuple, check

from jax_siglib import sig_length

FIRST_ORDER = [
    op for op in OPS if op.name.startswith(("sig_join", "sig_combine")) and "hvp" not in op.name
]


@pytest.fixture
def compiled(tmp_path):
    if shutil.which("nvcc") is None:
        if os.environ.get("JAX_SIGLIB_REQUIRE_CUDA") == "1":
            pytest.fail("JAX_SIGLIB_REQUIRE_CUDA=1, but there is no nvcc")
        pytest.skip("there is no nvcc")
    return compile_ptx([("kernels", "float"), ("roots_kernels", "float")], tmp_path)


def test_against_the_oracle(
    host, read_ptx, compiled
):  # one test, for to compile takes longer than all else
    """And what is counted is not less than what has to be moved."""
    read_ptx(compiled)
    sizes = itertools.product(FIRST_ORDER, (False, True), ((5, 3), (2, 6), (5, 5)), (False, True))
    for op, small, (d, degree), prepend in sizes:
        if prepend and not op.has_prepend:
            continue
        case = Case(d, degree, prepend, scalar_term=small)
        arrays = op.draw(3, case, "float32", (3,))
        host.configure(not small, 5, 0, small)
        found = as_tuple(op.bind(case)(*arrays))
        check(op, case, found, op.truth(arrays, case, (3,)), "float32", small)
        done = host.counted()
        assert len(done) == host.launches() > 0
        assert sum(x["sectors"] for x in done) >= sum(x.nbytes for x in found) / 32
        for x in done:
            assert 0 < x["instructions"] <= x["lanes"] <= 32 * x["instructions"]

    # Over the cotangent level N, which is as it was, is not written.
    sig, g = np.ones((2, 4, sig_length(2, 7)), "float32")
    v, ct_v = np.ones((2, 4, 2), "float32")
    sectors = []
    for out in np.empty_like(g), g:
        host.configure(True, 1 << 20, 0, False)
        host.sig_join_backprop(g, sig, v, 2, 7, False, 1, out, ct_v)
        sectors.append(host.counted()[0]["sectors"])
    assert sectors[0] - sectors[1] >= 4 * 2**7 * 4 / 32


def test_kernels_that_were_not_read(host, read_ptx, tmp_path):
    file = tmp_path / "one.ptx"
    file.write_text(".entry one(.param .u64 one_param_0)\n{\nret;\n}\n")
    read_ptx([str(file)])
    sig, v, out = np.ones((1, 6)), np.ones((1, 2)), np.empty((1, 6))
    with pytest.raises(RuntimeError, match="no kernel RootsOnDevice<.*double"):
        host.sig_join(sig, v, 2, 2, False, 1, out)
    with pytest.raises(RuntimeError, match="cannot open"):
        read_ptx([str(tmp_path / "nothing.ptx")])


def test_registers_side_by_side(host, read_ptx, tmp_path):
    """CUDA 12.1 moves them as one, where later ones do not."""
    file = tmp_path / "kernel.ptx"

    def carry_out(code, job_bytes):
        name = "RootsOnDevice<JoinRoots<false>, RootsOf<2, 2, false>, double>"
        file.write_text(f".entry {name}(.param .b8 job[{job_bytes}])\n{{\n{code}\nret;\n}}\n")
        read_ptx([])  # which would be held by its name
        read_ptx([str(file)])
        sig, v, out = np.ones((1, 6)), np.ones((1, 2)), np.empty((1, 6))
        host.sig_join(sig, v, 2, 2, False, 1, out)

    with pytest.raises(RuntimeError, match="takes 8") as caught:
        carry_out("", 8)
    job_bytes = int(re.search(r"a job of (\d+) bytes", str(caught.value))[1])
    code = """
mov.u32 %r1, 4294967295;
mov.u32 %r2, 7;
mov.b64 %rd1, {%r1, %r2};
sub.s64 %rd2, %rd1, FIRST;
mov.b64 {%r3, %r4}, %rd1;
cvt.u64.u32 %rd3, %r3;
sub.s64 %rd4, %rd3, 4294967295;
mov.b32 {%rs1, %rs2}, %r4;
mov.b32 %r5, {%rs2, %rs1};
sub.s32 %r6, %r5, 458752;
cvt.u64.u32 %rd5, %r6;
or.b64 %rd6, %rd2, %rd4;
or.b64 %rd7, %rd6, %rd5;
setp.eq.s64 %p1, %rd7, 0;
@%p1 bra $right;
div.u64 %rd8, %rd1, 0;
$right:
"""
    packed = 7 << 32 | 0xFFFFFFFF
    carry_out(code.replace("FIRST", str(packed)), job_bytes)
    with pytest.raises(RuntimeError, match="division by zero"):
        carry_out(code.replace("FIRST", str(packed + 1)), job_bytes)


@pytest.mark.parametrize(
    "statement",
    [
        "vote.all.pred %p1, %p2;",
        "ld.global.q7 %r1, [%rd1];",
        "ld.shared.u8 %r1, [%rd1];",
        "add.u32 %r1, {%r2, %r3}, 1;",
    ],
)
def test_what_is_not_known_is_complained_of(read_ptx, tmp_path, statement):
    file = tmp_path / "strange.ptx"
    file.write_text(f".entry strange(.param .u64 strange_param_0)\n{{\n{statement}\nret;\n}}\n")
    with pytest.raises(RuntimeError, match="PTX: "):
        read_ptx([str(file)])
