"""What each method teaches, as mathematics: where targets lie, what of one method is another's, where gradients go."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from lab.training.tiny import crops
from lab.training.tiny_student import full, origin, shaken
from regrain.diffusion import sampler
from regrain_lab.trainable.denoisers import Student
from regrain_lab.trainable.frozen import quantized_latents
from regrain_lab.training.losses.codec import Conditioning, StageWeights
from regrain_lab.training.losses.distillation import Batch, Distillation, DistillationLoss, ddim_step, random_times
from regrain_lab.training.recipe import METHODS, DistillConfig, LossConfig
from regrain_lab.training.state import State

PLAIN = StageWeights(1.0, 1.0, 0.0, freeze_latents=True)


@pytest.fixture
def models(tmp_path) -> Distillation:
    """A student and a teacher that differ, guided both."""
    return networks(tmp_path)


def networks(folder, guided=True, **config):
    torch.manual_seed(5)
    teacher = Student(origin(folder), guided=guided)
    student = Student(origin(folder), guided=guided)
    for network in (teacher, student):
        shaken(network)
        network.to(memory_format=torch.channels_last)
    return Distillation(student, teacher.requires_grad_(False), DistillConfig(guidance_max=2.0, **config), LossConfig())


def example(t, *, guidance=0.0, realism=1.0):
    count = len(t)
    draw = Conditioning(full(count, 0.5), full(count, realism), torch.tensor(t))
    eps = torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(3)) * 0.8 * realism
    cond = torch.randn(count, 8, 4, 4, generator=torch.Generator().manual_seed(4))
    return Batch(crops(count), eps, cond, draw, full(count, guidance))


def estimate(network, batch, x_t, t, cond=None):
    with torch.no_grad():
        cond = batch.cond if cond is None else cond
        return network(x_t, t, cond, batch.knobs.quality, batch.knobs.realism, batch.guidance).clamp(-1, 1)


def test_steps_are_the_samplers(models):
    x_t, x_0 = torch.randn(3, 3, 8, 8), torch.randn(3, 3, 8, 8)
    t, s = torch.tensor([1.0, 0.5, 0.25]), torch.tensor([0.75, 0.25, 0.0])
    found = ddim_step(x_t, x_0, models.levels(t), models.levels(s))
    for i in range(3):
        wanted = sampler.ddim_step(x_t[i], x_0[i], float(t[i]), float(s[i]), models.schedule)
        torch.testing.assert_close(found[i], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 8])
def test_a_step_by_progressives_target_arrives_where_two_of_the_teacher_do(models, count):
    batch = example([1.0] * 4)
    target = models.target(batch, replace(PLAIN, method="progressive", sampling_steps=count))
    places = target.t * count
    assert torch.equal(places, places.round())
    assert places.min() >= 1
    assert target.t.max() <= 1
    for i, t in enumerate(target.t.tolist()):
        one, x_t = example([t]), target.x_t[i : i + 1]
        one = one._replace(cond=batch.cond[i : i + 1])
        times = (t, t - 0.5 / count, t - 1 / count)
        arrived = x_t
        for there, here in pairwise(times):
            x_0 = estimate(models.teacher, one, arrived, full(1, there))
            arrived = sampler.ddim_step(arrived, x_0, there, here, models.schedule)
        found = sampler.ddim_step(x_t, target.x_0[i : i + 1], t, times[-1], models.schedule)
        torch.testing.assert_close(found, arrived, rtol=1e-3, atol=1e-4)
        assert float(target.weight[i]) == pytest.approx(max(1.0, float(models.schedule.log_snr(full(1, t)).exp())))


def test_progressive_teaches_nothing_where_two_steps_of_the_teacher_are_one(models):
    """Of a teacher whose estimate is constant the target is that estimate."""
    models.teacher = lambda x_t, *_: torch.full_like(x_t, 0.25)
    target = models.target(example([1.0] * 4), replace(PLAIN, method="progressive", sampling_steps=4))
    torch.testing.assert_close(target.x_0, torch.full_like(target.x_0, 0.25), rtol=1e-3, atol=1e-4)


def test_consistency_at_gap_1_is_none(models):
    batch = example([1.0, 0.7, 0.1])
    none, whole = (models.target(batch, replace(PLAIN, method=name)) for name in ("none", "consistency"))
    for name in ("x_t", "t", "x_0", "weight", "cond", "perceptual"):
        assert torch.equal(getattr(none, name), getattr(whole, name))
    assert torch.equal(none.x_0, batch.x)


def test_consistency_asks_the_student_of_the_same_noise_earlier(models):
    batch = example([1.0, 0.6, 0.1])
    target = models.target(batch, replace(PLAIN, method="consistency", gap=0.25))
    ratio = models.schedule.sigma(batch.knobs.t) / models.schedule.alpha(batch.knobs.t)
    gap = (0.25 * (1 + 8 / (1 + ratio.exp()))).clamp(max=1)
    assert (float(gap[0]), float(gap[2])) == (0.25, 1)
    s = batch.knobs.t * (1 - gap)
    alpha, sigma = (level(s)[:, None, None, None] for level in (models.schedule.alpha, models.schedule.sigma))
    wanted = estimate(models.student, batch, alpha * batch.x + sigma * batch.eps, s)
    torch.testing.assert_close(target.x_0[:2], wanted[:2])
    assert torch.equal(target.x_0[2], batch.x[2])
    assert not target.x_0.requires_grad
    full_weight = models.target(batch, replace(PLAIN, method="consistency")).weight
    torch.testing.assert_close(target.weight, full_weight / gap)


@pytest.mark.parametrize("w", [0.0, 0.5, 1.0])
def test_guided_goes_on_from_blind_to_told(models, w):
    batch = example([1.0, 0.6], guidance=w)
    target = models.target(batch, replace(PLAIN, method="guided"))
    told, blind = (
        estimate(models.teacher, batch, target.x_t, target.t, cond)
        for cond in (batch.cond, torch.zeros_like(batch.cond))
    )
    torch.testing.assert_close(target.x_0, (told + 2.0 * w * (told - blind)).clamp(-1, 1))
    if not w:
        torch.testing.assert_close(target.x_0, told)


def test_direct_is_at_t_1_and_elsewhere_where_the_student_came(models, monkeypatch):
    batch = example([1.0, 0.5, 0.3])
    at_1 = models.target(batch, replace(PLAIN, method="direct"))
    assert (at_1.t == 1).all()
    drawn = iter([2, 3])  # a grid of 2^2, three steps of it
    monkeypatch.setattr(torch, "randint", lambda *_: torch.tensor(next(drawn)))
    target = models.target(batch, replace(PLAIN, method="direct", sampling_steps=4))
    assert target.t.tolist() == [1.0, 0.25, 0.25]
    assert torch.equal(target.x_t[0], at_1.x_t[0])

    def denoise(x_t, t):
        return estimate(models.student, batch, x_t, full(3, t))

    arrived = at_1.x_t
    for t, s in ((1.0, 0.75), (0.75, 0.5), (0.5, 0.25)):
        arrived = sampler.ddim_step(arrived, denoise(arrived, t), t, s, models.schedule)
    torch.testing.assert_close(target.x_t[1:], arrived[1:], rtol=1e-4, atol=1e-5)
    assert not target.x_t.requires_grad


def test_dropout_hides_latents_and_asks_for_no_texture_then(tmp_path):
    models = networks(tmp_path, dropout=0.5)
    torch.manual_seed(0)
    batch = example([1.0] * 64)
    target = models.target(batch, replace(PLAIN, method="none"))
    hidden = ~target.cond.flatten(1).any(1)
    assert 16 < int(hidden.sum()) < 48
    assert torch.equal(target.perceptual == 0, hidden)
    assert (target.t[~hidden] == 1).all()
    assert (target.t[hidden] < 1).all()
    assert (target.weight[~hidden] == 1).all()
    snr = models.schedule.log_snr(target.t[hidden]).exp()
    torch.testing.assert_close(target.weight[hidden], (snr / 5).clamp(max=1))


@pytest.mark.parametrize("method", METHODS)
def test_gradients_reach_the_student_alone(tmp_path, method):
    models = networks(tmp_path)
    model = origin(tmp_path)
    objective = DistillationLoss(models, model, None)
    rules = replace(PLAIN, method=method, sampling_steps=2, gap=0.5, continuous=0.5)
    torch.manual_seed(0)
    scalars = objective(crops(), rules)
    scalars["loss"].backward()
    assert all(value.isfinite() for value in scalars.values())
    reached = {name.split(".")[1] for name, p in objective.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached == ({"denoiser", "guide"} if method in ("guided", "progressive") else {"denoiser"})
    assert {name.split(".")[0] for name, _ in objective.named_parameters()} == {"student"}
    assert all(p.grad is None for p in models.teacher.parameters())


def test_estimates_first_keep_no_gradient_from_what_follows(tmp_path):
    """Autocast remembers the weights that it has cast, and those of an estimate were cast without a graph."""
    models = networks(tmp_path, guided=False)
    objective = DistillationLoss(models, origin(tmp_path), None)
    with torch.autocast("cpu", torch.bfloat16):
        loss = objective(crops(), replace(PLAIN, method="consistency", gap=0.5))["loss"]
    loss.backward()
    assert all(p.grad is not None and p.grad.any() for p in models.student.parameters())


def test_the_loss_of_none_is_the_codecs(tmp_path, monkeypatch):
    """Alone with the denoiser, a codec's loss on the same draws and latents is that of the student."""
    from regrain_lab.training.losses import codec

    models = networks(tmp_path, guided=False)
    model, x = origin(tmp_path), crops()
    batch = example([1.0, 0.4])
    monkeypatch.setattr(Conditioning, "sample", lambda *_: batch.knobs)
    rules = replace(PLAIN, method="none")
    torch.manual_seed(1)
    ours = DistillationLoss(models, model, None)(x, rules)

    class Codec(nn.Module):
        config, prediction, denoiser = model.config, "x0", models.student.denoiser

        def code(self, x, quality):
            return quantized_latents(model, x, quality), torch.zeros(2), torch.zeros(2)

    torch.manual_seed(1)
    theirs = codec.CodecLoss(Codec(), models.loss, None)(x, rules)
    torch.testing.assert_close(ours["loss"], theirs["loss"])


