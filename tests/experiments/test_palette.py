"""The palette codec's measured alternatives: a plain loop dithers alike; and its tables for other weights."""

import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.palette import alternatives
from experiments.palette.alternatives import nearest, serpentine
from palette.test_dither import case, loop


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (12, 17)])
def test_rows_to_and_fro_are_those_of_a_plain_loop(size):
    latents, palette = case(*size)
    for strength in (0.5, 1.0):
        expected = loop(latents, palette, strength, turning=True)[0]
        assert (serpentine(latents, palette, strength) == expected).all()
    assert (serpentine(latents, palette, 0) == nearest(latents, palette)).all()


def test_tables_of_a_stable_diffusion_in_a_folder(tmp_path, monkeypatch):
    """Of invented weights: the script runs to its end, and reads the folder that it is given."""
    pytest.importorskip("diffusers")
    from palette import stable

    monkeypatch.syspath_prepend(str(Path(alternatives.__file__).parent))
    for name in ("alternatives", "page"):
        monkeypatch.setitem(sys.modules, name, import_module(f"experiments.palette.{name}"))
    measure = import_module("experiments.palette.measure")
    for name, value in {"SIDE": 64, "COLOURS": (16,), "STEPS": (1, 1)}.items():
        monkeypatch.setattr(measure, name, value)
    monkeypatch.setattr(measure, "load_metrics", lambda files: {"lpips_alex": lambda one, other: 0.5})
    (tmp_path / "kodak").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "kodak" / "photo.png")
    outs = []
    for kind, parts in (("whole", stable.made("unconditional")), ("alone", stable.made("unconditional")[:1])):
        place = stable.lay_out(tmp_path / kind, *parts)
        out = tmp_path / f"tables of {kind}"
        folders = [tmp_path / "kodak", tmp_path, tmp_path / "none"]
        measure.main([*map(str, folders), "coding", "repair", "--model", str(place), "--out", str(out)])
        outs.append((out / "tables.md").read_text())
    whole, alone = outs
    assert whole.startswith("Latents of whole as they are: PSNR ")
    assert "| 16 | raster |" in whole
    assert "| 16 | raster |" in alone
    assert "| latent | 0.5 | 1 |" in whole
    assert "| latent | 0.5 | 1 |" not in alone
    with pytest.raises(SystemExit):
        measure.main([str(tmp_path)] * 3 + ["--model", str(place)])
