"""Weights on disk: what comes back, what a failure leaves, and what the fingerprint sees."""

import hashlib
import os
import stat
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from regrain import torch_checkpoint
from regrain.errors import ModelError, OutputError

TENSORS = {
    "a": torch.arange(24.0).reshape(2, 3, 2, 2).contiguous(memory_format=torch.channels_last),
    "b": torch.tensor([1, -2], dtype=torch.int8),
    "c": torch.tensor(0.5, dtype=torch.float16),
    "empty": torch.zeros(0, 3),
    "true": torch.tensor([True, False]),
}


def test_tensors_and_metadata_come_back(tmp_path):
    path = tmp_path / "new" / "folder" / "w.safetensors"
    metadata = {"step": 5, "config": {"widths": [1, 2], "name": "ä"}}
    torch_checkpoint.save(path, TENSORS, metadata)
    tensors, found = torch_checkpoint.load(path)
    assert found == torch_checkpoint.load_metadata(path) == metadata
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)
    assert [entry.name for entry in path.parent.iterdir()] == ["w.safetensors"]


def test_a_gradient_is_no_obstacle(tmp_path):
    torch_checkpoint.save(tmp_path / "w", {"p": torch.nn.Parameter(torch.ones(2))}, {})
    assert torch.equal(torch_checkpoint.load(tmp_path / "w")[0]["p"], torch.ones(2))


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_the_mode_follows_the_umask(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        torch_checkpoint.save(tmp_path / "w", TENSORS, {})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "w").stat().st_mode) == mode


@pytest.mark.parametrize("failing", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "Ctrl-C"])
def test_a_failure_leaves_what_was_there(tmp_path, monkeypatch, failing, error):
    path = tmp_path / "w"
    torch_checkpoint.save(path, TENSORS, {"step": 1})

    def fail(*_):
        raise error

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OutputError if isinstance(error, OSError) else KeyboardInterrupt):
        torch_checkpoint.save(path, {}, {"step": 2})
    assert torch_checkpoint.load_metadata(path) == {"step": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["w"]


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path, monkeypatch):
    path = tmp_path / "w"
    torch_checkpoint.save(path, TENSORS, {"step": 1})
    replace, seen = os.replace, []

    def look(new, old):
        seen.append([torch_checkpoint.load_metadata(Path(name)) for name in (new, old)])
        replace(new, old)

    monkeypatch.setattr(os, "replace", look)
    torch_checkpoint.save(path, TENSORS, {"step": 2})
    assert seen == [[{"step": 2}, {"step": 1}]]


def test_no_folder_can_be_made_in_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="weights cannot be written"):
        torch_checkpoint.save(tmp_path / "file" / "w", TENSORS, {})


@pytest.mark.parametrize("read", [torch_checkpoint.load, torch_checkpoint.load_metadata])
def test_what_is_no_checkpoint_is_one_line_of_error(tmp_path, read):
    torch_checkpoint.save(tmp_path / "w", TENSORS, {})
    whole = (tmp_path / "w").read_bytes()
    spoilt = {
        "empty": b"",
        "zeros": bytes(len(whole)),
        "short": whole[:-1],
        "header": whole[:40],
        "long": whole + b"x",
        "text": b"no weights at all, but text",
        "huge header": b"\xff" * 8 + whole[8:],
    }
    for name, data in spoilt.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ModelError, match=f"{name}: weights cannot be read") as caught:
            read(tmp_path / name)
        assert len(str(caught.value).splitlines()) == 1
    (tmp_path / "folder").mkdir()
    with pytest.raises(ModelError):
        read(tmp_path / "folder")
    with pytest.raises(ModelError, match="name a file with --model"):
        read(tmp_path / "missing")


@pytest.mark.parametrize("metadata", [None, {"other": "1"}, {"regrain": "{"}, {"regrain": "[1]"}])
def test_other_safetensors_are_not_ours(tmp_path, metadata):
    save_file({"a": torch.ones(1)}, tmp_path / "w", metadata)
    with pytest.raises(ModelError, match="not weights of regrain"):
        torch_checkpoint.load(tmp_path / "w")


def test_the_fingerprint_sees_names_types_shapes_and_values():
    base = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([3])}
    others = [
        {},
        {"a": base["a"]},
        {"a": base["a"], "c": base["b"]},
        {"a": base["a"] * 2, "b": base["b"]},
        {"a": -base["a"], "b": base["b"]},
        {"a": base["a"].double(), "b": base["b"]},
        {"a": base["a"][None], "b": base["b"]},
        {"a": base["a"].view(torch.int32), "b": base["b"]},
    ]
    prints = [torch_checkpoint.fingerprint(tensors) for tensors in [base, *others]]
    assert len(set(prints)) == len(prints)
    assert {len(value) for value in prints} == {4}


def test_the_fingerprint_sees_neither_order_nor_layout():
    turned = {name: TENSORS[name] for name in reversed(TENSORS)} | {"a": TENSORS["a"].contiguous()}
    assert torch_checkpoint.fingerprint(turned) == torch_checkpoint.fingerprint(TENSORS)


def test_the_fingerprint_is_the_hash_that_the_text_says():
    data = b"a|torch.int16|(2,)|" + bytes([1, 0, 255, 255]) + b"b|torch.float32|()|" + bytes([0, 0, 128, 63])
    tensors = {"b": torch.tensor(1.0), "a": torch.tensor([1, -1], dtype=torch.int16)}
    assert torch_checkpoint.fingerprint(tensors) == hashlib.sha256(data).digest()[:4]
