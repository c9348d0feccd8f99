"""Peak memory: of the work alone, and of nothing that another program did."""

import subprocess
import sys

import numpy as np
import pytest

from regrain_lab.evaluation import machine


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux resets its high-water mark")
def test_the_peak_is_of_the_work_and_not_of_what_was_before():
    with machine.peak() as large:
        np.ones(20_000_000).sum()
    with machine.peak() as small:
        np.ones(1000).sum()
    assert large.megabytes - small.megabytes > 100


def test_another_program_leaves_it_unknown():
    with machine.peak() as found:
        subprocess.run([sys.executable, "-c", "pass"], check=True)
    assert found.megabytes is None


def test_where_it_cannot_be_reset_it_is_unknown(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "_RESET", str(tmp_path / "absent" / "file"))
    with machine.peak() as found:
        pass
    assert found.megabytes is None


def test_the_machine_is_one_line():
    assert "\n" not in machine.describe()
    assert "cores" in machine.describe()
