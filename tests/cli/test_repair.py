"""`regrain repair` and the repair of `regrain decode`: what they write and refuse, and that every flag counts."""

import json

import numpy as np
import pytest
from PIL import Image

import regrain
from regrain.cli import main


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a JPEG of a noisy picture, 40 x 56, that has a caption."""
    row, column = np.mgrid[:40, :56] / 9
    waves = 127.5 + 90 * np.stack([np.sin(row), np.cos(column), np.sin(row + column)], 2)
    noisy = (waves + np.random.default_rng(0).normal(0, 12, waves.shape)).clip(0, 255).astype(np.uint8)
    exif = Image.Exif()
    exif[0x010E] = "a caption"
    Image.fromarray(noisy).save(tmp_path / "a.jpg", quality=30, exif=exif)
    Image.fromarray(noisy).save(tmp_path / "b.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pixels(name):
    with Image.open(name) as image:
        return np.asarray(image).astype(int)


def caption(name):
    with Image.open(name) as image:
        return image.getexif().get(0x010E)


def test_a_picture_is_repaired_and_reported(folder, capsys):
    assert main(["repair", "a.jpg", "out.png", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["jpeg"]
    assert 2 < facts["error"] < 40
    assert np.array_equal(pixels("out.png"), np.asarray(regrain.repair("a.jpg")))
    assert caption("out.png") == "a caption"
    assert main(["repair", "b.png"]) == 0
    assert pixels("b.repaired.png").shape == (40, 56, 3)


def test_every_flag_counts(folder):
    names = iter("cdefgh")
    seen = []
    for flags in ([], ["--strength", "0.5"], ["--steps", "3"], ["--steps", "3", "--eta", "1"],
                  ["--steps", "3", "--eta", "1", "--seed", "5"]):  # fmt: skip
        target = f"{next(names)}.png"
        assert main(["repair", "b.png", target, "--quiet", *flags]) == 0
        assert not any(np.array_equal(pixels(target), one) for one in seen), flags
        seen.append(pixels(target))
    assert main(["repair", "a.jpg", "bare.png", "--strip"]) == 0
    assert caption("bare.png") is None


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["a.jpg", "b.png"], 7),
        (["a.jpg", "a.jpg", "--overwrite"], 2),
        (["nothing.jpg"], 3),
        (["a.jpg", "c.rgn"], 2),
        (["a.jpg", "c.png", "--strength", "5"], 2),
        (["a.jpg", "c.png", "--steps", "0"], 2),
        (["a.jpg", "c.png", "--model", "palette"], 2),
        (["a.jpg", "c.png", "--max-memory", "1k"], 6),
        (["a.jpg", "c.png", "--max-pixels", "10"], 6),
    ],
)
def test_what_cannot_be_is_refused_in_a_line_and_leaves_nothing(folder, capsys, arguments, code):
    assert main(["repair", *arguments]) == code
    assert capsys.readouterr().err.count("\n") == 1
    assert not (folder / "c.png").exists()


def test_decode_repairs_what_it_is_asked_to(folder):
    assert main(["encode", "b.png", "b.rgn", "--method", "palette", "-q", "20", "--quiet"]) == 0
    seen = {}
    for flags in ("", "--repair image", "--repair both", "--repair-strength 2", "--repair both --repair-strength 2",
                  "--repair image --steps 8", "--realism 0"):  # fmt: skip
        assert main(["decode", "b.rgn", "back.png", "--overwrite", "--quiet", *flags.split()]) == 0
        seen[flags] = pixels("back.png")
    assert main(["decode", "b.rgn", "back.png", "--overwrite", "--repair", "latent", "--repair-strength", "0.5"]) == 0
    assert np.array_equal(seen.pop(""), pixels("back.png"))
    others = list(seen.values())
    assert not any(np.array_equal(one, other) for number, one in enumerate(others) for other in others[:number])
    assert main(["decode", "b.rgn", "none.png", "--repair", "image", "--repair-strength", "0"]) == 0
    assert np.array_equal(pixels("none.png"), seen["--realism 0"])


def test_only_palette_files_are_repaired_in_decoding(folder, capsys):
    assert main(["encode", "b.png", "b.rgn", "-q", "20", "--quiet"]) == 0
    assert main(["decode", "b.rgn", "c.png", "--repair", "both"]) == 2
    assert main(["decode", "b.rgn", "c.png", "--repair-strength", "1"]) == 2
    assert capsys.readouterr().err.count("palette method") == 2


def test_a_region_of_what_is_repaired_is_that_of_the_whole(folder):
    data = regrain.encode("b.png", method="palette", quality=20)
    whole = np.asarray(regrain.decode(data, repair="both")).astype(int)
    part = np.asarray(regrain.decode(data, repair="both", region=(8, 4, 24, 20))).astype(int)
    assert np.abs(part - whole[4:24, 8:32]).max() <= 1
