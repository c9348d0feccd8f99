"""The loss: its formula on a case done by hand, and where its gradients go."""

import pytest
import pytorch_msssim
import torch
from torch import nn

from lab.training.tiny import crops, tiny_codec
from regrain.diffusion import parametrize, schedule
from regrain_lab.training.losses.codec import CodecLoss, Conditioning, StageWeights
from regrain_lab.training.recipe import LossConfig, Stage
from regrain_lab.training.state import State

FULL = StageWeights(rate=1.0, perceptual=1.0, continuous=0.0, freeze_latents=False)
FROZEN = StageWeights(rate=1.0, perceptual=1.0, continuous=0.5, freeze_latents=True)


class Stub(nn.Module):
    """A perceptual distance that says d for every picture, and remembers what it was asked."""

    def __init__(self, d=0.25):
        super().__init__()
        self.d, self.seen = d, []

    def forward(self, a, b):
        self.seen.append((a, b))
        return self.d + 0 * a.mean((1, 2, 3))


def objective(prediction="x0", lpips=None, **config):
    return CodecLoss(tiny_codec(prediction), LossConfig(**config), lpips)


def draw(monkeypatch, *, quality, realism, t=1.0):
    """Make every draw this one."""

    def fixed(count, _continuous, _device):
        return Conditioning(*(torch.full((count,), value) for value in (quality, realism, t)))

    monkeypatch.setattr(Conditioning, "sample", fixed)


def gradients(module):
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("prediction", ["x0", "eps", "v"])
@pytest.mark.parametrize("rules", [FULL, FROZEN], ids=["latents", "denoiser"])
def test_loss_and_gradient_are_finite(prediction, rules):
    torch.manual_seed(0)
    ours = objective(prediction, Stub())
    for _ in range(4):
        scalars = ours(crops(), rules)
        scalars["loss"].backward()
        assert all(value.isfinite() for value in scalars.values())
    assert all(grad.isfinite().all() for grad in gradients(ours).values())


def test_the_rate_reaches_the_analysis():
    torch.manual_seed(0)
    ours = objective(lpips=Stub())
    codec = ours.codec
    codec.code(crops(), torch.full((2,), 0.5)).y_bits.sum().backward()
    reached = gradients(codec)
    assert {name for name in reached if reached[name].abs().sum() > 0} >= {
        f"analysis.{len(codec.analysis) - 1}.weight",
        "hyper_analysis.0.weight",
    }
    assert not any(name.startswith("denoiser") for name in reached)


def test_the_rate_weighs_what_its_bits_weigh(monkeypatch):
    """Doubling the stage's rate adds rate_weight^(1 - balance) bpp to the loss, and nothing else."""
    quality = 0.5
    draw(monkeypatch, quality=quality, realism=0.0)
    ours = objective(rate_weight=(8.0, 0.5), balance=0.5)
    losses = []
    for rate in (1.0, 2.0):
        torch.manual_seed(4)
        scalars = ours(crops(), StageWeights(rate, 1.0, 0.0, freeze_latents=False))
        losses.append(scalars["loss"])
    assert torch.isclose(losses[1] - losses[0], 2.0**0.5 * scalars["bpp"], rtol=1e-4)


def test_frozen_latents_take_no_gradient_and_count_no_bits(monkeypatch):
    draw(monkeypatch, quality=0.3, realism=1.0, t=0.6)
    ours = objective(lpips=Stub())
    losses = []
    for rate in (1.0, 7.0):
        torch.manual_seed(4)
        scalars = ours(crops(), StageWeights(rate, 1.0, 0.5, freeze_latents=True))
        losses.append(float(scalars["loss"].detach()))
    scalars["loss"].backward()
    assert losses[0] == losses[1]
    assert scalars["bpp"] > 0
    assert {name.split(".")[1] for name in gradients(ours)} == {"denoiser"}


def test_realism_0_has_no_perceptual_term(monkeypatch):
    draw(monkeypatch, quality=0.5, realism=0.0)
    stub = Stub()
    scalars = objective(lpips=stub)(crops(), FULL)
    assert not stub.seen
    assert scalars["lpips"] == 0


def test_without_lpips_realism_changes_no_weight(monkeypatch):
    """rho is 0 then: the same error weighs the same at either end."""
    draw(monkeypatch, quality=0.5, realism=1.0)
    ours = objective(perceptual_weight=1.0, balance=0.0)
    torch.manual_seed(4)
    assert ours(crops(), FROZEN)["loss"] > 0


@pytest.mark.parametrize("prediction", ["x0", "eps", "v"])
@pytest.mark.parametrize(("t", "realism"), [(1.0, 1.0), (1.0, 0.5), (0.4, 1.0), (0.8, 0.0)])
def test_the_formula(monkeypatch, prediction, t, realism):
    """(1 - rho) L_diff + rho scale LPIPS + lambda R, over lambda^balance, for a denoiser that says 0."""
    quality, gamma, floor = 0.25, 5.0, 0.2
    draw(monkeypatch, quality=quality, realism=realism, t=t)
    ours = objective(prediction, Stub(0.25), perceptual_weight=0.5, perceptual_scale=8.0, rate_weight=(16.0, 1.0))
    ours.codec.denoiser.corrects = False
    for parameter in (ours.codec.denoiser.leave.weight, ours.codec.denoiser.leave.bias):
        nn.init.zeros_(parameter)
    eps = []
    normal = torch.randn_like
    monkeypatch.setattr(torch, "randn_like", lambda x: eps.append(normal(x)) or eps[-1])
    x = crops()
    scalars = ours(x, StageWeights(rate=0.5, perceptual=0.4, continuous=0.0, freeze_latents=False))

    alpha, sigma = schedule.get("cosine").at(t)
    noise = eps[0] * realism * ours.codec.config.init_noise
    target = {"x0": x, "eps": noise, "v": alpha * noise - sigma * x}[prediction]
    snr = (alpha / sigma) ** 2
    gain = {"x0": 1, "eps": 1 / snr, "v": 1 / (snr + 1)}[prediction]
    weight = 1.0 if t == 1 else max(floor, min(snr, gamma) * gain / gamma)
    l_diff = weight * (target.square().mean() * 127.5**2 / 100)
    rho = 0.5 * 0.4 * realism
    rate_weight = 16.0 ** (1 - quality)
    total = (1 - rho) * l_diff + rho * 8.0 * 0.25 + rate_weight * 0.5 * scalars["bpp"]
    assert torch.isclose(scalars["loss"], total / rate_weight**0.5, rtol=2e-4)

    x_t = alpha * x + sigma * noise
    x_hat = parametrize.to_x0(prediction, torch.zeros_like(x), x_t, alpha, sigma)
    assert torch.isclose(scalars["mse"], (x_hat - x).square().mean() * 127.5**2, rtol=1e-3)
    assert torch.isclose(scalars["lpips"], torch.tensor(0.25 * (rho > 0)))


