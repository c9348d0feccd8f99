#!/usr/bin/env bash
# Measures quality against steps, before and after distillation, and writes results/0.1/FEW_STEPS.md: an hour.
# SHARED is the folder with data/kodak, data/test and data/weights; PYTHON is an interpreter with regrain[dev]; JOBS is
# the number of processes that share the work.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
: "${SHARED:=../shared}" "${PYTHON:=.venv/bin/python}" "${JOBS:=1}"
export OMP_WAIT_POLICY=PASSIVE
here=experiments/few_steps
# The teacher is what recipes/gpu.toml leaves (a GPU makes it); the four students, of the latents
# before, are those of `regrain distill recipes/distill-NAME.toml`, and guidance is that of distill-guided.toml.
lpips=$SHARED/data/weights/lpips_alex_v0.1.safetensors
first=runs/conditional-b52d4b2a.safetensors
make $first
students=()
for name in none progressive consistency direct; do students+=("$name=runs/distill-$name/weights.safetensors"); done
"$PYTHON" $here/measure.py "$SHARED/data/kodak" "$lpips" $here/steps.csv \
  teacher=runs/gpu/weights.safetensors shipped --jobs "$JOBS"
"$PYTHON" $here/measure.py "$SHARED/data/kodak" "$lpips" $here/methods.csv \
  teacher=$first "${students[@]}" --steps 1 2 4 8 --jobs "$JOBS"
"$PYTHON" $here/guidance.py "$lpips" $here/guidance.csv
"$PYTHON" $here/predictions.py "$lpips" $here/predictions.csv
"$PYTHON" $here/page.py
