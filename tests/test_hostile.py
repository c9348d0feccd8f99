"""Bad input, outputs and weights, Ctrl-C: the right exit code, one line, nothing half-written, soon and cheaply."""

import contextlib
import dataclasses
import errno
import io
import json
import os
import signal
import struct
import subprocess
import sys
import time
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import regrain
from regrain import bitstream, codec, output, registry
from regrain.cli import main
from regrain.errors import BitstreamError, Corrupt, Truncated

resource = pytest.importorskip("resource", reason="needs a Unix")
GOLDEN = Path(__file__).parent / "golden"
TILES, EXTRAS = ((GOLDEN / f"{name}.rgn").read_bytes() for name in ("plain", "extras"))
HEADER = bitstream.read_header(TILES)
SECONDS = 2
BOMB = 2**26
TIGHT = 2**30
TORCHLESS = """
import resource, sys, time
resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))
from regrain.cli import main
for name in sys.argv[1:]:
    start = time.process_time()
    code = main(["decode", name, "out.png"])
    print(name, code, "torch" in sys.modules, time.process_time() - start < {seconds})
"""


def deflated(size: int, window: int) -> bytes:
    """So many zeros, as zlib (15) or raw (-15)."""
    packer = zlib.compressobj(9, zlib.DEFLATED, window)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(size >> 20)) + packer.flush()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"".join([b"\x89PNG\r\n\x1a\n", head, *chunks, chunk(b"IEND", b"")])


def rewritten(data: bytes, **header: object) -> bytes:
    """The file with another header, its checksum right."""
    start = bitstream.layout(data)[0].length
    return bitstream._pack_header(dataclasses.replace(bitstream.read_header(data), **header)) + data[start:]


def with_alpha(alpha: bytes) -> bytes:
    return bitstream.write(dataclasses.replace(bitstream.read(EXTRAS), alpha=alpha))


