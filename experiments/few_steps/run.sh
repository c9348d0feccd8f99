#!/usr/bin/env bash
# Trains small teachers and students, samples them, and writes results/0.1/FEW_STEPS.md: two and a half hours of one core.
# SHARED is the folder with data/train and data/weights; PYTHON is an interpreter with regrain[dev].
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
: "${SHARED:=../shared}" "${PYTHON:=.venv/bin/python}"
export OMP_WAIT_POLICY=PASSIVE OMP_NUM_THREADS=1
here=experiments/few_steps
"$PYTHON" $here/students.py "$SHARED/data/weights" $here/students.csv
"$PYTHON" $here/residual.py "$SHARED/data/weights" $here/residual.csv
"$PYTHON" $here/guidance.py "$SHARED/data/weights" $here/guidance.csv
"$PYTHON" $here/predictions.py "$SHARED/data/weights" $here/predictions.csv
"$PYTHON" $here/page.py
