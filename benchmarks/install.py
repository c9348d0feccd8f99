"""What an installation without torch takes, and how fast a fresh process of it decodes, beside other decoders.

    python benchmarks/install.py [PICTURE] [--rounds 5] [--json]

The checkout is installed without extras into an empty environment. Then each decoder writes the same 768x512 picture
from its own file, once a round in turn, each time in a fresh process: regrain in that environment (ONNX Runtime),
regrain in this one on torch, and avifdec and djxl where they and their encoders are installed. Figures are medians of
seconds and the largest peak of resident memory; ratios outlive a busy machine, seconds do not.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from machine import Run, describe, run
from pictures import DEMO, tiled

ROOT = Path(__file__).resolve().parents[1]
WIDTH, HEIGHT = 768, 512


def installed(folder: Path) -> tuple[str, int]:
    """An interpreter of an environment in which the codec alone is installed, and the bytes of all its packages."""
    venv.create(folder, with_pip=True, symlinks=True)
    python = str(folder / "bin" / "python")
    subprocess.run([python, "-m", "pip", "-q", "--disable-pip-version-check", "install", str(ROOT)], check=True)
    tools = ("pip", "setuptools", "_distutils_hack")
    (packages,) = folder.glob("lib/python*/site-packages")
    files = (path for path in packages.rglob("*") if path.relative_to(packages).parts[0].partition("-")[0] not in tools)
    return python, sum(path.stat().st_size for path in files if path.is_file())


def commands(python: str, folder: Path, picture: Path) -> dict[str, list[str]]:
    """How each decoder that is here writes the picture from its own file, which is made first."""
    coded = folder / "picture.rgn"
    subprocess.run([python, "-m", "regrain", "encode", str(picture), str(coded), "-q", "28", "--quiet"], check=True)
    target = str(folder / "out.png")
    decode = ["-m", "regrain", "decode", str(coded), target, "--overwrite", "--quiet"]
    decoders = {
        "regrain, ONNX Runtime": [python, *decode],
        "regrain, torch": [sys.executable, *decode, "--device", "cpu"],
    }
    for name, encoder, suffix in (("avifdec", "avifenc", "avif"), ("djxl", "cjxl", "jxl")):
        other = str(folder / f"picture.{suffix}")
        if shutil.which(name) and shutil.which(encoder):
            subprocess.run([encoder, str(picture), other], check=True, capture_output=True)
            decoders[name] = [name, other, target]
    return decoders


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Install, then take turns."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python, size = installed(folder / "environment")
        tiled(options.picture, WIDTH, HEIGHT).save(folder / "picture.png")
        decoders = commands(python, folder, folder / "picture.png")
        rounds: dict[str, list[Run]] = {decoder: [] for decoder in decoders}
        for _ in range(options.rounds):
            for decoder, command in decoders.items():
                rounds[decoder].append(run(*command))
    figures = {
        decoder: {"seconds": statistics.median(took.seconds for took in runs), "peak_mb": _largest(runs) / 1e6}
        for decoder, runs in rounds.items()
    }
    return {"machine": describe(), "installed_mb": size / 1e6, "decoders": figures}


def _largest(runs: Sequence[Run]) -> int:
    return max(took.peak for took in runs)


def report(facts: Mapping[str, Any]) -> str:
    """The figures for people."""
    machine = facts["machine"]
    lines = [
        f"{machine['cpu']}, {machine['threads']} threads; load {machine['load']}",
        f"installed without torch: {facts['installed_mb']:.0f} MB",
    ]
    for decoder, figures in facts["decoders"].items():
        lines.append(f"  {decoder:24} {figures['seconds']:6.2f} s  peak {figures['peak_mb']:5.0f} MB")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", nargs="?", type=Path, default=DEMO)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    facts = measure(options)
    print(json.dumps(facts) if options.json else report(facts))


if __name__ == "__main__":
    main()
