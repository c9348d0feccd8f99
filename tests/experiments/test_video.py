"""The denoiser of clips begins as the prior, then sees other frames; motion moves; blocks follow it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.video.baselines import hold, matched_mean, mean
from experiments.video.denoiser import FRAMES, ClipDenoiser, blend, masks
from experiments.video.motion import clip_of
from regrain import registry
from regrain.bitstream import Method
from regrain.diffusion.prior import Prior

SIDE = 32


@pytest.fixture(scope="module")
def prior():
    return Prior.load(Path(str(registry.shipped_weights(Method.PROGRESSIVE))))


@pytest.fixture(scope="module")
def noisy():
    return torch.randn(2, FRAMES, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def ends():
    mask = torch.zeros(2, FRAMES)
    mask[:, [0, -1]] = 1
    return mask


@torch.no_grad()
def test_untrained_it_is_the_prior_frame_by_frame(prior, noisy, ends):
    levels = torch.tensor([0.0, 3.0])
    v = ClipDenoiser(prior)(noisy, levels, noisy, ends)
    alone = prior(noisy.flatten(0, 1), levels.repeat_interleave(FRAMES)).unflatten(0, (2, FRAMES))
    assert torch.allclose(v, alone, atol=1e-5)


@torch.no_grad()
def test_with_weights_a_frame_sees_the_others_the_known_frames_and_the_mask(prior, noisy, ends):
    model, levels = ClipDenoiser(prior), torch.zeros(2)
    for layer in model.between:
        torch.nn.init.normal_(layer.leave.weight, std=0.1)
    torch.nn.init.normal_(model.known.weight, std=0.1)
    before = model(noisy, levels, noisy, ends)
    other = noisy.clone()
    other[:, 0] = 0
    for changed in (
        model(other, levels, noisy, ends),
        model(noisy, levels, other, ends),
        model(noisy, levels, noisy, 1 - ends),
    ):
        assert (changed[:, 4] - before[:, 4]).abs().max() > 1e-3


def test_known_frames_come_back_as_they_are(prior, noisy, ends):
    x_0 = ClipDenoiser(prior).denoise(noisy, torch.zeros(2), noisy.clamp(-1, 1), ends)
    assert torch.equal(x_0[:, 0], noisy[:, 0].clamp(-1, 1))
    assert not torch.equal(x_0[:, 1], noisy[:, 1].clamp(-1, 1))


def test_every_clip_has_a_known_frame_and_an_unknown_one_as_a_rule():
    torch.manual_seed(0)
    mask = masks(500)
    assert (mask.sum(1) >= 1).all()
    assert 0.65 < float((mask[:, [0, -1]].sum(1) == 2).float().mean()) < 0.85


def test_the_mix_is_even_in_time_between_known_frames_and_holds_beyond_them():
    ramp = torch.arange(float(FRAMES))[None, :, None, None, None].expand(1, FRAMES, 3, 4, 4)
    mask = torch.zeros(1, FRAMES)
    mask[:, [2, 6]] = 1
    mixed = blend(ramp, mask)[0, :, 0, 0, 0]
    assert mixed.tolist() == [2, 2, 2, 3, 4, 5, 6, 6]


def test_motion_moves_and_shows_what_the_stills_have():
    random = np.random.default_rng(1)
    stills = [2 * torch.rand(3, 96, 96) - 1 for _ in range(2)]
    made = [clip_of(*stills, FRAMES, SIDE, random) for _ in range(4)]
    for clip in made:
        assert clip.shape == (FRAMES, 3, SIDE, SIDE)
        assert clip.abs().max() <= 1
    assert max(float((clip[0] - clip[-1]).abs().mean()) for clip in made) > 0.05
    flat = clip_of(torch.full((3, 96, 96), 0.5), torch.full((3, 96, 96), 0.5), FRAMES, SIDE, random)
    assert torch.allclose(flat, torch.full_like(flat, 0.5), atol=1e-5)


def test_blocks_follow_a_shift_that_the_mean_blurs():
    picture = np.kron(np.random.default_rng(0).integers(0, 256, (24, 24, 3)), np.ones((4, 4, 1))).astype(np.uint8)
    clip = np.stack([picture[16:64, 16 + k : 64 + k] for k in range(FRAMES)])
    errors = {
        way.__name__: np.abs(way(clip[0], clip[-1], FRAMES)[3].astype(float) - clip[3])[8:-8, 8:-8].mean()
        for way in (hold, mean, matched_mean)
    }
    assert errors["matched_mean"] < 1 < min(errors["hold"], errors["mean"])


def test_x265_keeps_to_its_bytes():
    pytest.importorskip("av", reason="PyAV is not installed")
    from experiments.video.baselines import hevc, hevc_within

    clip = np.random.default_rng(0).integers(0, 256, (FRAMES, 64, 64, 3)).astype(np.uint8)
    size, decoded = hevc(clip, 20)
    assert decoded.shape == clip.shape
    within, _ = hevc_within(clip, size // 2)
    assert within <= size // 2
