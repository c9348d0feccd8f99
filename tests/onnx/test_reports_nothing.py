"""A decode by ONNX Runtime leaves no file behind and opens no socket: nothing is kept, nothing is sent."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime")

GOLDEN = Path(__file__).parents[1] / "golden"
DECODE = """
import os, sys
sockets = []
sys.addaudithook(lambda event, _: sockets.append(event) if event.startswith("socket.") else None)
import regrain
regrain.decode(sys.argv[1], device="onnx")
assert not sockets, sockets
if os.path.isdir("/proc/self/fd"):
    links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    opened = [os.readlink(link) for link in links if os.path.exists(link)]
    assert not [name for name in opened if name.startswith("socket:")], opened
"""


def decode(folder: Path, *wrapper: str) -> list[str]:
    """Decode with `folder` as the home; the names of what is there afterwards. The environment has nothing of ours."""
    names = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "SYSTEMROOT")
    own = {name: os.environ[name] for name in names if name in os.environ}
    places = {"HOME": str(folder), "TMPDIR": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [*wrapper, sys.executable, "-c", DECODE, str(GOLDEN / "grey.rgn")]
    done = subprocess.run(command, env=own | places, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_no_file_and_no_socket(tmp_path):
    assert decode(tmp_path) == []


def test_it_decodes_without_a_network(tmp_path):
    wrapper = ("unshare", "--map-root-user", "--net")
    if (
        shutil.which("unshare") is None
        or subprocess.run([*wrapper, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no network namespace can be made here")
    assert decode(tmp_path, *wrapper) == []
