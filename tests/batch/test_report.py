"""Totals, the manifest and the line of progress."""

import io
import json
import os
import sys
from pathlib import Path

import pytest

from regrain.batch.manifest import Manifest
from regrain.batch.work import Outcome
from regrain.cli.progress import Progress, Totals, describe
from regrain.errors import OutputError, UsageError


def test_totals_count_what_was_done_and_say_it():
    totals = Totals()
    for outcome in (
        Outcome("a", "b", 100, 300),
        Outcome("a", "b", again=True),
        Outcome("a", "b", error="broken"),
    ):
        totals.add(outcome)
    assert (totals.ended, totals.ratio) == (3, 1 / 3)
    assert str(totals) == "1 picture, 100 bytes -> 300, 1:3.0, 1 skipped, 1 failed"
    assert str(Totals()) == "0 pictures, 0 bytes -> 0, 0.0:1"


def test_a_manifest_goes_on_after_its_last_whole_line(tmp_path):
    path = str(tmp_path / "log.jsonl")
    with Manifest(path) as manifest:
        assert manifest.targets == set()
        manifest.add(Outcome("a\udcff", "b", 1, 2, 0.5, "00", worker="here-1"))
        manifest.add(Outcome("c", "d", error="broken"))
    with open(path, "ab") as file:
        file.write(b'{"source": "e", "target": "f", "err')
    with Manifest(path) as manifest:
        assert manifest.targets == {"b"}
        manifest.add(Outcome("c", "d"))
    with Manifest(path) as manifest:
        assert manifest.targets == {"b", "d"}
    lines = [json.loads(line) for line in Path(path).read_text(encoding="ascii").splitlines()]
    assert [line["source"] for line in lines] == ["a\udcff", "c", "c"]
    assert set(lines[0]) == {"source", "target", "input_bytes", "bytes", "seconds", "sha256", "error", "worker"}


FOREIGN = [b"words\n", b"\xff\xfe\n", b"[1]\n", b'{"target": 3}\n', b"no end of a line", b'{"a": 1}', b"[" * 10**5]


@pytest.mark.parametrize("content", [*FOREIGN, b'{"source": "' + b"x" * 2**20])
def test_a_file_that_is_no_manifest_stays_as_it_is(tmp_path, content):
    path = tmp_path / "photo.png"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="exists and is no manifest"):
        Manifest(str(path))
    assert path.read_bytes() == content


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="has no /dev/zero")
def test_a_manifest_without_an_end_is_none():
    with pytest.raises(UsageError, match="exists and is no manifest"):
        Manifest("/dev/zero")


def test_a_manifest_that_cannot_be_written(tmp_path):
    with pytest.raises(OutputError, match="cannot write the manifest"):
        Manifest(str(tmp_path))
    manifest = Manifest(str(tmp_path / "log.jsonl"))
    manifest._file.close()
    manifest._file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115 - the manifest closes it
    with manifest, pytest.raises(OutputError, match=r"cannot write the manifest .*: No space left on device"):
        manifest.add(Outcome("a", "b"))


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_one_line_of_a_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    progress = Progress(40, visible=True)
    for done in range(10):
        progress.draw(Totals(done=done + 1))
    progress.erase()
    said = sys.stderr.getvalue()
    assert said.count("of 40") == 1
    assert said.endswith("\r\x1b[K")
    assert "\n" not in said
    for stream, visible in ((Terminal(), False), (io.StringIO(), True), (None, True)):
        monkeypatch.setattr(sys, "stderr", stream)
        progress = Progress(40, visible=visible)
        progress.draw(Totals(done=1))
        progress.erase()
        assert stream is None or stream.getvalue() == ""


def test_the_line_has_pictures_bytes_and_the_time_left():
    totals = Totals(done=9, skipped=100, failed=1, input_bytes=2_500_000_000_000, bytes=999)
    assert describe(totals, 200, 20.0) == "110 of 200   2.5 TB -> 999 B   0.5 a second   3:00 left"
    assert describe(Totals(done=1), 7202, 1.0).endswith("   2:00:01 left")
    assert describe(Totals(), 5, 0.0) == "0 of 5   0 B -> 0 B"
