"""The prior's loss: what it says of pictures about which everything is known."""

import math

import pytest
import torch
from torch import nn

import regrain
from lab.training.tiny import HEAD, write_recipe
from regrain import torch_checkpoint
from regrain.diffusion import parametrize
from regrain.diffusion.prior import Prior, PriorConfig, levels
from regrain.diffusion.schedule import REACH, STEPS, get
from regrain_lab.evaluation import likelihood
from regrain_lab.training.losses.codec import StageWeights
from regrain_lab.training.losses.prior import PriorLoss
from regrain_lab.training.recipe import LossConfig
from regrain_lab.training.validation import by_noise_level

RULES = StageWeights(1.0, 1.0, 0.0, freeze_latents=False)
TINY = {"widths": (8, 8, 8), "depths": (1, 1, 1), "embedding": 8}


class Known(Prior):
    """The best denoiser of pictures whose values are all drawn from N(0, variance); `nu` is what it is told to say."""

    def __init__(self, variance, prediction="v", nu=None):
        super().__init__(PriorConfig(**TINY, prediction=prediction, learned_variance=nu is not None))
        self.variance = variance
        self.nu = nn.Parameter(torch.tensor(nu or 0.0))

    def with_fraction(self, x_t, log_snr):
        alpha, sigma = levels(log_snr)
        self.x_0 = alpha * self.variance / (alpha**2 * self.variance + sigma**2) * x_t
        eps = (x_t - alpha * self.x_0) / sigma
        return parametrize.target(self.prediction, self.x_0, eps, alpha, sigma), self.nu.expand_as(x_t)


def gaussian(variance, count=32, side=64):
    torch.manual_seed(1)
    return torch.randn(count, 3, side, side) * math.sqrt(variance)


def capacity(variance, low, high):
    """Bits a value that a Gaussian channel carries more at log-SNR `high` than at `low`."""
    return 0.5 * math.log2((1 + variance * math.exp(high)) / (1 + variance * math.exp(low)))


@pytest.mark.parametrize("variance", [1e-3, 0.1, 1.0])
def test_bits_of_gaussian_pictures_are_the_channels_capacity(variance):
    x, exact = gaussian(variance), capacity(variance, -REACH, REACH)
    rows = by_noise_level(Known(variance), x)
    assert rows[-1].figures["bits"] == pytest.approx(exact, rel=0.01)
    assert rows[10].figures["bits"] == pytest.approx(capacity(variance, -REACH, 1), rel=0.06)
    assert PriorLoss(Known(variance), LossConfig())(x, RULES)["bits"] == pytest.approx(exact, rel=0.1)


def snr(t, schedule):
    """Of times in double precision, within the reach of the bound."""
    return get(schedule).log_snr(t.clamp(min=0)).clamp(-REACH, REACH).exp()


def steps_from_everywhere(variance, schedule):
    """Bits a value of a grid of STEPS, any shift of it: a step costs half the SNR gained times the variance left."""
    t = (torch.arange(2**16, dtype=torch.float64) + 0.5) / 2**16
    before, after = snr(t, schedule), snr(t - 1 / STEPS, schedule)
    return STEPS * ((after - before) / (1 / variance + before)).mean().item() / math.log(4)


@pytest.mark.parametrize("prediction", ["x0", "eps", "v"])
@pytest.mark.parametrize("schedule", ["log-linear", "cosine"])
def test_bits_are_those_of_the_schedules_steps_whatever_is_predicted(schedule, prediction):
    x, known = gaussian(0.1, 2048, 8), Known(0.1, prediction)
    bits = PriorLoss(known, LossConfig(schedule=schedule))(x, RULES)["bits"].item()
    assert bits == pytest.approx(steps_from_everywhere(0.1, schedule), rel=0.02)
    assert bits > 0.99 * capacity(0.1, -REACH, REACH)
    for row, as_v in zip(by_noise_level(known, x[:32]), by_noise_level(Known(0.1), x[:32]), strict=True):
        assert (row.figures["bits"], row.figures["psnr"]) == pytest.approx(
            (as_v.figures["bits"], as_v.figures["psnr"]), rel=1e-3
        )


@pytest.mark.parametrize("schedule", ["cosine", "truncated"])
@pytest.mark.parametrize(("prediction", "expected"), [("eps", 1.0), ("x0", 0.1)])
def test_other_schedules_train_on_the_error_of_the_prediction_alone(schedule, prediction, expected):
    untrained = Prior(PriorConfig(**TINY, prediction=prediction))
    loss = PriorLoss(untrained, LossConfig(schedule=schedule))(gaussian(0.1), RULES)["loss"]
    assert loss.item() == pytest.approx(expected, rel=0.01)


def drawn(objective, x):
    """The loss, at the same times and noise in every call, and those times."""
    torch.manual_seed(2)
    times = 1 - (torch.rand(()) + torch.arange(len(x)) / len(x)) % 1
    torch.manual_seed(2)
    return objective(x, RULES)["loss"], times


