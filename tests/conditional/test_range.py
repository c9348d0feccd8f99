"""Pictures that drive the analysis out of its range: small files, the right tone, a line that says what is lost."""

import numpy as np
import pytest
import torch

from regrain import codec, image, registry
from regrain.conditional import basis
from regrain.conditional.dct import LATENT_MAX, kept
from regrain.conditional.encode import analyse
from regrain.conditional.transform import ADDED_MAX

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


@pytest.fixture(scope="module")
def model():
    return registry.load()


def added(model, y, pixels):
    """What the network has added to the DCT, latent by latent."""
    return y - basis.project(torch.from_numpy(image.pad_edge(image.to_signed(pixels), 16))[None], len(y))[0]


@pytest.mark.parametrize("name", PICTURES)
def test_no_file_is_larger_than_the_raw_picture_and_its_tone_stays(model, name):
    pixels = PICTURES[name]
    for quality in (50, 100):
        data = codec.encode(image.read(pixels), quality=quality, model=model)
        assert len(data) <= pixels.size + 1000
        assert len(data) <= pixels.size / 2
    data = codec.encode(image.read(pixels), quality=50, model=model)
    shift = codec.decode(data, model=model).pixels.astype(float) - pixels
    assert abs(shift.mean()) < 4


def test_the_network_is_left_out_where_it_leaves_its_range_and_around_there(model):
    pixels = SMOOTH.copy()
    pixels[:, :48] = PICTURES["other columns"][:, :48]
    x = torch.from_numpy(image.to_signed(pixels))[None].contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        free = model.analysis(x)[0]
    y = analyse(model, pixels)
    assert float(added(model, free, pixels).abs().max()) > 2 * ADDED_MAX
    assert float(added(model, y, pixels).abs().max()) <= ADDED_MAX
    assert torch.equal(y[:, :, -1], free[:, :, -1])


@pytest.mark.needs_shared
def test_photos_and_screens_keep_their_latents_to_the_bit(model, shared, caplog):
    paths = sorted((shared / "data" / "test").glob("*.png"))[::7]
    assert paths
    for pixels in [*(image.read(path).pixels[:160, :160] for path in paths), SMOOTH]:
        x = torch.from_numpy(image.to_signed(pixels))[None].contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            assert torch.equal(analyse(model, pixels), model.analysis(x)[0])
    assert not caplog.messages


def test_a_line_says_that_fine_lines_do_not_survive(model, caplog):
    analyse(model, SMOOTH)
    analyse(model, PICTURES["wide rows"])
    assert not caplog.messages
    half = SMOOTH.copy()
    half[:48] = PICTURES["chequers"][:48]
    analyse(model, half)
    assert caplog.messages[0].startswith("50 % of the picture has lines or dots finer than two pixels")


def test_the_residual_is_what_the_sketch_misses():
    x = torch.from_numpy(image.to_signed(PICTURES["coin tosses"]))[None]
    wrong = (x - basis.sketch(basis.project(x, 100))).square().mean(1, keepdim=True)
    expected = torch.nn.functional.avg_pool2d(wrong, basis.BLOCK)[:, 0].sqrt()
    torch.testing.assert_close(basis.residual_rms(x, 100), expected, rtol=1e-4, atol=1e-4)


def test_no_picture_reaches_the_range_of_latents():
    waves, spread = kept(256)
    assert (np.abs(waves).sum(1) / spread).max() + ADDED_MAX < LATENT_MAX
