#!/bin/sh
# The rows and the sheet of README.md: experiments/cifar/run.sh cifar10_1000.npy
set -e
cd "$(dirname "$0")/../.."
python="${PYTHON:-.venv/bin/python}"
"$python" experiments/cifar/shard.py "$1" runs/cifar10
"$python" -m regrain train recipes/cifar.toml
"$python" experiments/cifar/measure.py "$1" runs/cifar/weights.safetensors