REFUSED = {
    "empty": (b"", 4, "starts with nothing"),
    "text": (b"no picture, no file of ours\n" * 9, 4, "no .rgn file"),
    "magic": (b"\x89PNG\r\n\x1a\n" + TILES[8:], 4, "no .rgn file"),
    "newlines": (TILES.replace(b"\r\n", b"\n"), 4, "binary mode"),
    "future": (TILES[:6] + b"\x02" + TILES[7:], 4, "version 2"),
    "truncated": (TILES[:-1], 4, "cut short"),
    "header": (TILES[:15], 4, "inside its header"),
    "longer": (TILES + b"\0", 4, "goes on"),
    "flipped": (TILES[:-9] + bytes([TILES[-9] ^ 16]) + TILES[-8:], 4, "tile 5"),
    "weights": (rewritten(TILES, fingerprint=b"\1\2\3\4"), 5, "01020304"),
    "giant": (rewritten(TILES, width=10**9, height=10**9), 6, "--max-pixels"),
    "needle": (rewritten(TILES, width=1, height=2**31 - 1), 6, "--max-pixels"),
}
NO_PICTURES = {
    "empty": (b"", 3, "empty"),
    "text": (b"no picture" * 30, 3, "not a picture"),
    "regrain": (TILES, 3, "not a picture"),
    "program": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", 3, "program"),
    "cut": (png(40, 30, chunk(b"IDAT", zlib.compress(bytes(30 * 121))))[:60], 3, "cannot be read"),
    "short": (png(40, 30, chunk(b"IDAT", zlib.compress(bytes(300)))), 3, "truncated"),
    "giant": (png(10**9, 10**9, chunk(b"IDAT", zlib.compress(bytes(300)))), 6, "--max-pixels"),
    "large": (png(60000, 60000, chunk(b"IDAT", zlib.compress(bytes(300)))), 6, "--max-pixels"),
    "profile": (png(9, 9, chunk(b"iCCP", b"icc\0\0" + deflated(BOMB, 15))), 3, "cannot be read"),
    "words": (png(9, 9, chunk(b"zTXt", b"words\0\0" + deflated(BOMB, 15))), 3, "cannot be read"),
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The working folder: a picture, a file, an output that must not change, and a folder."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.full((40, 50, 3), 90, np.uint8)).save("photo.png")
    Path("photo.rgn").write_bytes(TILES)
    Path("old").write_bytes(b"what was here before")
    Path("folder").mkdir()
    return tmp_path


@pytest.fixture(scope="module", autouse=True)
def _warm():
    codec.decode(TILES)


def listing() -> dict[str, bytes]:
    return {name: Path(name).read_bytes() if os.path.isfile(name) else b"" for name in sorted(os.listdir())}


@pytest.fixture
def fails(capsys):
    """Run, and hold the form of every failure; the seconds are this thread's, so that other work does not count."""

    def run(arguments, code, *words):
        before, start = listing(), time.thread_time()
        assert main(arguments) == code
        assert time.thread_time() - start < SECONDS
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("regrain: ")
        assert err.count("\n") == 1
        assert err.endswith("\n")
        for word in words:
            assert word in err
        assert listing() == before

    return run


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("arguments", [["decode", "bad", "out.png"], ["decode", "bad", "old.png", "--overwrite"]])
def test_a_bad_file(fails, name, arguments):
    data, code, word = REFUSED[name]
    Path("bad").write_bytes(data)
    Path("old.png").write_bytes(b"the old picture")
    fails(arguments, code, word)


@pytest.mark.parametrize("name", ["empty", "text", "magic", "future", "weights", "giant", "needle", "header"])
def test_what_no_partial_decoding_can_mend(fails, name):
    data, code, word = REFUSED[name]
    Path("bad").write_bytes(data)
    fails(["decode", "bad", "out.png", "--partial"], code, word)


def test_a_claim_is_not_believed_even_where_it_is_allowed(fails):
    Path("bad").write_bytes(REFUSED["giant"][0])
    allowed = ["--max-pixels", str(2**61)]
    fails(["decode", "bad", "out.png", *allowed], 6, "of memory")
    fails(["decode", "bad", "out.png", *allowed, "--partial"], 6)
    fails(["inspect", "bad"], 4)
    Path("bad").write_bytes(rewritten(EXTRAS, width=1, height=90_000_000, tile=32768))
    fails(["decode", "bad", "out.png", "--partial", "--max-memory", "4G"], 6, "--max-memory")


def test_latents_of_a_few_bytes_are_refused_before_they_fill_the_picture_that_they_claim(fails):
    header = dataclasses.replace(HEADER, width=9000, height=9000, tile=32768)
    Path("bad").write_bytes(bitstream.write(bitstream.Stream(header, (bytes(range(1, 7)),))))
    fails(["decode", "bad", "out.png"], 4, "it ends before its symbols do")


def test_any_number_of_sections_is_read_in_time_that_their_bytes_bound():
    count = 30_000
    header = dataclasses.replace(HEADER, width=1, height=64 * count, tile=64)
    whole = bitstream.write(bitstream.Stream(header, (b"garbage",) * count))
    start = time.thread_time()
    assert bitstream.read(whole).tiles == (b"garbage",) * count
    assert len(bitstream.layout(whole)) == count + 1
    assert time.thread_time() - start < SECONDS


def test_tiles_of_garbage_are_no_line_each(fails, capsys):
    count = 20_000
    header = dataclasses.replace(HEADER, width=1, height=64 * count, tile=64)
    Path("bad").write_bytes(bitstream.write(bitstream.Stream(header, (b"garbage",) * count)))
    fails(["decode", "bad", "out.png", "--partial"], 4, "tile 63")


def test_nothing_whole_is_nothing_to_decode(fails):
    Path("bad").write_bytes((GOLDEN / "colour.rgn").read_bytes()[:-1])
    fails(["decode", "bad", "out.png", "--partial"], 4, "none of its 1 tiles")


def test_bad_files_are_refused_without_torch_and_in_little_memory(folder):
    for name, (data, *_) in REFUSED.items():
        Path(name).write_bytes(data)
    code = TORCHLESS.format(limit=TIGHT, seconds=SECONDS)
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, *REFUSED, "folder", "absent"]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    wanted = {name: code for name, (_, code, _) in REFUSED.items()} | {"folder": 4, "absent": 4}
    assert run.stdout.splitlines() == [f"{name} {code} False True" for name, code in wanted.items()]
    assert len(run.stderr.splitlines()) == len(wanted)
    assert not Path("out.png").exists()


