"""Where torch is not installed, files decode all the same; what needs it says so in one line."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from regrain import image, registry
from regrain.cli import main
from regrain.errors import UsageError

GOLDEN = Path(__file__).parents[1] / "golden"
WITHOUT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
{body}
assert "torch" not in sys.modules
"""
DECODE = """
import regrain
from regrain.cli import main
print(*regrain.decode({source!r}, steps="auto", budget=0).info)
main(["decode", {source!r}, {target!r}, "--realism", "0", "--quiet"])
"""
COMMANDS = """
from regrain.cli import main
for line in {lines!r}:
    print(main(line.split()))
"""


def said(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Lines on stderr but ONNX Runtime's own, where it does not know a machine's graphics: nothing can stop those."""
    return [line for line in done.stderr.splitlines() if "[W:onnxruntime" not in line]


def run(body: str, folder: Path, *absent: str) -> subprocess.CompletedProcess[str]:
    code = WITHOUT.format(absent=("torch", *absent), body=body)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=folder)


def test_a_file_decodes_with_its_alpha_and_metadata(tmp_path):
    source, target = GOLDEN / "extras.rgn", tmp_path / "out.png"
    done = run(DECODE.format(source=str(source), target=str(target)), tmp_path)
    assert (done.returncode, said(done), done.stdout) == (0, [], "icc_profile exif xmp\n")
    found, kept = image.read(target), image.read(GOLDEN / "extras.png")
    assert np.abs(found.pixels.astype(int) - kept.pixels).mean() <= 2
    assert np.array_equal(found.alpha, kept.alpha)
    assert found.metadata == kept.metadata


def test_commands_do_their_work_or_say_what_to_install(tmp_path):
    """One process for all: each command's exit code on stdout, each failure one line on stderr."""
    (tmp_path / "photo.png").write_bytes((GOLDEN / "grey.png").read_bytes())
    for name in ("grey", "progressive"):
        (tmp_path / f"{name}.rgn").write_bytes((GOLDEN / f"{name}.rgn").read_bytes())
    (tmp_path / "bad.rgn").write_bytes((GOLDEN / "grey.rgn").read_bytes()[:-1])
    lines = {
        "decode grey.rgn --quiet --threads 1 --steps 2": (0, ""),
        "decode grey.rgn cpu.png --quiet --device cpu": (0, ""),
        "inspect grey.rgn --quiet": (0, ""),
        "decode bad.rgn bad.png": (4, "cut short"),
        "encode photo.png out.rgn": (2, "encoding needs torch"),
        "decode progressive.rgn --quiet": (0, ""),
        "decode grey.rgn gpu.png --device cuda": (2, "needs torch"),
    }
    done = run(COMMANDS.format(lines=list(lines)), tmp_path)
    assert done.returncode == 0, done.stderr
    assert [int(code) for code in done.stdout.split()] == [code for code, _ in lines.values()]
    failures = [word for code, word in lines.values() if code]
    for line, word in zip(said(done), failures, strict=True):
        assert line.startswith("regrain: error: ")
        assert word in line
    assert not (tmp_path / "out.rgn").exists()
    assert image.read(tmp_path / "grey.png").grey


def test_without_either_it_says_what_to_install(tmp_path):
    body = COMMANDS.format(lines=[f"decode {GOLDEN / 'grey.rgn'} out.png"])
    done = run(body, tmp_path, "onnxruntime")
    assert done.stdout.split() == ["2"]
    (line,) = said(done)
    assert "pip install torch" in line


def test_with_torch_installed_the_device_is_asked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    source = str(GOLDEN / "colour.rgn")
    assert main(["decode", source, "onnx.png", "--quiet", "--device", "onnx", "--realism", "0"]) == 0
    assert main(["decode", source, "torch.png", "--quiet", "--realism", "0"]) == 0
    one, other = (image.read(f"{name}.png").pixels.astype(int) for name in ("onnx", "torch"))
    assert np.abs(one - other).max() <= 1
    assert main(["encode", "onnx.png", "out.rgn", "--device", "onnx"]) == 2
    assert "encoding needs torch" in capsys.readouterr().err


def test_a_device_without_its_runtime_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert importlib.util.find_spec("onnxruntime") is None
    with pytest.raises(UsageError, match="pip install onnxruntime"):
        registry.load(device="onnx")
