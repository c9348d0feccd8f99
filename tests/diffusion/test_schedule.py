import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regrain.diffusion.schedule import LOG_SNR_MAX, REACH, Cosine, LogLinear, get
from regrain.errors import UsageError

NAMES = ["cosine", "truncated"]
times = st.floats(0, 1)
light = settings(max_examples=50, deadline=None)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_picture_and_noise_share_unit_variance_and_log_snr_falls(name, dtype):
    t = torch.linspace(0, 1, 4097, dtype=dtype)
    schedule = get(name)
    log_snr = schedule.log_snr(t)
    assert log_snr.dtype == dtype
    assert log_snr.isfinite().all()
    assert log_snr.abs().max() <= LOG_SNR_MAX
    assert log_snr.diff().max() < 0
    assert torch.allclose(schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2, torch.ones_like(t), atol=1e-6)
    assert torch.allclose(2 * (schedule.alpha(t) / schedule.sigma(t)).log(), log_snr, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@light
@given(t=times)
def test_scalar_and_tensor_agree(name, t):
    levels = get(name).levels(torch.full((2,), t, dtype=torch.float64))
    for value, tensor in zip(get(name).at(t), levels, strict=True):
        torch.testing.assert_close(tensor, torch.full((2, 1, 1, 1), value, dtype=torch.float64), rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", NAMES)
@light
@given(t=times)
def test_single_precision_is_as_good_as_double(name, t):
    t32 = torch.tensor(t, dtype=torch.float32)
    exact = get(name).log_snr(t32.double())
    assert abs(get(name).log_snr(t32).double() - exact) <= 1e-5 * (1 + abs(exact))


@light
@given(t=st.floats(1e-4, 1 - 1e-4))
def test_cosine_is_a_quarter_turn(t):
    assert Cosine().at(t) == pytest.approx((math.cos(math.pi * t / 2), math.sin(math.pi * t / 2)), rel=1e-9)


def test_cosine_is_clamped_at_both_ends():
    least = (1 + math.exp(LOG_SNR_MAX)) ** -0.5
    (alpha_0, sigma_0), (alpha_1, sigma_1) = Cosine().at(0.0), Cosine().at(1.0)
    assert (sigma_0, alpha_1) == pytest.approx((least, least), rel=1e-12)
    assert (alpha_0, sigma_1) == pytest.approx((1, 1), rel=1e-8)


@pytest.mark.parametrize("t", [-0.1, 1.1, math.nan])
def test_time_out_of_range(t):
    with pytest.raises(UsageError, match="0 to 1 is allowed"):
        Cosine().at(t)


def test_unknown_name():
    with pytest.raises(UsageError, match="log-linear, cosine, linear, truncated are allowed"):
        get("karras")


@pytest.mark.parametrize("name", NAMES)
def test_time_of_inverts_the_log_snr(name):
    schedule = get(name)
    for t in (0.01, 0.3, 0.77, 0.99):
        alpha, sigma = schedule.at(t)
        assert schedule.time_of(2 * math.log(alpha / sigma)) == pytest.approx(t, rel=1e-9)
    assert schedule.time_of(-30.0) == 1.0
    assert schedule.time_of(30.0) < 1e-3


def test_log_linear_is_even_in_log_snr():
    levels = LogLinear().log_snr(torch.linspace(0, 1, 5, dtype=torch.float64))
    assert levels.tolist() == [REACH, REACH / 2, 0.0, -REACH / 2, -REACH]
    assert isinstance(get("log-linear"), LogLinear)
