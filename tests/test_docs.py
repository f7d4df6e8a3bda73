"""What the documentation says runs: docstrings, README, the console script."""

import doctest
import importlib
import os
import pkgutil
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from processes import TESTS, run_python

import jax_siglib
from jax_siglib import _self_check, _self_check_cases
from jax_siglib import _tensor_algebra as ta
from jax_siglib._native import ext

README = TESTS.parent / "README.md"
MODULES = ["jax_siglib"] + [
    f"jax_siglib.{module.name}"
    for module in pkgutil.iter_modules(jax_siglib.__path__)
    if module.name != "_ext"
]


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0


def test_public_functions_have_examples():
    finder = doctest.DocTestFinder(recurse=False)
    for name in jax_siglib.__all__:
        if name != "__version__":
            (found,) = finder.find(getattr(jax_siglib, name), name)
            assert found.examples, name


def test_readme(tmp_path):
    """The python blocks, one after another in one interpreter, as a reader would type them.

    A block fenced as anything but ``python`` alone is not run.
    """
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.M | re.S)
    assert blocks, "the README shows no Python"
    done = run_python("\n".join(blocks), tmp_path)
    assert done.returncode == 0, done.stderr


def test_console_script(tmp_path):
    """The README's first command, as it is installed; from an editable install the module."""
    code = "import runpy; runpy.run_module('jax_siglib', run_name='__main__')"
    command = Path(sys.executable).with_name("jax-siglib")
    if command.exists():
        code = f"import os; os.execv({str(command)!r}, ['jax-siglib'])"
    done = run_python(code, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for section in (
        f"jax_siglib {jax_siglib.__version__}",
        "Kernels",
        f"instruction set  {ext.instruction_set()}",
        "What serves which platform",
        "Devices here",
        "Example:",
        "Check against the reference",
    ):
        assert section in done.stdout, section
    agreed = re.search(r"(\d+) of (\d+) cases agree", done.stdout)
    assert agreed and agreed[1] == agreed[2] and int(agreed[1]) > 100


def test_broken_kernels_are_named(monkeypatch, capsys):
    """A self-check that cannot fail is worth nothing: spoil one entry of each kernel's result."""

    def broken(kernel):
        def call(*args):
            kernel(*args)
            found = args[-1].view("bfloat16") if args[-1].dtype == "uint16" else args[-1]
            # In three dimensions only: a path or a displacement, or a signature of degree 2.
            if found.shape[-1] in (3, *ta.layout_lengths(3, 2)):
                largest = np.unravel_index(np.argmax(np.abs(found)), found.shape)
                found[largest] *= np.asarray(1.02, found.dtype)  # more than any dtype rounds

        return call

    monkeypatch.setattr(_self_check_cases, "_SIZES", [(2, 2), (3, 2)])
    spoiled = {
        "sig_join_backprop",
        "sig_join_hvp",
        "sig_hvp",
        "sig_stream",
        "sig_stream_backprop",
    }
    for name in spoiled:
        monkeypatch.setattr(ext, name, broken(getattr(ext, name)))
    assert _self_check.check() != 0
    failed = [line for line in capsys.readouterr().out.splitlines() if "FAILED" in line]
    for line in failed:
        assert "dimension=3 degree=2" in line and "numpy: error " in line, line
    # No kernel is that of windows alone: they are made of streams.
    assert {line.split()[1] for line in failed} == spoiled | {"sig_windows"}


def test_crashing_kernel_is_named(monkeypatch, capsys):
    def broken(*args):
        raise ValueError("no such luck")

    monkeypatch.setattr(_self_check_cases, "_SIZES", [(2, 2)])
    monkeypatch.setattr(ext, "sig_join_jvp", broken)
    assert _self_check.check() != 0
    assert "no such luck" in capsys.readouterr().out


def test_import_from_a_clone(tmp_path):
    """Sources without their compiled module say what to do, not 'partially initialized'."""
    shutil.copytree(
        Path(jax_siglib.__file__).parent,
        tmp_path / "jax_siglib",
        ignore=shutil.ignore_patterns("_ext*", "__pycache__"),
    )
    done = run_python("import jax_siglib", tmp_path, PYTHONPATH=f"{tmp_path}{os.pathsep}")
    assert done.returncode != 0
    for part in ("ImportError", "pip install", "another folder"):
        assert part in done.stderr
