"""Bytes to a standard stream are written whole, or fail; words come clean. Streams are those of real processes."""

import io
import os
import signal
import subprocess
import sys
import threading

import pytest

from regrain.cli.terminal import escape, one_line, write_whole

SIZE = 300_000
PUT = f"from regrain.cli.streams import put; put(bytes({SIZE}), '-', overwrite=False)"
SAY = f"from regrain.cli.terminal import say; say('x' * {SIZE - 1})"
UNBUFFERED = os.environ | {"PYTHONUNBUFFERED": "1"}
resource = pytest.importorskip("resource", reason="needs a Unix")


def test_what_a_terminal_obeys_is_escaped():
    assert escape("plain, ünïcode 写真 \N{CAMERA}") == "plain, ünïcode 写真 \N{CAMERA}"
    assert escape("a\nb\rc\td\x1b[2Je\x9bf\u202eg\udcffh\0") == r"a\nb\rc\td\x1b[2Je\x9bf\u202eg\udcffh\x00"


def test_a_very_long_line_keeps_its_ends():
    assert one_line("short\n") == r"short\n"
    line = one_line("first " + "\x1b" * 10**6 + " last")
    assert line.startswith(r"first \x1b")
    assert line.endswith(r"\x1b last")
    assert len(line) < 4000


class Short(io.RawIOBase):
    """Takes seven bytes at a time."""

    def __init__(self):
        super().__init__()
        self.taken = b""

    def write(self, data):
        self.taken += bytes(data[:7])
        return min(7, len(data))


def test_a_stream_that_takes_a_part_gets_the_rest():
    stream = Short()
    write_whole(stream, bytes(range(100)))
    assert stream.taken == bytes(range(100))


@pytest.mark.parametrize("buffering", [0, -1])
def test_a_pipe_that_must_not_block_is_waited_for(buffering):
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    got = io.BytesIO()

    def drain():
        while piece := os.read(reader, 10_000):
            got.write(piece)

    thread = threading.Thread(target=drain)
    thread.start()
    with open(writer, "wb", buffering=buffering) as stream:
        write_whole(stream, bytes(SIZE))
    thread.join()
    os.close(reader)
    assert got.getbuffer().nbytes == SIZE


@pytest.mark.parametrize("code", [PUT, SAY])
def test_an_unbuffered_stdout_gets_all(code):
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, env=UNBUFFERED, check=True)
    assert len(done.stdout) == SIZE


@pytest.mark.parametrize("code", [PUT, SAY])
def test_an_unbuffered_stdout_on_a_disk_that_fills_up_is_an_error(code, tmp_path):
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({SIZE // 2}, {SIZE // 2})); "
    with open(tmp_path / "out", "wb") as out:
        command = [sys.executable, "-c", limit + code]
        done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True, env=UNBUFFERED, check=False)
    assert done.returncode == 1
    assert "OutputError" in done.stderr
    assert "File too large" in done.stderr


@pytest.mark.parametrize("code", [PUT, SAY])
def test_an_unbuffered_stdout_that_nobody_reads_to_the_end_is_a_closed_pipe(code):
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=UNBUFFERED) as process:
        process.stdout.read(100)
        process.stdout.close()
        assert b"BrokenPipeError" in process.stderr.read()
    assert process.returncode != 0
    assert process.returncode != -signal.SIGPIPE
