#!/usr/bin/env bash
# Measures other photos than Kodak's, and screen captures, and writes results/0.1/SECOND_SET.md: half an hour.
# SHARED is the folder with data/kodak, data/test and data/weights; PYTHON is an interpreter with regrain[dev]; JOBS is
# the number of processes that share the work.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
: "${SHARED:=../shared}" "${PYTHON:=.venv/bin/python}" "${JOBS:=1}"
export OMP_WAIT_POLICY=PASSIVE
here=experiments/second_set
# Photos and screen captures are apart: two folders of links to the pictures of data/test.
lpips=$SHARED/data/weights/lpips_alex_v0.1.safetensors
rm -rf runs/second/photos runs/second/screens
mkdir -p runs/second/photos runs/second/screens
ln -s "$(realpath "$SHARED")"/data/test/*.png runs/second/photos
for name in graph gui terminal windows95 4cd6910a0b7b39365fda5df87618d091; do
  mv runs/second/photos/$name.png runs/second/screens
done
for kind in photos screens; do
  evaluate=("$PYTHON" -m regrain evaluate runs/second/$kind runs/second/$kind.results --jobs "$JOBS" --weights "$lpips")
  "${evaluate[@]}" --codecs regrain WebP AVIF --qualities 0 15 30 45 60 80
  "${evaluate[@]}" --codecs regrain JPEG --qualities 0 20 40 60 80 --model src/regrain/weights/palette-904e8a6e.safetensors
  cp runs/second/$kind.results/results.csv $here/$kind.csv
done
"$PYTHON" $here/page.py
