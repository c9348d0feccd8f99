"""What a process does first: decodes from several threads at once, and forks; in fresh processes, none may hang."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORK = """
import os, sys, regrain
from regrain import registry
device, names = sys.argv[1], sys.argv[2:]
files = [open(name, "rb").read() for name in names]
kept = regrain.load(device=device)
assert regrain.decode(files[0], model=kept).size
for file in files:
    regrain.decode(file, device=device)
child = os.fork()
if child:
    assert regrain.decode(files[0], model=kept).size
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
for file in files:
    regrain.decode(file, device=device)
assert regrain.decode(files[0], model=kept).size
"""

WHILE_LOADING = """
import os, sys, threading, time, regrain
from regrain.onnx import network
make, started = network._session, threading.Event()
def slowly(graph):
    started.set()
    time.sleep(0.05)
    return make(graph)
network._session = slowly
other = threading.Thread(target=regrain.load, args=("palette",), daemon=True)
other.start()
started.wait()
child = os.fork()
if child:
    other.join()
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A fresh process with two threads a computation; TimeoutExpired where it hangs."""
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        env=os.environ | {"OMP_NUM_THREADS": "2", **environment},
        check=False,
    )


@pytest.mark.parametrize("device", ["cpu", "onnx"])
def test_first_decodes_may_come_from_eight_threads_at_once(device):
    done = run(str(ROOT / "scripts" / "first_use.py"), "--processes", "1", "--device", device)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize(("device", "names"), [("cpu", ["colour"]), ("onnx", ["colour", "palette"])])
def test_a_process_may_fork_after_it_has_decoded(device, names):
    """The child used to wait for threads that only its parent has."""
    done = run("-W", "ignore", "-c", FORK, device, *(str(ROOT / "tests" / "golden" / f"{name}.rgn") for name in names))
    assert done.returncode == 0, done.stderr


EFFORT = """
import os, sys, numpy as np, regrain
from regrain import effort
effort.ITERATIONS = (0, *[2] * 9)
picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
regrain.encode(picture, effort=1)
child = os.fork()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
regrain.encode(picture, effort=1)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_process_may_fork_and_try_harder_before_and_after():
    done = run("-W", "ignore", "-c", EFFORT)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_process_may_fork_while_another_thread_loads():
    """The two used to wait for each other, each with one lock of two."""
    done = run("-W", "ignore", "-c", WHILE_LOADING)
    assert done.returncode == 0, done.stderr
