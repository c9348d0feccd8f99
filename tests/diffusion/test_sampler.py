"""For x_0 ~ N(M, S^2) the best estimate E[x_0 | x_t] is affine in x_t, and so is every step: moments in closed form."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from regrain.diffusion.parametrize import target, to_x0
from regrain.diffusion.sampler import ancestral_step, ddim_step, descend, sample, second_order, time_grid
from regrain.diffusion.schedule import LinearBeta, get
from regrain.errors import UsageError

NAMES = ["cosine", "linear"]
PREDICTIONS = ["x0", "eps", "v"]
M, S = 0.4, 0.3
times = st.floats(0.01, 1)
light = settings(max_examples=50, deadline=None)


def _normal(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _denoiser(schedule):
    def denoise(x_t, t):
        alpha, sigma = schedule.at(t)
        return M + alpha * S**2 / (alpha**2 * S**2 + sigma**2) * (x_t - alpha * M)

    return denoise


def _probe(step):
    """(offset, slope, std) of an affine noisy map (x, z) -> y, read off by evaluating it at three places."""
    x, z = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    offset, at_x, at_z = step(x, z).tolist()
    return offset, at_x - offset, at_z - offset


def _ddim(eta):
    return lambda x_t, x_0, t, s, schedule, z: ddim_step(x_t, x_0, t, s, schedule, eta=eta, noise=z)


def _ancestral(x_t, x_0, t, s, schedule, z):
    return ancestral_step(x_t, x_0, t, s, schedule, noise=z)


STEPS = {"ddim": _ddim(0.0), "eta": _ddim(0.5), "ancestral": _ancestral}


def _walk(schedule, step, steps):
    """(s, mean, std) of x_s after every step of the grid, exactly, starting from N(0, 1)."""
    denoise, mean, std = _denoiser(schedule), 0.0, 1.0
    for t, s in pairwise(time_grid(steps)):
        offset, slope, added = _probe(lambda x, z, t=t, s=s: step(x, denoise(x, t), t, s, schedule, z))
        mean, std = slope * mean + offset, math.hypot(slope * std, added)
        yield s, mean, std


@light
@given(steps=st.integers(1, 300))
def test_grid_runs_down_uniformly(steps):
    grid = time_grid(steps)
    assert len(grid) == steps + 1
    assert (grid[0], grid[-1]) == (1.0, 0.0)
    assert all(a - b == pytest.approx(1 / steps) for a, b in pairwise(grid))


def test_grid_of_one_step():
    assert time_grid(1) == (1.0, 0.0)


@pytest.mark.parametrize("name", NAMES)
@light
@given(t=times, s=times, eta=st.floats(0, 1))
def test_steps_keep_the_forward_marginal(name, t, s, eta):
    assume(t - s > 1e-4)
    schedule, x_0 = get(name), torch.full((3,), 0.5, dtype=torch.float64)
    (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule.at(t), schedule.at(s)
    for step in (_ancestral, _ddim(eta)):
        mean, slope, std = _probe(lambda eps, z, f=step: f(alpha_t * x_0 + sigma_t * eps, x_0, t, s, schedule, z))
        assert mean == pytest.approx(alpha_s * 0.5, abs=1e-9)
        assert slope**2 + std**2 == pytest.approx(sigma_s**2, rel=1e-7)


@pytest.mark.parametrize("name", NAMES)
@light
@given(t=times, s=times)
def test_ddim_with_eta_1_is_ancestral(name, t, s):
    assume(t - s > 1e-4)
    x_t, x_0, z = _normal((3, 1, 2, 2), 1).unbind(0)
    ours = _ddim(1.0)(x_t, x_0, t, s, get(name), z)
    torch.testing.assert_close(ours, _ancestral(x_t, x_0, t, s, get(name), z), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("step", STEPS)
def test_samplers_reach_the_data_at_first_order(name, step):
    counts, errors = [100, 200, 400], []
    for steps in counts:
        *_, (_, mean, std) = _walk(get(name), STEPS[step], steps)
        assert mean == pytest.approx(M, abs=1e-3)
        errors.append(abs(std - S))
    x, y = (torch.tensor(values, dtype=torch.float64).log() for values in (counts, errors))
    order = -float(((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum())
    assert errors[-1] < 0.03 * S
    assert 0.8 < order < 1.2


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("step", STEPS)
def test_samplers_keep_the_marginals_on_the_way(name, step):
    schedule = get(name)
    for s, mean, std in _walk(schedule, STEPS[step], 400):
        alpha, sigma = schedule.at(s)
        assert mean == pytest.approx(alpha * M, abs=5e-3)
        assert std == pytest.approx(math.hypot(alpha * S, sigma), rel=0.04)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_sample_is_the_composition_of_its_steps(eta):
    schedule, x_1 = get("cosine"), _normal((4, 1, 64, 64), 0)
    x_0 = sample(_denoiser(schedule), x_1, schedule, steps=20, eta=eta, noise=lambda k: _normal(x_1.shape, k))
    *_, (_, mean, std) = _walk(schedule, _ddim(eta), 20)
    assert float(x_0.mean()) == pytest.approx(mean, abs=5 * std / 128)
    assert float(x_0.std()) == pytest.approx(std, rel=5 / (128 * math.sqrt(2)))


def test_sample_of_second_order_is_the_composition_of_its_steps():
    schedule, x_1, states = get("cosine"), _normal((1, 1, 2, 2), 0), []
    denoise = _denoiser(schedule)
    found = sample(lambda x_t, t: (states.append((x_t, t)), denoise(x_t, t))[1], x_1, schedule, steps=5, order=2)
    *_, (first, r), (before, t), (last, s) = states
    x_0 = second_order(denoise(before, t), denoise(first, r), (r, t, s), schedule)
    torch.testing.assert_close(last, ddim_step(before, x_0, t, s, schedule))
    assert torch.equal(found, denoise(last, s))


def _error(schedule, steps, order):
    """Of a walk even in log-SNR, against the exact flow, which keeps every quantile in its place."""
    denoise, x_1 = _denoiser(schedule), torch.tensor([-1.0, 0.3, 2.0], dtype=torch.float64)
    alpha_1, sigma_1 = schedule.at(1.0)
    first, last = 2 * math.log(alpha_1 / sigma_1), 8.0
    levels = [1.0, *(schedule.time_of(first + (last - first) * k / steps) for k in range(1, steps + 1))]
    x_t, before, r = x_1, None, None
    for t, s in pairwise(levels):
        x_0 = denoise(x_t, t)
        better = second_order(x_0, before, (r, t, s), schedule) if order == 2 else x_0
        x_t, before, r = ddim_step(x_t, better, t, s, schedule), x_0, t
    alpha, sigma = schedule.at(levels[-1])
    start = (x_1 - alpha_1 * M) / math.hypot(alpha_1 * S, sigma_1)
    return float((x_t - alpha * M - math.hypot(alpha * S, sigma) * start).abs().max())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("order", [1, 2])
def test_the_order_of_convergence_is_the_one_declared(name, order):
    counts = [64, 128, 256]
    errors = [_error(get(name), steps, order) for steps in counts]
    x, y = (torch.tensor(values, dtype=torch.float64).log() for values in (counts, errors))
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum())
    assert -slope == pytest.approx(order, abs=0.25)


@pytest.mark.parametrize("name", NAMES)
def test_second_order_is_nearer_with_as_many_calls(name):
    for steps in (8, 16, 32):
        first, second = (_error(get(name), steps, order) for order in (1, 2))
        assert second < 0.7 * first


@settings(max_examples=50, deadline=None)
@given(
    st.floats(0, 1), st.floats(0, 1), st.floats(0, 1),
    st.sampled_from(["cosine", "linear", "truncated"]), st.booleans(),
)  # fmt: skip
def test_arrays_take_the_steps_of_tensors(t, s, eta, name, ancestral):
    s, t = sorted((s, t))
    assume(s < t)
    tensors, schedule = [_normal((3, 4, 5), seed).float() for seed in range(3)], get(name)
    arrays = [tensor.numpy() for tensor in tensors]
    if ancestral:
        one, other = (ancestral_step(x_t, x_0, t, s, schedule, noise=z) for x_t, x_0, z in (arrays, tensors))
    else:
        one, other = (ddim_step(x_t, x_0, t, s, schedule, eta=eta, noise=z) for x_t, x_0, z in (arrays, tensors))
    assert one.dtype == np.float32
    weight = max(1.0, schedule.at(s)[1] / schedule.at(t)[1])
    np.testing.assert_allclose(one, other.numpy(), atol=1e-5 * weight)


def test_perfect_estimate_is_a_fixed_point():
    x_0, x_1 = _normal((2, 1, 3, 4, 4), 2).unbind(0)
    torch.testing.assert_close(sample(lambda x_t, t: x_0, x_1, get("cosine"), steps=7), x_0)


def test_one_step_is_the_denoiser():
    x_1 = _normal((1, 3, 4, 4), 3)
    calls = []
    result = sample(lambda x_t, t: calls.append(t) or 2 * x_t, x_1, get("cosine"), steps=1, eta=1.0)
    assert torch.equal(result, 2 * x_1)
    assert calls == [1.0]


def test_noise_is_asked_for_once_a_step_and_never_for_the_last():
    x_1, asked = _normal((1, 1, 2, 2), 4), []

    def noise(k):
        asked.append(k)
        return torch.zeros_like(x_1)

    sample(lambda x_t, t: x_t, x_1, get("linear"), steps=4, eta=0.3, noise=noise)
    assert asked == [1, 2, 3]
    sample(lambda x_t, t: x_t, x_1, get("linear"), steps=4, eta=0.0, noise=noise)
    assert asked == [1, 2, 3]


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("steps", [1, 2, 50])
def test_any_network_samples_finitely_from_t_1(prediction, name, steps):
    schedule = get(name)
    x_1 = _normal((1, 3, 8, 8), 5).float()
    output = _normal((1, 3, 8, 8), 6).float()
    x_0 = sample(lambda x_t, t: to_x0(prediction, output, x_t, *schedule.at(t)), x_1, schedule, steps=steps)
    assert x_0.dtype == torch.float32
    assert x_0.isfinite().all()


def test_last_step_returns_the_estimate_itself():
    x_t, x_0 = _normal((2, 1, 1, 2, 2), 7).unbind(0)
    assert ddim_step(x_t, x_0, 0.3, 0.0, get("cosine"), eta=1.0) is x_0
    assert ancestral_step(x_t, x_0, 0.3, 0.0, get("cosine"), noise=x_t) is x_0


@pytest.mark.parametrize(("t", "s"), [(0.2, 0.5), (0.5, 0.5), (1.2, 0.5), (0.5, -0.1), (math.nan, 0.1)])
def test_bad_times(t, s):
    x = torch.zeros(1)
    with pytest.raises(UsageError, match="0 <= s < t <= 1"):
        ddim_step(x, x, t, s, get("cosine"))
    with pytest.raises(UsageError, match="0 <= s < t <= 1"):
        ancestral_step(x, x, t, s, get("cosine"), noise=x)


def test_bad_arguments():
    x, schedule = torch.zeros(1), get("cosine")
    with pytest.raises(UsageError, match="1 or more"):
        time_grid(0)
    for order, eta in ((3, 0.0), (2, 0.5)):
        with pytest.raises(UsageError, match="order"):
            sample(lambda x_t, t: x_t, x, schedule, steps=2, order=order, eta=eta, noise=lambda k: x)
    with pytest.raises(UsageError, match="eta"):
        ddim_step(x, x, 0.5, 0.2, schedule, eta=1.5)
    with pytest.raises(UsageError, match="without noise"):
        ddim_step(x, x, 0.5, 0.2, schedule, eta=0.5)
    with pytest.raises(UsageError, match="without noise"):
        sample(lambda x_t, t: x_t, x, schedule, steps=2, eta=0.5)


NAMES_THERE = {"x0": "sample", "eps": "epsilon", "v": "v_prediction"}


def _case(prediction, n):
    """Images x_0, eps, z and, at DDPM's step n, x_t and the output of a network that is not quite right."""
    x_0, eps, wrong, z = _normal((4, 2, 3, 4, 4), n).unbind(0)
    alpha, sigma = LinearBeta().at(n / 1000)
    return alpha * x_0 + sigma * eps, target(prediction, x_0, eps + 0.1 * wrong, alpha, sigma), z


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("eta", [0.0, 0.7])
@pytest.mark.parametrize("n", [21, 501, 981])
def test_ddim_step_matches_diffusers(prediction, eta, n):
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.DDIMScheduler(beta_schedule="linear", prediction_type=NAMES_THERE[prediction], clip_sample=False)
    theirs.set_timesteps(50)
    x_t, output, z = _case(prediction, n)
    expected = theirs.step(output, n - 1, x_t, eta=eta, variance_noise=z if eta else None).prev_sample
    schedule = LinearBeta()
    x_0 = to_x0(prediction, output, x_t, *schedule.at(n / 1000))
    ours = ddim_step(x_t, x_0, n / 1000, (n - 20) / 1000, schedule, eta=eta, noise=z)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("n", [21, 501, 1000])
