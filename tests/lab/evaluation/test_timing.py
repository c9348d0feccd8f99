"""The timing pass: everybody in turns, warm and cold, once; what fails has no seconds."""

import os
import pickle
import signal
import time
from dataclasses import dataclass, replace

import numpy as np
import pytest
from PIL import Image

from lab.evaluation.invented import JPEG, OURS, WEBP
from regrain.errors import LimitError, UsageError
from regrain_lab.evaluation import machine, tables, timing
from regrain_lab.evaluation.codecs import AS_STORED, BenchmarkCodec, DecodeSetting
from regrain_lab.evaluation.table import Row, Timing, read
from regrain_lab.evaluation.timing import latest, reference_of, timing_of

WAYS = (DecodeSetting(0, 4, 0.0), DecodeSetting(0, 1, 0.0), DecodeSetting(0, 1, 1.0))
SETTINGS = (10, 30, 50)
STAGES: dict[str, float] = {}


def encode(pixels: np.ndarray, setting: float) -> bytes:
    time.sleep(0.005)
    return bytes(8)


def encode_in_stages(pixels: np.ndarray, setting: float) -> bytes:
    STAGES["analyse"] = 0.004
    return encode(pixels, setting)


def decode(data: bytes, setting: DecodeSetting) -> np.ndarray:
    time.sleep(0.001 * (setting.steps or 1))
    return np.zeros((4, 4, 3), np.uint8)


def fail(*arguments: object) -> bytes:
    raise ValueError("it broke")


def die(*arguments: object) -> bytes:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


@dataclass(frozen=True)
class Troupe:
    """A source of codecs that only sleep; a value, so that the process that takes the times can have its own."""

    fingerprint: str = "01020304"
    absent: str = ""

    def single(self, name, setting, decode_settings=(AS_STORED,)):
        if name == self.absent:
            raise UsageError(f"{name} skipped")
        ours = BenchmarkCodec(
            "regrain",
            lambda: "1",
            [setting],
            encode_in_stages,
            decode,
            fingerprint=self.fingerprint,
            stages=STAGES,
            decode_settings=decode_settings,
        )
        work = {"bad": fail, "deadly": die}.get(name, encode)
        return ours if name == "regrain" else BenchmarkCodec(name, lambda: "1", [setting], work, decode)

    def all(self, *names):
        return [
            replace(self.single(name, 0, WAYS if name == "regrain" else (AS_STORED,)), settings=SETTINGS)
            for name in names
        ]


def rows(codecs):
    """A table in which setting s has s/100 bits a pixel, and regrain was decoded in most ways at 30."""
    return [
        Row(
            "a.png",
            setting=f"{setting:g}",
            bpp=setting / 100,
            width=8,
            height=8,
            **codec.series(way)._asdict(),
        )
        for codec in codecs
        for setting in SETTINGS
        for way in (codec.decode_settings if setting == 30 else codec.decode_settings[:1])
    ]


@pytest.fixture
def files(tmp_path):
    for name in "abcd":
        Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(tmp_path / f"{name}.png")
    return sorted(tmp_path.glob("*.png"))


def take(files, troupe, *names, table=None):
    everybody = troupe.all(*names)
    return timing.measure(everybody, table or rows(everybody), files, troupe, files[0].parent / "timings.csv")


