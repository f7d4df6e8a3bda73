#!/usr/bin/env bash
# The CUDA kernels without a GPU: what CUDA's compiler makes of them, instruction by instruction on
# the CPU, against the oracle in all dtypes, and then counted. Four minutes; needs the package with
# jax_siglib._cuda_on_host, and nvcc, or
#   CUDA=12.1 bash tests/cuda_ptx.sh [PYTEST'S ARGUMENTS]
# which takes the compiler of that version, 12.1 or later, from NVIDIA's wheels, and its ptxas.
set -euo pipefail
cd "$(dirname "$0")/.."
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/ptx"
if [[ -z ${CUDA:-} ]]; then
  python tests/compile_ptx.py "$folder/ptx"
else
  # Since CUDA 13 their names have no number.
  suffix=-cu12
  if [[ ${CUDA%%.*} != 12 ]]; then suffix=; fi
  for part in nvrtc runtime nvcc; do wheels+=("nvidia-cuda-$part$suffix==$CUDA.*"); done
  python -m pip install --quiet --no-deps --target "$folder/cuda" "${wheels[@]}"
  python tests/compile_ptx.py "$folder/ptx" --nvrtc "$folder/cuda"
  ptxas="$(find "$folder/cuda" -name ptxas)"
  chmod +x "$ptxas"
  for file in "$folder"/ptx/*.ptx; do "$ptxas" -arch=sm_90 "$file" -o "$folder/cubin"; done
fi
# Long paths are about rounding, and take a quarter of an hour.
JAX_SIGLIB_PTX="$folder/ptx" python -P -m pytest tests/test_cuda_on_host*.py -k "not long_paths" "$@"
python tests/bench/instructions.py "$folder/ptx"
