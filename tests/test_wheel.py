"""The wheel, built and installed outside the repository, encodes and decodes."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TRIP = """
import regrain, numpy as np
assert regrain.__file__.startswith({site!r}), regrain.__file__
data = regrain.encode(np.full((40, 50, 3), 90, np.uint8), quality=20)
print(len(data), *regrain.decode(data).size)
"""


def run(*command: str, **options) -> str:
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_installed_wheel_makes_the_round_trip(tmp_path):
    run("-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT))
    (wheel,) = tmp_path.glob("*.whl")
    parts = {Path(part.filename): part for part in zipfile.ZipFile(wheel).infolist()}
    weights = {path.name: part.file_size for path, part in parts.items() if path.parent.name == "weights"}
    assert weights.keys() == {path.name for path in (ROOT / "src" / "regrain" / "weights").iterdir()}
    assert sum(weights.values()) < 40e6
    site = tmp_path / "site"
    run("-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(site), str(wheel))
    code = f"import sys; sys.path.insert(0, {str(site)!r})" + TRIP.format(site=str(site))
    assert run("-c", code, cwd=tmp_path).split()[1:] == ["50", "40"]
