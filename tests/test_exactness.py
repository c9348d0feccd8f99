"""One file, every setting: the symbols are equal, whoever encoded and whoever decodes; and one seed gives one picture.

Two processes take other instruction sets than this one's. Each decodes what the others wrote, under every setting of
exactness.py; a symbol that differs fails its CRC there, or its digest here.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import exactness
from regrain import image, registry
from regrain.diffusion import noise

FOLDER = Path(__file__).parent / "golden"
GOLDEN = [
    FOLDER / f"{name}.rgn"
    for name, entry in json.loads((FOLDER / "golden.json").read_text()).items()
    if "symbols" in entry
]
SETTINGS = {
    "onnx-threads-2",
    "torch",
    "threads-1",
    "threads-2",
    "no-onednn",
    "channels-last",
    "batch-4",
    "batch-16-no-onednn",
    "float64",
    "autocast",
}
CORES = {"default": "Prescott", "avx2": "Haswell"}
"""The instruction set of NumPy's matrix products where torch is told to take one."""


def run(*arguments, capability=None):
    """What exactness.py prints in a process of its own, on `capability` (None: the best there is)."""
    variables = {name: value for name, value in os.environ.items() if name != "ATEN_CPU_CAPABILITY"}
    variables |= {"ATEN_CPU_CAPABILITY": capability, "OPENBLAS_CORETYPE": CORES[capability]} if capability else {}
    command = [sys.executable, exactness.__file__, *arguments]
    return json.loads(subprocess.run(command, capture_output=True, check=True, env=variables).stdout)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """What three instruction sets say of each other's files: symbol digests for each of them and each setting."""
    folder = tmp_path_factory.mktemp("files")
    row, column = np.mgrid[:70, :34]
    pixels = np.stack([(row * k + column * column // (9 + k)) % 256 for k in (2, 3, 5)], 2).astype(np.uint8)
    image.write(image.Picture(pixels), folder / "picture.png")
    written = [*GOLDEN, *exactness.encode(folder / "picture.png", folder)]
    said = {}
    for capability in CORES:
        before = set(folder.glob("*.rgn"))
        said[capability] = run(*written, "--encode", folder / "picture.png", folder, capability=capability)
        written += sorted(set(folder.glob("*.rgn")) - before)
    said["native"] = exactness.digests([path.read_bytes() for path in written])
    return said, [path.name for path in written]


def test_the_list_is_whole(world):
    said, names = world
    assert set(exactness.SETTINGS) >= SETTINGS
    for answer in said.values():
        assert set(answer) == set(exactness.SETTINGS)
    assert len(names) == len(GOLDEN) + 3 * len(exactness.SETTINGS)


def test_symbols_decoded_from_one_file_are_equal_under_every_setting(world):
    said, names = world
    wanted = said["native"]["plain"]
    assert len(wanted) == len(names)
    for capability, answer in said.items():
        for setting, symbols in answer.items():
            differing = [name for name, one, other in zip(names, symbols, wanted, strict=False) if one != other]
            assert not differing, (capability, setting)
            assert len(symbols) >= len(GOLDEN) + len(answer)


def test_one_seed_is_one_picture_in_two_processes():
    once, again = (run(*GOLDEN, "--pixels") for _ in range(2))
    assert once == again
    assert set(again) == set(exactness.BACKENDS)
    assert all(len(set(pictures)) == len(GOLDEN) for pictures in again.values())


def test_the_picture_knows_nothing_of_the_caller_s_torch(monkeypatch):
    """Another number of torch's threads adds in another order, and may round a value to the next level."""
    data = next(path for path in GOLDEN if path.stem == "highest").read_bytes()
    for device in exactness.BACKENDS:
        wanted = exactness.picture(data, device).astype(int)
        for name, most in (("autocast", 0), ("default-float64", 0), ("threads-2", device == "cpu")):
            with exactness.SETTINGS[name].context(), monkeypatch.context() as patch:
                patch.setattr(exactness, "own", lambda _, device: registry.load(device=device))
                assert np.abs(exactness.picture(data, device) - wanted).max() <= most, (device, name)


@pytest.mark.skipif("cuda" not in exactness.BACKENDS, reason="there is no GPU here")
def test_a_gpu_draws_what_a_cpu_draws():
    for path in GOLDEN:
        drawn, wanted = (exactness.picture(path.read_bytes(), device).astype(int) for device in ("cuda", "cpu"))
        assert np.abs(drawn - wanted).max() <= 2, path.stem


def test_noise_is_a_function_of_its_place_alone():
    whole = noise.normal(7, 3, 0, 0, 24, 40)
    assert np.array_equal(noise.normal(7, 3, 5, 9, 11, 17), whole[:, 5:16, 9:26])
