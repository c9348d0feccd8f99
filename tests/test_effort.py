"""The knob `effort` from the front door to the file: it turns something, says what, and can be stopped."""

import json
import logging
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import regrain
from regrain import codec, effort, image, memory
from regrain.bitstream import Header, Method
from regrain.cli import main
from regrain.cli.process import Stop
from regrain.metrics import psnr


def pixels_of(height=64, width=80):
    photo = Path(__file__).resolve().parents[1] / "demo" / "photo.png"
    return np.asarray(Image.open(photo))[40 : 40 + height, 60 : 60 + width]


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(effort, "ITERATIONS", (0, 20, *[12] * 8))


def test_no_effort_is_the_file_of_today_and_more_is_another():
    picture, facts = image.Picture(pixels_of()), {}
    plain = codec.encode(picture, quality=30)
    assert plain == codec.encode(picture, quality=30, effort=0, facts=facts)
    assert facts == {}
    harder = codec.encode(picture, quality=30, effort=1, facts=facts)
    assert (facts["effort"], facts["iterations"]) == (1, 20)
    assert facts["gain"] > 0
    assert harder != plain
    assert len(harder) <= len(plain) + 1
    assert codec.decode(harder).pixels.shape == (64, 80, 3)


def test_what_gains_nothing_is_the_plain_file(monkeypatch):
    picture, facts = image.Picture(pixels_of()), {}
    monkeypatch.setattr(effort, "ITERATIONS", (0, 0, 1))
    plain = codec.encode(picture, quality=30)
    assert codec.encode(picture, quality=30, effort=1, facts=facts) == plain
    assert facts == {"effort": 1, "iterations": 0, "gain": 0.0}


def test_it_is_for_the_conditional_method():
    for method in ("palette", "progressive"):
        with pytest.raises(regrain.UsageError, match="effort is 3; allowed is 0 for any method but"):
            regrain.encode(pixels_of(16, 16), effort=3, method=method)
    with pytest.raises(regrain.UsageError, match="effort is 10; allowed is a whole number from 0 to 9"):
        regrain.encode(pixels_of(16, 16), effort=10)


def test_without_torch_the_extra_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    for call in (lambda: regrain.encode("no file", effort=1), lambda: regrain.Encoder(effort=1)):
        with pytest.raises(regrain.UsageError, match=r"^effort needs torch; .*'regrain\[torch\]'$"):
            call()
    assert main(["encode", "photo.png", "--effort", "4"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_ctrl_c_keeps_the_best_so_far_where_somebody_watches(caplog):
    picture, facts = image.Picture(pixels_of()), {}

    def stop(kind):
        def watch(done, iterations, gain):
            if done == 3:
                raise kind

        return watch

    with caplog.at_level(logging.WARNING, "regrain"):
        data = codec.encode(picture, quality=30, effort=2, facts=facts, watch=stop(KeyboardInterrupt))
    assert "stopped after 3 of 12 iterations" in caplog.text
    assert facts["iterations"] == 3
    assert codec.decode(data).pixels.shape == (64, 80, 3)
    with pytest.raises(Stop):
        codec.encode(picture, quality=30, effort=2, watch=stop(Stop))


def test_the_report_of_one_picture_and_the_manifest_of_many(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    image.write(image.Picture(pixels_of()), "in/photo.png")
    assert main(["encode", "in/photo.png", "a.rgn", "--effort", "1", "-q", "30", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["effort"], facts["iterations"]) == (1, 20)
    assert main(["encode", "in/photo.png", "b.rgn", "--effort", "1", "-q", "30"]) == 0
    assert f" effort 1 gained {facts['gain']:.1f} %, " in capsys.readouterr().err
    assert main(["encode", "in", "out", "--effort", "1", "-q", "30", "--jobs", "1", "--manifest", "log.jsonl"]) == 0
    line = json.loads((tmp_path / "log.jsonl").read_text())
    assert {name: line[name] for name in ("effort", "iterations", "gain")} == {
        name: facts[name] for name in ("effort", "iterations", "gain")
    }
    assert (tmp_path / "out/photo.rgn").read_bytes() == (tmp_path / "a.rgn").read_bytes()


def test_a_target_is_kept(monkeypatch):
    pixels, facts = pixels_of(), {}
    data = codec.encode(image.Picture(pixels), target_psnr=27, effort=1, facts=facts)
    assert facts["psnr"] == psnr(pixels, codec.decode(data).pixels) >= 27
    plain = regrain.encode(pixels, target_size=250)
    assert len(regrain.encode(pixels, target_size=250, effort=1)) <= len(plain) + 1 <= 251
    monkeypatch.setattr(codec, "value_of", lambda *_: 1.0)  # whatever effort makes of it misses the target
    kept = codec.encode(image.Picture(pixels), target_psnr=27, effort=1, facts=facts)
    assert kept == codec.encode(image.Picture(pixels), target_psnr=27)
    assert facts["gain"] == 0


def test_memory_is_asked_for_before():
    header = Header(2000, 2000, 0, bytes(4), Method.CONDITIONAL)
    assert memory.effort_bytes(header) > 10**9
    with pytest.raises(regrain.LimitError, match="--max-memory"):
        regrain.encode(np.zeros((2000, 2000, 3), np.uint8), effort=1, max_memory=10**9)
