#!/usr/bin/env bash
# The CUDA kernels without a GPU: what nvcc makes of them, instruction by instruction on the CPU,
# against the oracle in all dtypes, and then counted. Four minutes; needs nvcc, and the package with
# jax_siglib._cuda_on_host.
#   bash tests/cuda_ptx.sh [PYTEST'S ARGUMENTS]
set -euo pipefail
cd "$(dirname "$0")/.."
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python tests/compile_ptx.py "$folder"
# Long paths are about rounding, and take a quarter of an hour.
JAX_SIGLIB_PTX="$folder" python -P -m pytest tests/test_cuda_on_host.py -k "not long_paths" "$@"
python tests/bench/instructions.py "$folder"
