"""The prior's network: any size, any window, and weights that come back."""

from dataclasses import replace
from typing import get_args

import pytest
import torch

from regrain import torch_checkpoint
from regrain.diffusion import parametrize
from regrain.diffusion.prior import HALO, STRIDE, Prior, PriorConfig, levels
from regrain.errors import ModelError, UsageError

TINY = PriorConfig(widths=(8, 8, 8), depths=(1, 1, 1), embedding=8)


@pytest.fixture
def prior():
    torch.manual_seed(0)
    made = Prior(TINY)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return made.eval().requires_grad_(False)


def test_untrained_it_says_that_x_0_is_what_scale_alone_tells():
    x_t, log_snr = torch.randn(2, 3, 16, 24), torch.tensor([-3.0, 2.0])
    x_0 = Prior(TINY).denoise(x_t, log_snr)
    torch.testing.assert_close(x_0, log_snr.sigmoid().sqrt()[:, None, None, None] * x_t)


@pytest.mark.parametrize("prediction", get_args(parametrize.Prediction))
def test_all_predictions_mean_the_same_picture_down_to_the_least_of_it(prediction):
    """Beyond the clamp too, where eps-prediction would divide by next to nothing."""
    log_snr = torch.tensor([-60.0, -20.0, 0.0, 20.0], dtype=torch.float64)
    x_0, eps = torch.randn(2, 4, 3, 8, 8, dtype=torch.float64)
    alpha, sigma = levels(log_snr)

    class Right(Prior):
        def forward(self, x_t, log_snr, leap=None):
            return parametrize.target(self.prediction, x_0, eps, alpha, sigma)

    found = Right(replace(TINY, prediction=prediction)).denoise(alpha * x_0 + sigma * eps, log_snr)
    torch.testing.assert_close(found, x_0)


def test_an_unknown_prediction_is_refused():
    with pytest.raises(UsageError, match="prediction is 'y'; allowed are x0, eps, v"):
        replace(TINY, prediction="y")


def test_the_fraction_stands_beside_the_prediction(prior):
    x_t, log_snr = torch.randn(2, 3, 16, 24), torch.tensor([-3.0, 2.0])
    learned = Prior(replace(TINY, learned_variance=True))
    assert torch.equal(learned.with_fraction(x_t, log_snr)[1], torch.full_like(x_t, 0.5))
    rest = {name: tensor for name, tensor in prior.state_dict().items() if not name.startswith("leave")}
    learned.load_state_dict(rest, strict=False)
    learned.leave.weight.data[:12], learned.leave.bias.data[:12] = prior.leave.weight, prior.leave.bias
    prediction, nu = learned.with_fraction(x_t, log_snr)
    assert nu.shape == x_t.shape
    torch.testing.assert_close(prediction, prior(x_t, log_snr))
    assert torch.equal(prediction, learned(x_t, log_snr))
    assert torch.equal(prior.with_fraction(x_t, log_snr)[1], torch.zeros_like(x_t))


def test_pictures_of_a_batch_and_windows_of_a_picture_do_not_see_each_other(prior):
    x_t, log_snr = torch.randn(2, 3, 64, 8 * 48), torch.tensor([-3.0, 2.0])
    whole = prior.denoise(x_t, log_snr)
    torch.testing.assert_close(prior.denoise(x_t[1:], log_snr[1:]), whole[1:], rtol=1e-4, atol=1e-5)
    cut = HALO + 5 * STRIDE
    window = prior.denoise(x_t[:, :, :, : cut + HALO], log_snr)[..., :cut]
    assert (window - whole[..., :cut]).abs().max() < 1e-3


def test_weights_come_back(prior, tmp_path):
    path = tmp_path / "prior.safetensors"
    tensors = {name: tensor.half() for name, tensor in prior.state_dict().items()}
    torch_checkpoint.save(path, tensors, {"kind": "prior", "config": TINY.to_dict()})
    loaded = Prior.load(path)
    assert loaded.config == TINY
    x_t, log_snr = torch.randn(1, 3, 16, 16), torch.zeros(1)
    torch.testing.assert_close(loaded.denoise(x_t, log_snr), prior.denoise(x_t, log_snr), rtol=0.02, atol=0.02)


def test_weights_from_before_there_was_a_choice_are_of_v_prediction(prior, tmp_path):
    path = tmp_path / "prior.safetensors"
    before = {"widths": [8, 8, 8], "depths": [1, 1, 1], "embedding": 8}
    torch_checkpoint.save(path, prior.state_dict(), {"kind": "prior", "config": before})
    loaded = Prior.load(path).config
    assert loaded == TINY == replace(TINY, prediction="v", learned_variance=False)
    assert loaded.to_dict().keys() == before.keys(), (
        "training compares it with what a checkpoint says before it resumes"
    )


def test_weights_say_what_they_predict(tmp_path):
    path, config = tmp_path / "prior.safetensors", replace(TINY, prediction="eps", learned_variance=True)
    torch_checkpoint.save(path, Prior(config).state_dict(), {"kind": "prior", "config": config.to_dict()})
    assert Prior.load(path).config == config


@pytest.mark.parametrize(
    "about",
    [
        {},
        {"kind": "prior"},
        {"kind": "prior", "config": {"depths": 3}},
        {"kind": "prior", "config": {"a": 1}},
        {"kind": "prior", "config": {"prediction": "y"}},
        {"kind": "prior", "config": TINY.to_dict() | {"learned_variance": True}},
    ],
)
def test_other_weights_are_refused(prior, tmp_path, about):
    path = tmp_path / "prior.safetensors"
    torch_checkpoint.save(path, prior.state_dict(), about)
    with pytest.raises(ModelError, match="not weights of"):
        Prior.load(path)
