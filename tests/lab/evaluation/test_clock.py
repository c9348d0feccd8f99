"""The timing pass: everybody in turns, warm and cold, once; what fails has no seconds."""

import os
import signal
import time
import types
from dataclasses import dataclass, replace

import numpy as np
import pytest
from PIL import Image

from regrain.errors import LimitError, UsageError
from regrain_lab.evaluation import clock, machine, timings
from regrain_lab.evaluation.contestants import PLAIN, Contestant, Knobs
from regrain_lab.evaluation.rows import Row

WAYS = (Knobs(0, 4, 0.0), Knobs(0, 1, 0.0), Knobs(0, 1, 1.0))
SETTINGS = (10, 30, 50)
PLACE = types.SimpleNamespace(look=lambda: time.sleep(0.004))


def encode(pixels: np.ndarray, setting: float) -> bytes:
    time.sleep(0.005)
    return bytes(8)


def encode_in_stages(pixels: np.ndarray, setting: float) -> bytes:
    PLACE.look()
    return encode(pixels, setting)


def decode(data: bytes, knobs: Knobs) -> np.ndarray:
    time.sleep(0.001 * (knobs.steps or 1))
    return np.zeros((4, 4, 3), np.uint8)


def fail(*arguments: object) -> bytes:
    raise ValueError("it broke")


def die(*arguments: object) -> bytes:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


@dataclass(frozen=True)
class Troupe:
    """A cast of codecs that only sleep; a value, so that the process that takes the times can have its own."""

    fingerprint: str = "01020304"
    absent: str = ""

    def only(self, name, setting, knobs=PLAIN):
        if name == self.absent:
            raise UsageError(f"{name} skipped")
        ours = Contestant(
            "regrain",
            "1",
            [setting],
            encode_in_stages,
            decode,
            fingerprint=self.fingerprint,
            knobs=knobs,
            stages=lambda: {"analyse": [(PLACE, "look")]},
        )
        work = {"bad": fail, "deadly": die}.get(name, encode)
        return ours if name == "regrain" else Contestant(name, "1", [setting], work, decode)

    def all(self, *names):
        return [replace(self.only(name, 0, WAYS if name == "regrain" else PLAIN), settings=SETTINGS) for name in names]


def rows(contestants):
    """A table in which setting s has s/100 bits a pixel, and regrain was decoded in most ways at 30."""
    return [
        Row("a.png", setting=f"{setting:g}", bpp=setting / 100, width=8, height=8, **one.series(knobs)._asdict())
        for one in contestants
        for setting in SETTINGS
        for knobs in (one.knobs if setting == 30 else one.knobs[:1])
    ]


@pytest.fixture
def files(tmp_path):
    for name in "abcd":
        Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(tmp_path / f"{name}.png")
    return sorted(tmp_path.glob("*.png"))


def take(files, troupe, *names, table=None):
    everybody = troupe.all(*names)
    return clock.take(everybody, table or rows(everybody), files, troupe, files[0].parent / "timings.csv")


def test_everybody_has_times_warm_and_cold(files):
    found = take(files, Troupe(), "regrain", "WebP", "bad")
    assert [one.series for one in timings.read(files[0].parent / "timings.csv")] == [one.series for one in found]
    by_way = {(one.codec, one.steps): one for one in found}
    assert list(by_way) == [("regrain", 1), ("regrain", 4), ("WebP", None), ("bad", None)]
    assert {one.run for one in found} == {1}
    webp, ours, slow = by_way["WebP", None], by_way["regrain", 1], by_way["regrain", 4]
    assert (webp.setting, ours.setting, ours.realism) == ("30", "30", 1.0)
    assert (webp.pictures, webp.pixels, webp.machine) == (3, 48, machine.describe())
    assert webp.encode_s >= 0.005
    assert slow.decode_s > ours.decode_s >= 0.001
    assert ours.analyse_s >= 0.004
    assert ours.analyse_s + ours.code_s == pytest.approx(ours.encode_s, rel=0.5)
    assert (webp.analyse_s, ours.symbols_s) == (None, None)
    assert webp.cold_encode_s > 10 * webp.encode_s
    assert ours.cold_decode_s > 0.01
    assert slow.cold_decode_s is None
    bad = by_way["bad", None]
    assert [bad.encode_s, bad.decode_s, bad.cold_encode_s, bad.cold_decode_s] == [None] * 4


def test_what_is_there_is_not_taken_again_and_other_weights_are(files, monkeypatch):
    monkeypatch.setattr(clock, "ROUNDS", 1)
    monkeypatch.setattr(clock, "_cold", lambda cast, parts, path, advance: [(1.0, 2.0)] * len(parts))
    first = take(files[:1], Troupe(), "regrain", "WebP", "JPEG")
    assert len(first) == 4
    assert take(files[:1], Troupe(), "JPEG") == timings.read(files[0].parent / "timings.csv")
    table = rows(Troupe("05060708").all("regrain", "WebP"))
    second = take(files[:1], Troupe("05060708"), "regrain", table=table)
    assert [(one.run, one.codec, one.fingerprint) for one in second[4:]] == [
        (2, "regrain", "05060708"),
        (2, "regrain", "05060708"),
        (2, "WebP", ""),
    ]
    monkeypatch.setattr(machine, "describe", lambda: "another machine")
    assert len(take(files[:1], Troupe("05060708", absent="WebP"), "regrain", table=table)) == 9


def test_a_process_that_dies_is_one_line_and_no_table(files):
    with pytest.raises(LimitError, match=r"^the process that takes the times died[^\n]*$"):
        take(files, Troupe(), "deadly")
    assert not (files[0].parent / "timings.csv").exists()


def test_who_has_no_file_in_the_table_is_left_out(files):
    assert take(files, Troupe(), "JPEG", table=[Row("a.png", "other", "1", "", "1", bpp=1.0)]) == []