def test_without_lpips_structure_counts_alone():
    x = torch.rand(2, 3, 192, 192, generator=torch.Generator().manual_seed(3)) * 2 - 1
    losses = []
    for scale in (0.0, 10.0):
        ours = objective(perceptual_weight=0.5, structure_scale=scale)
        torch.manual_seed(4)
        with torch.no_grad():
            losses.append(float(ours(x, FULL)["loss"]))
    assert losses[0] != losses[1]


def test_structure_is_ms_ssim_under_the_perceptual_weight(monkeypatch):
    draw(monkeypatch, quality=1.0, realism=0.5)
    torch.manual_seed(0)
    x = crops(side=192)
    y = x + 0.1 * torch.randn_like(x)
    ours = objective(lpips=Stub(0.0), perceptual_weight=0.5, structure_scale=10.0)
    loss = ours.distortion.structure(y, x, torch.tensor([0.25, 0.0]), 10.0)
    alike = pytorch_msssim.ms_ssim((y + 1) / 2, (x + 1) / 2, data_range=1.0, size_average=False)
    assert torch.allclose(loss, torch.stack([10 * (1 - alike[0]), torch.tensor(0.0)]), atol=1e-4)
    with_term, without = (
        (torch.manual_seed(1), ours(x, StageWeights(1.0, 1.0, 0.0, freeze_latents=False, structure=structure))["loss"])[
            1
        ]
        for structure in (1.0, 0.0)
    )
    assert with_term > without


def test_the_pair_is_shifted_together(monkeypatch):
    draw(monkeypatch, quality=0.5, realism=1.0)
    stub = Stub()
    ours = objective(lpips=stub)
    shapes = set()
    for seed in range(12):
        torch.manual_seed(seed)
        ours(crops(side=128), FROZEN)
        a, b = stub.seen[-1]
        assert a.shape == b.shape
        assert min(a.shape[2:]) >= 32
        shapes.add(tuple(a.shape[2:]))
    assert len(shapes) > 6
    assert min(min(shape) for shape in shapes) <= 64


def test_draws_cover_the_knobs():
    torch.manual_seed(0)
    sample = Conditioning.sample(4000, 0.5, torch.device("cpu"))
    for values in (sample.quality, sample.realism, sample.t):
        assert values.min() >= 0
        assert values.max() <= 1
    shares = [values.float().mean() for values in (sample.realism == 1, sample.realism == 0, sample.t == 1)]
    assert torch.stack(shares).numpy() == pytest.approx([0.45, 0.25, 0.5], abs=0.04)
    assert float(sample.quality.mean()) == pytest.approx(0.5, abs=0.03)
    assert (Conditioning.sample(100, 0.0, torch.device("cpu")).t == 1).all()


def test_rules_run_from_the_first_value_to_the_last():
    stage = Stage("s", steps=5, rate=(0.2, 1.0), perceptual=(0.0, 2.0), continuous=0.5, freeze_latents=True)
    assert StageWeights.at(stage, 0) == StageWeights(0.2, 0.0, 0.5, freeze_latents=True)
    assert StageWeights.at(stage, 4) == StageWeights(1.0, 2.0, 0.5, freeze_latents=True)
    assert StageWeights.at(stage, 2).rate == pytest.approx(0.6)
    assert StageWeights.at(Stage("s", steps=1, rate=(0.2, 1.0)), 0).rate == 0.2


def test_one_batch_is_learnt():
    """60 steps on one picture halve the loss."""
    torch.manual_seed(0)
    ours = objective()
    state, x, losses = State(ours.codec, 0.9), crops(1), []
    for step in range(60):
        torch.manual_seed(step)
        loss = ours(x, StageWeights(0.02, 0.0, 0.0, freeze_latents=False))["loss"]
        state.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(ours.parameters(), 1.0)
        state.update(3e-3)
        losses.append(float(loss.detach()))
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])


def test_casts_and_lattices_weigh_more_than_a_texture_of_the_same_power():
    """e^2 of a constant counts 1 + tone + lattice times, of a pattern of the grid 1 + lattice, of a lone wave once."""
    ours = objective(tone_weight=3.0, lattice_weight=10.0)
    board = torch.ones(2, 3, 32, 64)
    board[:, :, ::2, ::2] = board[:, :, 1::2, 1::2] = -1
    wave = board * torch.ones(64).index_fill(0, torch.arange(32, 64), -1)
    for error, weight in ((torch.ones_like(board), 14.0), (board, 11.0), (wave, 1.0)):
        torch.testing.assert_close(ours.distortion.squared(0.5 * error), torch.full((2,), 0.25 * weight))
