"""DDPM's schedule in continuous time, against its discrete product and against diffusers."""

import pytest
import torch

from regrain.diffusion.schedule import LOG_SNR_MAX, STEPS, LinearBeta
from regrain.errors import UsageError


def test_the_log_snr_falls_and_floats_agree_with_tensors():
    t = torch.linspace(0, 1, 4097, dtype=torch.float64)
    log_snr = LinearBeta().log_snr(t)
    assert log_snr.diff().max() < 0
    assert log_snr.abs().max() <= LOG_SNR_MAX
    for time in (0.0, 0.3, 1.0):
        levels = LinearBeta().levels(torch.full((1,), time, dtype=torch.float64))
        assert LinearBeta().at(time) == pytest.approx([float(level) for level in levels], rel=1e-12)


def test_linear_continuous_meets_discrete_at_every_n():
    t = torch.arange(1, STEPS + 1, dtype=torch.float64) / STEPS
    discrete = torch.tensor([LinearBeta().alpha_bar(n) for n in range(1, STEPS + 1)], dtype=torch.float64)
    torch.testing.assert_close(2 * LinearBeta().alpha(t).log(), discrete.log(), rtol=1e-6, atol=0)


def test_linear_discrete_is_the_product_of_ddpm():
    schedule = LinearBeta()
    assert schedule.alpha_bar(0) == 1
    kept = [schedule.alpha_bar(n) / schedule.alpha_bar(n - 1) for n in range(1, 1001)]
    assert 1 - kept[0] == pytest.approx(1e-4, rel=1e-9)
    assert 1 - kept[-1] == pytest.approx(0.02, rel=1e-9)
    steps = torch.tensor(kept, dtype=torch.float64).diff()
    assert torch.allclose(steps, steps.mean().expand_as(steps), rtol=1e-6)


def test_linear_discrete_matches_diffusers():
    diffusers = pytest.importorskip("diffusers")
    table = diffusers.DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear").alphas_cumprod
    ours = torch.tensor([LinearBeta().alpha_bar(n) for n in range(1, 1001)])
    torch.testing.assert_close(ours, table, rtol=2e-5, atol=0)


@pytest.mark.parametrize("n", [-1, 1001])
def test_discrete_step_out_of_range(n):
    with pytest.raises(UsageError, match="0 to 1000 is allowed"):
        LinearBeta().alpha_bar(n)
