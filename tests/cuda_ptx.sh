#!/usr/bin/env bash
# The CUDA kernels without a GPU: what nvcc makes of them, instruction by instruction on the CPU,
# against the oracle in all dtypes, and then counted. Four minutes; needs nvcc, and the package with
# jax_siglib._cuda_on_host.
#   bash tests/cuda_ptx.sh [PYTEST'S ARGUMENTS]
set -euo pipefail
cd "$(dirname "$0")/.."
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
compile() {
  nvcc -std=c++17 -arch=sm_90 -ptx "-DJAX_SIGLIB_STORAGE=$2" "ffi/cuda/$1.cu" -o "$3/$1_$2.ptx"
}
export -f compile
printf '%s\n' "branch_kernels float" "branch_kernels double" {kernels,roots_kernels}\ {float,double,Float16,BFloat16} |
  xargs -P "$(nproc)" -I{} bash -c "set -- {} '$folder'; compile \"\$@\""
# Long paths are about rounding, and take a quarter of an hour.
JAX_SIGLIB_PTX="$folder" python -P -m pytest tests/test_cuda_on_host.py -k "not long_paths" "$@"
python tests/bench/instructions.py "$folder"
