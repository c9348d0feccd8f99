"""The prior's network: any size, any window, and weights that come back."""

import pytest
import torch

from regrain import checkpoint
from regrain.diffusion.prior import HALO, STRIDE, Prior, PriorConfig
from regrain.errors import ModelError

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
    checkpoint.save(path, tensors, {"kind": "prior", "config": TINY.to_dict()})
    loaded = Prior.load(path)
    assert loaded.config == TINY
    x_t, log_snr = torch.randn(1, 3, 16, 16), torch.zeros(1)
    torch.testing.assert_close(loaded.denoise(x_t, log_snr), prior.denoise(x_t, log_snr), rtol=0.02, atol=0.02)


@pytest.mark.parametrize(
    "about", [{}, {"kind": "prior"}, {"kind": "prior", "config": {"depths": 3}}, {"kind": "prior", "config": {"a": 1}}]
)
def test_other_weights_are_refused(prior, tmp_path, about):
    path = tmp_path / "prior.safetensors"
    checkpoint.save(path, prior.state_dict(), about)
    with pytest.raises(ModelError, match="not weights of"):
        Prior.load(path)
