"""The two halves of the codec apart: latents as arrays, what a place takes, pictures of changed latents."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import regrain
from regrain import bitstream, registry
from regrain.bitstream import Method
from regrain.conditional.decode import decode_tile
from regrain.conditional.grid import Region
from regrain.diffusion import schedule

PHOTO = Path(__file__).resolve().parents[1] / "demo" / "photo.png"
GREY = np.random.default_rng(3).integers(0, 256, (70, 45), np.uint8)


@pytest.fixture(scope="module")
def pixels():
    """Two tiles of 64 pixels each way, cut at both edges, of the photo."""
    return np.asarray(regrain.image.read(PHOTO).pixels)[100:220, 100:190]


@pytest.fixture(scope="module")
def parts(pixels):
    return regrain.latents(pixels, quality=40, tile=64)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"realism": 0},
        {"steps": 2, "seed": 5, "eta": 0.5},
        {"steps": 2, "sampler": "second-order", "region": (20, 30, 40, 50)},
        {"max_size": 7},
        {"max_size": 60, "realism": 0.3},
        {"steps": 2, "realism_map": np.tile(np.arange(90, dtype=np.uint8), (120, 1))},
    ],
)
def test_the_picture_is_that_of_the_file(pixels, parts, options):
    file = regrain.encode(pixels, quality=40, tile=64)
    wanted, picture = regrain.decode(file, **options), regrain.from_latents(parts, **options)
    assert (picture.size, picture.mode) == (wanted.size, wanted.mode)
    assert (np.asarray(picture) == np.asarray(wanted)).all()


@pytest.mark.parametrize(("image", "mode"), [(GREY, "L"), (np.dstack([GREY] * 3 + [GREY // 128 * 255]), "RGB")])
def test_grey_stays_grey_and_alpha_stays_behind(image, mode):
    picture = regrain.from_latents(regrain.latents(image), realism=0)
    wanted = regrain.decode(regrain.encode(image), realism=0)
    assert picture.mode == mode
    assert (np.asarray(picture) == np.asarray(wanted.convert(mode))).all()


def test_the_arrays_are_those_of_the_file(pixels, parts):
    stream = bitstream.read(regrain.encode(pixels, quality=40, tile=64))
    model = registry.model_for(None, Method.CONDITIONAL, None)
    _, symbols, y_hat = decode_tile(model.latents, stream.tiles[1], 1, Region(0, 4, 4, 6), stream.header.quality)
    assert (parts.symbols[:, :4, 4:] == symbols).all()
    assert (parts.y_hat[:, :4, 4:] == y_hat).all()
    assert [parts.y_hat.dtype, parts.symbols.dtype, parts.bits.dtype] == [np.float32, np.int32, np.float32]


def test_the_bits_of_all_places_are_those_of_the_payloads(pixels, parts):
    """Each tile's payload has its check beside, at most five bytes more than its symbols take."""
    stream = bitstream.read(regrain.encode(pixels, quality=40, tile=64))
    corners = [(0, 4, 0, 4), (0, 4, 4, 6), (4, 8, 0, 4), (4, 8, 4, 6)]
    for payload, (top, bottom, left, right) in zip(stream.tiles, corners, strict=True):
        assert 0 <= len(payload) - parts.bits[top:bottom, left:right].sum() / 8 < 6


def test_a_flat_place_takes_less_than_a_busy_one():
    half = np.full((64, 128, 3), 90, np.uint8)
    half[:, 64:] = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    bits = regrain.latents(half, quality=60).bits
    assert bits[:, 5:].min() > 3 * bits[:, :3].max()