def test_ancestral_step_matches_diffusers(prediction, n):
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.DDPMScheduler(
        beta_schedule="linear", prediction_type=NAMES_THERE[prediction], clip_sample=False, variance_type="fixed_small"
    )
    x_t, output, _ = _case(prediction, n)
    expected = theirs.step(output, n - 1, x_t, generator=torch.Generator().manual_seed(9)).prev_sample
    schedule, s = LinearBeta(), (n - 1) / 1000
    x_0 = to_x0(prediction, output, x_t, *schedule.at(n / 1000))
    ours = ancestral_step(x_t, x_0, n / 1000, s, schedule, noise=_normal(x_t.shape, 9))
    torch.testing.assert_close(ours, expected, rtol=0, atol=2e-5)


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("steps", [2, 5, 20])
def test_second_order_matches_diffusers(prediction, steps):
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.DPMSolverMultistepScheduler(
        beta_schedule="linear", prediction_type=NAMES_THERE[prediction], timestep_spacing="linspace", solver_order=2,
        lower_order_final=True, final_sigmas_type="zero",
    )  # fmt: skip
    theirs.set_timesteps(steps)
    schedule, x_t = LinearBeta(), _normal((1, 3, 4, 4), 8)
    ours, before, last = x_t, None, None
    levels = [(int(n) + 1) / 1000 for n in theirs.timesteps] + [0.0]
    for n, t, s in zip(theirs.timesteps, levels, levels[1:], strict=False):
        output = _normal(x_t.shape, int(n))
        x_t = theirs.step(output, n, x_t).prev_sample
        x_0 = to_x0(prediction, output, ours, *schedule.at(t))
        times = None if last is None else (last, t, s)
        ours, before, last = ddim_step(ours, second_order(x_0, before, times, schedule), t, s, schedule), x_0, t
    torch.testing.assert_close(ours, x_t, rtol=1e-3, atol=1e-3)


