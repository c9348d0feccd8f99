#!/bin/sh
# The table of what --content auto takes pictures for: experiments/screens/contents.sh [SHARED]; SHARED, by default
# ../shared, has data/kodak, data/test and data/train.
set -e
cd "$(dirname "$0")/../.."
data=${1:-../shared}/data
exec "${PYTHON:-.venv/bin/python}" -m experiments.screens.contents "Kodak=$data/kodak" \
  "CID22=$data/test/[0-9]????.png,$data/test/[0-9]?????.png,$data/test/[0-9]??????.png" \
  "CLIC=$data/test/604*.png,$data/test/946*.png,$data/test/b51*.png" \
  "captures=$data/test/[gtw]*.png,$data/test/4cd*.png" "crops to train on=$data/train"
