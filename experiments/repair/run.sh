#!/bin/sh
# The rows of README.md: experiments/repair/run.sh KODAK WEIGHTS; an hour of one core for every third photo.
set -e
cd "$(dirname "$0")/../.."
exec "${PYTHON:-.venv/bin/python}" experiments/repair/measure.py "$@" --every 3
