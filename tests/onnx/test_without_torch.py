"""Where torch is not installed, every method encodes and decodes all the same; what needs it says so in one line."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from regrain import codec, image, registry
from regrain.cli import main
from regrain.errors import UsageError
from regrain.options import METHODS

GOLDEN = Path(__file__).parents[1] / "golden"
TOLERANCE = {"conditional": 1, "progressive": 1, "palette": 1}
"""Levels between the pixels of ONNX Runtime and torch's."""
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
    (tmp_path / "recipe.toml").touch()
    (tmp_path / "bad.rgn").write_bytes((GOLDEN / "grey.rgn").read_bytes()[:-1])
    lines = {
        "decode grey.rgn --quiet --threads 1 --steps 2": (0, ""),
        "decode grey.rgn cpu.png --quiet --device cpu": (0, ""),
        "inspect grey.rgn --quiet": (0, ""),
        "decode bad.rgn bad.png": (4, "cut short"),
        "encode photo.png cpu.rgn --quiet --device cpu": (0, ""),
        "decode progressive.rgn --quiet": (0, ""),
        "decode grey.rgn gpu.png --device cuda": (2, "pip install 'regrain[torch]'"),
        "encode photo.png gpu.rgn --device cuda:1": (2, "pip install 'regrain[torch]'"),
        "encode photo.png gpu.rgn --model stable/diffusion": (2, "pip install 'regrain[stable-diffusion]'"),
        "compare photo.png": (2, "pip install 'regrain[lab]'"),
        "evaluate . results": (2, "pip install 'regrain[lab]'"),
        "train recipe.toml": (2, "pip install 'regrain[lab]'"),
        "distill recipe.toml": (2, "pip install 'regrain[lab]'"),
        "train absent.toml": (2, "absent.toml: no such recipe"),
        "encode photo.png gpu.rgn --model typo": (5, "typo: no such file"),
    }
    done = run(COMMANDS.format(lines=list(lines)), tmp_path)
    assert done.returncode == 0, done.stderr
    assert [int(code) for code in done.stdout.split()] == [code for code, _ in lines.values()]
    failures = [word for code, word in lines.values() if code]
    for line, word in zip(said(done), failures, strict=True):
        assert line.startswith("regrain: error: ")
        assert word in line
    assert not (tmp_path / "gpu.rgn").exists()
    assert image.read(tmp_path / "grey.png").grey


def test_every_method_encodes_and_decodes(tmp_path):
    """What is written without torch is a picture again, with torch and without."""
    pixels = image.read(GOLDEN / "colour.png").pixels[:32, :32]
    image.write(image.Picture(pixels), tmp_path / "photo.png")
    lines = [
        line
        for method in METHODS
        for line in (
            f"encode photo.png {method}.rgn --quiet --method {method} --quality 90",
            f"decode {method}.rgn {method}.png --quiet --seed 3",
        )
    ]
    done = run(COMMANDS.format(lines=lines), tmp_path)
    assert (done.returncode, said(done), done.stdout.split()) == (0, [], ["0"] * len(lines))
    for method in METHODS:
        drawn = image.read(tmp_path / f"{method}.png").pixels.astype(int)
        assert np.abs(drawn - pixels).mean() < 16
        other = codec.decode((tmp_path / f"{method}.rgn").read_bytes(), seed=3, device="cpu").pixels.astype(int)
        assert np.abs(drawn - other).max() <= TOLERANCE[method]


def test_without_either_it_says_what_to_install(tmp_path):
    body = COMMANDS.format(lines=[f"decode {GOLDEN / 'grey.rgn'} out.png"])
    done = run(body, tmp_path, "onnxruntime")
    assert done.stdout.split() == ["2"]
    (line,) = said(done)
    assert "pip install onnxruntime" in line


def test_with_torch_installed_the_device_is_asked_for(tmp_path, monkeypatch):
    """ONNX Runtime unless a device of torch's is named; both write and read one format."""
    monkeypatch.chdir(tmp_path)
    source = str(GOLDEN / "colour.rgn")
    pictures = []
    for name, device in (("default", ()), ("onnx", ("--device", "onnx")), ("torch", ("--device", "cpu"))):
        assert main(["decode", source, f"{name}.png", "--quiet", "--realism", "0", *device]) == 0
        pictures.append(image.read(f"{name}.png").pixels.astype(int))
        assert main(["encode", "default.png", f"{name}.rgn", "--quiet", *device]) == 0
        assert codec.decode(Path(f"{name}.rgn").read_bytes()).pixels.shape == pictures[0].shape
    assert np.array_equal(pictures[0], pictures[1])
    assert 0 < np.abs(pictures[0] - pictures[2]).max() <= 12  # bytes beside floats
    assert np.abs(pictures[0] - pictures[2]).mean() <= 0.5
    assert Path("default.rgn").read_bytes() == Path("onnx.rgn").read_bytes()


def test_a_device_without_its_runtime_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert importlib.util.find_spec("onnxruntime") is None
    with pytest.raises(UsageError, match="pip install onnxruntime"):
        registry.load(device="onnx")
