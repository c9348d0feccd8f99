#!/bin/sh
# The rows of README.md: experiments/fast/run.sh [SHARED]; ten minutes of one core, resumable.
set -e
cd "$(dirname "$0")/../.."
shared=${1:-../shared}
exec "${PYTHON:-.venv/bin/python}" experiments/fast/measure.py "$shared/data/kodak" "$shared/data/weights"
