"""What belongs to the program around this package: its random generator, default dtype, device and autocast."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from regrain import codec, effort, registry
from regrain.conditional import torch_backend
from regrain.image import Metadata, Picture

PHOTO = Path(__file__).resolve().parents[1] / "demo" / "photo.png"
GOLDEN = Path(__file__).parent / "golden"
FILES = {"conditional": "grey", "palette": "palette", "progressive": "progressive"}
PICTURE = Picture(np.random.default_rng(3).integers(0, 256, (16, 24, 3), np.uint8), None, Metadata())


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def both_ways(method: str, model) -> tuple[np.ndarray, bytes]:
    """A golden file's pixels in two steps, and a small picture's file."""
    data = (GOLDEN / f"{FILES[method]}.rgn").read_bytes()
    pixels = codec.decode(data, steps=2, eta=1.0, realism=1.0, model=model).pixels
    return pixels, codec.encode(PICTURE, quality=5, model=model)


@pytest.mark.parametrize(("method", "device"), [(method, device) for method in FILES for device in (None, "cpu")])
def test_the_default_dtype_and_the_random_generator_are_the_callers_own(method, device):
    pixels, data = both_ways(method, registry.load(device=device, method=method))
    for dtype in (torch.bfloat16, torch.float64):
        torch.manual_seed(1)
        before = torch.random.get_rng_state()
        with default_dtype(dtype), torch.autocast("cpu", torch.bfloat16), torch.device("meta"):
            others = both_ways(method, registry.load(device=device, method=method))
            assert torch.get_default_dtype() == dtype
        assert torch.equal(torch.random.get_rng_state(), before)
        assert np.array_equal(others[0], pixels), dtype
        assert others[1] == data, dtype


def test_effort_is_the_same_whatever_the_callers_defaults_are(monkeypatch):
    monkeypatch.setattr(effort, "ITERATIONS", (0, 20, *[20] * 8))
    photo = np.asarray(Image.open(PHOTO))[40:104, 60:140]
    plain = codec.encode(Picture(photo), quality=30, effort=1)
    for dtype in (torch.bfloat16, torch.float64):
        torch_backend._prior.cache_clear()
        with default_dtype(dtype), torch.autocast("cpu", torch.bfloat16), torch.device("meta"), torch.inference_mode():
            assert codec.encode(Picture(photo), quality=30, effort=1) == plain
    assert codec.encode(Picture(photo), quality=30, effort=1) == plain != codec.encode(Picture(photo), quality=30)


def test_waiting_threads_do_not_spin_unless_the_user_wants_it():
    code = "import os, regrain; print(os.environ['OMP_WAIT_POLICY'])"
    for said, wanted in ((None, "PASSIVE"), ("ACTIVE", "ACTIVE")):
        environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
        environment |= {} if said is None else {"OMP_WAIT_POLICY": said}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == wanted
