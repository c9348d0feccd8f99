#!/bin/sh
# The students of student.csv, their mean, and their figures in runs/students: some three hours of one core.
# experiments/progressive/students.sh METRICS PICTURES, as for student.py
set -e
cd "$(dirname "$0")/../.."
python=${PYTHON:-.venv/bin/python} out=runs/students
for name in distill-prior distill-prior-again distill-prior-path distill-prior-four; do
  "$python" -m regrain distill "recipes/$name.toml" --out "runs/$name"
done
mkdir -p "$out/blend"
"$python" experiments/progressive/blend.py runs/distill-prior/weights.safetensors \
  runs/distill-prior-path/weights.safetensors "$out/blend/weights.safetensors"
for folder in runs/distill-prior* "$out/blend"; do
  "$python" experiments/progressive/student.py "$folder/weights.safetensors" "$@" --samples 240 \
    --out "$out/$(basename "$folder").csv"
done
