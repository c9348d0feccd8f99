"""For x_0 ~ N(M, S^2) every term is known; expectations are taken by Gauss-Hermite rules, exact for squares."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from regrain.diffusion.sampler import ancestral_step, posterior, time_grid
from regrain.diffusion.schedule import get
from regrain.errors import UsageError
from regrain_lab.evaluation import likelihood
from regrain_lab.evaluation.likelihood import bound, decoder_bits, prior_bits, step_bits

NAMES = ["cosine", "linear"]
M, S, LAST = 0.1, 0.2, 0.08
BIN = 2 / 255
LEVELS = (torch.arange(256, dtype=torch.float64) * BIN - 1).reshape(-1, 1, 1, 1)
light = settings(max_examples=20, deadline=None)
between = st.lists(st.integers(1, 99), unique=True, max_size=6)
grids = between.map(lambda ns: [1.0, *(LAST + (1 - LAST) * n / 100 for n in sorted(ns, reverse=True)), LAST])


def _pixels(*values):
    """Pictures of one value each: (B, 1, 1, 1)."""
    return torch.tensor(values, dtype=torch.float64).reshape(-1, 1, 1, 1)


def _pictures(seed):
    return torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _even(n):
    return [LAST + (1 - LAST) * (n - k) / n for k in range(n + 1)]


def _snr(schedule, t):
    alpha, sigma = schedule.at(t)
    return (alpha / sigma) ** 2


def _left(schedule, t):
    """Var[x_0 | x_t]: precisions add."""
    return 1 / (1 / S**2 + _snr(schedule, t))


def _denoiser(schedule):
    """E[x_0 | x_t]: data and x_t / alpha_t weighed by their precisions."""

    def denoise(x_t, t):
        return _left(schedule, t) * (M / S**2 + _snr(schedule, t) * x_t / schedule.at(t)[0])

    return denoise


def _reverse_variance(schedule):
    """Var[x_s | x_t], by conditioning the joint normal of (x_s, x_t)."""

    def variance(t, s):
        (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule.at(t), schedule.at(s)
        at_s, at_t = (alpha_s * S) ** 2 + sigma_s**2, (alpha_t * S) ** 2 + sigma_t**2
        return at_s - (alpha_t / alpha_s * at_s) ** 2 / at_t

    return variance


def _expected(schedule, times, nodes=10, **options):
    """(steps (N,), total) in nats, in expectation over x_0 and the noise."""
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    weights = torch.from_numpy(np.outer(weights, weights).ravel() / (2 * math.pi)) * math.log(2)
    x_0, eps = _pixels(*(M + S * points.repeat(nodes))), _pixels(*np.tile(points, nodes))
    terms = bound(_denoiser(schedule), x_0, schedule, times, lambda k: eps, **options)
    return weights @ terms.steps, float(weights @ terms.total)


def _entropy(schedule):
    """Nats of the data in bins of a level, and KL(q(x_1) || N(0, 1))."""
    alpha, sigma = schedule.at(1.0)
    variance = (alpha * S) ** 2 + sigma**2
    return math.log(S / BIN) + (math.log(2 * math.pi) + variance - math.log(variance) + (alpha * M) ** 2) / 2


@pytest.mark.parametrize("name", NAMES)
@light
@given(times=grids)
def test_the_exact_reverse_process_costs_the_entropy_on_any_grid_and_no_other_less(name, times):
    schedule = get(name)
    exact = {"variance": _reverse_variance(schedule), "decoder_variance": _left(schedule, LAST)}
    assert _expected(schedule, times, **exact)[1] == pytest.approx(_entropy(schedule), abs=1e-5)
    assert all(_expected(schedule, times, variance=v)[1] > _entropy(schedule) for v in ("posterior", "beta"))


@pytest.mark.parametrize("name", NAMES)
@light
@given(times=grids)
def test_gaussian_steps_are_half_the_snr_gained_times_the_variance_left(name, times):
    schedule = get(name)
    expected = [(_snr(schedule, s) - _snr(schedule, t)) * _left(schedule, t) / 2 for t, s in pairwise(times)]
    assert _expected(schedule, times, nodes=2)[0].tolist() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("variance", ["posterior", "beta"])
def test_bound_falls_to_the_entropy_at_first_order_as_the_grid_is_refined(name, variance):
    schedule = get(name)
    options = {"variance": variance, "decoder_variance": _left(schedule, LAST)}
    gaps = [_expected(schedule, _even(n), **options)[1] - _entropy(schedule) for n in (16, 32, 64, 128, 256)]
    assert all(coarse > fine > 0 for coarse, fine in pairwise(gaps))
    assert math.log2(gaps[-2] / gaps[-1]) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("name", NAMES)
def test_steps_tend_to_half_the_integral_of_the_error_over_the_snr(name):
    schedule = get(name)
    integral, _ = quad(lambda snr: 0.5 / (1 / S**2 + snr), _snr(schedule, 1.0), _snr(schedule, LAST))
    coarse, fine = (float(_expected(schedule, _even(n), nodes=2)[0].sum()) for n in (200, 400))
    assert 2 * fine - coarse == pytest.approx(integral, rel=2e-3)
    assert fine > integral


def test_a_choice_of_two_levels_costs_one_bit():
    schedule, (points, weights) = get("cosine"), np.polynomial.hermite_e.hermegauss(60)
    x_0, eps = LEVELS[[120, 140]].repeat(60, 1, 1, 1), _pixels(*points.repeat(2))
    middle, half = float(x_0[:2].mean()), float(x_0[1] - x_0[0]) / 2

    def denoise(x_t, t):
        alpha, sigma = schedule.at(t)
        return middle + half * torch.tanh(half * alpha * (x_t - alpha * middle) / sigma**2)

    costs = []
    for n in (50, 100, 200):
        times = [1.0, *(0.5 * 1000 ** (-k / n) for k in range(n + 1)), 0.0]
        total = bound(denoise, x_0, schedule, times, lambda k: eps).total
        costs.append(float(torch.from_numpy(weights).repeat_interleave(2) @ total) / math.sqrt(8 * math.pi))
    assert costs[0] > costs[1] > costs[2] > 1
    assert 2 * costs[2] - costs[1] == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("variance", ["posterior", "beta"])
@pytest.mark.parametrize(("t", "s"), [(1.0, 0.9), (0.5, 0.45), (0.3, 0.01)])
def test_step_is_the_divergence_from_the_posterior_by_bayes_to_the_sampler(name, variance, t, s):
    schedule, x_t, x_0, estimate = get(name), _pixels(0.5), _pixels(0.3), _pixels(0.26)
    (alpha_t, _), (alpha_s, sigma_s) = schedule.at(t), schedule.at(s)
    mean = float(ancestral_step(x_t, estimate, t, s, schedule, noise=_pixels(0.0)))
    std = float(likelihood.between(_pixels(variance == "beta"), t, s, schedule)) ** 0.5
    x_s = np.linspace(mean - 30 * std, mean + 30 * std, 200001)
    kept = alpha_t / alpha_s
    log_q = norm.logpdf(x_s, alpha_s * 0.3, sigma_s) + norm.logpdf(0.5, kept * x_s, math.sqrt(1 - kept**2))
    log_q -= log_q.max()
    log_q -= math.log(np.trapezoid(np.exp(log_q), x_s))
    integral = np.trapezoid(np.exp(log_q) * (log_q - norm.logpdf(x_s, mean, std)), x_s)
    ours = float(step_bits(x_0, estimate, t, s, schedule, variance=variance)) * math.log(2)
    assert ours == pytest.approx(integral, rel=1e-7, abs=1e-10)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("t", [1.0, 0.6, 0.2])
def test_prior_is_the_divergence_to_a_standard_normal(name, t):
    alpha, sigma = get(name).at(t)
    q = norm(alpha * 0.7, sigma)
    integral, _ = quad(lambda x: q.pdf(x) * (q.logpdf(x) - norm.logpdf(x)), -9, 9, epsabs=1e-13)
    ours = float(prior_bits(_pixels(0.7), t, get(name))) * math.log(2)
    assert ours == pytest.approx(integral, rel=1e-7, abs=1e-12)


def _log_mass(low, high):
    """log of the integral of the standard normal's density, over its value at the edge nearer 0: none vanishes."""
    if low < 0 < high:
        return math.log(quad(norm.pdf, max(low, -30), min(high, 30), points=[0])[0])
    near, far = sorted((abs(low), abs(high)))
    mass, _ = quad(lambda u: math.exp(-u * (near + u / 2)), 0, min(far - near, 40 / (near + 1)))
    return norm.logpdf(near) + math.log(mass)


