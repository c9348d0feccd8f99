"""The package as it is installed: the command's round trip by every method, the golden files, and what lies in share/.

    python -I scripts/try_wheel.py

It needs the core dependencies alone, and refuses to try a checkout instead.
"""

import subprocess
import sys
import sysconfig
import tempfile
from importlib.metadata import files
from pathlib import Path

import numpy as np
from PIL import Image

import regrain

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden"
METHODS = {"conditional": "-q40", "progressive": "-q20", "palette": "-q60"}
SIDE = 128


def call(*arguments: str | Path) -> None:
    """Run the command that was installed; a failure ends the program."""
    subprocess.run([Path(sysconfig.get_path("scripts")) / "regrain", *arguments], check=True)


def try_methods(folder: Path) -> None:
    """Encode and decode a part of the demo's photo."""
    with Image.open(ROOT / "demo" / "photo.png") as photo:
        part = photo.convert("RGB").crop((0, 0, SIDE, SIDE))
    part.save(folder / "in.png")
    for method, quality in METHODS.items():
        call("encode", folder / "in.png", folder / f"{method}.rgn", "--method", method, quality, "--quiet")
        call("inspect", folder / f"{method}.rgn", "--quiet")
        call("decode", folder / f"{method}.rgn", folder / f"{method}.png", "--realism", "0", "--quiet")
        error = apart(folder / f"{method}.png", part)
        size = (folder / f"{method}.rgn").stat().st_size
        print(f"{method}: {size} bytes, {error.mean():.1f} levels from the photo in the mean")
        assert error.mean() < 20, method


def try_golden() -> None:
    """Decode every golden file: within two levels of the picture that lies beside it."""
    paths = sorted(GOLDEN.glob("*.rgn"))
    assert paths, f"no golden files in {GOLDEN}"
    for path in paths:
        assert apart(path.with_suffix(".png"), regrain.decode(path, realism=0)).max() <= 2, path.name
    print(f"{len(paths)} golden files")


def try_share() -> None:
    """All that `share/` has in the repository was installed, and is the same."""
    found = {path.as_posix().rpartition("share/")[2]: path for path in files("regrain") or () if "share/" in str(path)}
    for path in filter(Path.is_file, (ROOT / "share").rglob("*")):
        assert found[path.relative_to(ROOT / "share").as_posix()].read_text() == path.read_text(encoding="utf-8")
    print(f"{len(found)} files in share/")


def apart(path: Path, picture: Image.Image) -> np.ndarray:
    """Absolute differences of two pictures in levels, (H, W) or (H, W, C)."""
    with Image.open(path) as other:
        assert (other.mode, other.size) == (picture.mode, picture.size), path.name
        return np.abs(np.asarray(other).astype(int) - np.asarray(picture).astype(int))


def main() -> None:
    """Try everything; a failure ends the program."""
    if Path(regrain.__file__).is_relative_to(ROOT / "src"):
        sys.exit("this is the checkout: run it by the Python where the wheel is installed, with -I")
    print(f"regrain {regrain.__version__}, Python {sys.version.split()[0]}, {regrain.__file__}")
    call("--version")
    with tempfile.TemporaryDirectory() as name:
        try_methods(Path(name))
    try_golden()
    try_share()


if __name__ == "__main__":
    main()
