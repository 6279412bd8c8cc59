#!/usr/bin/env bash
# The engine vllm on one GPU, in at most 8 minutes: installs where it has to, makes a random Llama and two fine-tunes of
# it, checks that weights and answers are right, and measures. Without a network, what is installed has to do.
#
#   benchmarks/gpu_check.sh [layers, 8 by default: about 1.1 billion parameters; 32 are 8 billion]
#
# Prints one section a question; ends with exit code 1 if weights or answers differ.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
LAYERS="${1:-8}"
PYTHON="${PYTHON:-python3}"
DEADLINE=$((SECONDS + 480))
WORK="$(mktemp -d)"
trap 'rm -rf "$WORK"' EXIT
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1

left() {
  local rest=$((DEADLINE - SECONDS))
  if [ "$rest" -lt 10 ]; then
    echo "gpu_check: eight minutes are over" >&2
    exit 1
  fi
  echo "$rest"
}

echo "== environment"
nvidia-smi --query-gpu=name,memory.total,memory.free --format=csv
"$PYTHON" -c 'import vllm, exme.search' 2>/dev/null || timeout "$(left)" "$PYTHON" -m pip install --quiet ".[vllm]"
"$PYTHON" -c 'import torch, transformers, vllm; print("torch", torch.__version__, "transformers", transformers.__version__, "vllm", vllm.__version__)'

echo "== random models of $LAYERS layers"
timeout "$(left)" "$PYTHON" benchmarks/random_llama.py "$WORK/models" --layers "$LAYERS"

echo "== weights, and answers with and without drafts, in float32: none may differ"
timeout "$(left)" "$PYTHON" benchmarks/vllm.py --models "$WORK/models" --data mini --device cuda --dtype float32 \
  --documents 32 --tokens 48 --check

echo "== in bfloat16: merging, candidates an hour, drafts; beside a fresh lm-eval run for one candidate"
timeout "$(left)" "$PYTHON" benchmarks/vllm.py --models "$WORK/models" --data mini --device cuda --documents 64 --tokens 64
