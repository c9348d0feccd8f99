"""Models by name: a folder in the layout of huggingface_hub, wherever it lies on this machine.

    config.json          method, latent fingerprint, sha256 of the weights, licence, recipe
    model.safetensors    the weights, byte for byte as regrain has them
    README.md            a card with tags

    hf://ORG/NAME        the local cache of huggingface_hub (and @REVISION); a folder is its own path

Invariants: nothing is fetched unless somebody asks for it; what is loaded has the bytes that its config names.
huggingface_hub is imported at the first hf:// name.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Final

from regrain import configuration
from regrain.errors import ModelError, UsageError, escape, reason
from regrain.options import METHODS
from regrain.places import check_installed

__all__ = ["CARD", "CONFIG", "WEIGHTS", "Config", "Pretrained", "cached", "fetch", "find", "in_folder"]

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
LIBRARY: Final = "regrain"
NAME: Final = re.compile(r"hf://(\w[\w.-]*/\w[\w.-]*)(?:@(\w[\w.-]*))?", re.ASCII)
CONFIG_MOST: Final = 2**20
"""Bytes of a config."""


@dataclass(frozen=True)
class Config:
    """What config.json says; `fingerprint` is 8 hexadecimal digits, `sha256` 64, `license` a word of the hub's."""

    method: str
    fingerprint: str
    sha256: str
    license: str = ""
    recipe: str = ""
    library_name: str = LIBRARY

    def __post_init__(self) -> None:
        """Raise UsageError for a method or digits that are none."""
        if self.method not in METHODS:
            raise UsageError(f"method is {escape(self.method)}; allowed are {', '.join(METHODS)}")
        for name, digits in (("fingerprint", 8), ("sha256", 64)):
            if not re.fullmatch(f"[0-9a-f]{{{digits}}}", getattr(self, name)):
                raise UsageError(f"{name} is {escape(getattr(self, name))}; allowed are {digits} hexadecimal digits")


@dataclass(frozen=True)
class Pretrained:
    """A model on this machine by its config: the `name` that `load` takes, its folder, and what the config says."""

    name: str
    folder: Path
    config: Config

    def weights(self) -> Path:
        """The file of weights. Raises ModelError unless its bytes are those that the config names."""
        path = self.folder / WEIGHTS
        if not path.is_file():
            raise ModelError(f"{self.name}: it has no {WEIGHTS}")
        with path.open("rb") as file:
            present = hashlib.file_digest(file, "sha256").hexdigest()
        if present != self.config.sha256:
            raise ModelError(f"{self.name}: {WEIGHTS} has sha256 {present}, and {CONFIG} names {self.config.sha256}")
        return path

    def check(self, fingerprint: bytes) -> None:
        """Raise ModelError unless the latents of the weights are those that the config names."""
        if fingerprint.hex() != self.config.fingerprint:
            raise ModelError(
                f"{self.name}: its latents are {fingerprint.hex()}, and {CONFIG} names {self.config.fingerprint}"
            )


def find(name: str | PathLike[str], *, download: bool = False) -> Pretrained | None:
    """The model of an hf:// name in the local cache, or of a folder; None for any other name or folder.

    Under `download` what the cache lacks is fetched. Raises ModelError for what is not there or damaged, UsageError for
    a name of another form, or without huggingface_hub.
    """
    if not isinstance(name, str) or not name.startswith("hf://"):
        return _read(Path(name), str(name))
    with suppress(LookupError):
        return _from_hub(name, download=False)
    if download:
        return fetch(name)
    raise ModelError(
        f"{name}: not in the local cache, and nothing is fetched unasked; `regrain models --fetch {name}` does it"
    )


def fetch(name: str) -> Pretrained:
    """The model of an hf:// name as the hub has it now. Raises as `find`."""
    try:
        return _from_hub(name, download=True)
    except LookupError as error:
        raise ModelError(f"{name}: cannot be fetched: {error.args[0]}") from None


def cached() -> Iterator[Pretrained]:
    """The models in the local cache of huggingface_hub, by name; none where it is not installed or has no cache."""
    if find_spec("huggingface_hub") is None:
        return
    from huggingface_hub import CacheNotFound, constants, scan_cache_dir

    with suppress(CacheNotFound, OSError):
        for repository in sorted(scan_cache_dir(constants.HF_HUB_CACHE).repos, key=lambda one: one.repo_id):
            for revision in sorted(repository.revisions, key=lambda one: one.commit_hash):
                place = "" if "main" in revision.refs else f"@{revision.commit_hash}"
                with suppress(ModelError):
                    if model := _read(revision.snapshot_path, f"hf://{repository.repo_id}{place}"):
                        yield model


def in_folder(folder: Path) -> list[Pretrained]:
    """The models that are saved at a folder, or in folders of it. Raises ModelError for one that is damaged."""
    places = [folder, *sorted(path for path in folder.glob("*") if path.is_dir())]
    return [model for path in places if (model := _read(path, str(path)))]


def _from_hub(name: str, *, download: bool) -> Pretrained:
    """The model of an hf:// name; LookupError, with the reason, where it cannot be had."""
    match = NAME.fullmatch(name)
    if match is None:
        raise UsageError(f"{escape(name)} is not allowed; hf://ORG/NAME is, with @REVISION behind it or without")
    check_installed("hf://", ("huggingface_hub",), "hub")
    from huggingface_hub import snapshot_download

    files = [CONFIG, WEIGHTS, CARD]
    try:
        folder = snapshot_download(
            match[1], revision=match[2], allow_patterns=files, local_files_only=not download, library_name=LIBRARY
        )
    except Exception as error:  # the library's own, of its network's, and the system's
        raise LookupError(escape(reason(error))) from None
    model = _read(Path(folder), name)
    if model is None or not (Path(folder) / WEIGHTS).is_file():
        raise LookupError(f"it has no {WEIGHTS} with a {CONFIG} of regrain's")
    return model


def _read(folder: Path, name: str) -> Pretrained | None:
    """The model at a folder, None where its config is none of regrain's. Raises ModelError for one that is damaged."""
    path = folder / CONFIG
    with suppress(OSError, ValueError, RecursionError):
        if path.is_file() and path.stat().st_size <= CONFIG_MOST:
            data = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(data, dict) and data.get("library_name") == LIBRARY:
                known = {field.name: data[field.name] for field in fields(Config) if field.name in data}
                return Pretrained(name, folder, _config(known, f"{name}: {CONFIG}"))
    return None


def _config(data: dict[str, object], where: str) -> Config:
    try:
        return configuration.read(Config, data, where)
    except UsageError as error:
        raise ModelError(str(error)) from None
