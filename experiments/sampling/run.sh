#!/bin/sh
# The charts of README.md: experiments/sampling/run.sh KODAK WEIGHTS; hours of one core for all 24 photos.
set -e
cd "$(dirname "$0")/../.."
exec "${PYTHON:-.venv/bin/python}" experiments/sampling/measure.py "$@"
