#!/usr/bin/env bash
# Measures the progressive codec and writes results/0.1/PROGRESSIVE.md: an hour.
# SHARED is the folder with data/kodak, data/test and data/weights; PYTHON is an interpreter with regrain[dev]; JOBS is
# the number of processes that share the work.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
: "${SHARED:=../shared}" "${PYTHON:=.venv/bin/python}" "${JOBS:=1}"
export OMP_WAIT_POLICY=PASSIVE
here=experiments/progressive
lpips=$SHARED/data/weights/lpips_alex_v0.1.safetensors
"$PYTHON" $here/measure.py "$SHARED/data/kodak" --jobs "$JOBS"
"$PYTHON" $here/finishes.py "$SHARED/data/kodak" "$lpips"
"$PYTHON" $here/pictures.py
"$PYTHON" $here/parametrisations.py > $here/parametrisations.md
"$PYTHON" $here/channel.py > $here/channel.md
"$PYTHON" benchmarks/progressive.py > $here/time.md
"$PYTHON" $here/page.py
