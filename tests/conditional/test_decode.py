"""Files decode to the golden symbols to the last, on either backend: in floats to one picture within a level.

Steps are the outer loop and windows the inner one: a time for the steps chooses their number and nothing else. Damage
ends in the same words on both backends.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from conditional.tiny import DEVICES, both, codec, in_floats, shipped
from regrain import bitstream, image
from regrain import codec as files
from regrain.conditional import grid
from regrain.conditional.codec import ConditionalModel
from regrain.conditional.context_model import checksum, hyper_table_ids
from regrain.conditional.dct import LATENT_MAX
from regrain.conditional.decode import decode_latents, decode_tile, reconstruct
from regrain.diffusion.budget import Budget
from regrain.entropy import coder
from regrain.entropy.tables import gaussian_tables
from regrain.errors import Corrupt, RegrainError
from regrain.options import DecodeOptions

FOLDER = Path(__file__).parents[1] / "golden"
GOLDEN = {
    name: entry
    for name, entry in json.loads((FOLDER / "golden.json").read_text(encoding="utf-8")).items()
    if "symbols" in entry
}


def golden(name: str) -> bytes:
    return (FOLDER / f"{name}.rgn").read_bytes()


def own(name: str, device: str) -> ConditionalModel:
    """The package's model of the latents of a golden file, in floats."""
    fingerprint = bitstream.read_header(golden(name)).fingerprint
    return in_floats(fingerprint) if device == "onnx" else shipped(device, fingerprint)


def apart(one: np.ndarray, other: np.ndarray) -> int:
    """The most that two pictures differ by, in levels."""
    assert one.shape == other.shape
    return int(np.abs(one.astype(int) - other).max())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", GOLDEN)