@pytest.mark.parametrize("schedule", ["log-linear", "cosine"])
@pytest.mark.parametrize("nu", [0.0, 0.7])
def test_the_hybrid_loss_adds_the_likelihoods_step(schedule, nu):
    x, config, learned = gaussian(0.1, 1, 16), LossConfig(schedule=schedule, vlb_weight=1.0), Known(0.1, nu=nu)
    (hybrid, (t,)), (alone, _) = drawn(PriorLoss(learned, config), x), drawn(PriorLoss(Known(0.1), config), x)

    def variance(t, s):
        return likelihood.between(torch.tensor(nu), t, s, get(schedule))

    bits = likelihood.step_bits(x, learned.x_0, float(t), float(t) - 1 / STEPS, get(schedule), variance=variance)
    assert (hybrid - alone).item() == pytest.approx(STEPS * bits.item() / x.numel(), rel=1e-3)


@pytest.mark.parametrize("schedule", ["log-linear", "cosine"])
def test_the_learned_variance_is_that_of_the_reverse_process(schedule):
    """Which for values of variance 1 is beta, for a point beta_tilde (Ho et al. 2020, section 3.2)."""
    variance = torch.tensor([1.0, 0.1, 1e-6]).repeat(5)[:, None, None, None]
    x, learned = gaussian(1.0, 15) * variance.sqrt(), Known(variance, nu=0.5)
    learned.nu = nn.Parameter(torch.full((15, 1, 1, 1), 0.5))
    objective = PriorLoss(learned, LossConfig(schedule=schedule, vlb_weight=1.0))
    optimizer = torch.optim.Adam([learned.nu], lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        loss, times = drawn(objective, x)
        loss.backward()
        optimizer.step()
    checked = 0
    for t, prior, nu in zip(times.tolist(), variance.flatten().tolist(), learned.nu.flatten().tolist(), strict=True):
        before, after = snr(torch.tensor([t, t - 1 / STEPS], dtype=torch.float64), schedule).tolist()
        if math.log(before) > -4 and math.log(after) < REACH:
            likely, widest = ((1 + v * after) / (1 + v * before) for v in (prior, 1.0))
            assert nu == pytest.approx(math.log(likely) / math.log(widest), abs=0.05)
            checked += 1
    assert checked > 6


def test_the_variances_loss_moves_no_mean():
    torch.manual_seed(0)
    prior, x = Prior(PriorConfig(**TINY, learned_variance=True)), gaussian(0.1, 4, 16)
    nn.init.normal_(prior.leave.weight, std=0.1)
    gradients = []
    for weight in (0.0, 10.0):
        prior.zero_grad()
        drawn(PriorLoss(prior, LossConfig(schedule="cosine", vlb_weight=weight)), x)[0].backward()
        gradients.append(prior.leave.weight.grad)
    (mean, nu), (mean_beside, nu_beside) = (gradient.split(12) for gradient in gradients)
    assert torch.equal(mean, mean_beside)
    assert not nu.any()
    assert nu_beside.abs().min() > 0


def test_psnr_is_that_of_the_best_estimate():
    for row in by_noise_level(Known(0.1), gaussian(0.1)):
        assert row.figures["psnr"] == pytest.approx(10 * math.log10(4 * (1 / 0.1 + math.exp(row.at))), abs=0.1)


def test_the_simple_loss_is_added(monkeypatch):
    objective = PriorLoss(Known(0.1), LossConfig(simple_weight=2.0))
    scalars = objective(gaussian(0.1), RULES)
    assert scalars["loss"] > scalars["bits"] + 0.1


def test_a_recipe_trains_a_prior_that_loads_and_resumes(shards, tmp_path):
    from regrain_lab.training.loop import LAST, WEIGHTS, main

    (tmp_path / "shards").symlink_to(shards, target_is_directory=True)
    head = HEAD[: HEAD.index("[model")].replace('name = "tiny"', 'name = "tiny"\ntrains = "prior"')
    tail = "[prior]\nwidths = [8, 8, 8]\ndepths = [1, 1, 1]\nembedding = 8\n"
    stage = '[[stage]]\nname = "noise"\nsteps = 5\nbatch = 2\ncrop = 64\n'
    folder = main(write_recipe(tmp_path, head + tail + stage))
    assert Prior.load(folder / WEIGHTS).config.widths == (8, 8, 8)
    said = torch_checkpoint.load_metadata(folder / WEIGHTS)["latent_fingerprint"]
    assert said == regrain.load(folder / WEIGHTS).fingerprint.hex()
    assert main(write_recipe(tmp_path, head + tail + stage.replace("5", "7"))) == folder
    assert (folder / LAST).exists()


def test_a_recipe_words_the_diffusion_of_improved_ddpm(shards, tmp_path):
    from regrain_lab.training.loop import WEIGHTS, main

    (tmp_path / "shards").symlink_to(shards, target_is_directory=True)
    head = HEAD[: HEAD.index("[model")].replace('name = "tiny"', 'name = "tiny"\ntrains = "prior"')
    tail = '[loss]\nschedule = "cosine"\nvlb_weight = 0.01\n[prior]\nwidths = [8, 8, 8]\ndepths = [1, 1, 1]\n'
    words = 'prediction = "eps"\nlearned_variance = true\n[[stage]]\nname = "noise"\nsteps = 2\nbatch = 2\ncrop = 64\n'
    config = Prior.load(main(write_recipe(tmp_path, head + tail + words)) / WEIGHTS).config
    assert (config.prediction, config.learned_variance) == ("eps", True)
