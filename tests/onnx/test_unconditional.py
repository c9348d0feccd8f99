"""The unconditional denoiser gives what torch's with the same weights gives; other weights are refused in a line."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

pytest.importorskip("onnxruntime")

from regrain import checkpoint, registry
from regrain.bitstream import Method
from regrain.diffusion.prior import Prior
from regrain.diffusion.unconditional_config import PriorConfig
from regrain.errors import ModelError
from regrain.onnx.unconditional import Denoiser

few = settings(max_examples=8, deadline=None)
WIDTHS = st.tuples(*[st.integers(1, 20)] * 3)
DEPTHS = st.tuples(*[st.integers(0, 2)] * 3)
SMALL = PriorConfig(widths=(4, 6, 8), depths=(1, 1, 1), embedding=6)


def scrambled(config):
    """A network every weight of which is random."""
    torch.manual_seed(0)
    module = Prior(config)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5 / max(1, parameter[0].numel()) ** 0.5)
    return module.eval().requires_grad_(False)


def arrays(module):
    return {name: value.numpy() for name, value in module.state_dict().items()}


def noisy(*shape):
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def estimates(module, run, x_t, log_snr):
    """What torch estimates, and what ONNX Runtime does."""
    return module.denoise(torch.from_numpy(x_t)[None], torch.tensor([log_snr]))[0].numpy(), run.denoise(x_t, log_snr)


@few
@given(
    WIDTHS, DEPTHS, st.integers(1, 4), st.sampled_from([1, 2, 4]), st.booleans(), st.sampled_from(["x0", "eps", "v"])
)
def test_any_configuration(widths, depths, channels, patch, learned_variance, prediction):
    config = PriorConfig(widths, depths, 6, prediction, learned_variance, channels, patch)
    module = scrambled(config)
    run = Denoiser(config, arrays(module))
    for log_snr in (-3.5, 0.25, 6.0):
        one, other = estimates(module, run, noisy(channels, 4 * patch, 8 * patch), log_snr)
        assert other.dtype == np.float32
        np.testing.assert_allclose(other / np.abs(one).max(), one / np.abs(one).max(), atol=2e-5)


@pytest.mark.parametrize(("method", "prefix"), [("progressive", ""), ("palette", "denoiser.")])
def test_the_weights_that_ship(method, prefix):
    path = registry.shipped_weights(Method[method.upper()])
    stored, about = checkpoint.load(path)
    config = PriorConfig.from_dict(about["config"])
    parts = checkpoint.part(stored, prefix)
    module = Prior.filled(config, {name: torch.from_numpy(part) for name, part in parts.items()})
    run = Denoiser(config, parts)
    for log_snr in (-4.0, 1.5, 7.0):
        one, other = estimates(module, run, noisy(config.channels, 40, 24), log_snr)
        np.testing.assert_allclose(other, one, atol=1e-4)


@pytest.mark.parametrize("log_snr", [-1000.0, -20.0, 20.0, 1000.0])
def test_levels_beyond_the_ends_stay_finite(log_snr):
    run = Denoiser(SMALL, arrays(scrambled(SMALL)))
    assert np.isfinite(run.denoise(noisy(3, 8, 8), log_snr)).all()


def test_weights_of_another_shape_are_refused():
    given = arrays(scrambled(SMALL))
    leave, enter = given["leave.weight"], given["enter.bias"]
    for other, said in (
        ({**given, "leave.weight": leave[:-1]}, r"leave.weight is \(11, 4, 3, 3\), not \(12, 4, 3, 3\)"),
        ({**given, "enter.bias": np.float32(enter[0])}, r"enter.bias is \(\)"),
        ({**given, "more.weight": leave}, "no layer for"),
        ({name: part for name, part in given.items() if name != "to4.bias"}, r"no to4\.bias"),
    ):
        with pytest.raises(ModelError, match=said):
            Denoiser(SMALL, other)
    with pytest.raises(ModelError, match=r"leave\.weight"):
        Denoiser(PriorConfig(SMALL.widths, SMALL.depths, 6, learned_variance=True), given)