def test_the_symbols_are_the_golden_ones(name, device):
    stream, total, model = bitstream.read(golden(name)), hashlib.sha256(), own(name, device)
    header = stream.header
    rows, columns = grid.latent_size(header.height, header.width)
    for index, region in enumerate(grid.tiles(rows, columns, header.tile // grid.STRIDE)):
        for array in decode_tile(model.latents, stream.tiles[index], index, region, header.quality)[:2]:
            total.update(array.astype("<i4").tobytes())
    assert total.hexdigest() == GOLDEN[name]["symbols"]


@pytest.mark.parametrize("name", GOLDEN)
def test_the_golden_pictures(name):
    one, other = (files.decode(golden(name), realism=0, model=own(name, device)) for device in DEVICES)
    kept = image.read(FOLDER / f"{name}.png")
    assert apart(one.pixels, other.pixels) <= 1
    assert np.abs(one.pixels.astype(int) - kept.pixels).mean() <= 2
    assert one.metadata == kept.metadata
    assert (one.alpha is None) == (kept.alpha is None)
    assert one.alpha is None or np.array_equal(one.alpha, kept.alpha)


@pytest.mark.parametrize(
    ("realism", "steps", "eta"), [(0, 1, 0), (1, 1, 0), (0, 4, 0), (1, 4, 0), (0.5, 2, 0.3), (1, 3, 1)]
)
@pytest.mark.parametrize("name", ["grey", "tiles"])
def test_pixels_are_within_one_level_of_torchs(name, realism, steps, eta):
    one, other = (
        files.decode(golden(name), realism=realism, steps=steps, eta=eta, seed=7, model=own(name, device)).pixels
        for device in DEVICES
    )
    assert apart(one, other) <= 1


@pytest.mark.parametrize("realism", [0, 0.5, 1])
@pytest.mark.parametrize("name", GOLDEN)
def test_bytes_give_nearly_what_floats_do(name, realism):
    fingerprint = bitstream.read_header(golden(name)).fingerprint
    models = shipped("onnx", fingerprint), in_floats(fingerprint)
    one, other = (files.decode(golden(name), realism=realism, model=model).pixels for model in models)
    assert apart(one, other) <= 12
    assert np.abs(one.astype(int) - other).mean() <= 0.5


@pytest.fixture(scope="module")
def wide(torch_model) -> bytes:
    """A file of 1050 x 20, in two windows and many tiles."""
    row, column = np.mgrid[:20, :1050]
    waves = np.stack([np.sin(row / 3 + column / 19), np.cos(column / 40), np.sin(column / 7) * np.cos(row / 5)], -1)
    return files.encode(image.read((127.5 + 120 * waves).astype(np.uint8)), tile=128, model=torch_model)


@pytest.mark.parametrize("steps", [1, 2])
def test_windows_and_tiles(wide, steps, float_model, torch_model):
    one, other = (files.decode(wide, steps=steps, model=model).pixels for model in (float_model, torch_model))
    assert apart(one, other) <= 1


def test_one_seed_gives_one_picture_and_another_another(wide, model):
    one, again, other = (files.decode(wide, seed=seed, steps=2, model=model).pixels for seed in (3, 3, 4))
    assert np.array_equal(one, again)
    assert apart(one, other) > 1


@pytest.mark.parametrize(("seconds", "steps"), [(0.0, 1), (1e9, 32)])
@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("place", [0, 1])
def test_a_time_for_the_steps_gives_the_pixels_of_their_number(monkeypatch, seconds, steps, eta, place):
    denoiser = both(codec())[place].denoiser
    y_hat = np.random.default_rng(0).standard_normal((12, 5, 7)).astype(np.float32)
    times, denoise = [], denoiser.networks.denoise
    monkeypatch.setattr(
        denoiser.networks, "denoise", lambda x_t, t, *rest: (times.append(t), denoise(x_t, t, *rest))[1]
    )

    def pixels(number):
        return reconstruct(
            denoiser, y_hat, (75, 100), 12800, DecodeOptions(number, eta=eta, seed=3), grey=False, window=4
        )

    budget = Budget(seconds)
    timed = pixels(budget)
    taken = len(times)
    assert budget.steps == steps
    assert np.array_equal(timed, pixels(steps))
    assert times[:taken] == times[taken:]
    assert taken == 4 * steps
    assert budget.pass_seconds > 0


def test_a_budget_gives_the_picture_of_the_steps_that_it_chose(onnx_model):
    budget = Budget(0)
    timed = files.decode(golden("tiles"), steps=budget, model=onnx_model).pixels
    assert np.array_equal(timed, files.decode(golden("tiles"), steps=budget.steps, model=onnx_model).pixels)


def outcome(model: ConditionalModel, payloads, *, partial=False) -> str | np.ndarray:
    header = bitstream.read(golden("tiles")).header
    try:
        size = (header.height, header.width)
        return decode_latents(model.latents, payloads, size, header.quality, header.tile, partial=partial)
    except RegrainError as error:
        return f"{type(error).__name__}: {error}"


def damaged() -> list[list[bytes | None]]:
    """The tiles with bytes changed, cut, added or lost, behind checksums that no longer help."""
    whole, draw, cases = list(bitstream.read(golden("tiles")).tiles), np.random.default_rng(3), []
    for index in range(24):
        place, payload = index % len(whole), bytearray(whole[index % len(whole)])
        payload[draw.integers(len(payload))] ^= int(draw.integers(1, 256))
        cases.append([*whole[:place], bytes(payload), *whole[place + 1 :]])
    cases += [[whole[0][:size], *whole[1:]] for size in (1, len(whole[0]) - 1)]
    return [*cases, [whole[1], whole[0], *whole[2:]], [whole[0] + b"\1", *whole[1:]], [None, *whole[1:]]]


def test_damage_ends_in_the_same_words():
    onnx_model, torch_model = (own("tiles", device) for device in DEVICES)
    for payloads in damaged():
        words = outcome(onnx_model, payloads)
        assert isinstance(words, str)
        assert words == outcome(torch_model, payloads)


def test_partial_decoding_loses_the_same_tiles(caplog):
    onnx_model, torch_model = (own("tiles", device) for device in DEVICES)
    for payloads in damaged()[-4:]:
        caplog.clear()
        one = outcome(onnx_model, payloads, partial=True)
        words = caplog.messages.copy()
        caplog.clear()
        other = outcome(torch_model, payloads, partial=True)
        assert words == caplog.messages
        assert words
        np.testing.assert_allclose(one, other, atol=1e-4)
    header = bitstream.read(golden("pixel")).header
    with pytest.raises(Corrupt, match="tile 0"):
        decode_latents(onnx_model.latents, [None], (1, 1), header.quality, header.tile, partial=True)


ROWS, COLUMNS = 4, 5


def forged(model: ConditionalModel, z: np.ndarray, y: np.ndarray, quality: int) -> bytes:
    """A file of these hyper-latents (hyper, 1, 2) and symbols (latent, ROWS, COLUMNS), int32, checksum and all."""
    latents = model.latents
    parts = [(z.reshape(-1), hyper_table_ids(*z.shape), latents.hyper_tables(quality))]
    state = latents.start(z, quality, (ROWS, COLUMNS))
    for number, step in enumerate(latents.order):
        mean, index, mask = state.predict(number, step)
        symbols = y[step.channels, mask]
        parts.append((symbols.reshape(-1), index.reshape(-1), gaussian_tables()))
        state.update(step, symbols, mean, mask)
    header = bitstream.Header(16 * COLUMNS, 16 * ROWS, quality, model.fingerprint)
    payload = coder.encode(parts, checksum(0, z, y))
    return bitstream.write(bitstream.Stream(header, (payload,), None, None, None, None))


@pytest.mark.parametrize("hyper", [127, 10**9])
@pytest.mark.parametrize("symbol", [1, 10**4, 2**31 - 1])
@pytest.mark.parametrize("quality", [0, 25600])
def test_pixels_of_forged_latents_are_within_one_level(torch_model, float_model, onnx_model, hyper, symbol, quality):
    """Latents that no picture has, behind checksums that are right."""
    draw = np.random.default_rng(3)
    z = draw.integers(-hyper, hyper, (48, 1, 2), np.int32, endpoint=True)
    y = draw.integers(-symbol, symbol, (256, ROWS, COLUMNS), np.int32, endpoint=True)
    data = forged(torch_model, z, y, quality)
    one, other = (files.decode(data, realism=1, model=model).pixels for model in (torch_model, float_model))
    assert apart(one, other) <= 1
    header, tiles = (stream := bitstream.read(data)).header, stream.tiles
    y_hat = decode_latents(onnx_model.latents, tiles, (header.height, header.width), quality, header.tile)
    assert np.abs(y_hat).max() <= LATENT_MAX


@pytest.mark.parametrize("realism", [0, 1])
def test_a_time_for_one_step_gives_the_picture_of_one_step_on_bytes_too(onnx_model, realism):
    data = golden("colour")
    timed, one = (files.decode(data, realism=realism, steps=steps, model=onnx_model) for steps in (Budget(0.0), 1))
    assert np.array_equal(timed.pixels, one.pixels)
