"""A file that is made to reach a value: its decoded picture does, and the one a step below does not."""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import regrain
from regrain import codec, image, search
from regrain.cli import main
from regrain.metrics import METRICS, psnr
from regrain.search import BEST, QUALITY_UNIT, lowest_reaching


def pixels_of(height=24, width=32, channels=3):
    rows, columns = np.mgrid[:height, :width]
    planes = [128 + 60 * np.sin(rows / (3 + c)) + 50 * np.cos(columns * (c + 1) / 9) for c in range(channels)]
    return np.stack(planes, -1).astype(np.uint8)


def decoded(data):
    return codec.decode(data).pixels


@pytest.mark.parametrize("goal", [0.0, 1.0, 7999.5, 25_599.5, BEST])
def test_the_lowest_step_that_reaches_is_found_in_few_probes(goal):
    probes = []
    assert lowest_reaching(lambda step: probes.append(step) or step, goal, str) == math.ceil(goal)
    assert len(probes) <= 11


def test_even_values_with_rounding_take_half_the_probes_of_bisection():
    values = 25 + 12 * (np.arange(BEST + 1) / BEST) ** 0.8 + np.random.default_rng(0).normal(0, 5e-4, BEST + 1)
    counts = []
    for goal in np.linspace(25.1, 36.9, 40):
        probes = []
        step = lowest_reaching(lambda step, probes=probes: probes.append(step) or values[step], goal, str)
        assert values[step] >= goal > values[step - 1]
        counts.append(len(probes))
    assert sum(counts) / 40 <= 8.5


@pytest.mark.parametrize("height", [1.0, math.inf])
def test_values_in_flights_of_stairs_take_no_more_than_28_probes(height):
    for goal in range(1, 25_600, 731):
        probes = []
        step = lowest_reaching(lambda step, p=probes, g=goal: p.append(step) or height * (step >= g) or 0.0, 0.5, str)
        assert step == goal
        assert len(probes) <= 28


def test_where_values_do_not_rise_the_step_below_misses_all_the_same():
    values = np.random.default_rng(0).normal(np.arange(BEST + 1) / 1000, 2)
    values[BEST] = 30
    step = lowest_reaching(values.__getitem__, 14.0, str)
    assert values[step] >= 14 > values[step - 1]


@pytest.mark.parametrize(("name", "goal"), [("target_psnr", 28.0), ("target_ssimulacra2", 88.0)])
def test_the_value_is_reached_and_a_step_less_misses_it(name, goal):
    if name == "target_ssimulacra2":
        pytest.importorskip("ssimulacra2", reason="needs regrain[lab]")
    pixels, compute = pixels_of(), METRICS[name].compute
    data = regrain.encode(pixels, tile=64, **{name: goal})
    quality = regrain.inspect(data).quality
    below = regrain.encode(pixels, tile=64, quality=quality - 1 / QUALITY_UNIT)
    assert compute(pixels, decoded(data)) >= goal > compute(pixels, decoded(below))
    assert data == regrain.encode(pixels, tile=64, quality=quality)


def test_a_picture_is_prepared_once(monkeypatch):
    model, prepared = regrain.load(), []
    kind = type(model)
    prepare = kind.prepare
    monkeypatch.setattr(kind, "prepare", lambda *given: prepared.append(1) or prepare(*given))
    regrain.encode(pixels_of(16, 16), target_psnr=25, model=model)
    assert prepared == [1]


def test_grey_pixels_and_hidden_ones_of_a_method_with_palettes():
    """What alpha hides is compared by nobody, and equal payloads are decoded once."""
    pixels = pixels_of(32, 32, 1)
    alpha = np.full((32, 32), 255, np.uint8)
    alpha[8:24, 8:24] = 0
    noisy = np.where(alpha[..., None] == 0, np.random.default_rng(0).integers(0, 256, pixels.shape), pixels)
    tried = []
    data, other = (
        codec.encode(
            image.Picture(one.astype(np.uint8), alpha, image.Metadata(exif=b"MM\0*\0\0\0\x08")),
            method="palette", target_psnr=24, progress=lambda *probe: tried.append(probe),
        )
        for one in (pixels, noisy)
    )  # fmt: skip
    assert data == other
    back = codec.decode(data)
    assert back.metadata.exif
    reached = psnr(pixels, np.where(alpha[..., None] == 0, pixels, back.pixels))
    assert dict(tried)[regrain.inspect(data).quality] == reached >= 24


