#!/bin/sh
# The tables of README.md: experiments/screens/run.sh [WORK]; an hour of two cores. WORK, by default runs/screens, keeps
# the pictures and the weights.
set -e
cd "$(dirname "$0")/../.."
python=${PYTHON:-.venv/bin/python} work=${1:-runs/screens}
mkdir -p "$work"
"$python" experiments/screens/generator.py "$work/judged-charts" --count 10 --kinds chart --seed 98
"$python" experiments/screens/generator.py "$work/charts" --count 25 --kinds chart --seed 0
"$python" -m regrain fine-tune "$work/charts" --out "$work/adapter" --steps 600
"$python" -m regrain fine-tune "$work/charts" --out "$work/all" --parts all --steps 800
"$python" experiments/screens/measure.py "$work"/judged-charts/*.png --model adapter="$work/adapter/weights.safetensors" \
  --model all="$work/all/weights.safetensors"
"$python" experiments/screens/measure.py --table
