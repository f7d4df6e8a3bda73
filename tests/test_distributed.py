"""Two processes of JAX's own multi-process runtime, a batch split across them.

The parent runs the same program in one process, which is what values are held against.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import close
from processes import TESTS, run_python

import jax_siglib

CODE = f"""
import runpy, sys
sys.path.insert(0, {str(TESTS)!r})
runpy.run_path({str(TESTS / "distributed.py")!r}, run_name="__main__")
"""
SECONDS = 240  # for processes that wait for each other, on however busy a machine


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.mark.parametrize("devices", [1, 2], ids=lambda n: f"{n} devices each")
def test_two_processes(tmp_path, devices):
    done = run_python(CODE, tmp_path, "alone", XLA_FLAGS="")
    assert done.returncode == 0, done.stderr
    expected = json.loads(done.stdout)

    # The processes find each other on this host, and no proxy may come between them.
    env = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
    env |= {
        "PYTHONPATH": f"{TESTS}{os.pathsep}{Path(jax_siglib.__file__).parents[1]}",
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }
    address = f"127.0.0.1:{free_port()}"
    script = tmp_path / "script.py"
    processes = [
        subprocess.Popen(
            [sys.executable, str(script), address, str(rank)],
            cwd=tmp_path,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=SECONDS) for process in processes]
    finally:
        for process in processes:
            process.kill()  # of no effect on one that has ended
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors
    rows = []
    for rank, (text, _) in enumerate(outputs):
        found = json.loads(text.splitlines()[-1])
        assert found["process"] == rank and found["devices"] == 2 * devices
        # Value and the gradient of what is on every device: the same everywhere.
        for name in ("value", "factor"):
            close(found[name], expected[name], 1e-12, name)
        # One sum over devices, or one for the value and one for the gradient, and nothing else.
        assert set(found["collectives"]) == {"all-reduce"}
        assert found["collectives"]["all-reduce"] <= found["reference"]["all-reduce"]
        for start, shard in found["paths"]:
            assert len(shard) == 8 // (2 * devices)
            rows.append((start, shard))
    # Each process holds its share of the gradient of what was split, both together all of it.
    assert [start for start, _ in rows] == list(range(0, 8, 8 // (2 * devices)))
    close(np.concatenate([shard for _, shard in rows]), expected["paths"][0][1], 1e-12)
