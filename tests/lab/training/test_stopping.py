"""The first signal waits, the second does not, and what was there before is there again."""

import os
import signal
import threading

import pytest

from regrain_lab.training.stopping import held_signals, leave_signals_alone

posix = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
NAMES = ["SIGINT", "SIGTERM", "SIGHUP"]


@pytest.fixture(params=NAMES)
def number(request):
    """Each signal, its handler one that raises InterruptedError."""

    def stop(_number, _frame):
        raise InterruptedError

    number = getattr(signal, request.param)
    before = signal.signal(number, stop)
    yield number
    signal.signal(number, before)


def held(*acts):
    """Do these things under held signals; how many of them were done."""
    done = 0
    try:
        with held_signals() as asked:
            assert not asked()
            for act in acts:
                act()
                done += 1
                assert asked()
    except (InterruptedError, ZeroDivisionError) as error:
        return done, type(error)
    return done, None


@posix
def test_a_signal_is_held_and_then_delivered(number):
    assert held(lambda: os.kill(os.getpid(), number), list) == (2, InterruptedError)


@posix
def test_a_second_signal_does_not_wait(number):
    assert held(*[lambda: os.kill(os.getpid(), number)] * 3) == (1, InterruptedError)


@posix
def test_an_error_comes_before_a_signal(number):
    assert held(lambda: os.kill(os.getpid(), number), lambda: 1 / 0) == (1, ZeroDivisionError)
    with pytest.raises(InterruptedError):
        os.kill(os.getpid(), number)


@posix
def test_under_nohup_a_closed_terminal_is_no_matter():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with held_signals() as asked:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not asked()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_outside_the_main_thread_signals_are_left_alone():
    said = []

    def hold():
        with held_signals() as asked:
            said.append(asked())

    thread = threading.Thread(target=hold)
    thread.start()
    thread.join()
    assert said == [False]


@posix
def test_a_process_that_helps_ignores_them():
    before = {name: signal.getsignal(getattr(signal, name)) for name in NAMES}
    try:
        leave_signals_alone()
        assert {signal.getsignal(getattr(signal, name)) for name in NAMES} == {signal.SIG_IGN}
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
