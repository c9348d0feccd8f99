"""Stages: own seconds add up to the total, and everything is put back."""

import threading
import types

import pytest

from benchmarks.stopwatch import Stopwatch, medians


def busy(seconds: float):
    import time

    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def test_own_seconds_add_up_and_the_callables_are_put_back():
    place = types.SimpleNamespace(inner=lambda: busy(0.02))
    place.outer = lambda: (busy(0.01), place.inner())
    before = dict(vars(place))
    watch = Stopwatch({"inner": [(place, "inner")], "outer": [(place, "outer")]})
    with watch.watching():
        _, seconds = watch.time(lambda: place.outer())
    assert vars(place) == before
    assert seconds["inner"] >= 0.02
    assert seconds["outer"] >= 0.01
    assert seconds["inner"] + seconds["outer"] + seconds["rest"] == pytest.approx(seconds["total"])
    assert watch.calls == {"inner": 1, "outer": 1}


def test_what_runs_in_another_thread_has_a_line_of_its_own_and_is_no_part_of_the_sum():
    place = types.SimpleNamespace(inner=lambda: busy(0.02))

    def outer():
        thread = threading.Thread(target=place.inner)
        thread.start()
        busy(0.01)
        thread.join()

    place.outer = outer
    watch = Stopwatch({"inner": [(place, "inner")], "outer": [(place, "outer")]})
    with watch.watching():
        _, seconds = watch.time(lambda: place.outer())
    assert seconds["inner"] == 0
    assert seconds["inner, meanwhile"] >= 0.02
    assert seconds["outer"] >= 0.02
    assert seconds["outer"] + seconds["rest"] == pytest.approx(seconds["total"])
    assert watch.calls == {"inner": 1, "outer": 1}


def test_a_failure_is_counted_and_passed_on():
    place = types.SimpleNamespace(fails=lambda: 1 / 0)
    watch = Stopwatch({"fails": [(place, "fails")]})
    with watch.watching(), pytest.raises(ZeroDivisionError):
        watch.time(lambda: place.fails())
    assert watch.calls == {"fails": 1}


def test_medians_are_by_name():
    assert medians([{"a": 1.0, "b": 5.0}, {"a": 3.0, "b": 4.0}, {"a": 2.0, "b": 6.0}]) == {"a": 2.0, "b": 5.0}
