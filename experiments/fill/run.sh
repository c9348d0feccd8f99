#!/bin/sh
# The rows of README.md and sheet.webp: experiments/fill/run.sh KODAK WEIGHTS
set -e
cd "$(dirname "$0")/../.."
exec "${PYTHON:-.venv/bin/python}" experiments/fill/measure.py "$@"
