"""The pictures of a place: members of shards, or the files of a plain folder; which of them train, which validate.

    train-000.tar, index.csv    WebDataset-style shards and, where there is one, their index
    photos/a.jpg, photos/b/...  any folder without either: its pictures, nested as they are, in the order of their names

Invariant: a member says where its bytes lie; none is opened before it is asked for, and none is written to a name of
its own choosing.
"""

import csv
import hashlib
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from regrain import places
from regrain.batch.plan import Plan, input_files
from regrain.errors import ImageError, LimitError, UsageError, escape, reason
from regrain.image import is_readable_suffix, read
from regrain_lab.training.shards import SIZE_MAX, entries

__all__ = ["DataConfig", "Member", "members", "pictures_of"]

log = logging.getLogger(__name__)
SUFFIXES = (".avif", ".png", ".jpg", ".jpeg", ".webp")
"""Of pictures in a shard; in upper case, too, as cameras write them."""
COLUMNS = ("shard", "key", "repository", "licence_class")
"""What an index must have; `source` is of those that `regrain pack` writes."""


@dataclass(frozen=True)
class DataConfig:
    """The pictures, and which of them train."""

    shards: str
    """A folder of shards, or of pictures, nested as they are."""
    licence_classes: tuple[str, ...] = ()
    """Classes of index.csv to keep; empty keeps all. A plain folder has none."""
    exclude: tuple[str, ...] = ()
    """Repositories never used; in a plain folder these are the folders in it."""
    holdout: tuple[str, ...] = ()
    """Repositories kept for validation."""
    holdout_share: float = 0.0
    """Share of the pictures kept for validation, one at least; at 0, and with an empty holdout, there is none."""
    holdout_crops: int = 32
    workers: int = 0
    faded: float = 0.0
    """Share of the crops whose contrast is lowered at random, down to flat."""
    reduced: float = 0.0
    """Share of the crops taken from a wider window, as wide as the picture at most, and scaled down."""
    drawn: float = 0.0
    """Share of the samples that are drawings, not photos."""

    @property
    def validates(self) -> bool:
        """Whether pictures are held out."""
        return bool(self.holdout) or self.holdout_share > 0


@dataclass(frozen=True)
class Member:
    """One picture: its bytes are shard[offset : offset + size], or the whole of a file or URL, where the offset is 0.

    `source` is the picture that it was cut from, where an index says so.
    """

    shard: Path | str
    name: str
    offset: int
    size: int
    repository: str
    licence_class: str = ""
    source: str = ""

    @property
    def title(self) -> str:
        """Shard and name, for messages."""
        return escape(f"{os.path.basename(self.shard)}/{self.name}" if self.offset else self.name)

    def read(self) -> NDArray[np.uint8]:
        """The picture's pixels, uint8 (H, W, 3). Raises ImageError if it is broken, or can no longer be read."""
        return self.decode(self.data())

    def data(self) -> bytes:
        """The bytes of its file. Raises ImageError where they cannot be read, or are more than SIZE_MAX."""
        if self.size > SIZE_MAX:
            raise ImageError(f"{self.title}: {self.size} bytes; up to {SIZE_MAX} are allowed")
        try:
            with places.open_binary(self.shard) as file:
                file.seek(self.offset)
                return file.read(self.size if self.offset else SIZE_MAX)
        except OSError as error:
            raise ImageError(f"{self.title}: {reason(error)}") from None

    def decode(self, data: bytes, max_pixels: int = 250_000_000) -> NDArray[np.uint8]:
        """The pixels, uint8 (H, W, 3), of those bytes; raises ImageError, also for more than `max_pixels`."""
        try:
            pixels = read(data, max_pixels=max_pixels).pixels
        except (ImageError, LimitError) as error:
            raise ImageError(f"{self.title}: {str(error).removeprefix('picture: ')}") from None
        return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def members(folder: Path, config: DataConfig, *, held_out: bool) -> list[Member]:
    """The pictures of a folder that the recipe selects, or those it holds out, in the order of shards or of names.

    A shard cut short keeps what is whole of it; that is reported, and so is a repository that the recipe names and the
    index does not. Raises UsageError if no picture is left, or if shards or index cannot be read.
    """
    pictures = _in_folder(folder)
    repositories = {member.repository for member in pictures}
    repositories |= {row["repository"] for row in _index(folder / "index.csv").values()}
    for name in sorted({*config.exclude, *config.holdout} - repositories):
        log.warning("%s: no picture is of %s, which the recipe names", folder, name)
    known = [one for one in pictures if not config.licence_classes or one.licence_class in config.licence_classes]
    usable = [member for member in known if member.repository not in config.exclude]
    kept = _share_of(usable, config.holdout_share)
    split = [one for one in usable if (one.repository in config.holdout or _origin(one) in kept) == held_out]
    if not split:
        shards = len({member.shard for member in pictures if member.offset})
        lacks = f", and {len(pictures)} pictures of no licence class that the recipe allows" * (not known)
        kind = "validation" if held_out else "training"
        raise UsageError(f"no {kind} pictures in {shards} shards of {escape(folder)}" + lacks * bool(pictures))
    return split


