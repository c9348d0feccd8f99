"""The trainable whole reports the rate of the file, under autocast too, and learns from what the file holds."""

import pytest
import torch

from conditional.tiny import SMALL
from conditional.tiny import codec as small_codec
from regrain_lab.trainable.codec import ConditionalCodec


@pytest.fixture(scope="module")
def codec() -> ConditionalCodec:
    return small_codec()


@torch.no_grad()
def test_under_autocast_latents_are_coded_in_float32(codec):
    x, quality = torch.rand(2, 3, 64, 64) * 2 - 1, torch.tensor([0.2, 0.9])
    with torch.autocast("cpu", torch.bfloat16):
        y = codec.analysis(x)
        torch.manual_seed(0)
        coded = codec.code(x, quality)
    assert y.dtype == torch.float32  # the DCT is, and the sum with it
    z = codec.hyper_analysis(codec.latents.gain(quality) * y.float())
    torch.manual_seed(0)
    for found, wanted in zip(coded, codec.latents(y.float(), z, quality), strict=True):
        assert torch.equal(found, wanted)


def test_scales_learn_from_rounded_symbols_and_latents_from_noise(codec):
    """The rate that training reports is that of the file; noise moves the latents alone."""
    trained = ConditionalCodec(SMALL)
    trained.load_state_dict(codec.state_dict())
    x, quality = torch.rand(2, 3, 64, 64) * 2 - 1, torch.tensor([0.3, 0.8])
    found, gradients = [], []
    for seed in (0, 1):
        torch.manual_seed(seed)
        trained.zero_grad()
        y = trained.analysis(x).detach().requires_grad_()
        coded = trained.latents(y, trained.hyper_analysis(trained.latents.gain(quality) * y).detach(), quality)
        (coded.y_bits + coded.z_bits).sum().backward()
        found.append(coded)
        gradients.append((y.grad, trained.latents.offset.grad.clone(), trained.latents.prior.log_scale.grad.clone()))
    exact = codec.code(x, quality)
    for coded in found:
        torch.testing.assert_close(coded.y_bits, exact.y_bits)
        torch.testing.assert_close(coded.z_bits, exact.z_bits)
    (moved, *fitted), (moved_again, *fitted_again) = gradients
    assert not torch.equal(moved, moved_again)
    for one, other in zip(fitted, fitted_again, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("side", [16, 32, 96])
def test_what_is_smaller_than_a_hyper_latent_is_coded_and_learns(side):
    """y is continued at its edges for h_a; gradients come back to g_a all the same."""
    trained, x = ConditionalCodec(SMALL).train(), torch.rand(2, 3, side, side) * 2 - 1
    coded = trained.code(x, torch.tensor([0.2, 0.9]))
    assert coded.y_hat.shape == (2, SMALL.transform.latent, side // 16, side // 16)
    (coded.y_bits + coded.z_bits).sum().backward()
    assert any(float(p.grad.abs().sum()) > 0 for p in trained.hyper_analysis.parameters())
    assert any(float(p.grad.abs().sum()) > 0 for p in trained.analysis.parameters())
