import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regrain.diffusion.parametrize import loss_weight, target, to_x0
from regrain.diffusion.schedule import LOG_SNR_MAX, get
from regrain.errors import UsageError

PREDICTIONS = ["x0", "eps", "v"]
light = settings(max_examples=50, deadline=None)


def _images(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, 4, 5, 2, generator=generator, dtype=dtype).unbind(-1)


def _noisy(t):
    (x_0, eps), (alpha, sigma) = _images(), get("cosine").at(t)
    return x_0, eps, alpha * x_0 + sigma * eps, alpha, sigma


@pytest.mark.parametrize("prediction", PREDICTIONS)
@light
@given(t=st.floats(0, 1))
def test_inverses_undo_the_target(prediction, t):
    x_0, eps, x_t, alpha, sigma = _noisy(t)
    output = target(prediction, x_0, eps, alpha, sigma)
    torch.testing.assert_close(to_x0(prediction, output, x_t, alpha, sigma), x_0, rtol=0, atol=1e-10)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@light
@given(t=st.floats(0.01, 0.99))
def test_any_output_explains_x_t(prediction, t):
    output, _, x_t, alpha, sigma = _noisy(t)
    x_0 = to_x0(prediction, output, x_t, alpha, sigma)
    eps = (x_t - alpha * x_0) / sigma
    torch.testing.assert_close(target(prediction, x_0, eps, alpha, sigma), output)


@light
@given(angle=st.floats(0, 1.5), turn=st.floats(-1, 1))
def test_v_turns_x_t_along_the_circle(angle, turn):
    (x_0, eps), (c, s) = _images(), (math.cos(angle), math.sin(angle))
    turned = math.cos(turn) * (c * x_0 + s * eps) + math.sin(turn) * target("v", x_0, eps, c, s)
    torch.testing.assert_close(turned, math.cos(angle + turn) * x_0 + math.sin(angle + turn) * eps)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_levels_broadcast_over_the_batch(prediction):
    x_t, output = _images(torch.float32)
    t = torch.tensor([0.2, 0.8]).view(2, 1, 1, 1)
    alpha, sigma = get("truncated").alpha(t), get("truncated").sigma(t)
    whole = to_x0(prediction, output, x_t, alpha, sigma)
    for i in range(2):
        one = to_x0(prediction, output[i], x_t[i], float(alpha[i]), float(sigma[i]))
        torch.testing.assert_close(whole[i], one)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@light
@given(t=st.floats(0, 1))
def test_arrays_are_converted_as_tensors_are(prediction, t):
    """In float32, too, at levels that are Python's floats."""
    output, x_t = _images(torch.float32)
    alpha, sigma = get("cosine").at(t)
    for convert in (to_x0, target):
        array = convert(prediction, output.numpy(), x_t.numpy(), alpha, sigma)
        assert array.dtype == np.float32
        wanted = convert(prediction, output, x_t, alpha, sigma).numpy()
        np.testing.assert_allclose(array, wanted, rtol=1e-4, atol=1e-5 / min(alpha, sigma))


@pytest.mark.parametrize("name", ["cosine", "truncated", "log-linear"])
@pytest.mark.parametrize("t", [0.0, 1.0])
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_finite_at_both_ends_in_single_precision(name, t, prediction):
    x_t, output = _images(torch.float32)
    time = torch.full((2, 1, 1, 1), t)
    alpha, sigma = get(name).alpha(time), get(name).sigma(time)
    assert to_x0(prediction, output, x_t, alpha, sigma).isfinite().all()
    assert loss_weight(prediction, get(name).log_snr(time)).isfinite().all()


@pytest.mark.parametrize("prediction", PREDICTIONS)
@light
@given(t=st.floats(0.001, 0.999), gamma=st.floats(0.1, 100))
def test_weighted_error_is_the_same_in_every_prediction(prediction, t, gamma):
    x_0, error, x_t, alpha, sigma = _noisy(t)
    right, wrong = (
        target(prediction, guess, (x_t - alpha * guess) / sigma, alpha, sigma) for guess in (x_0, x_0 + error)
    )
    log_snr = torch.tensor(2 * math.log(alpha / sigma), dtype=torch.float64)
    weighted = loss_weight(prediction, log_snr, min_snr_gamma=gamma) * (wrong - right).square().mean()
    expected = min((alpha / sigma) ** 2, gamma) * error.square().mean()
    torch.testing.assert_close(weighted, expected, rtol=1e-8, atol=0)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_weights_are_finite_and_positive_over_the_clamp(prediction):
    log_snr = torch.linspace(-LOG_SNR_MAX, LOG_SNR_MAX, 81)
    weight = loss_weight(prediction, log_snr)
    assert weight.shape == log_snr.shape
    assert weight.isfinite().all()
    assert weight.min() > 0


def test_min_snr_5_at_known_levels():
    log_snr = torch.tensor([1.0, 5.0, 20.0]).log()
    torch.testing.assert_close(loss_weight("x0", log_snr), torch.tensor([1.0, 5.0, 5.0]))
    torch.testing.assert_close(loss_weight("eps", log_snr), torch.tensor([1.0, 1.0, 0.25]))
    torch.testing.assert_close(loss_weight("v", log_snr), torch.tensor([1 / 2, 5 / 6, 5 / 21]))


def test_unknown_prediction_and_gamma():
    with pytest.raises(UsageError, match="x0, eps, v are allowed"):
        to_x0("score", *_images(), 0.6, 0.8)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="more than 0"):
        loss_weight("x0", torch.zeros(1), min_snr_gamma=0)