def test_descend_in_one_step_is_the_estimate():
    x_t, seen = torch.randn(3, 4, 4), []

    def denoise(x, log_snr):
        seen.append(log_snr)
        return x / 2

    assert torch.equal(descend(denoise, x_t, (2.0, 7.0), steps=1), x_t / 2)
    descend(denoise, x_t, (2.0, 7.0), steps=5)
    assert seen == pytest.approx([2.0, 2.0, 3.0, 4.0, 5.0, 6.0])


@pytest.mark.parametrize("first", [7.0, math.nextafter(7.0, 0.0), 7.5])
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_descend_from_where_it_leads_to_is_the_estimate(first, eta):
    x_t = torch.randn(3, 4, 4)
    walked = descend(lambda x, _: x / 2, x_t, (first, 7.0), steps=9, eta=eta, noise=lambda _: torch.zeros_like(x_t))
    torch.testing.assert_close(walked, x_t / 2, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_descend_keeps_the_distribution_of_normal_data(eta):
    """Data N(0, 1) stay N(0, 1) at every noise level; the last estimate alone lacks variance, by alpha^2 there."""
    random = torch.Generator().manual_seed(0)
    x_t = torch.randn(1, 300, 300, generator=random, dtype=torch.float64)

    def denoise(x, log_snr):
        return x / math.sqrt(1 + math.exp(-log_snr))

    walked = descend(
        denoise, x_t, (-1.0, 7.0), steps=100, eta=eta,
        noise=lambda _: torch.randn(x_t.shape, generator=random, dtype=torch.float64),
    )  # fmt: skip
    assert float(walked.var()) == pytest.approx(1, rel=0.03)


def test_descend_refuses_levels_beyond_reach():
    with pytest.raises(UsageError, match="0 <= s < t <= 1"):
        descend(lambda x, _: x, torch.zeros(3, 4, 4), (-30.0, 7.0), steps=2)
