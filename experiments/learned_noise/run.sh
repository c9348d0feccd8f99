#!/bin/sh
# The rows of README.md: experiments/learned_noise/run.sh.
# PYTHON is an interpreter with regrain[lab]; the training pictures and CIFAR-10 are where recipes/prior.toml has them.
set -e
cd "$(dirname "$0")/../.."
export OMP_WAIT_POLICY=PASSIVE OMP_NUM_THREADS=1
exec "${PYTHON:-.venv/bin/python}" experiments/learned_noise/measure.py "$@"