@pytest.mark.parametrize("std", [1e-3, 3e-3, 0.02, 0.3, 5.0])
@pytest.mark.parametrize("mean", [-1.4, -0.9961, 0.1, 0.999])
def test_decoder_is_the_integral_over_each_bin(std, mean):
    bits = decoder_bits(LEVELS, torch.full_like(LEVELS, mean), std**2)
    for k in (0, 1, 100, 139, 140, 141, 254, 255):
        low = -math.inf if k == 0 else (float(LEVELS[k]) - BIN / 2 - mean) / std
        high = math.inf if k == 255 else (float(LEVELS[k]) + BIN / 2 - mean) / std
        assert -float(bits[k]) * math.log(2) == pytest.approx(_log_mass(low, high), rel=1e-6, abs=1e-12)


@settings(max_examples=200, deadline=None)
@given(mean=st.floats(-100, 100), log_std=st.floats(-12, 8))
def test_all_levels_together_are_certain_and_none_is_infinite(mean, log_std):
    means = torch.full_like(LEVELS, mean).requires_grad_()
    bits = decoder_bits(LEVELS, means, math.exp(2 * log_std))
    assert bits.isfinite().all()
    assert bits.min() >= 0
    assert float(torch.exp2(-bits.detach()).sum()) == pytest.approx(1, abs=1e-9)
    assert torch.autograd.grad(bits.sum(), means)[0].isfinite().all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_perfect_steps_cost_nothing_and_a_fixed_error_the_snr_gained(name, dtype):
    schedule, x_0 = get(name), _pictures(0).to(dtype)
    times = time_grid(50)
    assert not bound(lambda x_t, t: x_0, x_0, schedule, times, lambda k: x_0).steps.any()
    wrong = x_0 + _pictures(1).to(dtype)
    error = (wrong.double() - x_0.double()).square().sum((1, 2, 3))
    expected = error * (_snr(schedule, times[-2]) - _snr(schedule, 1.0)) / (2 * math.log(2))
    torch.testing.assert_close(bound(lambda x_t, t: wrong, x_0, schedule, times, lambda k: x_0).steps.sum(1), expected)


