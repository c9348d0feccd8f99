"""The package's weights: each file is named by what it holds, and the index says which one a method uses."""

import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

import regrain
from regrain import bitstream, codec, registry, shipped
from regrain.bitstream import Method
from regrain.errors import ModelError, UsageError
from regrain.options import CONTENTS, METHODS

STORED = sorted(path for path in (files("regrain") / "weights").iterdir() if path.name != "index.json")
ABSENT = b"\1\2\3\4"


@pytest.fixture
def index(tmp_path, monkeypatch):
    """Replaces the package's index, and every file of weights with it; returns where to write one."""
    (tmp_path / "weights").mkdir()
    monkeypatch.setattr(shipped, "files", lambda _package: tmp_path)
    return tmp_path / "weights" / "index.json"


def test_the_index_names_a_file_of_each_method():
    index = json.loads((files("regrain") / "weights" / "index.json").read_text(encoding="utf-8"))
    assert {key for key in index if "-" not in key} == set(METHODS)
    assert {key.partition("-")[2] for key in index} <= {"", *CONTENTS[2:]}
    named = {f"{key.partition('-')[0]}-{fingerprint}.safetensors" for key, fingerprint in index.items()}
    assert named <= {path.name for path in STORED}


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.name)
def test_a_file_of_weights_is_named_by_its_method_and_fingerprint(path):
    model = regrain.load(path)
    assert path.name == f"{model.method.name.lower()}-{model.fingerprint.hex()}.safetensors"
    assert registry.shipped_weights(model.method, model.fingerprint) == path


def test_the_weights_keep_to_their_sizes():
    """29 MB the default method's with its sampler and its fast decoder; tests/test_wheel.py weighs all of them."""
    sizes = {path.name: path.stat().st_size for path in STORED}
    assert max(sizes.values()) <= 29e6
    assert max(size for name, size in sizes.items() if name.startswith("palette-")) <= 8e6


@pytest.mark.parametrize("method", [Method[name.upper()] for name in METHODS])
def test_weights_that_are_not_there_are_named_with_the_way_to_get_them(method):
    with pytest.raises(ModelError) as refusal:
        registry.shipped_weights(method, ABSENT)
    said = str(refusal.value)
    assert "\n" not in said
    for words in (ABSENT.hex(), "--model", "install the regrain release", "no package of earlier weights yet"):
        assert words in said


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"conditional": 3}', '{"conditional": "no hex"}', "\xff"])
def test_an_index_that_is_missing_or_damaged_is_refused(index, text):
    if text is not None:
        index.write_bytes(text.encode("latin-1"))
    with pytest.raises(ModelError, match=r"missing or damaged.*reinstall regrain"):
        registry.shipped_weights(bitstream.Method.CONDITIONAL)


def test_a_file_that_the_index_alone_knows_is_missing(index):
    index.write_text('{"conditional": "01020304"}')
    with pytest.raises(ModelError, match=r"01020304\.safetensors: weights cannot be read.*reinstall"):
        regrain.load("conditional")
    assert registry.expected_psnr(bitstream.Method.CONDITIONAL, ABSENT) == []


def test_what_a_stream_is_expected_to_reach_is_read_of_its_own_weights():
    method = bitstream.Method.PROGRESSIVE
    assert len(registry.expected_psnr(method, registry.shipped_fingerprint(method))) > 1
    assert registry.expected_psnr(method, ABSENT) == []


@pytest.mark.parametrize("model", [None, "conditional", "palette"])
def test_a_file_of_weights_that_are_not_there_is_inspected_and_not_decoded(model):
    stream = bitstream.read((Path(__file__).parent / "golden" / "pixel.rgn").read_bytes())
    foreign = bitstream.write(replace(stream, header=replace(stream.header, fingerprint=ABSENT)))
    assert codec.inspect(foreign).fingerprint == ABSENT.hex()
    with pytest.raises(ModelError, match="needs the weights with latent fingerprint 01020304"):
        codec.decode(foreign, model=model)


@pytest.mark.parametrize(("name", "torch"), [("typo", True), ("typo", False), ("../typo", False), ("a/b/typo", False)])
def test_weights_that_are_nowhere_are_said_to_be_so_before_anything_is_to_be_installed(name, torch, monkeypatch):
    monkeypatch.setattr(registry, "_is_installed", lambda package: torch or package != "torch")
    with pytest.raises(ModelError, match=r"typo: no such file, and no such folder or hub id.*conditional, prog"):
        registry.load(name)


def test_the_options_name_the_methods_of_the_format():
    assert (*METHODS, "private") == tuple(method.name.lower() for method in bitstream.Method)


def test_a_prior_is_of_the_progressive_method():
    model = registry.prior_for()
    assert model.fingerprint == registry.shipped_fingerprint(Method.PROGRESSIVE)
    assert registry.prior_for(model) is model
    with pytest.raises(UsageError, match="the weights are for conditional; only those for progressive"):
        registry.prior_for(registry.model_for(None, Method.CONDITIONAL, None))
