"""Files decode to torch's symbols to the last, and to its pixels within one level; damage ends in the same words."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("onnxruntime")

from regrain import bitstream, codec, image, registry
from regrain.conditional import decode as torch_decode
from regrain.conditional import grid
from regrain.diffusion.budget import Budget
from regrain.errors import Corrupt, RegrainError
from regrain.onnx import decode

FOLDER = Path(__file__).parents[1] / "golden"
GOLDEN = {
    name: entry
    for name, entry in json.loads((FOLDER / "golden.json").read_text(encoding="utf-8")).items()
    if "symbols" in entry
}


def golden(name: str) -> bytes:
    return (FOLDER / f"{name}.rgn").read_bytes()


def own(name: str, device: str | None = None):
    """The package's model of the latents of a golden file."""
    header = bitstream.read_header(golden(name))
    return registry.shipped(None, header.method, device, header.fingerprint)


def apart(one: np.ndarray, other: np.ndarray) -> int:
    """The most that two pictures differ by, in levels."""
    assert one.shape == other.shape
    return int(np.abs(one.astype(int) - other).max())


@pytest.mark.parametrize("name", GOLDEN)
def test_the_symbols_are_the_golden_ones(name):
    onnx_model = own(name, "onnx")
    stream, total = bitstream.read(golden(name)), hashlib.sha256()
    header = stream.header
    rows, columns = grid.latent_size(header.height, header.width)
    for index, region in enumerate(grid.tiles(rows, columns, header.tile // grid.STRIDE)):
        for array in decode.tile_symbols(onnx_model, stream.tiles[index], index, region, header.quality)[:2]:
            total.update(array.astype("<i4").tobytes())
    assert total.hexdigest() == GOLDEN[name]["symbols"]


@pytest.mark.parametrize("name", GOLDEN)
def test_the_golden_pictures(name):
    found, kept = codec.decode(golden(name), realism=0, model=own(name, "onnx")), image.read(FOLDER / f"{name}.png")
    other = codec.decode(golden(name), realism=0, model=own(name))
    assert apart(found.pixels, other.pixels) <= 1
    assert np.abs(found.pixels.astype(int) - kept.pixels).mean() <= 2
    assert found.metadata == kept.metadata
    assert (found.alpha is None) == (kept.alpha is None)
    assert found.alpha is None or np.array_equal(found.alpha, kept.alpha)


@pytest.mark.parametrize(
    ("realism", "steps", "eta"), [(0, 1, 0), (1, 1, 0), (0, 4, 0), (1, 4, 0), (0.5, 2, 0.3), (1, 3, 1)]
)
@pytest.mark.parametrize("name", ["grey", "tiles"])
def test_pixels_are_within_one_level_of_torchs(name, realism, steps, eta):
    one, other = (
        codec.decode(golden(name), realism=realism, steps=steps, eta=eta, seed=7, model=model).pixels
        for model in (own(name, "onnx"), own(name))
    )
    assert apart(one, other) <= 1


@pytest.mark.parametrize("size", [1, 1000])
def test_estimates_are_torchs_and_within_the_range_of_pixels(size, onnx_model, torch_model):
    draw = np.random.default_rng(5)
    x_t, cond = (size * draw.standard_normal(shape).astype(np.float32) for shape in ((3, 32, 16), (256, 2, 1)))
    found = onnx_model.denoise(x_t, 0.4, cond, 9000, 0.3)
    assert found.dtype == np.float32
    assert np.abs(found).max() <= 1
    wanted = torch_model.denoise(torch.from_numpy(x_t), 0.4, torch.from_numpy(cond), 9000, 0.3)
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-4 * size**0.5)


@pytest.fixture(scope="module")
def wide(torch_model) -> bytes:
    """A file of 1050 x 20, in two windows and many tiles."""
    row, column = np.mgrid[:20, :1050]
    waves = np.stack([np.sin(row / 3 + column / 19), np.cos(column / 40), np.sin(column / 7) * np.cos(row / 5)], -1)
    return codec.encode(image.read((127.5 + 120 * waves).astype(np.uint8)), tile=128, model=torch_model)


@pytest.mark.parametrize("steps", [1, 2])
def test_windows_and_tiles(wide, steps, onnx_model, torch_model):
    one, other = (codec.decode(wide, steps=steps, model=model).pixels for model in (onnx_model, torch_model))
    assert apart(one, other) <= 1


def test_one_seed_gives_one_picture_and_another_another(wide, onnx_model):
    one, again, other = (codec.decode(wide, seed=seed, model=onnx_model).pixels for seed in (3, 3, 4))
    assert np.array_equal(one, again)
    assert apart(one, other) > 1


def test_a_budget_gives_the_picture_of_the_steps_that_it_chose(onnx_model):
    budget = Budget(0)
    found = codec.decode(golden("tiles"), steps=budget, model=onnx_model).pixels
    assert np.array_equal(found, codec.decode(golden("tiles"), steps=budget.steps, model=onnx_model).pixels)


def outcome(decode_tiles, model, payloads, *, partial=False) -> str | np.ndarray:
    header = bitstream.read(golden("tiles")).header
    try:
        size = (header.height, header.width)
        return np.asarray(decode_tiles(model, payloads, size, header.quality, header.tile, partial=partial))
    except RegrainError as error:
        return f"{type(error).__name__}: {error}"


def damaged() -> list[list[bytes | None]]:
    """The tiles with bytes changed, cut, added or lost, behind checksums that no longer help."""
    whole, draw, found = list(bitstream.read(golden("tiles")).tiles), np.random.default_rng(3), []
    for index in range(24):
        place, payload = index % len(whole), bytearray(whole[index % len(whole)])
        payload[draw.integers(len(payload))] ^= int(draw.integers(1, 256))
        found.append([*whole[:place], bytes(payload), *whole[place + 1 :]])
    found += [[whole[0][:size], *whole[1:]] for size in (0, 1, len(whole[0]) - 1)]
    return [*found, [whole[1], whole[0], *whole[2:]], [whole[0] + b"\1", *whole[1:]], [None, *whole[1:]]]


def test_damage_ends_in_the_same_words(onnx_model, torch_model):
    for payloads in damaged():
        found = outcome(decode.decode_tiles, onnx_model, payloads)
        assert isinstance(found, str)
        assert found == outcome(torch_decode.decode_tiles, torch_model, payloads)


def test_partial_decoding_loses_the_same_tiles(onnx_model, torch_model, caplog):
    for payloads in damaged()[-4:]:
        caplog.clear()
        found = outcome(decode.decode_tiles, onnx_model, payloads, partial=True)
        ours = caplog.messages.copy()
        caplog.clear()
        wanted = outcome(torch_decode.decode_tiles, torch_model, payloads, partial=True)
        assert ours == caplog.messages
        assert ours
        np.testing.assert_allclose(found, wanted, atol=1e-4)
    header = bitstream.read(golden("pixel")).header
    with pytest.raises(Corrupt, match="tile 0"):
        decode.decode_tiles(onnx_model, [None], (1, 1), header.quality, header.tile, partial=True)