def test_bound_is_its_terms_and_asks_once_for_each():
    schedule, x_0, times, asked = get("linear"), _pictures(2), (1.0, 0.5, 0.2), []

    def noise(k):
        asked.append(k)
        return _pictures(k)

    def denoise(x_t, t):
        asked.append(t)
        return x_t / 2

    ours = bound(denoise, x_0, schedule, [*times, 0.0], noise, variance=lambda t, s: torch.full((2, 1, 1, 1), t - s))
    assert asked == [0, 1.0, 1, 0.5, 2, 0.2]
    assert ours.times == times
    estimates = [(alpha * x_0 + sigma * _pictures(k)) / 2 for k, (alpha, sigma) in enumerate(map(schedule.at, times))]
    step = step_bits(x_0, estimates[1], 0.5, 0.2, schedule, variance=lambda t, s: 0.3)
    torch.testing.assert_close(ours.steps[:, 1], step)
    torch.testing.assert_close(ours.decoder, decoder_bits(x_0, estimates[2], schedule.at(0.2)[1] ** 2))
    terms = [ours.prior, *ours.steps.unbind(1), ours.decoder]
    torch.testing.assert_close(ours.cumulative, torch.stack([sum(terms[: k + 1]) for k in range(4)], 1))
    torch.testing.assert_close(ours.cumulative[:, -1], ours.total)
    torch.testing.assert_close(ours.bits_per_dim, ours.total / 60)
    assert torch.equal(bound(denoise, x_0, schedule, times, noise).decoder, ours.decoder)


def test_a_grid_of_one_step_is_prior_and_decoder():
    ours = bound(lambda x_t, t: x_t, _pictures(3), get("cosine"), time_grid(1), _pictures)
    assert ours.steps.shape == (2, 0)
    torch.testing.assert_close(ours.total, ours.prior + ours.decoder)


@pytest.mark.parametrize("times", [[], [1.0], [0.5, 0.5], [0.2, 0.5], [1.2, 0.5], [0.5, -0.1], [1.0, math.nan, 0.1]])
def test_bad_times(times):
    with pytest.raises(UsageError, match="two or more that fall"):
        bound(lambda x_t, t: x_t, _pictures(0), get("cosine"), times, _pictures)


def test_bad_arguments():
    x, schedule = _pictures(0), get("cosine")
    with pytest.raises(UsageError, match="two or more that fall"):
        step_bits(x, x, 0.2, 0.5, schedule)
    with pytest.raises(UsageError, match="posterior, beta are allowed"):
        step_bits(x, x, 0.5, 0.2, schedule, variance="learned")
    with pytest.raises(UsageError, match="more than 0"):
        step_bits(x, x, 0.5, 0.2, schedule, variance=lambda t, s: 0.0)
    with pytest.raises(UsageError, match="more than 0"):
        decoder_bits(x, x, torch.tensor([1.0, math.nan]))


@pytest.mark.parametrize("name", ["cosine", "linear", "log-linear"])
@pytest.mark.parametrize(("t", "s"), [(1.0, 0.95), (0.5, 0.499), (0.1, 0.001)])
def test_the_learned_variance_goes_from_beta_tilde_to_beta(name, t, s):
    schedule = get(name)
    fractions = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    lowest, middle, highest = likelihood.between(fractions, t, s, schedule).tolist()
    assert lowest == pytest.approx(posterior(t, s, schedule)[2] ** 2)
    assert highest == pytest.approx(1 - (schedule.at(t)[0] / schedule.at(s)[0]) ** 2)
    assert middle**2 == pytest.approx(lowest * highest)
