#!/bin/sh
# The tables of README.md: experiments/screens/run.sh [WORK]; an hour of two cores. WORK, by default runs/screens, keeps
# the pictures and the weights.
set -e
cd "$(dirname "$0")/../.."
python=${PYTHON:-.venv/bin/python} work=${1:-runs/screens}
mkdir -p "$work"
for kind in chart code table dialog prose; do
  "$python" experiments/screens/generator.py "$work/judged" --count 2 --kinds $kind --seed 99
done
"$python" experiments/screens/generator.py "$work/judged-charts" --count 10 --kinds chart --seed 98
"$python" experiments/screens/generator.py "$work/charts" --count 25 --kinds chart --seed 0
"$python" -m regrain fine-tune "$work/charts" --out "$work/charts.weights" --steps 600
"$python" experiments/screens/measure.py "$work"/judged-charts/*.png --model charts="$work/charts.weights/weights.safetensors"
"$python" experiments/screens/measure.py --table
