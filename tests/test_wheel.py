"""The source distribution and the wheel, built from what git tracks and installed elsewhere, encode and decode."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import regrain

ROOT = Path(__file__).resolve().parents[1]
TRIP = """
import regrain, numpy as np
assert regrain.__file__.startswith({site!r}), regrain.__file__
data = regrain.encode(np.full((40, 50, 3), 90, np.uint8), quality=20)
print(len(data), *regrain.decode(data).size)
"""


def run(*command: str, **options) -> str:
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """The repository as a clone has it: what git tracks, and nothing that lies about."""
    if not (ROOT / ".git").exists():
        return ROOT
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    folder = tmp_path_factory.mktemp("clone")
    for name in filter(None, listed.stdout.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def dist(tree, tmp_path_factory) -> Path:
    """The folder of both: the wheel is built from the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    run("-m", "build", "--no-isolation", "--outdir", str(folder), str(tree))
    return folder


@pytest.fixture(scope="module")
def wheel(dist) -> Path:
    (path,) = dist.glob("*.whl")
    return path


def test_an_index_would_take_both(dist):
    names = sorted(path.name for path in dist.iterdir())
    assert [name.partition("-")[2] for name in names] == [
        f"{regrain.__version__}-py3-none-any.whl",
        f"{regrain.__version__}.tar.gz",
    ]
    sizes = {path.suffix: path.stat().st_size for path in dist.iterdir()}
    assert sizes[".whl"] < 40e6
    assert sizes[".gz"] < 60e6  # golden files and pictures too; an index takes 100 MB
    run("-m", "twine", "check", "--strict", *(str(path) for path in dist.iterdir()))


def test_the_wheel_has_all_modules_weights_and_pages(wheel, tree):
    parts = {Path(part.filename): part for part in zipfile.ZipFile(wheel).infolist()}
    weights = {path.name: part.file_size for path, part in parts.items() if path.parent.name == "weights"}
    assert weights.keys() == {path.name for path in (tree / "src" / "regrain" / "weights").iterdir()}
    assert sum(part.compress_size for part in parts.values()) < 40e6
    packed = {path.as_posix() for path in parts}
    for folder in ("regrain", "regrain_lab"):
        assert {path.relative_to(tree / "src").as_posix() for path in (tree / "src" / folder).rglob("*.py")} <= packed
    share = {name.partition(".data/data/")[2] for name in packed if ".data/data/" in name}
    assert share == {path.relative_to(tree).as_posix() for path in (tree / "share").rglob("*") if path.is_file()}


def test_the_source_distribution_has_the_tree(dist, tree):
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "Makefile", "LICENSE", "SECURITY.md", "CITATION.cff", "Dockerfile", "src"} <= {
        name.partition("/")[0] for name in packed
    }
    assert "tests/golden/golden.json" in packed
    assert not {name for name in packed if name.startswith((".venv", "runs/", "dist/"))}


def test_an_installed_wheel_makes_the_round_trip(wheel, tmp_path):
    site = tmp_path / "site"
    run("-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(site), str(wheel))
    code = f"import sys; sys.path.insert(0, {str(site)!r})" + TRIP.format(site=str(site))
    assert run("-c", code, cwd=tmp_path).split()[1:] == ["50", "40"]
    assert (site / "share" / "man" / "man1" / "regrain.1").is_file()
