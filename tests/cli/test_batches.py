"""Many pictures by the command line: the real codec on small pictures, killed, refused, and with a full disk."""

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

import regrain
from batch.pictures import EXIF_TURNED, make_tree, write_picture
from regrain import bitstream, image, output
from regrain.batch import processes, ray_data
from regrain.batch.work import Outcome
from regrain.cli import main

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_tree(Path("in"))
    return tmp_path


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def fails(capsys, arguments, code, *words):
    """One line, the exit code, and nothing written."""
    before = files(".")
    assert main(arguments) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("regrain: error: ")
    assert err.count("\n") == 1
    for word in words:
        assert word in err
    assert files(".") == before


def test_a_tree_there_and_back(tree, capsys):
    assert main(["encode", "in", "rgn", "-q", "30", "--jobs", "1"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    sizes = [sum(map(len, files(folder).values())) for folder in ("in", "rgn")]
    assert err.startswith(f"in -> rgn: 5 pictures, {sizes[0]:,} bytes -> {sizes[1]:,}, {sizes[0] / sizes[1]:.1f}:1, ")
    for name, data in files("rgn").items():
        assert data == regrain.Encoder(quality=30).encode(f"in/{name[:-4]}.png")
    assert main(["decode", "rgn", "back/", "--realism", "0", "--format", "WebP", "--jobs", "1", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["pictures"], facts["done"], facts["failed"], facts["engine"]) == (5, 5, 0, "processes")
    assert facts["bytes"] == sum(map(len, files("back").values()))
    assert set(files("back")) == {f"{i // 2}/{i}.webp" for i in range(5)}
    first = image.read("back/0/0.webp").pixels
    assert (first == regrain.Decoder(realism=0).decode("rgn/0/0.rgn")).all()


def test_two_processes_write_what_one_writes(tree):
    assert main(["encode", "in", "one", "--jobs", "1", "--quiet"]) == 0
    assert main(["encode", "in", "two", "--jobs", "2", "--quiet"]) == 0
    assert files("one") == files("two")


def test_a_dry_run_says_what_would_be_and_writes_nothing(tree, capsys):
    assert main(["encode", "in/*/*.png", "out/", "--dry-run"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [f"in/{i // 2}/{i}.png -> out/{i // 2}/{i}.rgn" for i in range(5)]
    assert err.startswith("5 pictures, ")
    assert not Path("out").exists()
    assert main(["encode", "in", "out/", "--dry-run", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["tasks"]) == 5


def test_a_file_that_needs_other_weights_fails_alone(tree, capsys):
    assert main(["encode", "in", "rgn", "-q", "30", "--jobs", "1", "--quiet"]) == 0
    first = min(Path("rgn").rglob("*.rgn"))
    stream = bitstream.read(first.read_bytes())
    first.write_bytes(bitstream.write(replace(stream, header=replace(stream.header, fingerprint=b"abcd"))))
    assert main(["decode", "rgn", "back", "--realism", "0", "--jobs", "1"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith(f"regrain: error: {first}: ") and b"abcd".hex() in line for line in lines)
    assert lines[-1] == "regrain: error: 1 of 5 failed"
    assert len(files("back")) == 4


def test_a_picture_that_fails_is_a_line_and_the_exit_status(tree, capsys):
    Path("in/1/2.png").write_bytes(b"broken")
    os.symlink("round.png", "in/round.png")
    assert main(["encode", "in", "out", "--jobs", "1", "--manifest", "log.jsonl"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert "regrain: error: in/1/2.png: not a picture of a known format" in lines
    assert any(line.startswith("regrain: error: in/round.png: cannot be read: Too many levels") for line in lines)
    assert lines[-1] == "regrain: error: 2 of 6 failed"
    assert "4 pictures" in lines[-2]
    assert ", 2 failed" in lines[-2]
    assert len(files("out")) == 4
    entries = [json.loads(line) for line in Path("log.jsonl").read_text().splitlines()]
    assert [entry["error"] for entry in entries if entry["source"] == "in/1/2.png"] == [
        "not a picture of a known format"
    ]
    for entry in entries:
        if not entry["error"]:
            data = Path(entry["target"]).read_bytes()
            assert (entry["bytes"], entry["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
            assert entry["input_bytes"] == os.path.getsize(entry["source"])
            assert entry["seconds"] >= 0


def test_a_run_goes_on_and_its_manifest_has_every_picture(tree, capsys):
    assert main(["encode", "in/0", "out/0", "--jobs", "1", "--quiet"]) == 0
    with open("log.jsonl", "w", encoding="ascii") as file:
        file.write('{"source": "in/0/0.png", "target": "out/0/0.rgn", "error": ""}\n{"source": "in/')
    before = files("out")
    assert main(["encode", "in", "out", "--jobs", "1", "--skip-existing", "--manifest", "log.jsonl"]) == 0
    assert "3 pictures" in (line := capsys.readouterr().err)
    assert "2 skipped" in line
    assert files("out").items() >= before.items()
    entries = [json.loads(line) for line in Path("log.jsonl").read_text().splitlines()]
    assert [entry["target"] for entry in entries] == [f"out/{i // 2}/{i}.rgn" for i in range(5)]
    assert entries[1]["sha256"] == hashlib.sha256(before["0/1.rgn"]).hexdigest()
    Path("log.jsonl").write_text("words\n")
    fails(capsys, ["encode", "in", "out", "--skip-existing", "--manifest", "log.jsonl"], 2, "no manifest (line 1)")


REFUSED = [
    (["in", "out", "--skip-existing", "--overwrite"], 2, ["at most one of them"]),
    (["in", "out", "--ray-address", "here:1"], 2, ["--ray-address is for --engine ray"]),
    (["in/0/0.png", "x.rgn", "--jobs", "2"], 2, ["--jobs is for many pictures"]),
    (["in/0/0.png", "x.rgn", "--dry-run"], 2, ["--dry-run is for many pictures"]),
    (["in", "-"], 3, ["in is a folder or a pattern: name a folder"]),
    (["-", "in", "out/"], 2, ["stdin is no input among several"]),
    (["in", "out", "-q", "101"], 2, ["quality is 101"]),
    (["in", "out", "--jobs", "0"], 2, ["--jobs: '0' is not allowed"]),
    (["in", "out", "--keep", "gps"], 2, ["'gps' is not allowed; exif, icc, xmp"]),
    (["in", "out", "--keep", "icc", "--strip"], 2, ["not allowed with"]),
    (["in", "in/0/0.png"], 7, ["is no folder"]),
    (["empty", "out"], 3, ["empty: there is no picture"]),
    (["nothing", "in", "out/"], 3, ["nothing: No such file"]),
    (["twice", "out"], 2, ["twice/0.png would both become out/0.rgn"]),
]


@pytest.mark.parametrize(("arguments", "code", "words"), REFUSED)
def test_what_is_refused_before_anything_is_written(tree, capsys, arguments, code, words):
    Path("empty").mkdir()
    write_picture(Path("twice/0.jpg"))
    write_picture(Path("twice/0.png"))
    fails(capsys, ["encode", *arguments], code, *words)


def test_maps_are_of_one_picture(tree, capsys):
    fails(capsys, ["decode", "in", "out", "--map", "m.png"], 2, "--map is for one picture")
    fails(capsys, ["decode", "in", "out", "--realism-map", "m.png"], 2, "--realism-map is for one picture")


def test_a_disk_that_is_full_ends_the_run_and_harms_nothing(tree, capsys, monkeypatch):
    written, real = [], output._replace

    def full(data, path, *rest):
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        real(data, path, *rest)

    monkeypatch.setattr(output, "_replace", full)
    assert main(["encode", "in", "out", "--jobs", "1"]) == 7
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.startswith(
        "regrain: error: out/1/2.rgn: cannot be written: No space left on device; 2 more are not done"
    )
    assert sorted(files("out")) == ["0/0.rgn", "0/1.rgn"]
    monkeypatch.setattr(output, "_replace", real)
    assert main(["encode", "in", "out", "--jobs", "1", "--skip-existing", "--quiet"]) == 0
    assert len(files("out")) == 5


def test_a_file_in_the_way_of_a_folder_costs_its_pictures_alone(tree, capsys):
    Path("out").mkdir()
    Path("out/1").write_text("in the way")
    assert main(["encode", "in", "out", "--jobs", "1"]) == 1
    assert "in/1/3.png: out/1/3.rgn: its folder cannot be made: File exists" in capsys.readouterr().err
    assert len(files("out")) == 4


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_in_the_way_of_a_picture_costs_that_alone(tree, capsys, make):
    Path("out/1").mkdir(parents=True)
    make("out/1/3.rgn")
    assert main(["encode", "in", "out", "--jobs", "1", "--skip-existing"]) == 1
    assert "in/1/3.png: out/1/3.rgn: cannot be written: what has this name is no file\n" in capsys.readouterr().err
    assert len(files("out")) == 4


def test_a_file_that_is_no_manifest_keeps_its_bytes(tree, capsys):
    Path("notes.txt").write_text("no end of a line")
    fails(capsys, ["encode", "in", "out", "--jobs", "1", "--manifest", "notes.txt"], 2, "exists and is no manifest")


def test_killed_again_and_again_it_ends_with_the_files_of_an_unbroken_run(tree):
    make_tree(Path("many"), 24)
    command = [sys.executable, "-m", "regrain", "encode", "many", "out", "--jobs", "2", "--skip-existing", "--quiet"]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    for count in (3, 9, 15):
        with subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL) as run:
            while len(list(Path(".").glob("out/*/*.rgn"))) < count and run.poll() is None:
                time.sleep(0.01)
            run.send_signal(signal.SIGKILL)
    assert subprocess.run(command, env=env, check=True).returncode == 0
    assert main(["encode", "many", "unbroken", "--jobs", "1", "--quiet"]) == 0
    assert {name: data for name, data in files("out").items() if name.endswith(".rgn")} == files("unbroken")


def test_ctrl_c_is_one_line_and_leaves_whole_files(tree):
    make_tree(Path("many"), 200)
    command = [sys.executable, "-m", "regrain", "encode", "many", "out", "--jobs", "2"]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as run:
        while len(list(Path(".").glob("out/*/*.rgn"))) < 3 and run.poll() is None:
            time.sleep(0.01)
        run.send_signal(signal.SIGINT)
        assert run.stderr.read() == "regrain: error: interrupted\n"
    assert run.returncode == 130
    assert {Path(name).suffix for name in files("out")} == {".rgn"}
    for data in files("out").values():
        regrain.inspect(data)


def test_old_temporary_files_go_and_young_ones_stay(tree):
    Path("out/0").mkdir(parents=True)
    old, young = (Path(f"out/0/.regrain-{digit * 16}.tmp") for digit in "ab")
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    assert main(["encode", "in", "out", "--jobs", "1", "--quiet"]) == 0
    assert not old.exists()
    assert young.exists()


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize(
    ("flags", "kept"),
    [
        ([], {"exif", "xmp"}),
        (["--strip"], {"exif"}),
        (["--keep", "xmp"], {"exif", "xmp"}),
        (["--keep", "none"], {"exif"}),
    ],
)
def test_metadata_as_told_and_times_kept(tree, many, flags, kept):
    """The picture lies on its side, which stays in a small block of EXIF whatever is left out."""
    source = write_picture(Path("photos/a.png"), exif=EXIF_TURNED, xmp=b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>")
    os.utime(source, (1_000_000_000, 1_000_000_000.5))
    names = ["photos", "out"] if many else ["photos/a.png", "out/a.rgn"]
    Path("out").mkdir()
    assert main(["encode", *names, "--quiet", "--preserve-times", *flags]) == 0
    assert os.stat("out/a.rgn").st_mtime == 1_000_000_000.5
    sections = {section["name"] for section in regrain.inspect("out/a.rgn").sections}
    assert sections & {"exif", "icc", "xmp"} == kept
    names = ["out", "back"] if many else ["out/a.rgn", "back/a.png"]
    Path("back").mkdir()
    assert main(["decode", *names, "--quiet", "--preserve-times", "--strip"]) == 0
    assert os.stat("back/a.png").st_mtime == 1_000_000_000.5
    with Image.open("back/a.png") as picture:
        assert picture.getexif()[0x0112] == 6
        assert "xmp" not in picture.info


def test_memory_is_shared_among_the_processes_of_this_machine_alone(tree, monkeypatch):
    limits = []

    def run(tasks, work, *_):
        limits.append(work.coder._knobs["max_memory"])
        yield from (Outcome(task.source, task.target) for task in tasks)

    monkeypatch.setattr("regrain.memory.allowance", lambda: 40 * 10**9)
    monkeypatch.setattr(processes, "run", run)
    monkeypatch.setattr(ray_data, "run", run)
    for flags in ([], ["--engine", "ray"], ["--engine", "ray", "--max-memory", "3G"], ["--max-memory", "3G"]):
        assert main(["encode", "in", "out", "--jobs", "4", "--quiet", *flags]) == 0
    assert limits == [10 * 10**9, None, 3 * 10**9, 3 * 10**9]
