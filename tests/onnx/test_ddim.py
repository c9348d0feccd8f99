"""DDIM as the torch rooms have it: levels, estimates and steps."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regrain.diffusion import parametrize, sampler, schedule
from regrain.onnx import ddim

TIMES, DRAW = st.floats(0, 1), np.random.default_rng(0)
SCHEDULES = st.sampled_from([("cosine", ddim.cosine), ("truncated", ddim.truncated)])
X_T, X_0, Z = DRAW.standard_normal((3, 3, 4, 5)).astype(np.float32)


@given(TIMES, SCHEDULES)
def test_levels_are_those_of_the_schedule(t, named):
    name, levels = named
    assert levels(t) == pytest.approx(schedule.get(name).at(t), rel=1e-9)


@given(TIMES, TIMES, st.floats(0, 1), SCHEDULES)
def test_steps_are_those_of_the_sampler(t, s, eta, named):
    s, t = sorted((s, t))
    if s == t:
        return
    levels = schedule.get(named[0])
    x_t, x_0, z = (torch.from_numpy(array) for array in (X_T, X_0, Z))
    wanted = sampler.ddim_step(x_t, x_0, t, s, levels, eta=eta, noise=z if eta else None)
    found = ddim.step(X_T, X_0, t, s, eta, Z if eta else None, named[1])
    assert found.dtype == np.float32
    weight = max(1.0, levels.at(s)[1] / levels.at(t)[1])
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-5 * weight)


@given(st.floats(0, 1), st.sampled_from(ddim.PREDICTIONS))
def test_estimates_are_those_of_the_parametrisation(t, prediction):
    alpha, sigma = schedule.get(ddim.SCHEDULE).at(t)
    wanted = parametrize.to_x0(prediction, torch.from_numpy(X_0), torch.from_numpy(X_T), alpha, sigma).numpy()
    found = ddim.to_x0(prediction, X_0, X_T, t)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5 / alpha)
