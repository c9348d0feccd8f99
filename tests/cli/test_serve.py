"""The command `serve`: its line, its signals, what it refuses."""

import json
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from regrain.cli import main


def started(tmp_path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "regrain", "serve", str(tmp_path), "--port", "0", "--json", *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("number", "code", "line"),
    [(signal.SIGINT, 130, "regrain: error: interrupted\n"), (signal.SIGTERM, 143, "regrain: error: terminated\n")],
)
def test_it_serves_until_a_signal(tmp_path, number, code, line):
    pytest.importorskip("uvicorn", reason="needs uvicorn, of regrain[serve]")
    (tmp_path / "a.txt").write_text("a")
    with started(tmp_path) as server:
        assert server.stdout is not None
        facts = json.loads(server.stdout.readline())
        assert facts["folder"] == str(tmp_path)
        assert urllib.request.urlopen(f"{facts['address']}a.txt", timeout=20).read() == b"a"
        server.send_signal(number)
        out, errors = server.communicate(timeout=20)
    assert (server.returncode, out, errors) == (code, "", line)


def test_without_the_extra_it_says_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "starlette", None)
    assert main(["serve", str(tmp_path)]) == 2
    assert "needs starlette; install it with: pip install 'regrain[serve]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["none"], "is no folder"),
        ([".", "--port", "65536"], "a whole number from 0 to 65535"),
        ([".", "--decodes", "0"], "a whole number from 1"),
        ([".", "--timeout", "nan"], "seconds up to"),
        ([".", "--host", "a\0b"], "cannot listen"),
        ([".", "--host", "a*b"], "cannot listen"),
        ([".", "--host", ""], "a host has a name"),
        ([".", "--max-pixels", "0"], "max_pixels is 0"),
    ],
)
def test_what_is_not_allowed_is_one_line(flags, words, capsys, tmp_path, monkeypatch):
    pytest.importorskip("uvicorn", reason="needs uvicorn, of regrain[serve]")
    monkeypatch.chdir(tmp_path)
    assert main(["serve", *flags]) == 2
    line = capsys.readouterr().err
    assert words in line
    assert line.count("\n") == 1


def test_a_port_that_is_taken_is_named(tmp_path, capsys):
    pytest.importorskip("uvicorn", reason="needs uvicorn, of regrain[serve]")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["serve", str(tmp_path), "--host", "127.0.0.1", "--port", str(port)]) == 2
    assert f"cannot listen at 127.0.0.1, port {port}: Address already in use" in capsys.readouterr().err