def test_everybody_has_times_warm_and_cold(files):
    found = take(files, Troupe(), "regrain", "WebP", "bad")
    assert [one.series for one in read(Timing, files[0].parent / "timings.csv")] == [one.series for one in found]
    by_way = {(one.codec, one.steps): one for one in found}
    assert list(by_way) == [("regrain", 1), ("regrain", 4), ("WebP", None), ("bad", None)]
    assert {one.run for one in found} == {1}
    webp, ours, slow = by_way["WebP", None], by_way["regrain", 1], by_way["regrain", 4]
    assert (webp.setting, ours.setting, ours.realism) == ("30", "30", 1.0)
    assert (webp.pictures, webp.pixels, webp.machine) == (3, 48, machine.describe())
    assert webp.encode_s >= 0.005
    assert ours.analyse_s == pytest.approx(0.004)
    assert ours.analyse_s + ours.code_s == pytest.approx(ours.encode_s)
    assert (webp.analyse_s, ours.symbols_s) == (None, None)
    assert slow.decode_s > ours.decode_s >= 0.001
    assert webp.cold_encode_s > 10 * webp.encode_s
    assert ours.cold_decode_s > 0.01
    assert slow.cold_decode_s is None
    bad = by_way["bad", None]
    assert [bad.encode_s, bad.decode_s, bad.cold_encode_s, bad.cold_decode_s] == [None] * 4


def test_what_is_there_is_not_taken_again_and_other_weights_are(files, monkeypatch):
    monkeypatch.setattr(timing, "ROUNDS", 1)
    monkeypatch.setattr(timing, "_measure_cold", lambda source, turns, path, advance: [(1.0, 2.0)] * len(turns))
    first = take(files[:1], Troupe(), "regrain", "WebP", "JPEG")
    assert len(first) == 4
    assert take(files[:1], Troupe(), "JPEG") == read(Timing, files[0].parent / "timings.csv")
    table = rows(Troupe("05060708").all("regrain", "WebP"))
    second = take(files[:1], Troupe("05060708"), "regrain", table=table)
    assert [(one.run, one.codec, one.fingerprint) for one in second[4:]] == [
        (2, "regrain", "05060708"),
        (2, "regrain", "05060708"),
        (2, "WebP", ""),
    ]
    monkeypatch.setattr(machine, "describe", lambda: "another machine")
    assert len(take(files[:1], Troupe("05060708", absent="WebP"), "regrain", table=table)) == 9


def test_a_process_builds_a_codec_once_however_often_its_source_is_sent():
    turn = timing._Turn("JPEG", 30.0)
    assert timing._single(Troupe(), turn) is timing._single(pickle.loads(pickle.dumps(Troupe())), turn)


def test_a_process_that_dies_is_one_line_and_no_table(files):
    with pytest.raises(LimitError, match=r"^the process that takes the times died[^\n]*$"):
        take(files, Troupe(), "deadly")
    assert not (files[0].parent / "timings.csv").exists()


def test_who_has_no_file_in_the_table_is_left_out(files):
    assert take(files, Troupe(), "JPEG", table=[Row("a.png", "other", "1", "", "1", bpp=1.0)]) == []


def test_ratios_stay_in_their_run():
    slow = replace(WEBP, run=2, encode_s=0.2)
    later = replace(OURS, run=2, steps=4)
    every = [JPEG, WEBP, OURS, later, slow]
    assert reference_of(OURS, every) is WEBP
    assert reference_of(later, every) is slow
    assert reference_of(JPEG, [JPEG, OURS]) is JPEG
    assert reference_of(OURS, [OURS]) is None
    assert latest(every) == [JPEG, slow, OURS, later]
    lines = {line[0]: line for line in tables.times(latest(every), every).rows}
    assert lines["regrain steps 1"][3] == "0.4 (4 x)"
    assert lines["regrain steps 4"][3] == "0.4 (2 x)"
    assert lines["WebP"][3] == "0.2 (1 x)"
    assert lines["JPEG"][6] == ""


def test_time_depends_on_steps_and_weights_but_not_on_realism():
    other = OURS.series._replace(realism=0.5)
    assert timing_of(other, [OURS]) is OURS
    assert timing_of(other._replace(steps=4), [OURS]) is None
    assert timing_of(other._replace(fingerprint="00"), [OURS]) is None


def test_stages_are_those_of_codecs_that_have_them():
    assert tables.stages([JPEG]) is None
    (line,) = tables.stages([JPEG, OURS]).rows
    assert line[1:] == ["0.3 (75 %)", "0.1 (25 %)", "0.1 (20 %)", "0.4 (80 %)"]
