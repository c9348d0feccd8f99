"""Steps outside, windows inside: a time for the steps chooses their number and nothing else."""

import numpy as np
import pytest
import torch

from regrain.conditional.decode import Knobs, regrow
from regrain.conditional.frozen import Model, freeze
from regrain.conditional.model import ConditionalCodec, ModelConfig
from regrain.conditional.transform import TransformConfig
from regrain.diffusion.budget import Budget
from regrain.diffusion.unet import DenoiserConfig

SMALL = ModelConfig(
    transform=TransformConfig(widths=(8, 8, 8), latent=12, hyper=6, hyper_width=8, anchors=3),
    denoiser=DenoiserConfig(widths=(8, 8, 8), depths=(1, 1, 1), embedding=8),
)


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(5)
    return Model.build(freeze(ConditionalCodec(SMALL).eval()), SMALL.to_dict())


@pytest.fixture
def passes(model, monkeypatch):
    """The times t at which the denoiser was called."""
    calls, denoise = [], Model.denoise
    monkeypatch.setattr(
        Model, "denoise", lambda self, x_t, t, *rest: (calls.append(t), denoise(self, x_t, t, *rest))[1]
    )
    return calls


@pytest.mark.parametrize(("seconds", "steps"), [(0.0, 1), (1e9, 32)])
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_a_time_for_the_steps_gives_the_pixels_of_their_number(model, passes, seconds, steps, eta):
    y_hat = torch.randn(12, 5, 7, generator=torch.Generator().manual_seed(0))

    def pixels(number):
        return regrow(model, y_hat, (75, 100), 12800, grey=False, knobs=Knobs(number, eta=eta, seed=3, window=4))

    budget = Budget(seconds)
    found = pixels(budget)
    made = len(passes)
    assert budget.steps == steps
    assert np.array_equal(found, pixels(steps))
    assert passes[:made] == passes[made:]
    assert made == 4 * steps
    assert budget.pass_seconds > 0
