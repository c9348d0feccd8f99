"""Files that must decode for ever: to exactly these symbols, and to these pixels as nearly as floats allow."""

import hashlib
import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from exactness import BACKENDS, digest
from regrain import bitstream, codec, image, registry

FOLDER = Path(__file__).parent / "golden"
GOLDEN = json.loads((FOLDER / "golden.json").read_text(encoding="utf-8"))


def test_there_is_one_of_every_kind():
    headers = [bitstream.read_header((FOLDER / f"{name}.rgn").read_bytes()) for name in GOLDEN]
    assert {path.stem for path in FOLDER.glob("*.rgn")} == set(GOLDEN)
    assert {header.grey for header in headers} == {header.alpha for header in headers} == {False, True}
    assert {0, 25600} <= {header.quality for header in headers}
    assert (1, 1) in {(header.width, header.height) for header in headers}
    assert any(bitstream.tile_count(header) >= 4 for header in headers)
    assert {header.method for header in headers} == set(bitstream.Method) - {bitstream.Method.PRIVATE}


def test_the_package_has_weights_for_each_and_files_for_all_its_weights():
    """Every fingerprint that was released has golden files, and every golden file its weights."""
    headers = [bitstream.read_header((FOLDER / f"{name}.rgn").read_bytes()) for name in GOLDEN]
    released = {(header.method, header.fingerprint) for header in headers}
    stored = {path.name for path in (files("regrain") / "weights").iterdir() if path.name.endswith(".safetensors")}
    assert {registry.shipped_weights(*one).name for one in released} == stored


@pytest.mark.parametrize("name", GOLDEN)
def test_the_file_is_the_one_that_was_made(name):
    data = (FOLDER / f"{name}.rgn").read_bytes()
    assert len(data) == GOLDEN[name]["bytes"] <= 3000
    assert hashlib.sha256(data).hexdigest() == GOLDEN[name]["sha256"]


@pytest.mark.parametrize("device", BACKENDS)
@pytest.mark.parametrize("name", [name for name, entry in GOLDEN.items() if "symbols" in entry])
def test_the_symbols_are_the_same_to_the_last(name, device):
    assert digest((FOLDER / f"{name}.rgn").read_bytes(), device) == GOLDEN[name]["symbols"]


@pytest.mark.parametrize("device", BACKENDS)
@pytest.mark.parametrize("name", GOLDEN)
def test_the_picture_is_the_same(name, device):
    back = codec.decode((FOLDER / f"{name}.rgn").read_bytes(), realism=0, device=device)
    kept = image.read(FOLDER / f"{name}.png")
    assert (back.width, back.height) == (GOLDEN[name]["width"], GOLDEN[name]["height"])
    assert back.pixels.shape == kept.pixels.shape
    apart = np.abs(back.pixels.astype(int) - kept.pixels)
    assert apart.mean() <= 0.5
    assert apart.max() <= (12 if device == "onnx" else 2)  # another machine rounds otherwise, and bytes more so
    assert back.metadata == kept.metadata
    assert (back.alpha is None) == (kept.alpha is None)
    assert back.alpha is None or np.array_equal(back.alpha, kept.alpha)
