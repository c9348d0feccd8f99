"""Pictures that drive the analysis out of its range: small files, the right tone, a line that says what is lost."""

import numpy as np
import pytest
import torch

from conditional.tiny import both
from conditional.tiny import codec as small_codec
from regrain import codec, image
from regrain.conditional.decode import decode_tile
from regrain.conditional.encode import ADDED_MAX, analysis_transform, encode_tiles
from regrain.conditional.grid import tiles
from regrain.entropy.tables import scales
from regrain_lab.trainable.likelihoods import gaussian_bits

SIDE = 96
ROW, COLUMN = np.mgrid[:SIDE, :SIDE]
BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]])
SMOOTH = np.stack([100 + 60 * np.sin(wave) for wave in (COLUMN / 9, ROW / 11, (ROW + COLUMN) / 13)], 2).astype(np.uint8)
BITS = {
    "rows": ROW % 2,
    "other rows": (ROW + 1) % 2,
    "other columns": (COLUMN + 1) % 2,
    "wide rows": ROW // 2 % 2,
    "chequers": (ROW + COLUMN) % 2,
    "wide chequers": (ROW // 2 + COLUMN // 2) % 2,
    "dither": BAYER[ROW % 4, COLUMN % 4] < COLUMN * 16 // SIDE,
    **{f"lines, one of {period}": ROW % period == 0 for period in (3, 4, 6, 8, 12)},
    **{f"all lines but one of {period}": COLUMN % period != 0 for period in (4, 6, 8)},
    "oblique lines": (ROW + COLUMN) % 6 == 0,
    "dots": (ROW % 5 == 0) & (COLUMN % 5 == 0),
    "dark dither": BAYER[ROW % 4, COLUMN % 4] < 2,
    "bright dither": BAYER[ROW % 4, COLUMN % 4] < 14,
    "sparse bits": np.random.default_rng(1).random((SIDE, SIDE)) < 0.1,
    "coin tosses": np.random.default_rng(0).integers(0, 2, (SIDE, SIDE)),
}
PICTURES = {
    **{name: (255 * bits).astype(np.uint8)[..., None].repeat(3, 2) for name, bits in BITS.items()},
    "interlaced with black": SMOOTH * (ROW % 2)[..., None].astype(np.uint8),
    "interlaced with its negative": np.where((ROW % 2)[..., None], SMOOTH, 255 - SMOOTH),
}


def added_and_ground(model, pixels):
    """What the network adds to the DCT, and the DCT, of a whole picture, (latent, H, W) each."""
    return model.denoiser.networks.analysis(image.pad_edge(image.to_signed(pixels), 16))


def own_analysis(model, pixels):
    """y of a whole picture."""
    return analysis_transform(model.denoiser.networks, pixels)


@pytest.mark.parametrize("name", PICTURES)
def test_no_file_is_larger_than_the_raw_picture_and_its_tone_stays(onnx_model, name):
    pixels = PICTURES[name]
    for quality in (50, 100):
        data = codec.encode(image.read(pixels), quality=quality, model=onnx_model)
        assert len(data) <= pixels.size + 1000
        assert len(data) <= pixels.size / 2
    data = codec.encode(image.read(pixels), quality=50, model=onnx_model)
    shift = codec.decode(data, model=onnx_model).pixels.astype(float) - pixels
    assert abs(shift.mean()) < 4


@pytest.mark.parametrize("name", ["chequers", "other columns", "dots", "interlaced with its negative"])
def test_latents_and_files_are_nearly_those_of_torch(onnx_model, torch_model, name):
    """Symbols may differ where a latent lies between two, and nowhere else."""
    one, other = (own_analysis(model, PICTURES[name]) for model in (onnx_model, torch_model))
    np.testing.assert_allclose(one, other, atol=1e-3)
    sizes = [
        len(codec.encode(image.read(PICTURES[name]), quality=80, model=model)) for model in (onnx_model, torch_model)
    ]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.01)


def test_either_backend_decodes_what_the_other_has_encoded(onnx_model, torch_model):
    for writer in (onnx_model, torch_model):
        data = codec.encode(image.read(SMOOTH), quality=60, tile=64, model=writer)
        one, other = (codec.decode(data, model=reader).pixels.astype(int) for reader in (onnx_model, torch_model))
        assert np.abs(one - other).max() <= 1
        assert np.abs(one - SMOOTH).mean() < 4


def test_the_network_is_left_out_where_it_leaves_its_range_and_around_there(model):
    pixels = SMOOTH.copy()
    pixels[:, :48] = PICTURES["other columns"][:, :48]
    added, ground = added_and_ground(model, pixels)
    y = own_analysis(model, pixels)
    assert np.abs(added).max() > 2 * ADDED_MAX
    assert np.abs(y - ground).max() <= ADDED_MAX
    assert np.array_equal(y[:, :, -1], (added + ground)[:, :, -1])


@pytest.mark.needs_shared
def test_photos_and_screens_keep_their_latents_to_the_bit(model, shared, caplog):
    paths = sorted((shared / "data" / "test").glob("*.png"))[::7]
    assert paths
    for pixels in [*(image.read(path).pixels[:160, :160] for path in paths), SMOOTH]:
        added, ground = added_and_ground(model, pixels)
        assert np.array_equal(own_analysis(model, pixels), added + ground)
    assert not caplog.messages


def test_a_line_says_that_fine_lines_do_not_survive(model, caplog):
    own_analysis(model, SMOOTH)
    own_analysis(model, PICTURES["wide rows"])
    assert not caplog.messages
    half = SMOOTH.copy()
    half[:48] = PICTURES["chequers"][:48]
    own_analysis(model, half)
    assert caplog.messages[0].startswith("50 % of the picture has lines or dots finer than two pixels")


def test_bytes_are_the_priors_estimate_of_their_symbols():
    """The rate that training reports is that of the file."""
    trained = small_codec()
    model, pixels = both(trained)[0], np.random.default_rng(0).integers(0, 256, (128, 192, 3), dtype=np.uint8)
    y = own_analysis(model, pixels)
    region = tiles(*y.shape[1:], 64)[0]
    for quality in (0, 8000, 25600):
        (payload,) = encode_tiles(model.latents, y, quality, 1024)
        z, symbols, _ = decode_tile(model.latents, payload, 0, region, quality)
        state, index = model.latents.start(z, quality, y.shape[1:]), np.zeros(symbols.shape, np.int64)
        for number, step in enumerate(model.latents.order):
            mean, index[step.channels, step.mask(*y.shape[1:])], mask = state.predict(number, step)
            state.update(step, symbols[step.channels, mask], mean, mask)
        bits = gaussian_bits(torch.from_numpy(symbols), torch.from_numpy(scales()[index])).sum()
        anchor = trained.latents.anchor(torch.tensor([quality / 25600]))
        bits += trained.latents.prior.bits(torch.from_numpy(z)[None].float(), anchor).sum()
        assert len(payload) == pytest.approx(float(bits) / 8, rel=0.01, abs=32)