def test_changed_latents_change_the_picture(parts):
    as_it_is = np.asarray(regrain.from_latents(parts)).astype(int)
    noisy = replace(parts, y_hat=parts.y_hat + np.random.default_rng(1).normal(0, 0.3, parts.y_hat.shape))
    lighter = parts.y_hat.copy()
    lighter[0] += 0.05
    assert np.abs(np.asarray(regrain.from_latents(noisy)) - as_it_is).mean() > 2
    assert np.asarray(regrain.from_latents(replace(parts, y_hat=lighter))).mean() > as_it_is.mean() + 1
    unread = replace(parts, symbols=parts.symbols[:0], bits=parts.bits[:0])
    assert (np.asarray(regrain.from_latents(unread)) == as_it_is).all()
    regrain.from_latents(replace(parts, y_hat=np.full_like(parts.y_hat, 1e30)))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"y_hat": np.zeros((256, 8, 5), np.float32)}, regrain.UsageError, r"y_hat is float32 \(256, 8, 5\); allowed"),
        ({"y_hat": np.zeros((255, 8, 6), np.float32)}, regrain.UsageError, r"allowed are numbers \(256, 8, 6\)"),
        ({"y_hat": np.zeros((256, 8, 6), complex)}, regrain.UsageError, r"y_hat is complex128"),
        ({"y_hat": np.full((256, 8, 6), np.nan)}, regrain.UsageError, "y_hat holds NaN or infinity"),
        ({"y_hat": np.full((256, 8, 6), np.inf)}, regrain.UsageError, "y_hat holds NaN or infinity"),
        ({"y_hat": None}, regrain.UsageError, "y_hat is object"),
        ({"width": 200}, regrain.UsageError, "for 200 x 120 pixels"),
        ({"height": 0}, regrain.UsageError, "height is 0; allowed is 1 to"),
        ({"width": 2**30, "height": 2**30}, regrain.LimitError, "decoding .* needs about"),
        ({"quality": 101}, regrain.UsageError, "quality times 256 is 25856"),
        ({"fingerprint": b"\1\2\3\4"}, regrain.ModelError, "needs the weights with latent fingerprint 01020304"),
    ],
)
def test_latents_that_do_not_fit_are_one_line(parts, change, error, words):
    with pytest.raises(error, match=rf"^[^\n]*{words}[^\n]*$"):
        regrain.from_latents(replace(parts, **change))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda parts: regrain.latents(GREY, quality=101), "quality is 101"),
        (lambda parts: regrain.latents(GREY, tile=65), "tile is 65"),
        (lambda parts: regrain.latents(GREY, model="palette"), "the weights are for palette; latents are of"),
        (lambda parts: regrain.from_latents(parts, partial=True), "partial is no option of from_latents"),
        (lambda parts: regrain.from_latents(parts.y_hat), "latents are ndarray; allowed is what regrain.latents"),
        (lambda parts: regrain.from_latents(parts, steps=0), "steps is 0"),
        (lambda parts: regrain.from_latents(parts, region=(0, 0, 91, 1)), "region is 0,0,91,1"),
        (lambda parts: regrain.from_latents(parts, denoiser=denoise, schedule="none"), "schedule is 'none'"),
        (lambda parts: regrain.from_latents(parts, denoiser=lambda x_t, t, y_hat: x_t[:1]), r"an array \(1, 128, 96\)"),
        (lambda parts: regrain.from_latents(parts, denoiser=lambda x_t, t, y_hat: x_t * np.nan), "finite numbers"),
    ],
)
def test_what_is_out_of_range_is_one_line(parts, call, words):
    with pytest.raises(regrain.UsageError, match=rf"^[^\n]*{words}[^\n]*$"):
        call(parts)


MEAN, DEVIATION = 0.2, 0.3


def denoise(x_t, t, y_hat, name="cosine"):
    """The mean, given x_t, of pixels that are drawn from N(MEAN, DEVIATION^2)."""
    alpha, sigma = schedule.get(name).at(t)
    gain = DEVIATION**2 / (DEVIATION**2 + (sigma / alpha) ** 2)
    return MEAN + gain * (x_t / alpha - MEAN)


@pytest.mark.parametrize("name", ["cosine", "log-linear"])
@pytest.mark.parametrize(
    "options", [{"eta": 1.0, "steps": 400}, {"sampler": "second-order", "steps": 50}, {"steps": 200}]
)
def test_a_denoiser_of_ones_own_is_sampled_from(parts, name, options):
    """A Gaussian, of which everything is known: the sampler ends in its mean and deviation, in levels of 255."""
    picture = regrain.from_latents(parts, denoiser=lambda *given: denoise(*given, name=name), schedule=name, **options)
    values = np.asarray(picture) / 127.5 - 1
    assert values.mean() == pytest.approx(MEAN, abs=0.01)
    assert values.std() == pytest.approx(DEVIATION, rel=0.03)


def test_a_denoiser_of_ones_own_hears_its_latents_times_and_noise(parts):
    heard = []

    def record(x_t, t, y_hat):
        heard.append((x_t.shape, y_hat.shape, t, float(x_t.std())))
        return np.zeros_like(x_t) + y_hat[0].mean()

    one, two = (np.asarray(regrain.from_latents(parts, denoiser=record, steps=2, seed=seed)) for seed in (1, 2))
    assert [call[:3] for call in heard[:2]] == [((3, 128, 96), (256, 8, 6), t) for t in (1.0, 0.5)]
    assert heard[0][3] == pytest.approx(1, abs=0.02)
    assert (one == two).all()  # it reads no x_t
    regrain.from_latents(parts, denoiser=record, realism=0.5)
    assert heard[-1][3] == pytest.approx(0.5, abs=0.01)
    regrain.from_latents(parts, denoiser=record, max_size=5)
    assert len(heard) == 6  # a thumbnail, too, is the denoiser's


def test_a_denoiser_of_ones_own_sees_windows_of_a_large_picture():
    large = regrain.latents(np.zeros((16, 16 * 100), np.uint8), quality=0)
    widths = []
    regrain.from_latents(large, denoiser=lambda x_t, t, y_hat: widths.append(x_t.shape[2]) or 0 * x_t)
    assert widths == [68 * 16, 40 * 16]
