"""Ray Data on a cluster of two workers that the test starts: the same files, and nothing lost where one is killed."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from batch.pictures import make_tree
from regrain import Encoder
from regrain.batch import ray_data
from regrain.batch.work import Work
from regrain.cli import main

ROOT = Path(__file__).resolve().parents[2]
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray: pip install 'regrain[ray]'")
ENV = {**os.environ, "PYTHONPATH": str(ROOT / "src")}


def test_without_ray_one_line_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "ray", None)
    make_tree(Path("in"), 1)
    assert main(["encode", "in", "out", "--engine", "ray"]) == 2
    words = "--engine ray needs ray; install it with: pip install 'regrain[ray]'"
    assert capsys.readouterr().err == f"regrain: error: {words}\n"
    assert not Path("out").exists()


def test_with_nothing_to_do_no_cluster_is_started(monkeypatch):
    monkeypatch.setattr(ray_data, "check_installed", lambda *_: None)
    monkeypatch.setattr(ray_data, "_connect", lambda *_: pytest.fail("a cluster was asked for"))
    assert list(ray_data.run([], Work(Encoder()))) == []


@needs_ray
@pytest.mark.slow
def test_a_worker_that_is_killed_loses_nothing_and_repeats_little(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_tree(Path("in"), 60, side=120)
    command = [sys.executable, "-m", "regrain", "encode", "in", "out", "--engine", "ray", "--jobs", "2"]
    log = Path("log.jsonl")
    with subprocess.Popen([*command, "--manifest", "log.jsonl"], env=ENV, stderr=subprocess.PIPE, text=True) as run:
        while (not log.exists() or log.read_bytes().count(b"\n") < 4) and run.poll() is None:
            time.sleep(0.02)
        assert run.poll() is None, run.stderr.read()
        first = json.loads(log.read_text().splitlines()[0])
        os.kill(int(first["worker"].rpartition("-")[2]), signal.SIGKILL)
        said = run.stderr.read()
    assert run.returncode == 0, said
    assert "60 pictures" in said
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(lines) == len({line["target"] for line in lines}) == 60
    assert not [line for line in lines if line["error"]]
    assert main(["encode", "in", "alone", "--jobs", "1", "--quiet"]) == 0
    for path in Path("alone").rglob("*.rgn"):
        assert Path("out", *path.parts[1:]).read_bytes() == path.read_bytes()


_PARQUET = """
import logging, ray, regrain, sys
ray.init(num_cpus=2, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
ray.data.DataContext.get_current().enable_progress_bars = False
photos = ray.data.read_binary_files(sys.argv[1], include_paths=True)
files = photos.map_batches(
    regrain.Encoder, fn_constructor_kwargs={"column": "bytes", "errors": "column"},
    batch_size=2, compute=ray.data.ActorPoolStrategy(size=1),
)
files.drop_columns(["bytes"]).write_parquet(sys.argv[2])
rows = sorted(ray.data.read_parquet(sys.argv[2]).take_all(), key=lambda row: row["path"])
print([(row["rgn"] and row["rgn"][:4], row["error"]) for row in rows])
"""


@needs_ray
@pytest.mark.slow
def test_encoder_is_a_map_of_ray_data_from_files_to_parquet(tmp_path):
    make_tree(tmp_path / "in", 3)
    (tmp_path / "in/1/2.png").write_bytes(b"broken")
    command = [sys.executable, "-c", _PARQUET, str(tmp_path / "in"), str(tmp_path / "packed")]
    run = subprocess.run(command, env=ENV, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    rows = eval(run.stdout.strip().splitlines()[-1])
    assert rows[:2] == [(b"\x9fRGN", None)] * 2
    assert rows[2] == (None, "ImageError: picture: not a picture of a known format")