def test_every_flipped_byte_is_refused_as_damage():
    for place in range(len(EXTRAS)):
        for flip in (1 << place % 8, 0xFF):
            hurt = bytearray(EXTRAS)
            hurt[place] ^= flip
            with pytest.raises(BitstreamError) as caught:
                codec.decode(bytes(hurt))
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [EXTRAS, TILES], ids=["extras", "tiles"])
def test_every_truncation_is_told_as_one(data):
    for length in range(1, len(data)):
        with pytest.raises(Truncated):
            bitstream.read(data[:length])


@pytest.mark.parametrize("kind", [1, 2, 5])
def test_an_alpha_bomb_is_not_unpacked(fails, kind):
    bomb = with_alpha(bytes([kind]) + deflated(BOMB, -15))
    Path("bad").write_bytes(bomb)
    fails(["decode", "bad", "out.png"], 4, "alpha")
    tracemalloc.start()
    with pytest.raises(Corrupt, match="alpha"):
        codec.decode(bomb)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


@pytest.mark.parametrize("name", NO_PICTURES)
def test_no_picture(fails, name, monkeypatch):
    monkeypatch.setattr(
        Image, "ID", [kind for kind in Image.ID if kind not in ("RGN", "REGRAIN")]
    )  # the plugin may be registered
    data, code, word = NO_PICTURES[name]
    Path("bad.png").write_bytes(data)
    fails(["encode", "bad.png"], code, word)
    tracemalloc.start()
    assert main(["encode", "bad.png"]) == code
    assert tracemalloc.get_traced_memory()[1] < BOMB / 4 + 2 * len(data)
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["encode", "folder", "x.rgn"], 3),
        (["encode", "absent.png", "x.rgn"], 3),
        (["decode", "folder", "x.png"], 4),
        (["decode", "absent.rgn", "x.png"], 4),
        (["inspect", "folder"], 4),
        (["encode", "photo.png", "folder"], 7),
        (["decode", "photo.rgn", "folder"], 7),
        (["encode", "photo.png", "absent/x.rgn"], 7),
        (["decode", "photo.rgn", "old/x.png"], 7),
        (["encode", "photo.png", "x" * 300], 7),
        (["decode", "photo.rgn", "x\0y.png"], 7),
        (["encode", "photo.png", "old"], 7),
        (["encode", "photo.png", "old", "--overwrite"], 7),
        (["decode", "photo.rgn", "photo.png"], 7),
        (["encode", "photo.png", "photo.png"], 2),
        (["decode", "photo.rgn", "photo.rgn"], 2),
        (["encode", "photo.png", "x.rgn", "--device", "meta"], 2),
    ],
)
def test_inputs_and_outputs_that_cannot_be(fails, arguments, code):
    fails(arguments, code)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize(
    "arguments", [["encode", "photo.png", "folder/x.rgn"], ["decode", "photo.rgn", "folder/x.png"]]
)
def test_an_unwritable_folder(fails, arguments):
    Path("folder").chmod(0o500)
    fails(arguments, 7, "denied")


class Full(io.FileIO):
    """A file on a disk with room for ten bytes more."""

    def write(self, data):
        super().write(bytes(data[:10]))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


WRITES = [
    ["encode", "photo.png", "x.rgn"],
    ["encode", "photo.png", "old.rgn", "--overwrite"],
    ["decode", "photo.rgn", "x.png"],
]


@pytest.mark.parametrize("arguments", WRITES)
def test_a_full_disk(fails, monkeypatch, arguments):
    monkeypatch.setattr(output, "open", Full, raising=False)
    fails(arguments, 7, "No space left")


@pytest.mark.parametrize("arguments", WRITES)
def test_a_disk_quota(fails, arguments):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30, limits[1]))
    try:
        fails(arguments, 7, "File too large")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize("arguments", [["encode", "photo.png"], ["decode", "photo.rgn"]])
def test_a_full_device(fails, arguments):
    fails([*arguments, "/dev/full"], 7, "No space left")


