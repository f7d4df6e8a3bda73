#!/usr/bin/env bash
# The GPU suite's kernels under compute-sanitizer: invalid accesses, then races in shared memory.
set -euo pipefail
cd "$(dirname "$0")/.."
export JAX_PLATFORMS=cuda,cpu JAX_SIGLIB_REQUIRE_GPU=1 XLA_PYTHON_CLIENT_PREALLOCATE=false
for tool in memcheck racecheck; do
  compute-sanitizer --tool "$tool" --error-exitcode 1 --kernel-name kernel_substring=OnDevice \
    python -P -m pytest -q -n0 tests/test_gpu.py -k against_the_oracle
done
