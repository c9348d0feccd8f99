"""Pictures of every kind through the whole codec, on the weights that ship."""

import dataclasses
import json
import math
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import regrain
from regrain import bitstream, codec, registry, search, torch_checkpoint
from regrain.diffusion.budget import Budget
from regrain.errors import Corrupt, LimitError, ModelError, RegrainError, Truncated, UsageError
from regrain.image import Metadata, Picture


def picture(height: int, width: int, channels: int = 3, seed: int = 0) -> Picture:
    """Smooth colour with some grain: what a photo is to a codec."""
    random = np.random.default_rng(seed)
    row, column = np.mgrid[:height, :width] / 40
    waves = np.stack([np.sin(row + k) + np.cos(column * (k + 1)) for k in range(channels)], 2)
    noise = random.normal(0, 6, waves.shape)
    return Picture((128 + 50 * waves + noise).clip(0, 255).astype(np.uint8), None, Metadata())


@pytest.fixture(scope="module")
def photo() -> Picture:
    return picture(150, 200)


@pytest.fixture(scope="module")
def data(photo) -> bytes:
    return codec.encode(photo, quality=40, tile=64)


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (65, 1), (16, 16), (17, 63), (64, 65), (130, 50)])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size_comes_back_in_its_size_and_kind(size, channels):
    made = picture(*size, channels)
    back = codec.decode(codec.encode(made, quality=60, tile=64))
    assert back.pixels.shape == made.pixels.shape
    assert back.pixels.dtype == np.uint8


def test_the_picture_is_recognised(photo, data):
    back = codec.decode(data, realism=0)
    error = np.mean((back.pixels.astype(float) - photo.pixels) ** 2)
    assert 10 * np.log10(255**2 / error) > 20


def test_what_alpha_hides_costs_no_byte_and_touches_nothing_that_is_seen(photo):
    alpha = np.full((150, 200), 255, np.uint8)
    alpha[40:110, 60:140] = 0
    noise = np.random.default_rng(3).integers(0, 256, photo.pixels.shape, np.uint8)
    one, other = (
        codec.encode(Picture(np.where(alpha[..., None] == 0, hidden, photo.pixels), alpha), quality=40)
        for hidden in (noise, np.uint8(255))
    )
    assert one == other
    assert len(one) < len(codec.encode(photo, quality=40)) + 200


def test_alpha_and_metadata_come_back_exactly(photo):
    alpha = np.random.default_rng(1).integers(0, 256, (150, 200), dtype=np.uint8)
    extras = Metadata(icc=b"profile", exif=b"MM\0*\0\0\0\x08", xmp=b"<x/>")
    back = codec.decode(codec.encode(Picture(photo.pixels, alpha, extras), quality=10))
    assert np.array_equal(back.alpha, alpha)
    assert back.metadata == extras


def test_a_header_is_at_most_32_bytes(data):
    assert codec.inspect(data).sections[0]["length"] <= 32


def test_same_file_same_seed_same_pixels(data):
    first, again = (codec.decode(data, steps=2, seed=7).pixels for _ in range(2))
    assert np.array_equal(first, again)


@pytest.mark.parametrize("name", ["colour", "progressive"])
def test_no_time_for_steps_is_one_step_of_any_method(name):
    file = (Path(__file__).parent / "golden" / f"{name}.rgn").read_bytes()
    budget = Budget(0)
    assert np.array_equal(codec.decode(file, steps=budget).pixels, codec.decode(file, steps=1).pixels)
    assert budget.steps == 1
    assert budget.pass_seconds > 0


def test_eta_adds_noise_of_the_seed(data):
    def decoded(**knobs):
        return codec.decode(data, steps=3, **knobs).pixels

    assert np.array_equal(decoded(eta=1.0, seed=1), decoded(eta=1.0, seed=1))
    assert not np.array_equal(decoded(eta=1.0), decoded())
    assert np.array_equal(decoded(eta=1.0, realism=0.0), decoded(realism=0.0, eta=1.0, seed=1))


