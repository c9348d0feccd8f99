#!/usr/bin/env bash
# Measures colours, dithering, coding and repair of the palette codec and writes results/0.1/PALETTE.md: half an hour.
# SHARED is the folder with data/kodak, data/test and data/weights; PYTHON is an interpreter with regrain[dev]; JOBS is
# the number of processes that share the work.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
: "${SHARED:=../shared}" "${PYTHON:=.venv/bin/python}" "${JOBS:=1}"
export OMP_WAIT_POLICY=PASSIVE
here=experiments/palette
lpips=$SHARED/data/weights/lpips_alex_v0.1.safetensors
"$PYTHON" $here/measure.py "$SHARED/data/kodak" "$SHARED/data/test" "$lpips"
"$PYTHON" $here/against_jpeg.py "$SHARED/data/kodak" "$SHARED/data/weights"
"$PYTHON" $here/page.py
