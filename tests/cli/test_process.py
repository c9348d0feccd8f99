"""A command as a process: signals, closed descriptors, and what compiled libraries print."""

import argparse
import io
import logging
import os
import signal
import struct
import subprocess
import sys
import time

import pytest
from PIL import Image

from regrain.cli import main, work
from regrain.cli.process import Stop, _one_line_logs, _signals_that_stop
from regrain.image import writing

EARLY = """
import sys
class Interrupted:
    def find_spec(self, name, path=None, target=None):
        if name == "argparse":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
from regrain.cli import main
sys.exit(main(["--version"]))
"""


def test_ctrl_c_while_modules_are_imported_is_one_line():
    done = subprocess.run([sys.executable, "-c", EARLY], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "regrain: error: interrupted\n")


@pytest.mark.parametrize(("number", "code", "word"), [("SIGTERM", 143, "terminated"), ("SIGHUP", 129, "hung up")])
def test_a_signal_while_writing_leaves_nothing_behind(tmp_path, monkeypatch, capsys, number, code, word):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (9, 9)).save("photo.png")

    class Slow(io.FileIO):
        def write(self, data):
            super().write(bytes(data[:10]))
            signal.raise_signal(getattr(signal, number))
            time.sleep(9)

    monkeypatch.setattr("regrain.encode", lambda picture, **_: b"a file")
    monkeypatch.setattr(writing, "open", Slow, raising=False)
    assert main(["encode", "photo.png"]) == code
    assert capsys.readouterr().err == f"regrain: error: {word}\n"
    assert os.listdir() == ["photo.png"]
    assert signal.getsignal(getattr(signal, number)) is signal.SIG_DFL


def test_a_signal_that_somebody_ignores_or_handles_stays_theirs():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with _signals_that_stop():
            signal.raise_signal(signal.SIGTERM)
            with pytest.raises(Stop):
                signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("closed", ["2", "0 1 2"])
def test_no_file_gets_the_number_of_a_closed_stream(tmp_path, closed):
    """What a compiled library prints would go into it."""
    code = f'{{ {sys.executable} -c \'from regrain.cli import main; import os; main(["inspect", "none"]); '
    code += f"assert os.open(os.devnull, 0) > 2' ; }} {' '.join(f'{number}>&-' for number in closed.split())}"
    assert subprocess.run(["sh", "-c", code], cwd=tmp_path, capture_output=True, check=False).returncode == 0


def broken_tiff() -> bytes:
    """A fax page whose strips lie beyond the end of the file: libtiff says so itself, on descriptor 2."""
    file = io.BytesIO()
    Image.effect_noise((64, 64), 80).convert("1").save(file, "TIFF", compression="group4")
    data = bytearray(file.getvalue())
    (at,) = struct.unpack_from("<I", data, 4)
    for place in range(at + 2, at + 2 + 12 * struct.unpack_from("<H", data, at)[0], 12):
        if struct.unpack_from("<H", data, place)[0] == 273:
            struct.pack_into("<HII", data, place + 2, 4, 1, len(data) + 99)
    return bytes(data)


def test_what_libtiff_prints_is_not_seen(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.tif").write_bytes(broken_tiff())
    assert main(["encode", "bad.tif"]) == 3
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("regrain: error: bad.tif: ")
    assert err.count("\n") == 1
    assert main(["encode", "bad.tif", "-v"]) == 3
    assert "Traceback" in capfd.readouterr().err


LIBRARY = """
import os, sys
from regrain.cli.work import silent_libraries
sys.stdout.write("ours before, ")
with silent_libraries(wanted={wanted}):
    print("python")
    os.write(1, b"compiled\\n")
    os.write(2, b"compiled\\n")
    print("ours", file=sys.stderr)
print("ours after")
print("ours after", file=sys.stderr)
"""


@pytest.mark.parametrize("wanted", [True, False])
def test_what_a_library_prints_goes_into_no_picture(wanted):
    command = [sys.executable, "-c", LIBRARY.format(wanted=wanted)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "ours before, ours after\n"
    assert sorted(set(done.stderr.splitlines())) == ([] if wanted else ["compiled"]) + ["ours", "ours after"] + (
        [] if wanted else ["python"]
    )


@pytest.mark.parametrize("verbose", [True, False])
def test_what_is_logged_is_one_clean_line_and_a_librarys_only_where_all_is_said(verbose, capsys):
    with _one_line_logs(verbose):
        for name in ("PIL.TiffImagePlugin", "regrain.palette.diffusers_adapter"):
            record = logging.LogRecord(name, logging.WARNING, "", 1, "%s: odd", ("a\nb",), None)
            logging.lastResort.handle(record)
    line = "regrain: warning: a\\nb: odd\n"
    assert capsys.readouterr().err == (2 * line if verbose else line)
    assert type(logging.lastResort).__module__ == "logging"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "flags", "drawn"),
    [
        (Terminal, {}, True),
        (io.StringIO, {}, False),
        (Terminal, {"quiet": True}, False),
        (Terminal, {"json": True}, False),
    ],
)
def test_a_clock_is_drawn_on_a_terminal_alone(monkeypatch, stream, flags, drawn):
    monkeypatch.setattr(work, "_PATIENCE", 0.02)
    monkeypatch.setattr(work, "_PERIOD", 0.01)
    monkeypatch.setattr(sys, "stderr", screen := stream())
    options = argparse.Namespace(
        **({"quiet": False, "json": False, "verbose": False} | flags), start=time.perf_counter()
    )
    with work.working(options, "encoding a\x1bb.png"):
        time.sleep(0.1)
    said = screen.getvalue()
    assert (r"encoding a\x1bb.png, 0 s" in said) == drawn
    assert said.endswith("\r\x1b[K") == drawn
    assert drawn or not said


def test_what_is_soon_done_draws_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stderr", screen := Terminal())
    options = argparse.Namespace(quiet=False, json=False, verbose=False, start=time.perf_counter())
    with work.working(options, "encoding"):
        pass
    assert screen.getvalue() == ""
