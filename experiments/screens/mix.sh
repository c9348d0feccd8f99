#!/bin/sh
# The rows of mix.csv, of ten drawn pictures and of five captures: experiments/screens/mix.sh [SHARED]; half an hour of a
# core, and the rows of whole.csv. SHARED, by default ../shared, has data/test.
set -e
cd "$(dirname "$0")/../.."
python=${PYTHON:-.venv/bin/python} tests=${1:-../shared}/data/test
"$python" experiments/screens/generator.py runs/screens/mixed --count 10 --seed 98
measure() {
  "$python" experiments/screens/measure.py "$@" --screen --out experiments/screens/mix.csv \
    --model adapter=src/regrain/weights/conditional-680f6ef2.safetensors
}
measure runs/screens/mixed/*.png
measure "$tests"/[gtw]*.png "$tests"/4cd*.png --middle 512,384
"$python" experiments/screens/measure.py "$tests"/[gtw]*.png "$tests"/4cd*.png --screen --out experiments/screens/whole.csv
"$python" experiments/screens/measure.py --table --out experiments/screens/mix.csv
