"""The prior's loss: what it says of pictures about which everything is known."""

import math

import pytest
import torch
from tiny import HEAD, write_recipe

import regrain
from regrain import checkpoint
from regrain.diffusion.prior import Prior, PriorConfig
from regrain.diffusion.schedule import REACH
from regrain.training.bound import Objective, validate
from regrain.training.config import LossConfig
from regrain.training.objective import Rules

RULES = Rules(1.0, 1.0, 0.0, freeze_latents=False)


class Known(Prior):
    """The best denoiser of pictures whose values are all drawn from N(0, variance)."""

    def __init__(self, variance: float) -> None:
        super().__init__(PriorConfig(widths=(8, 8, 8), depths=(1, 1, 1), embedding=8))
        self.variance = variance

    def forward(self, x_t, log_snr):
        alpha, sigma = (level.sigmoid().sqrt()[:, None, None, None] for level in (log_snr, -log_snr))
        x_0 = alpha * self.variance / (alpha**2 * self.variance + sigma**2) * x_t
        return (alpha * x_t - x_0) / sigma


def gaussian(variance):
    torch.manual_seed(1)
    return torch.randn(32, 3, 64, 64) * math.sqrt(variance)


def capacity(variance, low, high):
    """Bits a value that a Gaussian channel carries more at log-SNR `high` than at `low`."""
    return 0.5 * math.log2((1 + variance * math.exp(high)) / (1 + variance * math.exp(low)))


@pytest.mark.parametrize("variance", [1e-3, 0.1, 1.0])
def test_bits_of_gaussian_pictures_are_the_channels_capacity(variance):
    x, exact = gaussian(variance), capacity(variance, -REACH, REACH)
    rows = validate(Known(variance), x)
    assert rows[-1].bits == pytest.approx(exact, rel=0.01)
    assert rows[10].bits == pytest.approx(capacity(variance, -REACH, 1), rel=0.06)
    assert Objective(Known(variance), LossConfig())(x, RULES)["bits"] == pytest.approx(exact, rel=0.1)


def test_psnr_is_that_of_the_best_estimate():
    for row in validate(Known(0.1), gaussian(0.1)):
        assert row.psnr == pytest.approx(10 * math.log10(4 * (1 / 0.1 + math.exp(row.log_snr))), abs=0.1)


def test_the_simple_loss_is_added(monkeypatch):
    objective = Objective(Known(0.1), LossConfig(simple_weight=2.0))
    scalars = objective(gaussian(0.1), RULES)
    assert scalars["loss"] > scalars["bits"] + 0.1


def test_a_recipe_trains_a_prior_that_loads_and_resumes(shards, tmp_path):
    from regrain.training.loop import LAST, WEIGHTS, main

    (tmp_path / "shards").symlink_to(shards, target_is_directory=True)
    head = HEAD[: HEAD.index("[model")].replace('name = "tiny"', 'name = "tiny"\ntrains = "prior"')
    tail = "[prior]\nwidths = [8, 8, 8]\ndepths = [1, 1, 1]\nembedding = 8\n"
    stage = '[[stage]]\nname = "noise"\nsteps = 5\nbatch = 2\ncrop = 64\n'
    folder = main(write_recipe(tmp_path, head + tail + stage))
    assert Prior.load(folder / WEIGHTS).config.widths == (8, 8, 8)
    said = checkpoint.load_metadata(folder / WEIGHTS)["latent_fingerprint"]
    assert said == regrain.load(folder / WEIGHTS).fingerprint.hex()
    assert main(write_recipe(tmp_path, head + tail + stage.replace("5", "7"))) == folder
    assert (folder / LAST).exists()
