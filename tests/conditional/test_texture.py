"""Textures: another sample is near, a smooth place far; what the networks know matters, and nothing depends on size."""

import copy

import numpy as np
import pytest
import torch

from regrain.conditional.texture import TERMS, Texture


@pytest.fixture(scope="module")
def texture(torch_model):
    return torch_model.denoiser.networks.texture


def picture(noise, seed=0, size=(64, 80)):
    rows, columns = np.mgrid[: size[0], : size[1]]
    ground = 0.3 * np.sin(rows / 9) + 0.2 * np.cos(columns / 7)
    grain = noise * np.random.default_rng(seed).normal(0, 1, (3, *size))
    return torch.from_numpy((ground + grain).astype(np.float32).clip(-1, 1))[None]


def distances(texture, one, other, draw=0):
    with torch.no_grad():
        return texture.distances(one, other, draw)


def test_equal_pictures_have_no_distance(texture):
    assert distances(texture, picture(0.1), picture(0.1)).tolist() == pytest.approx([0] * TERMS, abs=1e-5)


def test_another_sample_of_a_texture_is_nearer_than_a_smooth_place(texture):
    grain, other, smooth = picture(0.15), picture(0.15, seed=1), picture(0.0)
    near, far = distances(texture, other, grain), distances(texture, smooth, grain)
    assert (near[:2] < far[:2]).all()
    assert (smooth - grain).square().mean() < (other - grain).square().mean()


def test_another_draw_sees_something_else(texture):
    one, again, other = (distances(texture, picture(0.0), picture(0.2), draw) for draw in (3, 3, 4))
    assert torch.equal(one, again)
    assert (one != other).all()


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (17, 5), (33, 100)])
def test_any_size(texture, size):
    apart = distances(texture, picture(0.1, size=size), picture(0.1, seed=1, size=size))
    assert apart.shape == (TERMS,)
    assert apart.isfinite().all()


@pytest.mark.parametrize(("name", "term"), [("prior", 0), ("g_a", 1)])
def test_what_the_networks_know_matters(texture, name, term):
    networks = {"prior": texture.prior, "g_a": texture.g_a}
    blind = copy.deepcopy(networks[name])
    with torch.no_grad():
        for weight in blind.parameters():
            weight.zero_()
    other = Texture(**networks | {name: blind})
    before, after = (distances(each, picture(0.0), picture(0.2)) for each in (texture, other))
    assert after[term] < 1e-3 < before[term]
    rest = [place for place in range(TERMS) if place != term]
    assert after[rest].tolist() == pytest.approx(before[rest].tolist(), rel=1e-4)