@pytest.mark.parametrize("stream", ["stdin", "stdout"])
def test_a_closed_stream(fails, monkeypatch, stream):
    arguments, code = (["decode", "-", "x.png"], 2) if stream == "stdin" else (["decode", "photo.rgn", "-"], 7)
    monkeypatch.setattr(sys, stream, None)
    fails(arguments, code, f"{stream}")


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_name_that_the_terminal_cannot_show(monkeypatch, encoding):
    name, out = "\u00e9\udcff.rgn", io.BytesIO()
    Path(name).write_bytes(TILES)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding=encoding, errors="strict"))
    assert main(["inspect", name]) == 0
    assert b"\\udcff.rgn: " in out.getvalue()


@pytest.fixture(scope="module")
def weights():
    """The weights of the package, and where the data of their tensors begins."""
    data = registry.shipped_weights(bitstream.Method.CONDITIONAL).read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    return data, 8 + size, json.loads(data[8 : 8 + size])


def spoilt(weights: tuple[bytes, int, dict], how: str) -> bytes:
    data, start, head = weights
    if how == "latents":
        place = start + head["latents.log_gain"]["data_offsets"][0] + 1
        return data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]
    if how in ("config", "nothing"):
        about = json.loads(head["__metadata__"]["regrain"]) | {"config": {"transform": 3}}
        head = head | {"__metadata__": {"regrain": json.dumps(about)} if how == "config" else {}}
        packed = json.dumps(head).encode()
        return struct.pack("<Q", len(packed)) + packed + data[start:]
    return {"cut": data[:-1], "head": data[:start], "length": b"\xff" * 8 + data[8:], "empty": b"", "text": b"w" * 99}[
        how
    ]


@pytest.mark.parametrize("how", ["cut", "head", "length", "empty", "text", "config", "nothing", "latents"])
def test_damaged_weights(fails, weights, how):
    Path("spoilt.safetensors").write_bytes(spoilt(weights, how))
    fails(["encode", "photo.png", "x.rgn", "--model", "spoilt.safetensors"], 5, "spoilt.safetensors")
    fails(["decode", "photo.rgn", "x.png", "--model", "spoilt.safetensors"], 5, "spoilt.safetensors")


def test_a_package_without_its_weights(fails, monkeypatch):
    monkeypatch.setattr(registry, "shipped_weights", lambda *_: Path("absent.safetensors"))
    registry._load_cached.cache_clear()
    fails(["decode", "photo.rgn", "x.png"], 5, "reinstall")
    fails(["encode", "photo.png", "x.rgn"], 5, "reinstall")


@pytest.mark.parametrize("arguments", [["encode", "photo.png", "x.rgn"], ["decode", "photo.rgn", "old", "--overwrite"]])
@pytest.mark.parametrize("where", ["compute", "write"])
def test_ctrl_c(fails, monkeypatch, arguments, where):
    def interrupted(*_, **__):
        signal.raise_signal(signal.SIGINT)
        time.sleep(SECONDS)

    if where == "write":
        monkeypatch.setattr(Full, "write", interrupted)
        monkeypatch.setattr(output, "open", Full, raising=False)
    elif arguments[0] == "decode":
        monkeypatch.setattr("regrain.conditional.onnx_backend.OnnxNetworks.sample", interrupted)
    else:
        monkeypatch.setattr("regrain.conditional.encode.to_signed", interrupted)
    fails([*arguments, *(["--steps", "3"] if arguments[0] == "decode" else [])], 130, "interrupted")


def test_ctrl_c_from_outside(folder):
    Path("large.pgm").write_bytes(b"P5 6000 6000 255\n" + bytes(range(250)) * 144000)
    Path("large.rgn").write_bytes(regrain.encode(Image.new("RGB", (1024, 1024))))
    commands = [
        ["encode", "large.pgm", "x.rgn", "--target-psnr", "30"],  # a dozen encodings
        ["decode", "large.rgn", "x.png", "--steps", "1000"],
    ]
    started = [
        subprocess.Popen([sys.executable, "-m", "regrain", *command], stderr=subprocess.PIPE, text=True)
        for command in commands
    ]
    before = listing()
    time.sleep(5)
    for process in started:
        process.send_signal(signal.SIGINT)
    for process in started:
        with contextlib.closing(process.stderr):
            said = process.communicate(timeout=30)[1]
        assert process.returncode in (130, -signal.SIGINT)
        assert said == "regrain: error: interrupted\n"
    assert listing() == before
