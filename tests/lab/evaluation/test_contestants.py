"""Who takes part: names, settings, and regrain with all its ways to decode."""

import types
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import regrain
from regrain.errors import UsageError
from regrain_lab.evaluation import baselines
from regrain_lab.evaluation.contestants import _USUAL, OURS, PLAIN, Knobs, Plan, baseline, choose, ours
from regrain_lab.evaluation.stopwatch import Stopwatch

NOISE = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)


def model(bias: float = 0.0, recipe: str = "default") -> types.SimpleNamespace:
    denoiser = torch.nn.Linear(2, 2)
    torch.nn.init.zeros_(denoiser.weight)
    torch.nn.init.constant_(denoiser.bias, bias)
    return types.SimpleNamespace(
        fingerprint=b"\1\2\3\4", denoiser=denoiser, device=torch.device("cpu"), config=None, recipe=recipe
    )


def test_no_name_is_everybody():
    found, with_ours, missing = choose([])
    assert with_ours
    assert len(found) + len(missing) == len(baselines.ALL)
    assert {"JPEG", "WebP"} <= {contestant.name for contestant in found}


def test_names_are_read_without_regard_to_case_and_bring_their_settings():
    found, with_ours, missing = choose(["webp", "JPEG=90, 10,10"])
    assert [(one.name, list(one.settings)) for one in found] == [("JPEG", [10, 90]), ("WebP", list(_USUAL["WebP"]))]
    assert not with_ours
    assert missing == []
    assert choose([OURS.upper()])[1]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("JPG", "codec is 'jpg'; allowed are regrain, JPEG, "),
        ("JPEG=ten", "settings of JPEG are 'ten'; allowed are whole numbers from 1 to 100"),
        ("JPEG=0", "settings of JPEG are '0'"),
        ("regrain=50", "named by --qualities"),
    ],
)
def test_other_names_and_settings_are_refused(name, said):
    with pytest.raises(UsageError, match=said):
        choose([name])


def test_the_usual_settings_are_allowed_ones_smallest_files_first():
    assert {codec.name for codec in baselines.ALL} == set(_USUAL)
    for codec in baselines.ALL:
        places = [codec.qualities.index(setting) for setting in _USUAL[codec.name]]
        assert places == sorted(set(places))


def test_a_baseline_keeps_what_it_is():
    contestant = baseline(baselines.JPEG, [10, 90])
    assert (contestant.name, contestant.options) == ("JPEG", baselines.JPEG.settings)
    assert contestant.version == baselines.JPEG.version()
    assert contestant.threads == 1
    assert baseline(baselines.AVIF, [10]).threads >= 1
    assert contestant.series(Knobs()).fingerprint == ""
    data = contestant.encode(NOISE, 90)
    assert data == baselines.JPEG.encode(NOISE, 90)
    assert contestant.decode(data, Knobs()).shape == NOISE.shape


def test_regrain_is_asked_for_each_quality_and_each_way_to_decode(monkeypatch):
    asked = []

    def encode(pixels, **given):
        asked.append((pixels.shape, given))
        return b"file"

    def decode(data, **given):
        asked.append((data, given))
        return Image.new("L", (40, 24), 7)

    monkeypatch.setattr(regrain, "encode", encode)
    monkeypatch.setattr(regrain, "decode", decode)
    weights, way = model(), Knobs(0, 4, 0.5)
    contestant = ours(weights, [60.0, 20.0, 20.0], [way])
    assert list(contestant.settings) == [20.0, 60.0]
    assert contestant.encode(NOISE, 20.0) == b"file"
    decoded = contestant.decode(b"file", way)
    assert (decoded == 7).all()
    assert decoded.shape == (24, 40, 3)
    knobs = {"seed": 0, "steps": 4, "realism": 0.5}
    assert asked == [
        ((24, 40, 3), {"quality": 20.0, "model": weights}),
        (b"file", {**knobs, "model": weights}),
    ]
    assert contestant.series(way)[3:6] == (0, 4, 0.5)


def test_one_alone_is_built_without_the_others(monkeypatch):
    loaded = []
    monkeypatch.setattr(regrain, "load", lambda path, device: loaded.append(path) or model())
    plan = Plan(("JPEG", "regrain"), (20.0, 60.0), model="some")
    alone = plan.only("JPEG", 10.0)
    assert (alone.name, list(alone.settings), loaded) == ("JPEG", [10], [])
    way = Knobs(0, 4, 0.5)
    alone = plan.only(OURS, 60.0, [way])
    assert (list(alone.settings), list(alone.knobs), loaded) == ([60.0], [way], ["some"])
    assert set(alone.stages()) == {"analyse", "symbols"}
    absent = replace(baselines.JPEG, installed=lambda: False)
    monkeypatch.setattr(baselines, "ALL", (absent,))
    with pytest.raises(UsageError, match="JPEG skipped: it needs"):
        plan.only("JPEG", 10.0)


def test_the_stages_lie_on_the_road():
    contestant = ours(regrain.load(), [50.0], [Knobs(0, 1, 1.0)])
    watch = Stopwatch(contestant.stages())
    with watch.watching():
        contestant.decode(contestant.encode(np.zeros((24, 40, 3), np.uint8), 50.0), Knobs(0, 1, 1.0))
    assert watch.calls == {"analyse": 1, "symbols": 1}


def test_another_denoiser_of_the_same_latents_has_another_fingerprint():
    first, again, other = (ours(model(bias), [50.0], [Knobs(0, 1, 1.0)]).fingerprint for bias in (0.0, 0.0, 1.0))
    assert first == again != other
    assert first.startswith("01020304-")


def test_weights_of_another_recipe_say_so():
    (default, other) = (ours(model(recipe=name), [28], PLAIN).series(PLAIN[0]) for name in ("default", "ms-hyper"))
    assert (default.codec, default.options) == ("regrain", "")
    assert (other.codec, other.options) == ("regrain", "ms-hyper")
