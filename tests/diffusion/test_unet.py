"""The denoiser: inference folds what is constant and skips what is 0, and says the same."""

import pytest
import torch

from regrain.diffusion.unet import Denoiser, DenoiserConfig

SMALL = DenoiserConfig(widths=(8, 12, 16), depths=(2, 1, 1), half=4, embedding=8)


@pytest.fixture(scope="module", params=[True, False], ids=["corrects", "whole"])
def denoiser(request):
    torch.manual_seed(0)
    made = Denoiser(
        SMALL, 5, lambda y: y[:, :3].repeat_interleave(16, 2).repeat_interleave(16, 3), corrects=request.param
    )
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made.double().to(memory_format=torch.channels_last)


def test_the_knobs_are_seen(denoiser):
    x_t, cond, half = (
        torch.randn(1, 3, 16, 16).double(),
        torch.randn(1, 5, 1, 1).double(),
        torch.full((1,), 0.5).double(),
    )
    seen = [denoiser(x_t, *knobs) for knobs in ((half, cond, half, half), (half / 2, cond, half, half),
            (half, cond, half / 2, half), (half, cond, half, half / 2))]  # fmt: skip
    assert all(not torch.allclose(seen[0], other) for other in seen[1:])
