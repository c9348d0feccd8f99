"""Latents that are optimised for one picture: they cost less, and every part of the descent points downhill."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regrain import image
from regrain.conditional import annealing, decode, grid, refine
from regrain.conditional.encode import analysis_transform, encode_tiles
from regrain.conditional.networks import DISTORTIONS, View
from regrain.entropy import coder
from regrain.entropy.tables import gaussian_tables
from regrain.options import DecodeOptions

QUALITY = 30 * 256
PHOTO = Path(__file__).resolve().parents[2] / "demo" / "photo.png"


def pixels_of(height=64, width=80, channels=3):
    rows, columns = np.mgrid[:height, :width]
    waves = [60 * np.sin(rows * columns / (300 + 90 * c)) + 40 * np.cos(columns * (c + 1) / 5) for c in range(channels)]
    noise = np.random.default_rng(1).normal(0, 6, (height, width, 1))
    return (128 + np.stack(waves, -1) + noise).clip(0, 255).astype(np.uint8)


def scene_of(pixels, torch_model, quality=QUALITY, tile=1024):
    rows, columns = grid.latent_size(*pixels.shape[:2])
    regions = grid.tiles(rows, columns, tile // 16)
    y = analysis_transform(torch_model.denoiser.networks, pixels)
    return refine._Scene(torch_model.latents, torch_model.denoiser.networks, pixels, quality, regions), y


def trials(pixels, model, torch_model, iterations, tile=1024):
    y = analysis_transform(model.denoiser.networks, pixels)
    networks = torch_model.denoiser.networks
    return list(refine.refine(model.latents, networks, y, pixels, QUALITY, tile, iterations))


def test_iterations_gain_and_never_take_more_bits(onnx_model, torch_model):
    pixels = np.asarray(Image.open(PHOTO))[40:104, 60:140]
    made = trials(pixels, onnx_model, torch_model, 20)
    gains = [trial.gain for trial in made]
    assert [trial.iteration for trial in made] == [*range(21)]
    assert gains[0] == 0 < 0.02 < gains[-1] == max(gains)
    sizes = [len(encode_tiles(onnx_model.latents, trial.y, QUALITY, 1024)[0]) for trial in (made[0], made[-1])]
    assert sizes[1] <= sizes[0] + 1  # bits are ideal ones: a byte of rounding


def test_distortions_weigh_less_while_too_many_bits_are_taken(onnx_model, torch_model, monkeypatch):
    pixels, shares = pixels_of(), []
    fall = refine._Scene.fall
    monkeypatch.setattr(refine._Scene, "fall", lambda *a: shares.append(a[2].sum()) or fall(*a))
    for saved in (0.0, 0.5):
        monkeypatch.setattr(refine, "SAVED", saved)
        trials(pixels, onnx_model, torch_model, 2 * refine.REFRESHED)
    steps = refine.REFRESHED
    scene, y = scene_of(pixels, torch_model)
    worth = scene.weights(y, scene.distortions(scene.code(y, QUALITY).y_hat, QUALITY)).sum()
    assert shares[0] == pytest.approx(refine.THRIFT * worth, rel=0.01)
    assert shares[0] == shares[steps - 1] == shares[2 * steps]
    assert shares[-1] == pytest.approx(shares[0] / refine.CHANGE_MOST)
    monkeypatch.setattr(refine, "SAVED", -9.0)
    trials(pixels, onnx_model, torch_model, 2 * steps)
    assert shares[-1] == pytest.approx(shares[0] * refine.CHANGE_MOST)
    bits, code = [], refine._Scene.code
    monkeypatch.setattr(refine._Scene, "code", lambda *a: bits.append(code(*a)) or bits[-1])
    monkeypatch.setattr(refine, "SAVED", 0.0)
    trials(pixels, onnx_model, torch_model, 2 * steps)
    assert shares[-1] / shares[0] == pytest.approx((bits[0].bits / bits[3].bits) ** refine.HASTE)
    assert shares[-1] != shares[0]


def test_every_iteration_looks_at_textures_in_another_way(onnx_model, torch_model, monkeypatch):
    draws, fall = [], refine._Scene.fall
    monkeypatch.setattr(refine._Scene, "fall", lambda *a: draws.append(a[3]) or fall(*a))
    trials(pixels_of(32, 48), onnx_model, torch_model, 4)
    assert draws == [1, 2, 3, 4]  # and 0 is that of the cost


def test_weights_are_shares_of_one_worth(torch_model):
    for size, there in ((64, [0, 2, 3, 4]), (176, range(DISTORTIONS))):
        scene, y = scene_of(pixels_of(size, size), torch_model)
        distortions = scene.distortions(scene.code(y, QUALITY).y_hat, QUALITY)
        worth = scene.weights(y, distortions) * distortions
        shares = np.where(np.isin(np.arange(DISTORTIONS), list(there)), refine.SHARES, 0)
        np.testing.assert_allclose(worth / worth.sum(), shares / shares.sum(), rtol=1e-9)


class Backwards:
    """A decoder whose pictures get better while bits fall, or whose distortions are no numbers."""

    def __init__(self, values):
        self.values = values

    def distortion(self, view, quality, realism, weights):
        return np.full(DISTORTIONS, self.values[quality > QUALITY / 25600])


def attempts(model, decoder):
    pixels = pixels_of(32, 48)
    y = analysis_transform(model.denoiser.networks, pixels)
    return list(refine.refine(model.latents, decoder, y, pixels, QUALITY, 1024, 0))


@pytest.mark.parametrize("values", [(1.0, 2.0), (np.nan, 1.0), (2.0, np.nan), (0.0, 0.0)])
def test_where_bits_buy_nothing_nothing_is_tried(onnx_model, values):
    assert attempts(onnx_model, Backwards(values)) == []


def test_where_more_quality_takes_fewer_bits_nothing_is_tried(onnx_model, monkeypatch):
    assert len(attempts(onnx_model, Backwards((2.0, 1.0)))) == 1
    code = refine._Scene.code
    monkeypatch.setattr(
        refine._Scene, "code", lambda scene, y, quality: code(scene, y, quality)._replace(bits=-quality)
    )
    assert attempts(onnx_model, Backwards((2.0, 1.0))) == []


def test_a_flat_picture_and_one_of_one_pixel(onnx_model, torch_model):
    for pixels in (np.full((48, 32, 3), 90, np.uint8), np.full((1, 1, 3), 90, np.uint8)):
        made = trials(pixels, onnx_model, torch_model, 6)
        assert len(made) in (0, 7)  # whether bits buy anything of such pictures is chance
        for trial in made:
            assert np.isfinite(trial.y).all()
            assert 0 <= trial.gain < 1


def test_the_same_call_gives_the_same_latents(onnx_model, torch_model):
    pixels = pixels_of(32, 48)
    one, other = (trials(pixels, onnx_model, torch_model, 3)[-1].y for _ in range(2))
    assert (one == other).all()


@pytest.mark.parametrize("shape", [(33, 20, 3), (24, 40, 1), (80, 144, 3)])
def test_any_shape_and_several_tiles(onnx_model, torch_model, shape):
    last = trials(pixels_of(*shape), onnx_model, torch_model, 2, tile=64)[-1]
    assert last.gain >= 0
    assert last.y.shape == (256, -(-shape[0] // 16), -(-shape[1] // 16))


def test_where_quality_changes_nothing_there_is_nothing_to_try(onnx_model, torch_model, monkeypatch):
    monkeypatch.setattr(refine, "NEAR", 0)
    assert trials(pixels_of(16, 16), onnx_model, torch_model, 2) == []


def test_the_squared_error_is_that_of_the_decoded_picture(torch_model):
    pixels = pixels_of()
    scene, y = scene_of(pixels, torch_model)
    y_hat = scene.code(y, QUALITY).y_hat
    distortions = scene.distortions(y_hat, QUALITY)
    decoded = decode.reconstruct(
        torch_model.denoiser, y_hat, pixels.shape[:2], QUALITY, DecodeOptions(realism=1.0), grey=False
    )
    error = np.square((decoded.astype(float) - pixels) / 127.5).sum()
    assert distortions[0] == pytest.approx(error, rel=0.02)
    assert distortions[1] == 0  # too small for MS-SSIM
    assert (distortions[2:] > 0).all()


def test_windows_add_up(torch_model, monkeypatch):
    scene, y = scene_of(pixels_of(64, 160), torch_model)
    y_hat = scene.code(y, QUALITY).y_hat
    whole = scene.distortions(y_hat, QUALITY)
    monkeypatch.setattr(refine, "WINDOW", 5)
    windows, _ = scene_of(pixels_of(64, 160), torch_model)
    assert len(windows.windows) == 2
    assert windows.distortions(y_hat, QUALITY)[0] == pytest.approx(whole[0], rel=1e-3)


@pytest.mark.parametrize("term", range(DISTORTIONS))
def test_descent_is_the_slope_of_each_distortion(torch_model, term):
    pixels = pixels_of(176, 176)
    scene, y = scene_of(pixels, torch_model)
    y_hat, networks = scene.code(y, QUALITY).y_hat, torch_model.denoiser.networks
    target, core = image.to_signed(pixels), (slice(0, 176), slice(0, 176))
    gradient = networks.descend(View(y_hat, target, core), 0.3, 1.0, np.eye(DISTORTIONS)[term], 0)
    step = gradient / np.abs(gradient).max() * 0.05
    above, below = (
        networks.distortion(View(y_hat + s * step, target, core), 0.3, 1.0, np.ones(DISTORTIONS))[term] for s in (1, -1)
    )
    assert above - below == pytest.approx(2 * float((gradient * step).sum()), rel=0.1)
    assert not networks.descend(View(y_hat, target, core), 0.3, 1.0, np.zeros(DISTORTIONS), 0).any()


def test_coins_fall_to_the_nearer_side_and_know_their_slope():
    part = np.linspace(0.02, 0.98, 25).astype(np.float32)
    _, slope = annealing.coins(part, 0.25, np.random.default_rng(3))
    above, below = (annealing.coins(part + d, 0.25, np.random.default_rng(3))[0] for d in (1e-3, -1e-3))
    np.testing.assert_allclose(slope, (above - below) / 2e-3, rtol=0.03, atol=0.02)
    cold = np.mean([annealing.coins(part, 0.1, np.random.default_rng(k))[0] for k in range(200)], 0)
    assert (cold[part < 0.3] < 0.05).all()
    assert (cold[part > 0.7] > 0.95).all()


def test_prices_are_what_the_coder_takes_for_a_unit_more():
    symbols = np.array([-400, -2, -1, 0, 1, 3, 90], np.int32)
    for index in (0, 20, 63):
        ids = np.full(symbols.shape, index)
        here, more = (coder.ideal_bits((s.astype(np.int32), ids, gaussian_tables())) for s in (symbols, symbols + 1))
        prices = annealing.prices(ids, symbols.astype(np.float32))
        inside = np.abs(symbols) < -gaussian_tables()[index].first - 1
        np.testing.assert_allclose(prices[inside], (more - here)[inside], atol=1e-3)