class Stub(nn.Module):
    """A perceptual distance that remembers what it was asked."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, a, b):
        self.seen.append(b)
        return (a - b).square().mean((1, 2, 3))


@pytest.mark.parametrize("judge", ["picture", "target"])
def test_texture_is_judged_by_picture_or_target(tmp_path, monkeypatch, judge):
    models, stub = networks(tmp_path, perceptual_target=judge), Stub()
    monkeypatch.setattr(Conditioning, "sample", lambda *_: example([1.0, 1.0]).knobs)
    monkeypatch.setattr("regrain_lab.training.losses.codec._random_view", lambda pair: pair)
    x = crops()
    DistillationLoss(models, origin(tmp_path), stub)(x, replace(PLAIN, method="progressive"))
    assert torch.equal(stub.seen[0], x) == (judge == "picture")


@pytest.mark.parametrize("method", ["none", "direct", "progressive", "consistency", "guided"])
def test_a_batch_is_learnt(tmp_path, method):
    """40 steps on one picture bring the loss down."""
    models = networks(tmp_path)
    objective = DistillationLoss(models, origin(tmp_path), None)
    state, x, losses = State(models.student, 0.9, models.teacher), crops(1), []
    rules = replace(PLAIN, method=method, sampling_steps=1, gap=0.5)
    for number in range(40):
        torch.manual_seed(number % 4)
        loss = objective(x, rules)["loss"]
        state.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(models.student.parameters(), 1.0)
        state.update(3e-3)
        losses.append(float(loss.detach()))
    assert sum(losses[-8:]) < 0.7 * sum(losses[:8])


def test_more_draws_are_later_times():
    """Of a grid of two steps, half of the single draws stand at its end, and three quarters of the later of two."""
    torch.manual_seed(6)
    for draws, share in ((1, 0.5), (2, 0.75)):
        lengths = [len(random_times(2, 0, draws)) for _ in range(2000)]
        assert lengths.count(2) / 2000 == pytest.approx(share, abs=0.05)