def pictures_of(place: str) -> list[Member]:
    """The pictures of a folder, shards in it or not, of one tar or zip file, of a pattern, or of a URL.

    Raises ImageError where there is none, UsageError and OSError as `places` does.
    """
    if os.path.isdir(place):
        pictures = _in_folder(Path(place))
    elif not places.is_url(place) and place.lower().endswith(".tar"):
        pictures = _in_shards([Path(place)], {})
    else:
        pictures = _files(f"zip://::{place}" if place.lower().endswith(".zip") and os.path.isfile(place) else place)
    if not pictures:
        raise ImageError(f"{escape(place)}: there is no picture")
    return pictures


def _in_folder(folder: Path) -> list[Member]:
    try:
        shards = sorted(path for path in folder.glob("*") if path.suffix.lower() == ".tar")
    except OSError as error:
        raise UsageError(f"{escape(folder)}: {error.strerror or error}") from None
    rows = _index(folder / "index.csv")
    if shards or rows or not folder.is_dir():
        return _in_shards(shards, rows)
    return _files(str(folder))


def _in_shards(shards: Iterable[Path], rows: dict[tuple[str, str], dict[str, str]]) -> list[Member]:
    pictures = []
    for shard in shards:
        for entry in entries(shard):
            row = rows.get((shard.name, PurePosixPath(entry.name).stem), {})
            repository, licence = row.get("repository", ""), row.get("licence_class", "")
            if entry.name.lower().endswith(SUFFIXES):
                source = row.get("source") or ""
                pictures.append(Member(shard, entry.name, entry.offset, entry.size, repository, licence, source))
    return pictures


def _files(place: str) -> list[Member]:
    """The pictures of a plain folder, a pattern or a URL; the first folder on the way to one is its repository."""
    plan = Plan()
    pictures = [
        Member(entry.name, entry.relative, 0, entry.size, entry.relative.rpartition("/")[0].partition("/")[0])
        for entry in input_files([place], is_readable_suffix, plan)
    ]
    for note in [*plan.notes, *(f"{escape(name)}: {why}" for name, why in plan.failures)]:
        log.warning("%s", note)
    return sorted(pictures, key=lambda member: member.name)


def _origin(member: Member) -> str:
    """What it was cut from, or itself: crops of one picture never stand on both sides."""
    return member.source or member.name


def _share_of(pictures: list[Member], share: float) -> frozenset[str]:
    """The origins of a share of the pictures, by a hash of their names, which the order of the others cannot change."""
    names = {_origin(member) for member in pictures}
    count = min(len(names), max(1, round(share * len(names)))) if share else 0
    order = sorted(names, key=lambda name: hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest())
    return frozenset(order[:count])


def _index(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    """Rows by shard and key; none without an index."""
    if not path.exists():
        return {}
    if not path.is_file():
        raise UsageError(f"{path}: not a file; an index is a CSV file")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None
    if missing := set(COLUMNS) - set(rows[0] if rows else ()):
        raise UsageError(f"{path}: lacks the column {min(missing)}")
    return {(row["shard"], row["key"]): row for row in rows}
