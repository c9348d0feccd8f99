#!/bin/sh
# The rows of README.md: experiments/fill/run.sh KODAK WEIGHTS; five minutes of one core.
set -e
cd "$(dirname "$0")/../.."
exec "${PYTHON:-.venv/bin/python}" experiments/fill/measure.py "$@" --every 3