def test_sampling_from_no_noise_needs_no_seed(data):
    def decoded(**options):
        return codec.decode(data, init_noise=0.0, **options).pixels

    assert np.array_equal(decoded(seed=1), decoded(seed=2))
    assert np.array_equal(decoded(realism=0.0), codec.decode(data, realism=0.0).pixels)


def test_a_target_that_whole_bytes_meet_is_theirs_and_none_is_exceeded():
    for pixels in (1, 30_000, 393_216, 99_999_989):
        for size in range(1, 3000, 7):
            assert search.bytes_within(8 * size / pixels, pixels) == size
            assert search.bytes_within(math.nextafter(8 * size / pixels, 0), pixels) < size


def test_bytes_rise_with_quality(photo):
    sizes = [len(codec.encode(photo, quality=q)) for q in range(0, 101, 5)]
    assert all(b >= a - 8 for a, b in pairwise(sizes))
    assert sizes[-1] > 2 * sizes[0]


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_a_target_is_met_from_below(photo, fraction):
    low, high = (len(codec.encode(photo, quality=q)) for q in (0, 100))
    target = int(low + fraction * (high - low))
    size = len(codec.encode(photo, target_size=target))
    assert 0.98 * target - 16 <= size <= target
    assert len(codec.encode(photo, target_bpp=8 * target / 30000)) == size


def test_targets_past_the_ends(photo):
    assert codec.encode(photo, target_size=10**7) == codec.encode(photo, quality=100)
    smallest = len(codec.encode(photo, quality=0))
    with pytest.raises(UsageError, match=f"{smallest} bytes"):
        codec.encode(photo, target_size=50)
    with pytest.raises(UsageError, match=r"^target of 0\.002 bpp, \d+ bytes, is too small: "):  # as the caller gave it
        codec.encode(photo, target_bpp=0.002)


def test_decimals_of_quality_count(photo):
    assert len(codec.encode(photo, quality=40.0)) <= len(codec.encode(photo, quality=41.5)) + 8
    assert len(codec.encode(photo, quality=40.0)) < len(codec.encode(photo, quality=45.5))
    assert codec.inspect(codec.encode(photo, quality=41.5)).quality == 41.5


def test_a_file_for_other_weights_is_refused(data):
    stream = bitstream.read(data)
    other = bitstream.write(
        dataclasses.replace(stream, header=dataclasses.replace(stream.header, fingerprint=b"\1\2\3\4"))
    )
    with pytest.raises(ModelError, match="01020304"):
        codec.decode(other)


def test_memory_and_pixels_are_limited(data):
    with pytest.raises(LimitError, match="--max-memory"):
        codec.decode(data, max_memory=10_000_000)
    with pytest.raises(LimitError, match="--max-pixels"):
        codec.decode(data, max_pixels=100)
    with pytest.raises(LimitError, match=r"encoding 200 x 150 .*--max-memory"):
        codec.encode(picture(150, 200), max_memory=10_000_000)


def test_a_tile_of_no_allowed_size_is_refused(photo):
    with pytest.raises(UsageError, match="tile is 100 pixels"):
        codec.encode(photo, tile=100)


def test_damage_stays_in_its_tile(photo, data):
    whole = codec.decode(data, realism=0).pixels
    sections = [s for s in codec.inspect(data).sections if s["tile"] is not None]
    assert len(sections) == 12
    hurt = bytearray(data)
    hurt[sections[0]["offset"] + sections[0]["length"] - 1] ^= 1
    with pytest.raises(Corrupt, match="tile 0"):
        codec.decode(bytes(hurt))
    back = codec.decode(bytes(hurt), partial=True, realism=0).pixels
    difference = np.abs(back.astype(int) - whole).max(2)
    assert difference[:64, :64].max() > 8
    assert np.median(difference[100:, 140:]) <= 2


