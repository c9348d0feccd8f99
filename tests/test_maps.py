"""Realism by place, and the map of what was drawn by chance: through the API, the command line and broken input."""

import itertools
import json

import numpy as np
import pytest
from PIL import Image

import regrain
from regrain import codec
from regrain.cli import main
from regrain.image import Metadata, Picture, draw_map

SHAPE = 48, 64


@pytest.fixture(scope="module")
def data() -> bytes:
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    texture = np.random.default_rng(3).integers(0, 60, (*SHAPE, 3))
    return regrain.encode((texture + (2 * rows + columns)[..., None]).astype(np.uint8), quality=20)


def decoded(data: bytes, **options) -> np.ndarray:
    return np.asarray(regrain.decode(data, **options)).astype(int)


def test_black_stays_faithful_and_white_is_drawn(data):
    mask = np.zeros(SHAPE, np.uint8)
    mask[:, 32:] = 255
    faithful, drawn, both = decoded(data, realism=0), decoded(data, seed=5), decoded(data, seed=5, realism_map=mask)
    assert np.array_equal(both[:, :32], faithful[:, :32])
    assert np.array_equal(both[:, 32:], drawn[:, 32:])
    assert not np.array_equal(faithful[:, 32:], drawn[:, 32:])


def test_grey_lies_between(data):
    faithful, drawn = decoded(data, realism=0), decoded(data)
    both = decoded(data, realism_map=Image.new("L", SHAPE[::-1], 128))
    assert np.abs(both - (faithful * 127 + drawn * 128) / 255).max() <= 0.5


@pytest.mark.parametrize("method", ["palette", "progressive"])
def test_a_method_without_realism_by_place_refuses_a_mask(method):
    file = regrain.encode(np.zeros((*SHAPE, 3), np.uint8), method=method)
    with pytest.raises(regrain.UsageError, match=f"is for the conditional method; the file is {method}$"):
        regrain.decode(file, realism_map=np.zeros(SHAPE, np.uint8))


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        (np.zeros((48, 63), np.uint8), regrain.UsageError, r"^realism_map is 63 x 48; allowed is .*64 x 48$"),
        (b"no picture", regrain.ImageError, "picture"),
        (7, regrain.UsageError, "image is a int"),
    ],
)
def test_a_wrong_mask_is_one_line(data, mask, error, message):
    with pytest.raises(error, match=message):
        regrain.decode(data, realism_map=mask)


def test_the_map_is_the_standard_deviation_over_seeds():
    draw = np.random.default_rng(0)
    pictures = draw.integers(0, 256, (5, 4, 6, 3)).astype(np.uint8)
    told = []
    deviation = codec.deviation_map(lambda seed: pictures[(seed + 2) % 2**64], 5, 2**64 - 2, told.append)
    expected = np.sqrt(pictures.astype(float).var(axis=0, ddof=1).mean(axis=2))
    np.testing.assert_allclose(deviation, expected, rtol=1e-5)
    assert told == [1, 2, 3, 4, 5]
    assert deviation.dtype == np.float32


def test_where_nothing_is_drawn_the_map_is_0_and_says_so(data, caplog):
    assert not regrain.deviation_map(data, seeds=2, realism=0).any()
    assert "all 2 seeds give one picture" in caplog.text


def test_all_seeds_take_the_steps_that_the_first_had_time_for(data, monkeypatch):
    steps, decode = [], codec.decode

    def decode_and_note(file, **knobs):
        steps.append(knobs["steps"])
        return decode(file, **knobs)

    monkeypatch.setattr(codec, "decode", decode_and_note)
    regrain.deviation_map(data, seeds=3, steps="auto", budget=0)
    assert steps[1:] == [1, 1]


def test_latents_are_decoded_once_for_both_pictures_of_a_mask(data, caplog):
    larger = regrain.encode(np.zeros((48, 130, 3), np.uint8), tile=64)
    section = next(one for one in regrain.inspect(larger).sections if one["name"] == "latents")
    end = section["offset"] + section["length"] - 1
    damaged = larger[:end] + bytes([larger[end] ^ 1]) + larger[end + 1 :]
    regrain.decode(damaged, realism_map=np.full((48, 130), 90, np.uint8), partial=True)
    assert len([record for record in caplog.records if "1 of 3 tiles are lost" in record.message]) == 1


def test_the_progressive_method_has_a_map_too():
    file = regrain.encode(np.random.default_rng(1).integers(0, 256, (*SHAPE, 3), np.uint8), method="progressive")
    assert regrain.deviation_map(file, seeds=2, steps=4, eta=1.0).mean() > 1


@pytest.mark.parametrize(("method", "quality"), [("progressive", 30), ("palette", 0)])
def test_the_samplers_of_the_other_methods_differ(method, quality):
    file = regrain.encode(
        np.random.default_rng(1).integers(0, 256, (*SHAPE, 3), np.uint8), method=method, quality=quality
    )
    drawn = {sampler: decoded(file, sampler=sampler, steps=6) for sampler in ("ddim", "ancestral", "second-order")}
    for one, other in itertools.combinations(drawn.values(), 2):
        assert np.abs(one - other).mean() > 0.05


def test_the_command_writes_the_picture_and_its_map(data, tmp_path, capsys):
    file, out, chart = (str(tmp_path / name) for name in ("a.rgn", "a.png", "map.png"))
    (tmp_path / "a.rgn").write_bytes(data)
    assert main(["decode", file, out, "--map", chart, "--map-seeds", "2", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["map"], facts["map_seeds"]) == (chart, 2)
    assert np.array_equal(np.asarray(Image.open(out)), decoded(data, steps=3))
    assert facts["map_mean"] > 0.5
    with Image.open(chart) as drawn:
        assert drawn.width >= SHAPE[1]
        assert drawn.height > SHAPE[0]


@pytest.mark.parametrize("target", ["-", "a.png", "absent/map.png", "map.rgn"])
def test_a_map_that_cannot_be_written_is_refused_before_anything_is(data, tmp_path, monkeypatch, capsys, target):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.rgn").write_bytes(data)
    assert main(["decode", "a.rgn", "a.png", "--map", target]) in (2, 7)
    assert capsys.readouterr().err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.rgn"]


def test_the_colour_bar_ends_at_a_round_figure():
    values = np.linspace(0, 7.3, 200 * 40, dtype=np.float32).reshape(40, 200)
    sheet = draw_map(values, "levels").pixels
    bar = sheet[40:64]
    assert np.array_equal(bar[:, 0], np.tile(sheet[0, 0], (24, 1)))
    assert tuple(bar[0, -1]) == (252, 253, 191)
    assert Picture(sheet).metadata == Metadata()
