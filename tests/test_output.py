"""Bytes in a file: whole or as it was before, with nothing left beside it."""

import os
import stat

import pytest

from regrain.errors import OutputError
from regrain.output import write_bytes, write_folder


def test_files_are_replaced_and_keep_their_permissions(tmp_path):
    path = tmp_path / "a"
    write_bytes(b"one", path)
    assert stat.S_IMODE(path.stat().st_mode) & 0o600 == 0o600
    path.chmod(0o640)
    write_bytes(b"two", path)
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_links_are_followed(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write_bytes(b"one", tmp_path / "link")
    write_bytes(b"two", tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"two"


def test_devices_and_pipes_are_written_not_replaced(tmp_path):
    write_bytes(b"one", os.devnull)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    reader, writer = os.pipe()
    write_bytes(b"two", f"/dev/fd/{writer}")
    assert os.read(reader, 9) == b"two"
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("links", [True, False])
def test_no_overwrite_refuses_what_exists_even_at_the_last_moment(links, tmp_path, monkeypatch):
    path = tmp_path / "a"
    if not links:
        monkeypatch.delattr(os, "link")
    write_bytes(b"one", path, overwrite=False)
    with pytest.raises(OutputError, match="exists already"):
        write_bytes(b"two", path, overwrite=False)
    if links:
        monkeypatch.setattr(os.path, "lexists", lambda path: False)
        with pytest.raises(OutputError, match="exists already"):
            write_bytes(b"two", path, overwrite=False)
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


def test_unwritable_places_are_one_line(tmp_path):
    (tmp_path / "file").touch()
    for target, reason in {
        tmp_path: "directory",
        tmp_path / "no" / "a": "folder does not exist",
        tmp_path / "file" / "a": "ot a directory",
        tmp_path / ("long" * 80): "too long",
        tmp_path / "nul\0": "null",
        f"{tmp_path}/": "does not name a file",
        "": "does not name a file",
    }.items():
        with pytest.raises(OutputError, match=reason) as caught:
            write_bytes(b"data", target)
        assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_device_is_an_output_error():
    with pytest.raises(OutputError, match="No space left"):
        write_bytes(b"data", "/dev/full")


def test_a_file_that_may_not_be_written_stays(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"one")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(OutputError, match="not writable"):
        write_bytes(b"two", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"one"


def test_a_folder_is_made_with_those_above_it_and_other_files_stay(tmp_path):
    write_folder({"a": b"1", "b": b"2"}, tmp_path / "new" / "inner")
    (tmp_path / "new" / "inner" / "mine").write_bytes(b"kept")
    write_folder({"a": b"3"}, tmp_path / "new" / "inner")
    assert {path.name: path.read_bytes() for path in (tmp_path / "new" / "inner").iterdir()} == {
        "a": b"3", "b": b"2", "mine": b"kept",
    }  # fmt: skip


@pytest.mark.parametrize("folder", ["there", "new", "new/inner"])
def test_of_a_folder_all_files_are_written_or_none(tmp_path, monkeypatch, folder):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "a").write_bytes(b"kept")
    written = []

    def full(data, target):
        written.append(target)
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        write_bytes(data, target)

    monkeypatch.setattr("regrain.output.write_bytes", full)
    with pytest.raises(OutputError, match="No space left"):
        write_folder({"a": b"1", "b": b"2"}, tmp_path / folder)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["a"]
    assert (tmp_path / "there" / "a").read_bytes() == b"kept"
