#!/bin/sh
# The students of student.csv, their mean, and their figures in runs/students: some three hours of one core.
# experiments/progressive/students.sh [METRICS], as for student.py. Streams are finished of 40 pictures, samples are
# compared with all that the recipe holds out.
set -e
cd "$(dirname "$0")/../.."
python=${PYTHON:-.venv/bin/python} metrics=${1:-../shared/data/weights} out=runs/students
here=experiments/progressive
for name in distill-prior distill-prior-again distill-prior-path distill-prior-four; do
  "$python" -m regrain distill "recipes/$name.toml" --out "runs/$name"
done
mkdir -p "$out/blend"
"$python" $here/blend.py runs/distill-prior/weights.safetensors runs/distill-prior-path/weights.safetensors \
  "$out/blend/weights.safetensors"
"$python" $here/held_out.py "$out/all"
"$python" $here/held_out.py "$out/some" --count 40
for folder in runs/distill-prior* "$out/blend"; do
  weights=$folder/weights.safetensors rows=$out/$(basename "$folder")
  "$python" $here/student.py "$weights" "$metrics" "$out/some" --what finishes --out "$rows-finishes.csv"
  "$python" $here/student.py "$weights" "$metrics" "$out/all" --what samples --samples 240 --out "$rows-samples.csv"
done
