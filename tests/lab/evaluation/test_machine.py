"""Peak memory: of the work alone, and of nothing that another program did."""

import subprocess
import sys
from functools import partial

import numpy as np
import pytest

from regrain_lab.evaluation import machine


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux resets its high-water mark")
def test_the_peak_is_of_the_work_and_not_of_what_was_before():
    total, seconds, large = machine.measure(lambda: np.ones(20_000_000).sum())
    _, _, small = machine.measure(lambda: np.ones(1000).sum())
    assert total == 20_000_000
    assert seconds > 0
    assert large - small > 100


def test_another_program_leaves_it_unknown():
    work = partial(subprocess.run, [sys.executable, "-c", "pass"], check=True)
    assert machine.measure(work)[2] is None


def test_where_it_cannot_be_reset_it_is_unknown(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "_RESET", str(tmp_path / "absent" / "file"))
    assert machine.measure(int)[2] is None


def test_the_machine_is_one_line():
    assert "\n" not in machine.describe()
    assert "cores" in machine.describe()