def test_methods_that_do_not_read_the_quality_decode_equal_payloads_once():
    picture, calls = image.Picture(pixels_of(16, 16)), []
    prepared = regrain.load("palette").prepare(picture.pixels, 64)
    header = codec.bitstream.Header(16, 16, 0, bytes(4), codec.bitstream.Method.PALETTE, tile=64)

    def at(step):
        here = replace(header, quality=step)
        return codec.bitstream.write(codec.bitstream.Stream(here, tuple(prepared.payloads(step))))

    value_at = search.values_of(at, lambda data: calls.append(1) or picture.pixels, picture, METRICS["target_psnr"])
    assert value_at(5) == value_at(6) == math.inf
    assert calls == [1]


def test_what_is_out_of_reach_is_said_and_nothing_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    image.write(image.Picture(pixels_of()), "photo.png")
    best = psnr(pixels_of(), decoded(regrain.encode(pixels_of(), quality=100)))
    assert main(["encode", "photo.png", "--target-psnr", "99"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert f"error: target of PSNR 99.00 dB is out of reach: quality 100 of this picture has PSNR {best:.2f}" in err
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


def test_the_report_says_what_is_reached(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    image.write(image.Picture(pixels_of()), "photo.png")
    assert main(["encode", "photo.png", "a.rgn", "--target-psnr", "27", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    data = (tmp_path / "a.rgn").read_bytes()
    assert facts["psnr"] == psnr(pixels_of(), decoded(data)) >= 27
    assert main(["encode", "photo.png", "b.rgn", "--target-psnr", "27"]) == 0
    assert f", PSNR {facts['psnr']:.2f} dB, " in capsys.readouterr().err


def test_of_a_tree_what_cannot_reach_it_fails_alone(tmp_path, capsys):
    for name, pixels in (("flat.png", np.full((16, 16, 3), 128, np.uint8)), ("photo.png", pixels_of())):
        (tmp_path / "in").mkdir(exist_ok=True)
        image.write(image.Picture(pixels), tmp_path / "in" / name)
    flags = ["--target-psnr", "45", "--jobs", "1"]
    assert main(["encode", str(tmp_path / "in"), str(tmp_path / "out"), *flags]) == 1
    assert "photo.png: target of PSNR 45.00 dB is out of reach" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["flat.rgn"]


def test_the_manifest_of_a_tree_says_what_is_reached(tmp_path):
    for name, level in (("flat.png", 0), ("photo.png", 1)):
        (tmp_path / "in").mkdir(exist_ok=True)
        image.write(image.Picture(pixels_of(16, 16) * level), tmp_path / "in" / name)
    flags = ["--target-psnr", "24", "--jobs", "1", "--manifest", str(tmp_path / "log.jsonl")]
    assert main(["encode", str(tmp_path / "in"), str(tmp_path / "out"), *flags]) == 0
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    for line in lines:
        original = image.read(line["source"]).pixels
        reached = psnr(original, codec.decode(Path(line["target"]).read_bytes()).pixels)
        assert line["psnr"] == (reached if math.isfinite(reached) else None)


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ssimulacra2", None)
    for call in (
        lambda: regrain.encode("no file", target_ssimulacra2=50),
        lambda: regrain.Encoder(target_ssimulacra2=5),
    ):
        with pytest.raises(regrain.UsageError, match=r"^target_ssimulacra2 needs ssimulacra2; .*'regrain\[lab\]'$"):
            call()


def test_a_picture_too_small_for_the_metric_and_memory_too_small_for_the_search():
    pytest.importorskip("ssimulacra2", reason="needs regrain[lab]")
    with pytest.raises(regrain.UsageError, match="a picture of 9 x 7 is too small for SSIMULACRA2"):
        regrain.encode(pixels_of(7, 9), target_ssimulacra2=50)
    pixels = np.zeros((1000, 1000, 3), np.uint8)
    with pytest.raises(regrain.LimitError, match="--max-memory"):
        regrain.encode(pixels, target_ssimulacra2=50, max_memory=900_000_000)
