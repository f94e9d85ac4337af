#!/usr/bin/env bash
# One GPU: is the encoder right, how fast is it, and what comes of it from files to reports. At most 8 minutes, no network.
#
#   benchmarks/gpu.sh [FOLDER_OF_WHEELS]
#
# Needs Python 3.12 (PYTHON=...) with torch, transformers, safetensors, sentencepiece, numba and pytest. The last part needs the
# project's other dependencies: from wheels in the named folder; without, it is left out and says so. Writes gpu.json and, where
# it can, gpu-throughput.txt into OUT (default: here).
set -euo pipefail
here="$(cd "$(dirname "$0")/.." && pwd)"
python="${PYTHON:-python3}"
out="${OUT:-$PWD}"
wheels="${1:-}"
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
export PYTHONPATH="$here:$here/benchmarks:$here/sample_data" HF_HUB_OFFLINE=1
export DICOM_PIPELINE_CACHE="$scratch/cache" DICOM_PIPELINE_MODELS="$scratch/models"

"$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' || { echo "no CUDA device" >&2; exit 2; }
"$python" "$here/sample_data/make_full_size.py" --out "$scratch/full"
FULL_SIZE="$scratch/full" timeout 120 "$python" -m pytest -q --noconftest -p no:cacheprovider -m gpu "$here/tests/encoders/test_gpu.py"
timeout 210 "$python" "$here/benchmarks/gpu.py" --model "$scratch/full" --out "$out/gpu.json"

if [ -z "$wheels" ]; then
  echo "files to reports: left out, no folder of wheels was named"
  exit 0
fi
"$python" -m venv --system-site-packages "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --no-index --find-links "$wheels" --constraint "$here/constraints.txt" "$here"
timeout 120 "$scratch/venv/bin/python" "$here/benchmarks/throughput.py" --model "$scratch/full" --frames 600 --studies 10 \
  --processes "$(($(nproc) - 1))" | tee "$out/gpu-throughput.txt"
