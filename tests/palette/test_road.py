"""From a picture to a file and back: any size, tiles that are lost alone, files of other weights, both forms."""

import dataclasses

import numpy as np
import pytest
import torch

import regrain
from regrain import bitstream, codec, torch_checkpoint
from regrain.bitstream import Method
from regrain.errors import Corrupt, ModelError
from regrain.palette import sections
from regrain.palette.codec import PaletteModel
from regrain.palette.encode import analyse
from regrain.palette.sections import from_levels, to_levels


def decoded(data, model, **knobs):
    return np.asarray(regrain.decode(data, model=model, **knobs))


@pytest.mark.parametrize("quality", [0, 60, 61, 100])
@pytest.mark.parametrize("size", [(1, 1), (7, 300), (65, 64), (200, 130)])
def test_any_picture_comes_back_in_its_size(model, photo, size, quality):
    data = regrain.encode(photo(*size), quality=quality, tile=64, model=model)
    assert decoded(data, model).shape == (*size, 3)
    said = regrain.inspect(data)
    assert (said.method, said.quality) == ("palette", quality)
    assert said.tiles == -(-size[0] // 64) * -(-size[1] // 64)


def test_what_is_decoded_are_the_levels_that_were_chosen(model, photo):
    """At quality 100 they lie within half a step of the latents', and so do the pixels of those decoded."""
    pixels = photo(96, 80)
    stream = bitstream.read(regrain.encode(pixels, quality=100, model=model))
    levels = to_levels(analyse(model.space, pixels))
    told, channel = sections.unpack(stream.tiles[0], levels.shape[:2], 4, 0)
    assert np.abs(told.astype(int) - levels).max() <= 3
    found = np.square(from_levels(told) - from_levels(levels)).mean() + (8 / 255) ** 2 / 12
    assert channel.gain == 1
    assert channel.error == pytest.approx(float(found) ** 0.5, rel=0.1)


def test_more_quality_takes_more_bytes_and_leaves_less_error(model, photo):
    pixels = photo(160, 160)
    files = [bitstream.read(regrain.encode(pixels, quality=quality, model=model)) for quality in (0, 30, 60)]
    errors = [sections.unpack(stream.tiles[0], (20, 20), 4, 0)[1].error for stream in files]
    sizes = [len(stream.tiles[0]) for stream in files]
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)


def test_grey_alpha_and_metadata_go_the_common_road(model, photo):
    from regrain.image import Metadata, Picture

    picture = Picture(photo(40, 48)[:, :, :1], np.full((40, 48), 77, np.uint8), Metadata(xmp=b"<x/>"))
    back = codec.decode(codec.encode(picture, model=model), model=model)
    assert back.pixels.shape == (40, 48, 1)
    assert (back.alpha == 77).all()
    assert back.metadata.xmp == b"<x/>"


def test_realism_0_is_the_decoder_alone_and_1_repairs(model, photo):
    data = regrain.encode(photo(64, 64), quality=10, model=model)
    without = dataclasses.replace(model, denoiser=None)
    plain = decoded(data, model, realism=0)
    assert (decoded(data, without) == plain).all()
    assert (decoded(data, model) != plain).any()
    assert (decoded(data, model, steps=3, eta=1, seed=1) != decoded(data, model, steps=3, eta=1, seed=2)).any()


def test_a_lost_tile_is_lost_alone(model, photo):
    data = regrain.encode(photo(64, 320), quality=50, tile=64, model=model)
    stream = bitstream.read(data)
    spoilt = [*stream.tiles]
    spoilt[2] = spoilt[2][:-1] + bytes([spoilt[2][-1] ^ 1])
    broken = bitstream.write(dataclasses.replace(stream, tiles=tuple(spoilt)))
    with pytest.raises(Corrupt, match="latents, tile 2: "):
        decoded(broken, model)
    whole, part = decoded(data, model, realism=0), decoded(broken, model, realism=0, partial=True)
    far = np.abs(whole.astype(int) - part).max((0, 2))
    assert far[134:186].max() > 8
    assert far[:64].max() <= 1
    assert far[-64:].max() <= 1


def test_every_flipped_bit_of_a_payload_is_refused(model, photo):
    for quality in (20, 90):
        (payload,) = bitstream.read(regrain.encode(photo(24, 40), quality=quality, model=model)).tiles
        for at in range(len(payload)):
            for bit in (1, 16, 128):
                spoilt = bytearray(payload)
                spoilt[at] ^= bit
                with pytest.raises(Corrupt):
                    sections.unpack(bytes(spoilt), (3, 5), 4, 0)
        with pytest.raises(Corrupt):
            sections.unpack(payload, (3, 5), 4, 1)
        for end in range(len(payload)):
            with pytest.raises(Corrupt):
                sections.unpack(payload[:end], (3, 5), 4, 0)


def test_windows_leave_no_seam(model, photo, monkeypatch):
    from regrain.palette import decode, encode

    pixels = photo(200, 264)
    data = regrain.encode(pixels, quality=100, model=model)
    whole = decoded(data, model)
    monkeypatch.setattr(decode, "SIDE", 8)
    monkeypatch.setattr(encode, "SIDE", 64)
    again = regrain.encode(pixels, quality=100, model=model)
    assert np.abs(whole.astype(int) - decoded(data, model)).max() <= 1
    assert abs(len(again) - len(data)) <= 8


@pytest.mark.parametrize("device", ["onnx", "cpu"])
def test_weights_that_are_none_are_refused_in_a_line(weights, tmp_path, device):
    tensors, about = torch_checkpoint.load(weights)
    bad = {
        "of another kind": (tensors, {**about, "kind": "prior"}),
        "without a shape": (tensors, {name: value for name, value in about.items() if name != "autoencoder"}),
        "of other latents": (tensors, {**about, "config": {**about["config"], "channels": 3}}),
        "without moments": ({n: t for n, t in tensors.items() if n != "moments.shift"}, about),
        "of too many moments": ({**tensors, "moments.shift": torch.zeros(5)}, about),
        "with a stranger": ({**tensors, "autoencoder.stranger": torch.zeros(1)}, about),
        "cut": ({n: t for n, t in tensors.items() if not n.startswith("denoiser.from8")}, about),
    }
    for name, (some, said) in bad.items():
        path = tmp_path / f"{name}.safetensors"
        torch_checkpoint.save(path, some, said)
        with pytest.raises(ModelError) as error:
            PaletteModel.load(path, device)
        assert "\n" not in str(error.value)
    with pytest.raises(ModelError):
        PaletteModel.load(tmp_path / "none.safetensors", device)


def test_a_file_of_another_autoencoder_is_refused_and_of_another_denoiser_is_not(model, weights, photo, tmp_path):
    data = regrain.encode(photo(32, 32), model=model)
    tensors, about = torch_checkpoint.load(weights)
    spared = {name: tensor for name, tensor in tensors.items() if not name.startswith("denoiser.")}
    other = tmp_path / "other.safetensors"
    torch_checkpoint.save(other, spared, {name: value for name, value in about.items() if name != "config"})
    assert decoded(data, regrain.load(other)).shape == (32, 32, 3)
    spared["moments.shift"] = torch.ones(4)
    torch_checkpoint.save(other, spared, {name: value for name, value in about.items() if name != "config"})
    with pytest.raises(ModelError, match="latent fingerprint"):
        decoded(data, regrain.load(other))
    assert regrain.load(other).method == Method.PALETTE
