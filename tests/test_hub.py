"""Models by name: the layout of the hub in folders and in its cache, what is refused, and that nothing is fetched."""

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

import regrain
from regrain import bitstream, hub, registry, shipped
from regrain.bitstream import Method
from regrain.cli import main

library = pytest.importorskip("huggingface_hub", reason="needs huggingface_hub, of regrain[hub]")

NAME, COMMIT = "hf://somebody/charts", "0123456789abcdef" * 2 + "01234567"
FINGERPRINT = registry.shipped_fingerprint(Method.PROGRESSIVE).hex()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder as `save_pretrained` writes it, of the smallest weights; nobody changes it."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    regrain.save_pretrained("progressive", folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of it that may be changed."""
    return Path(shutil.copytree(saved, tmp_path / "model"))


def place(cache: Path, saved: Path, commit: str = COMMIT, ref: str = "main") -> Path:
    """Put a model into a cache as huggingface_hub lays it out, with links to blobs; returns its snapshot."""
    root = cache / "models--somebody--charts"
    snapshot = root / "snapshots" / commit
    for part in ("blobs", "refs", f"snapshots/{commit}"):
        (root / part).mkdir(parents=True, exist_ok=True)
    for path in saved.iterdir():
        blob = root / "blobs" / hashlib.sha256(path.read_bytes()).hexdigest()
        shutil.copyfile(path, blob)
        (snapshot / path.name).symlink_to(os.path.relpath(blob, snapshot))
    (root / "refs" / ref).write_text(commit)
    return snapshot


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and a library that fails where it would use the network."""
    monkeypatch.setattr(library.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("the network is used"))
    return tmp_path / "cache"


@pytest.fixture
def server(cache, saved, monkeypatch):
    """A hub that has a model: what is fetched lies in the cache afterwards. `calls` are those that use the network."""
    own, calls = library.snapshot_download, []

    def snapshot_download(repo_id, *, local_files_only, **options):
        if not local_files_only:
            calls.append((repo_id, options["revision"]))
            if repo_id != "somebody/charts":
                raise library.errors.HfHubHTTPError("404 Client Error.\n\nRepository Not Found", response=_Response())
            if not (cache / "models--somebody--charts").exists():
                place(cache, saved)
        return own(repo_id, local_files_only=True, **options)

    monkeypatch.setattr(library, "snapshot_download", snapshot_download)
    return calls


class _Response:
    """What HfHubHTTPError asks of an answer."""

    headers: dict[str, str] = {}  # noqa: RUF012
    request = None
    status_code = 404


def config(folder: Path) -> dict:
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


def change(folder: Path, **fields) -> None:
    (folder / "config.json").write_text(json.dumps(config(folder) | fields), encoding="utf-8")


def test_a_folder_has_the_layout_of_the_hub(saved):
    weights = shipped.shipped_weights(Method.PROGRESSIVE).read_bytes()
    assert {path.name for path in saved.iterdir()} == {"config.json", "model.safetensors", "README.md"}
    assert (saved / "model.safetensors").read_bytes() == weights
    assert config(saved) == {
        "method": "progressive",
        "fingerprint": FINGERPRINT,
        "sha256": hashlib.sha256(weights).hexdigest(),
        "license": "apache-2.0",
        "recipe": "prior",
        "library_name": "regrain",
    }
    _, head, card = (saved / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    about = yaml.safe_load(head)
    assert (about["library_name"], about["license"]) == ("regrain", "apache-2.0")
    assert {"regrain", "progressive", "image-compression"} <= set(about["tags"])
    assert library.ModelCardData(**about).library_name == "regrain"
    assert FINGERPRINT in card


@pytest.mark.parametrize("load", [regrain.load, regrain.from_pretrained])
def test_a_saved_model_is_what_was_saved(saved, load):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    file = regrain.encode(pixels, quality=0, model=load(saved))
    assert (
        file
        == regrain.encode(pixels, quality=0, model="progressive")
        == regrain.encode(pixels, quality=0, model=str(saved))
    )
    assert (np.asarray(regrain.decode(file, model=saved)) == np.asarray(regrain.decode(file))).all()


def test_what_is_saved_can_be_saved_again(saved, tmp_path, cache):
    place(cache, saved)
    for number, source in enumerate([saved, saved / "model.safetensors", NAME]):
        regrain.save_pretrained(source, tmp_path / str(number), licence="cc-by-4.0")
        assert config(tmp_path / str(number)) == config(saved) | {"license": "cc-by-4.0"}
    regrain.save_pretrained(saved / "model.safetensors", tmp_path / "unsaid")
    assert config(tmp_path / "unsaid")["license"] == ""
    assert "license" not in (tmp_path / "unsaid" / "README.md").read_text(encoding="utf-8")


def test_a_saved_model_is_replaced_when_that_is_wanted_alone(folder):
    change(folder, license="other")
    with pytest.raises(regrain.OutputError, match=r"config\.json already; overwrite=True"):
        regrain.save_pretrained("progressive", folder)
    assert config(folder)["license"] == "other"
    regrain.save_pretrained("progressive", folder, overwrite=True)
    assert config(folder)["license"] == "apache-2.0"


@pytest.mark.parametrize("licence", ["", "two words", "a\nb: c", "x" * 99, "Ä"])
def test_a_licence_is_a_word(tmp_path, licence):
    with pytest.raises(regrain.UsageError, match=r"^licence is [^\n]*; allowed is"):
        regrain.save_pretrained("progressive", tmp_path / "model", licence=licence)
    assert not (tmp_path / "model").exists()


def test_a_folder_that_is_no_model_is_not_saved(tmp_path):
    with pytest.raises(regrain.UsageError, match="a folder without a model of regrain"):
        regrain.save_pretrained(tmp_path, tmp_path / "new")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"sha256": "0" * 64}, r"model\.safetensors has sha256 [0-9a-f]{64}, and config\.json names 0{64}"),
        ({"fingerprint": "01020304"}, f"its latents are {FINGERPRINT}, and config.json names 01020304"),
        ({"sha256": "0" * 63}, "sha256 is 0+; allowed are 64 hexadecimal digits"),
        ({"fingerprint": "nothing!"}, "fingerprint is nothing!; allowed are 8"),
        ({"fingerprint": None}, "fingerprint: expected str, got None"),
        ({"method": "jpeg"}, "method is jpeg; allowed are conditional"),
        ({"method": "a\nb"}, "config.json: method is"),
        ({"license": ["x"]}, "license: expected str"),
    ],
)
def test_what_differs_from_its_config_is_one_line(folder, fields, words):
    change(folder, **fields)
    with pytest.raises(regrain.ModelError, match=rf"^{re.escape(str(folder))}: [^\n]*{words}[^\n]*$"):
        regrain.load(folder)


def test_weights_that_were_changed_or_are_gone_are_refused(folder):
    weights = folder / "model.safetensors"
    damaged = bytearray(weights.read_bytes())
    damaged[-1] ^= 1
    weights.write_bytes(damaged)
    with pytest.raises(regrain.ModelError, match="has sha256"):
        regrain.load(folder)
    weights.unlink()
    with pytest.raises(regrain.ModelError, match=r"it has no model\.safetensors"):
        regrain.load(folder)
    os.mkfifo(weights)
    with pytest.raises(regrain.ModelError, match=r"it has no model\.safetensors"):
        regrain.load(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 10_000, '{"library_name": "diffusers"}', " " * 2**21, "\xff"])
def test_a_folder_of_something_else_is_no_model_of_ours(folder, text):
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    assert hub.find(folder) is None
    with pytest.raises(regrain.RegrainError):
        regrain.load(folder)


def test_fields_that_a_later_release_may_add_are_no_obstacle(folder):
    change(folder, transformers_version="9", base=[1])
    assert regrain.load(folder).fingerprint.hex() == FINGERPRINT


def test_a_name_is_looked_up_in_the_cache_alone(saved, cache):
    with pytest.raises(
        regrain.ModelError, match=rf"^{NAME}: not in the local cache, [^\n]*models --fetch {NAME}[^\n]*$"
    ):
        regrain.load(NAME)
    place(cache, saved)
    assert regrain.load(NAME).fingerprint.hex() == FINGERPRINT
    assert regrain.from_pretrained("somebody/charts").fingerprint.hex() == FINGERPRINT
    assert regrain.load(f"{NAME}@{COMMIT}").fingerprint.hex() == FINGERPRINT
    file = regrain.encode(np.zeros((8, 8, 3), np.uint8), model=NAME, quality=0)
    assert regrain.decode(file, model=NAME).size == (8, 8)
    with pytest.raises(regrain.ModelError, match="not in the local cache"):
        regrain.load(f"{NAME}@other")


def test_a_model_in_the_cache_that_was_changed_is_refused(folder, cache):
    change(folder, sha256="0" * 64)
    place(cache, folder)
    with pytest.raises(regrain.ModelError, match=rf"^{NAME}: model\.safetensors has sha256"):
        regrain.load(NAME)


def test_a_snapshot_without_weights_is_as_none(saved, cache):
    (place(cache, saved) / "model.safetensors").unlink()
    with pytest.raises(regrain.ModelError, match="not in the local cache"):
        regrain.load(NAME)


@pytest.mark.parametrize(
    "name", ["hf://", "hf://a", "hf://a/b/c", "hf://../b", "hf://a/b@", "hf://a/b@../c", "hf://a/\n"]
)
def test_a_name_of_another_form_is_refused(name, server):
    for download in (False, True):
        with pytest.raises(regrain.UsageError, match=r"^hf://[^\n]* is not allowed; hf://ORG/NAME is"):
            regrain.load(name, download=download)
    assert server == []


def test_a_model_is_fetched_when_somebody_says_so(server):
    with pytest.raises(regrain.ModelError, match="nothing is fetched unasked"):
        regrain.load(NAME)
    assert server == []
    assert regrain.load(NAME, download=True).fingerprint.hex() == FINGERPRINT
    assert server == [("somebody/charts", None)]
    regrain.load(NAME, download=True)
    regrain.load(NAME)
    assert len(server) == 1  # the cache comes first


def test_a_model_that_cannot_be_fetched_is_one_line(server):
    with pytest.raises(regrain.ModelError, match=r"^hf://somebody/else: cannot be fetched: 404 Client Error[^\n]*$"):
        regrain.load("hf://somebody/else", download=True)


def test_without_the_library_a_name_says_what_is_missing(monkeypatch, cache):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    monkeypatch.setattr(hub, "find_spec", lambda _name: None)
    with pytest.raises(regrain.UsageError, match=r"needs huggingface_hub; .*pip install 'regrain\[hub\]'"):
        regrain.load(NAME)
    with pytest.raises(regrain.UsageError, match=r"regrain\[hub\]"):
        regrain.push_to_hub("progressive", "somebody/charts")
    assert [*hub.cached()] == []


def test_a_model_is_pushed_as_it_is_saved(saved, monkeypatch, cache):
    made, sent = [], {}

    def upload_folder(*, repo_id, folder_path, commit_message):
        sent.update({path.name: path.read_bytes() for path in Path(folder_path).iterdir()})
        return f"https://example.org/{repo_id}"

    monkeypatch.setattr(library, "create_repo", lambda name, **options: made.append((name, options)))
    monkeypatch.setattr(library, "upload_folder", upload_folder)
    assert regrain.push_to_hub("progressive", NAME, private=True) == "https://example.org/somebody/charts"
    assert made == [("somebody/charts", {"private": True, "exist_ok": True})]
    assert sent == {path.name: path.read_bytes() for path in saved.iterdir()}

    def refuse(*_args, **_options):
        raise OSError("401\n\nwho are you")

    monkeypatch.setattr(library, "upload_folder", refuse)
    with pytest.raises(regrain.OutputError, match=rf"^{NAME}: cannot be pushed: 401 who are you$"):
        regrain.push_to_hub("progressive", NAME)


def listed(capsys, *arguments: str) -> list[dict]:
    assert main(["models", "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)["models"]


def test_models_lists_what_is_here(saved, cache, capsys, tmp_path):
    own = listed(capsys)
    assert {"conditional", "progressive", "palette"} <= {model["name"] for model in own}
    for model in own:
        assert model["licence"] == "apache-2.0"
        assert model["place"] == "package"
        assert re.fullmatch("[0-9a-f]{8}", model["fingerprint"])
        assert model["bytes"] > 100_000
    snapshot = place(cache, saved)
    place(cache, saved, commit="f" * 40, ref="older")
    others = listed(capsys, str(saved.parent))[len(own) :]
    assert [model["name"] for model in others] == [NAME, f"{NAME}@{'f' * 40}", str(saved)]
    facts = {"method": "progressive", "licence": "apache-2.0", "fingerprint": FINGERPRINT}
    size = (saved / "model.safetensors").stat().st_size
    assert others[0] == {"name": NAME, "place": str(snapshot), "bytes": size, **facts}
    assert all(regrain.load(model["name"]).fingerprint.hex() == FINGERPRINT for model in others)
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(own) + 2
    assert f"{NAME}  " in lines[-2]
    assert f"latents {FINGERPRINT}  licence apache-2.0" in lines[-2]
    assert main(["models", "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_models_fetches_checks_and_lists_one(server, capsys, cache):
    assert [model["name"] for model in listed(capsys, "--fetch", NAME)] == [NAME]
    listed(capsys, "--fetch", NAME)
    assert len(server) == 2  # what is new there would come, too
    assert main(["models", "--fetch", "hf://somebody/else"]) == 5
    assert capsys.readouterr().err.startswith("regrain: error: hf://somebody/else: cannot be fetched: 404")
    snapshot = cache / "models--somebody--charts" / "snapshots" / COMMIT
    (snapshot / "config.json").unlink()
    assert main(["models", "--fetch", NAME]) == 5
    assert "no model.safetensors with a config.json of regrain's" in capsys.readouterr().err


def test_models_refuses_what_is_no_folder(capsys, tmp_path):
    assert main(["models", str(tmp_path / "none")]) == 2
    assert "is no folder" in capsys.readouterr().err


def test_a_file_whose_weights_are_missing_says_where_they_are(saved, cache, tmp_path):
    """Which fingerprint it needs; and the model of the cache that has it, where there is one."""
    header = bitstream.Header(8, 8, 0, bytes.fromhex("01020304"), Method.PROGRESSIVE)
    file = bitstream.write(bitstream.Stream(header, (b"\1",)))
    with pytest.raises(
        regrain.ModelError, match=r"fingerprint 01020304, .* --model \(a file, or hf://ORG/NAME; `regrain"
    ):
        regrain.decode(file)
    other = Path(shutil.copytree(saved, tmp_path / "other"))
    change(other, fingerprint="01020304")
    place(cache, other)
    with pytest.raises(regrain.ModelError, match=rf"fingerprint 01020304, [^\n]*\({NAME} has them\)"):
        regrain.decode(file)
