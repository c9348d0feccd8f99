"""The knob `effort` from the front door to the file: it turns something, says what, and can be stopped."""

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import regrain
from regrain import codec, effort, image, memory, search
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
    assert f" effort 1 gained {facts['gain']:.1f} % by its own measure, " in capsys.readouterr().err
    assert main(["encode", "in", "out", "--effort", "1", "-q", "30", "--jobs", "1", "--manifest", "log.jsonl"]) == 0
    line = json.loads((tmp_path / "log.jsonl").read_text())
    assert {name: line[name] for name in ("effort", "iterations", "gain")} == {
        name: facts[name] for name in ("effort", "iterations", "gain")
    }
    assert (tmp_path / "out/photo.rgn").read_bytes() == (tmp_path / "a.rgn").read_bytes()


def test_a_target_is_kept(monkeypatch):
    pixels, facts = pixels_of(), {}
    data = codec.encode(image.Picture(pixels), target_psnr=30, effort=1, facts=facts)
    assert facts["psnr"] == psnr(pixels, codec.decode(data).pixels) >= 30
    assert facts["gain"] > 0
    plain = codec.encode(image.Picture(pixels), target_psnr=30)
    assert len(data) < len(plain)
    monkeypatch.setattr(search.Rate, "better", lambda self, first, second, pixels: first)
    assert codec.encode(image.Picture(pixels), target_psnr=30, effort=1, facts=facts) == plain
    assert facts["gain"] == 0


def test_the_quality_of_a_target_is_searched_for_again_where_effort_saved_bytes():
    pixels = pixels_of()
    plain, harder = (regrain.encode(pixels, target_size=600, effort=effort) for effort in (0, 2))
    assert len(harder) <= 600
    assert regrain.inspect(harder).quality > regrain.inspect(plain).quality


@pytest.mark.parametrize(
    ("rate", "sizes", "steps", "kept"),
    [
        ({"target_psnr": 30}, (90, 80), (4, 5), 1),
        ({"target_psnr": 30}, (80, 80), (4, 3), 0),
        ({"target_size": 99}, (90, 95), (4, 4), 1),
        ({"target_bpp": 0.5}, (90, 80), (4, 3), 0),
        ({"quality": 30}, (80, 81), (4, 4), 1),
    ],
)
def test_which_of_two_files_is_kept(rate, sizes, steps, kept):
    pair = [search.Candidate(step, bytes(size), 30.0) for size, step in zip(sizes, steps, strict=True)]
    assert search.Rate(**rate).better(*pair, 4096) is pair[kept]


@pytest.mark.parametrize("error", [regrain.UsageError("out of reach"), KeyboardInterrupt()])
def test_a_second_search_that_fails_or_is_stopped_leaves_the_plain_file(monkeypatch, error):
    picture, facts, right = image.Picture(pixels_of()), {}, search.Rate.candidate

    def failing(self, *arguments):
        if calls := facts.setdefault("calls", []):
            raise error
        calls.append(1)
        return right(self, *arguments)

    monkeypatch.setattr(search.Rate, "candidate", failing)
    kept = codec.encode(picture, target_size=600, effort=1, facts=facts, watch=lambda *_: None)
    if isinstance(error, KeyboardInterrupt):
        facts["calls"].clear()
        with pytest.raises(KeyboardInterrupt):  # nobody watches
            codec.encode(picture, target_size=600, effort=1, facts=facts)
    monkeypatch.undo()
    assert kept == codec.encode(picture, target_size=600)
    assert facts["gain"] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="pseudo-terminals are of Unix")
def test_ctrl_c_of_a_real_process_leaves_a_whole_file_and_a_whole_line(tmp_path):
    image.write(image.Picture(pixels_of(96, 112)), str(tmp_path / "photo.png"))
    import pty

    main_, terminal = pty.openpty()
    command = [sys.executable, "-m", "regrain", "encode", "photo.png", "--effort", "9", "-q", "30"]
    process = subprocess.Popen(command, cwd=tmp_path, stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    text = ""
    while "iteration" not in text:
        text += os.read(main_, 4096).decode()
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(OSError):  # the terminal is closed when nobody writes there any more
        while more := os.read(main_, 4096).decode():
            text += more
    os.close(main_)
    assert process.wait(60) == 0, text
    assert "\r\x1b[Kregrain: warning: stopped after" in text
    assert regrain.decode(tmp_path / "photo.rgn").size == (112, 96)


def test_memory_is_asked_for_before():
    header = Header(2000, 2000, 0, bytes(4), Method.CONDITIONAL)
    assert memory.effort_bytes(header) > 10**9
    with pytest.raises(regrain.LimitError, match="--max-memory"):
        regrain.encode(np.zeros((2000, 2000, 3), np.uint8), effort=1, max_memory=10**9)
