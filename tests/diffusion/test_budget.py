"""As many steps as fit, by a clock of our own: timed by the first estimate, which is not made twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regrain.diffusion import budget
from regrain.diffusion.budget import STEPS, Budget, choose_steps

SECONDS = st.floats(0, 100)


class Clock:
    """What the module takes for the time, in seconds."""

    def __init__(self, monkeypatch):
        self.now = 50.0
        monkeypatch.setattr(budget, "perf_counter", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@given(seconds=SECONDS, spent=SECONDS, taken=SECONDS, work=st.floats(1, 20))
def test_the_most_that_fits_is_chosen_and_one_always(seconds, spent, taken, work):
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock(patch)
        allowed = Budget(seconds)
        clock.now += spent + taken
        steps = allowed.choose(taken, work)
    assert steps in STEPS
    assert allowed.steps == steps
    assert steps == 1 or spent + steps * taken * work <= seconds + 1e-9
    assert steps == STEPS[-1] or spent + 2 * steps * taken * work > seconds - 1e-9


@given(seconds=st.lists(SECONDS, min_size=2, max_size=2).map(sorted), taken=SECONDS)
def test_more_time_means_no_fewer_steps(seconds, taken):
    with pytest.MonkeyPatch.context() as patch:
        Clock(patch)
        few, many = (Budget(each).choose(taken) for each in seconds)
    assert few <= many


@pytest.mark.parametrize(("seconds", "wanted"), [(0, 1), (0.9, 1), (2, 2), (7.9, 4), (8, 8), (1e9, 32)])
def test_the_first_estimate_is_timed_and_kept(clock, seconds, wanted):
    calls = []

    def estimate(x, t):
        calls.append((x, t))
        clock.now += 0.5
        return x + t

    steps, see = choose_steps(Budget(seconds), estimate, 3, 1.0, work=2)
    assert steps == wanted
    assert [see(3, 1.0), see(4, 0.5)] == [4.0, 4.5]
    assert calls == [(3, 1.0), (4, 0.5)]


def test_what_went_before_counts(clock):
    allowed = Budget(10)
    clock.now += 8.5
    steps, _ = choose_steps(allowed, lambda: setattr(clock, "now", clock.now + 0.5))
    assert (steps, allowed.pass_seconds) == (2, 0.5)


def test_a_number_is_that_number():
    def estimate():
        raise AssertionError("called before its time")

    assert choose_steps(7, estimate) == (7, estimate)
