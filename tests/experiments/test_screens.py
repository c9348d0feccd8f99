"""The generator of screens, the table of what weights for them gain, and that of what is taken for a screen."""

import tarfile

import numpy as np
import pytest
from PIL import Image

from experiments.screens import contents, generator, measure


@pytest.mark.parametrize("kind", generator.KINDS)
def test_a_screen_is_a_function_of_its_kind_its_seed_and_its_number(kind):
    first, again, other, later = (
        np.asarray(generator.screen(kind, seed, number)) for seed, number in ((1, 0), (1, 0), (2, 0), (1, 1))
    )
    assert first.shape == (480, 640, 3)
    assert first.std() > 5
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, later)


def test_a_folder_has_as_many_pictures_as_were_asked_for(tmp_path):
    generator.main([str(tmp_path), "--count", "3", "--kinds", "code", "table", "--seed", "4"])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "code-4-0000.png", "code-4-0002.png", "table-4-0001.png",
    ]  # fmt: skip


def test_a_row_counts_what_is_taken_for_a_screen(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)).save(tmp_path / "noise.png")
    generator.screen("terminal", 1, 0).save(tmp_path / "terminal.png")
    with tarfile.open(tmp_path / "shard.tar", "w") as shard:
        for name in ("noise.png", "terminal.png"):
            shard.add(tmp_path / name, name)
    for place, every, number in ((tmp_path, 1, 4), (f"{tmp_path}/*.png", 1, 2), (f"{tmp_path}/*.tar", 2, 1)):
        cost = contents.Cost()
        cells = contents.row("some", contents.pictures(str(place), every), cost).split(" | ")
        assert cells[:3] == ["| some", str(number), str(number // 2)]
        assert cost.pixels > number * 96 * 96


def test_the_table_says_who_needs_how_many_bytes():
    """One that needs half the bytes of another at every quality has -50 % against it."""
    rows = []
    for codec, realism, factor in (("AVIF", "", 1.0), ("general", "0", 4.0), ("charts", "0", 2.0)):
        for quality in (10, 20, 30, 40):
            figures = dict.fromkeys(measure.METRICS, str(quality))
            about = {"image": "chart-1-0000.png", "codec": codec, "realism": realism, "quality": str(quality)}
            rows.append({**about, "bpp": str(factor * quality / 100), **figures})
    lines = measure.table(rows).splitlines()
    assert "| drawn | charts | 0 | AVIF | +100 % | +100 % | +100 % |" in lines
    assert "| drawn | charts | 0 | general | -50 % | -50 % | -50 % |" in lines
