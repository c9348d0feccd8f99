"""Hostile shards: what is whole is used, the rest is said in a line, and nothing hangs, allocates or is believed."""

import io
import os
import random
import struct
import tarfile
import time
from itertools import pairwise

import pytest

from lab.training.tiny import picture
from regrain.errors import UsageError
from regrain_lab.training import shards
from regrain_lab.training.data import Crops, batches, members
from regrain_lab.training.recipe import DataConfig
from regrain_lab.training.shards import Entry, entries

PICTURE = picture(9, 80)


def header(name=b"b.png", size=b"00000000100\0", kind=b"0", magic=b"ustar\x0000"):
    """One header block, its checksum right."""
    block = struct.pack("100s8s8s8s12s12s8s1s100s8s", name, b"644", b"0", b"0", size, b"0", b" " * 8, kind, b"", magic)
    block = block.ljust(512, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def padded(data):
    return data + bytes(-len(data) % 512)


def octal(size):
    return b"%011o\0" % size


def whole(name):
    return header(name, octal(len(PICTURE))) + padded(PICTURE)


def record(key, value):
    """A pax record, whose length counts its own digits."""
    length = next(n for n in range(99999) if n == len(str(n)) + len(key) + len(value) + 3)
    return b"%d %s=%s\n" % (length, key, value)


def aside(kind, data):
    return header(b"x", octal(len(data)), kind) + padded(data)


def write(folder, *parts, name="one.tar"):
    (folder / name).write_bytes(b"".join(parts) + bytes(1024))
    return folder / name


def names(shard):
    return [entry.name for entry in entries(shard)]


DAMAGE = {
    "negative size": header(size=b"\xff" * 12),
    "negative by octal": header(size=b"-0000000512"),
    "a size of 2^88": header(size=b"\x80" + b"\xff" * 11),
    "a name of 2^88": header(size=b"\x80" + b"\xff" * 11, kind=b"L"),
    "notes of 2^88": header(size=b"\x80" + b"\xff" * 11, kind=b"x"),
    "a negative name": header(size=b"\xff" * 12, kind=b"L"),
    "no digits": header(size=b"9999xxxxxxx\0"),
    "a wrong checksum": b"z" + header()[1:],
    "no header": b"\xff" * 512,
    "a negative size in notes": aside(b"x", record(b"size", b"-512")),
    "a size of 5000 digits in notes": aside(b"x", record(b"size", b"9" * 5000)),
    "a size past the end in notes": aside(b"x", record(b"size", b"9" * 18)),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_ends_a_shard_in_one_line(tmp_path, caplog, kind):
    shard = write(tmp_path, whole(b"a.png"), DAMAGE[kind], whole(b"c.png"))
    assert entries(shard) == [Entry("a.png", 512, len(PICTURE))]
    (line,) = caplog.messages
    assert line.startswith("one.tar: cut short or damaged")
    assert line.endswith("; the 1 files before that are used")


USELESS = {
    "sparse": header(kind=b"S", size=octal(0)),
    "sparse by notes": aside(b"x", record(b"GNU.sparse.major", b"1")) + whole(b"b.png"),
    "a length of 5000 digits": aside(b"x", b"1" * 5000 + b" path=b.png\n") + whole(b"b.png"),
    "a length of 0": aside(b"x", b"0 path=b.png\n") + whole(b"b.png"),
    "a length past the end": aside(b"x", b"999 path=b.png\n") + whole(b"b.png"),
    "no record": aside(b"x", b"\xff" * 300) + whole(b"b.png"),
    "a long name": aside(b"L", b"b" * 2000 + b".png\0") + whole(b"b.png"),
    "a name of 1 MB": aside(b"L", b"b" * 2**20) + whole(b"b.png"),
}


@pytest.mark.parametrize("kind", USELESS)
def test_members_of_no_use_are_skipped_and_said_once_a_shard(tmp_path, caplog, kind):
    assert names(write(tmp_path, whole(b"a.png"), USELESS[kind] * 3, whole(b"c.png"))) == ["a.png", "c.png"]
    (line,) = caplog.messages
    assert line.startswith("one.tar: 3 members are of no use and skipped; the first: ")
    assert len(line) < 300


def test_a_size_over_the_limit_is_skipped(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(shards, "SIZE_MAX", len(PICTURE) - 1)
    assert names(write(tmp_path, whole(b"a.png"))) == []
    assert f"a.png: {len(PICTURE)} bytes" in caplog.text


def test_too_many_members_are_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "MEMBERS_MAX", 3)
    assert len(entries(write(tmp_path, *[header(size=octal(0))] * 3))) == 3
    with pytest.raises(UsageError, match=r"one\.tar: more than 3 members"):
        entries(write(tmp_path, *[header(size=octal(0))] * 4))


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_tarfile_writes_is_read_as_tarfile_reads_it(tmp_path, caplog, format):
    longest = "p" * 99 + "/" + "n" * 90 + ".png"
    with tarfile.open(tmp_path / "one.tar", "w", format=format) as tar:
        for name in ("a.png", longest, "\u00e4\u8a9e.jpg", "folder/b.webp", "empty.png"):
            data = b"" if name == "empty.png" else name.encode() * 50
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1.5
            tar.addfile(info, io.BytesIO(data))
        for kind in (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo("other")
            info.type, info.linkname = kind, "q" * 150 if format != tarfile.USTAR_FORMAT else "q"
            tar.addfile(info)
        tar.addfile(tarfile.TarInfo("last.png"))
    with tarfile.open(tmp_path / "one.tar") as tar:
        theirs = [Entry(info.name, info.offset_data, info.size) for info in tar if info.isfile()]
    assert entries(tmp_path / "one.tar") == theirs
    assert len(theirs) == 6
    assert not caplog.messages


def test_what_is_no_file_is_an_error(tmp_path):
    (tmp_path / "folder.tar").mkdir()
    with pytest.raises(UsageError, match=r"folder\.tar: not a file"):
        entries(tmp_path / "folder.tar")
    with pytest.raises(UsageError, match=r"none\.tar: No such file"):
        entries(tmp_path / "none.tar")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="FIFOs are POSIX's")
@pytest.mark.parametrize("name", ["one.tar", "index.csv"])
def test_a_pipe_is_an_error_and_no_wait(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(UsageError, match="not a file"):
        members(tmp_path, DataConfig(""), held_out=False)


def test_suffixes_in_upper_case_count(tmp_path):
    write(tmp_path, whole(b"a.PNG"), whole(b"b.Jpg"), whole(b"c.JPEG"), whole(b"d.txt"), name="ONE.TAR")
    pictures = members(tmp_path, DataConfig(""), held_out=False)
    assert [member.name for member in pictures] == ["a.PNG", "b.Jpg", "c.JPEG"]
    assert pictures[1].read().shape == (80, 80, 3)


def test_names_reach_messages_without_what_a_terminal_obeys(tmp_path, caplog):
    shard = write(tmp_path, header(b"\x1b[31mred\nline\xff.png", octal(4)) + padded(b"none"), whole(b"good.png"))
    crops = Crops(members(tmp_path, DataConfig(""), held_out=False), 0, DataConfig(""))
    list(batches(crops, first=0, stride=2, steps=1, batch=2, crop=64, workers=0))
    assert r"one.tar/\x1b[31mred\nline\udcff.png" in caplog.messages[0]
    assert shard.exists()


def test_a_shard_that_goes_away_is_a_picture_of_no_use(tmp_path, caplog):
    first, _ = write(tmp_path, whole(b"a.png"), name="1.tar"), write(tmp_path, whole(b"b.png"), name="2.tar")
    crops = Crops(members(tmp_path, DataConfig(""), held_out=False), 0, DataConfig(""))
    first.unlink()
    (batch,) = batches(crops, first=0, stride=2, steps=1, batch=2, crop=64, workers=0)
    assert batch.shape == (2, 3, 64, 64)
    assert "1.tar/a.png: No such file" in caplog.text


def forged(source, seed):
    """`source` with a few bytes of its headers changed, mostly with their checksums made right again."""
    random_ = random.Random(seed)
    data = bytearray(source)
    for _ in range(random_.randint(1, 4)):
        block = random_.randrange(len(data) // 512) * 512
        for _ in range(random_.randint(1, 3)):
            place = block + random_.choice([random_.randrange(512), 124 + random_.randrange(12), 156])
            data[place] = random_.choice([0, 0x80, 0xFF, *b"0123457LKxgS\n =", random_.randrange(256)])
        if random_.random() < 0.8:
            blank = data[block : block + 148] + b" " * 8 + data[block + 156 : block + 512]
            data[block + 148 : block + 156] = b"%06o\0 " % sum(blank)
    return bytes(data[: random_.randrange(len(data))] if random_.random() < 0.1 else data)


def test_forged_shards_are_read_in_no_time_or_refused(tmp_path):
    """400 of them, by a fixed seed: entries within the file, or a UsageError, whatever the bytes."""
    notes = record(b"path", b"c.png") + record(b"size", b"%d" % len(PICTURE))
    source = whole(b"a.png") + aside(b"L", b"b.png\0") + whole(b"?") + aside(b"x", notes) + whole(b"?") + bytes(1024)
    shard = tmp_path / "forged.tar"
    start, counts = time.process_time(), set()
    for seed in range(400):
        shard.write_bytes(forged(source, seed))
        found, end = entries(shard), shard.stat().st_size
        assert all(0 <= entry.offset <= entry.offset + entry.size <= end for entry in found)
        assert all(before.offset < after.offset for before, after in pairwise(found))
        counts.add(len(found))
    assert counts >= {0, 1, 2, 3}
    assert time.process_time() - start < 20
