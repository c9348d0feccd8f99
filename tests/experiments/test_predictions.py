"""The decoder of the predictions reads both of its inputs, and every prediction means the same picture."""

import pytest
import torch

from experiments.few_steps.predictions import LEVELS, PREDICTIONS, SIDE, Learner, Pairs, Upsampling
from regrain.conditional.transform import sketch
from regrain_lab.trainable.frozen import FrozenCodec


@pytest.fixture(scope="module")
def codec():
    return FrozenCodec.load(None, torch.device("cpu"))


@pytest.fixture
def pairs(codec):
    generator = torch.Generator().manual_seed(0)
    cond = torch.randn(2, codec.config.transform.latent, SIDE // 16, SIDE // 16, generator=generator)
    return Pairs(sketch(cond).clamp(-1, 1), cond)


@torch.no_grad()
def test_latents_are_upsampled_by_the_inverse_dct_at_first(pairs):
    assert torch.allclose(Upsampling(pairs.cond.shape[1])(pairs.cond), sketch(pairs.cond), atol=1e-4)


@torch.no_grad()
def test_all_begin_alike_and_read_noise_latents_and_time(codec, pairs):
    learners = []
    for prediction in PREDICTIONS:
        torch.manual_seed(0)
        learners.append(Learner(codec, prediction))
    x_t, t = torch.randn_like(pairs.x), torch.full((2,), 0.5)
    outputs = [learner(x_t, t, pairs.cond) for learner in learners]
    assert all(torch.equal(output, outputs[0]) for output in outputs)
    for changed in (
        learners[0](-x_t, t, pairs.cond),
        learners[0](x_t, t + 0.3, pairs.cond),
        learners[0](x_t, t, -pairs.cond),
    ):
        assert (changed - outputs[0]).abs().max() > 1e-4


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_who_knows_the_picture_makes_no_error_and_samples_it(codec, pairs, prediction, monkeypatch):
    """At t = 1, too, where eps is divided by an alpha of 6.4e-3."""
    learner = Learner(codec, prediction)

    def oracle(x_t, t, _cond):
        alpha, sigma = LEVELS.levels(t)
        eps = (x_t - alpha * pairs.x) / sigma
        return {"x0": pairs.x, "eps": eps, "v": alpha * eps - sigma * pairs.x}[prediction]

    monkeypatch.setattr(learner, "forward", oracle)
    assert learner.errors(pairs, torch.tensor([0.2, 0.9]), torch.randn_like(pairs.x)).max() < 1e-6
    for steps, eta in ((1, 0.0), (5, 1.0)):
        assert torch.allclose(learner.sample(pairs.cond, steps, eta), pairs.x, atol=2e-3)
