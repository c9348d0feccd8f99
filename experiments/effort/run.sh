#!/bin/sh
# The rows of README.md: experiments/effort/run.sh KODAK WEIGHTS; hours of one core for all of Kodak, resumable.
set -e
cd "$(dirname "$0")/../.."
PYTHON="${PYTHON:-.venv/bin/python}"
"$PYTHON" experiments/effort/measure.py "$@"
exec "$PYTHON" experiments/effort/measure.py --table
