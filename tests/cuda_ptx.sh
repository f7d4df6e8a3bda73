#!/usr/bin/env bash
# The CUDA kernels without a GPU: what CUDA's compiler makes of them for Turing and for Hopper,
# instruction by instruction on the CPU, against the oracle in all dtypes, and then counted. Needs the
# package with jax_siglib._cuda_on_host, and nvcc, or
#   CUDA=12.1 bash tests/cuda_ptx.sh [PYTEST'S ARGUMENTS]
# which takes the compiler of that version from NVIDIA's wheels, and its ptxas.
set -euo pipefail
cd "$(dirname "$0")/.."
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
compiler=()
if [[ -n ${CUDA:-} ]]; then
  # Since CUDA 13 their names have no number.
  suffix=-cu12
  if [[ ${CUDA%%.*} != 12 ]]; then suffix=; fi
  for part in nvrtc runtime nvcc; do wheels+=("nvidia-cuda-$part$suffix==$CUDA.*"); done
  python -m pip install --quiet --no-deps --target "$folder/cuda" "${wheels[@]}"
  compiler=(--nvrtc "$folder/cuda")
  ptxas="$(find "$folder/cuda" -name ptxas)"
  chmod +x "$ptxas"
fi
for arch in sm_75 sm_90; do
  mkdir "$folder/$arch"
  python tests/compile_ptx.py "$folder/$arch" --arch "$arch" "${compiler[@]}"
  if [[ -n ${CUDA:-} ]]; then
    for file in "$folder/$arch"/*.ptx; do "$ptxas" "-arch=$arch" "$file" -o "$folder/cubin"; done
  fi
  # Long paths are about rounding, and take a quarter of an hour.
  JAX_SIGLIB_PTX="$folder/$arch" python -P -m pytest tests/test_cuda_on_host*.py -k "not long_paths" "$@"
done
python tests/bench/instructions.py "$folder/sm_90"
