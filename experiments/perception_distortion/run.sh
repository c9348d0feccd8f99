#!/usr/bin/env bash
# Decodes Kodak's files in every way and draws perception over distortion: two minutes of one core a photo.
# SHARED is the folder with data/kodak, data/test and data/weights; PYTHON is an interpreter with regrain[dev]; JOBS is
# the number of processes that share the work.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
: "${SHARED:=../shared}" "${PYTHON:=.venv/bin/python}" "${JOBS:=1}"
export OMP_WAIT_POLICY=PASSIVE
here=experiments/perception_distortion
lpips=$SHARED/data/weights/lpips_alex_v0.1.safetensors
"$PYTHON" $here/measure.py "$SHARED/data/kodak" "$lpips" --jobs "$JOBS" "$@"
