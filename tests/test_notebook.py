"""The quick-start notebook runs from start to end, and what is stored in it is what it gives."""

import itertools
import os
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from ipykernel.kernelspec import write_kernel_spec
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
SECONDS_PER_CELL = 300


def read(folder):
    notebook = nbformat.read(folder / "quickstart.ipynb", as_version=4)
    nbformat.validate(notebook)
    return notebook


def execute(notebook, folder, scratch):
    """Run all cells with ``folder`` as working directory, in a kernel of this interpreter."""
    write_kernel_spec(scratch / "kernels" / "python3")
    specs = KernelSpecManager(
        kernel_dirs=[os.fspath(scratch / "kernels")], ensure_native_kernel=False
    )
    NotebookClient(
        notebook,
        km=AsyncKernelManager(kernel_name="python3", kernel_spec_manager=specs),
        timeout=SECONDS_PER_CELL,
        resources={"metadata": {"path": os.fspath(folder)}},
    ).execute(cleanup_kc=True)  # else the sockets stay open


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds_of_output(cell):
    """Of what prints, once: on a busy machine it arrives in more than one piece."""
    kinds = [
        (output.output_type, output.get("name"), sorted(output.get("data", ())))
        for output in cell.outputs
    ]
    return [kind for kind, _ in itertools.groupby(kinds)]


def accuracy(notebook):
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    text = "".join(output.text for output in outputs if output.output_type == "stream")
    (found,) = re.findall(r"test accuracy: (\d\.\d+)", text)
    return float(found)


def test_stored_notebook_has_its_outputs():
    stored = read(NOTEBOOKS)
    cells = code_cells(stored)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert accuracy(stored) >= 0.98
    assert any("image/png" in output.get("data", ()) for cell in cells for output in cell.outputs)


# Jupyter's own, about what will change in it.
@pytest.mark.filterwarnings("ignore::DeprecationWarning:(jupyter|nbclient|nbformat|tornado|zmq)")
def test_notebook_runs(tmp_path, monkeypatch):
    # In a copy: the root of the clone would shadow the installed package. Nothing of the user's
    # set-up, and plots that end up in the notebook.
    folder = shutil.copytree(NOTEBOOKS, tmp_path / "notebooks")
    for variable in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(variable, os.fspath(tmp_path / variable.lower()))
    monkeypatch.delenv("MPLBACKEND", raising=False)

    stored, fresh = read(folder), read(folder)
    for cell in code_cells(fresh):
        cell.outputs, cell.execution_count = [], None
    execute(fresh, folder, tmp_path)

    assert accuracy(fresh) >= 0.98
    for was, now in zip(code_cells(stored), code_cells(fresh), strict=True):
        assert now.source == was.source
        assert kinds_of_output(now) == kinds_of_output(was), was.source