def test_a_cut_file_decodes_what_is_whole(data):
    cut = data[: len(data) // 2]
    with pytest.raises(Truncated, match="--partial"):
        codec.decode(cut)
    assert codec.decode(cut, partial=True).pixels.shape == (150, 200, 3)


def test_symbols_that_are_not_those_encoded_name_their_tile(data):
    stream = bitstream.read(data)
    swapped = (stream.tiles[1], stream.tiles[0], *stream.tiles[2:])
    with pytest.raises(Corrupt, match="tile 0"):
        codec.decode(bitstream.write(dataclasses.replace(stream, tiles=swapped)))


@given(draw=st.data())
@settings(max_examples=40, deadline=None)
def test_hostile_latents_in_valid_sections_end_in_an_error(data, draw):
    stream = bitstream.read(data)
    garbage = draw.draw(st.binary(min_size=1, max_size=80))
    hostile = bitstream.write(dataclasses.replace(stream, tiles=(garbage, *stream.tiles[1:])))
    with pytest.raises(RegrainError):
        codec.decode(hostile)


def test_files_of_an_earlier_release_decode_with_its_weights(tmp_path, photo, monkeypatch):
    """Of two weights in the package, the present ones and others under their fingerprint, a file gets its own."""
    folder = tmp_path / "weights"
    folder.mkdir()
    shipped = registry.shipped_weights(bitstream.Method.PALETTE)
    shutil.copy(shipped, folder)
    tensors, about = torch_checkpoint.load(shipped)
    tensors["moments.shift"] += 0.25
    own = {name: tensor for name, tensor in tensors.items() if not name.startswith("denoiser.")}
    now = torch_checkpoint.fingerprint(own).hex()
    torch_checkpoint.save(folder / f"palette-{now}.safetensors", tensors, about)
    (folder / "index.json").write_text(json.dumps({"palette": now}))
    data = codec.encode(photo, method="palette")
    expected = codec.decode(data).pixels
    monkeypatch.setattr("regrain.shipped.files", lambda _package: tmp_path)
    new = codec.encode(photo, method="palette")
    assert codec.inspect(new).fingerprint == now != codec.inspect(data).fingerprint
    assert (codec.decode(data).pixels == expected).all()
    assert codec.decode(new).pixels.shape == expected.shape


@pytest.mark.parametrize("method", ["conditional", "progressive", "palette"])
def test_a_method_names_the_weights_of_the_package(method):
    model = regrain.load(method)
    assert (model.method.name.lower(), model.fingerprint) == (method, registry.shipped_fingerprint(model.method))
    assert repr(model) == f"<{method} model, latents {model.fingerprint.hex()}, on onnx>"
    assert registry.resolve_model(method, None) is registry.resolve_model(method, "onnx")


def test_a_path_that_looks_like_a_method_is_a_path():
    with pytest.raises(RegrainError, match="palette"):
        regrain.load(Path("nowhere") / "palette.safetensors")


def test_a_model_may_be_a_name(photo, data):
    dot = picture(1, 1)
    assert codec.encode(dot, model="conditional") == codec.encode(dot)
    for name in ("pixel", "lowest"):
        file = (Path(__file__).parent / "golden" / f"{name}.rgn").read_bytes()
        assert np.array_equal(codec.decode(file, model="conditional").pixels, codec.decode(file).pixels)
    with pytest.raises(ModelError, match="fingerprint"):
        codec.decode(data, model="palette")
    with pytest.raises(UsageError, match=r"'palette'.*'conditional'"):
        codec.encode(photo, method="palette", model="conditional")


def test_a_model_that_is_missing_is_named(photo, data, tmp_path):
    for call in (lambda where: codec.encode(photo, model=where), lambda where: codec.decode(data, model=where)):
        with pytest.raises(ModelError, match=r"none\.safetensors"):
            call(tmp_path / "none.safetensors")
