#!/bin/sh
# The rows of README.md from weights/: experiments/baselines/run.sh KODAK WEIGHTS. With TRAIN=1 weights/ is made first,
# from ../shared/data/train as mean-scale.toml and scale.toml say; a run that was stopped goes on.
set -e
cd "$(dirname "$0")"
python="${PYTHON:-../../.venv/bin/python}"
for kind in ${TRAIN:+mean-scale scale}; do "$python" train.py "$kind" ../../runs/baselines; done
exec "$python" measure.py "$@"
