"""WebDataset-style shards -> batches, as a pure function of (seed, counter).

Sample number n of a run is picture permutation(seed, epoch)[n mod size] under an augmentation drawn from (seed, n):
nothing is remembered between steps, so a run that resumes at step k sees exactly what it would have seen.
"""

import csv
import logging
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from regrain.errors import ImageError, LimitError, RegrainError, UsageError, escape
from regrain.image import read, to_signed
from regrain_lab.training.recipe import DataConfig
from regrain_lab.training.shards import entries
from regrain_lab.training.stopping import leave_signals_alone
from regrain_lab.training.synthetic_images import synthetic_image

__all__ = ["Crops", "Member", "batches", "holdout_batch", "members"]

log = logging.getLogger(__name__)
SUFFIXES = (".avif", ".png", ".jpg", ".jpeg", ".webp")
BAD_IN_A_ROW = 64
SIDE = 32


@dataclass(frozen=True)
class Member:
    """One picture inside a shard: its bytes are shard[offset : offset + size]."""

    shard: Path
    name: str
    offset: int
    size: int
    repository: str

    @property
    def title(self) -> str:
        """Shard and name, for messages."""
        return escape(f"{self.shard.name}/{self.name}")

    def read(self) -> NDArray[np.uint8]:
        """The picture's pixels, uint8 (H, W, 3). Raises ImageError if it is broken, or can no longer be read."""
        try:
            with self.shard.open("rb") as file:
                file.seek(self.offset)
                data = file.read(self.size)
            pixels = read(data).pixels
        except OSError as error:
            raise ImageError(f"{self.title}: {error.strerror or error}") from None
        except (ImageError, LimitError) as error:
            raise ImageError(f"{self.title}: {error}") from None
        return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def members(folder: Path, config: DataConfig, *, held_out: bool) -> list[Member]:
    """The pictures of all shards that the recipe selects, or those it holds out, in shard order.

    A shard cut short keeps what is whole of it; that is reported, and so is a repository that the recipe names and the
    index does not. Raises UsageError if no picture is left, or if shards or index cannot be read. Suffixes may be in
    upper case, as cameras write them.
    """
    try:
        shards = sorted(path for path in folder.glob("*") if path.suffix.lower() == ".tar")
    except OSError as error:
        raise UsageError(f"{escape(folder)}: {error.strerror or error}") from None
    rows = _index(folder / "index.csv")
    for name in sorted({*config.exclude, *config.holdout} - {row["repository"] for row in rows.values()}):
        log.warning("%s: no picture is of %s, which the recipe names", folder, name)
    pictures = []
    for shard in shards:
        for entry in entries(shard):
            row = rows.get((shard.name, PurePosixPath(entry.name).stem), {})
            repository = row.get("repository", "")
            has_licence = not config.licence_classes or row.get("licence_class") in config.licence_classes
            in_split = repository not in config.exclude and (repository in config.holdout) == held_out
            if has_licence and in_split and entry.name.lower().endswith(SUFFIXES):
                pictures.append(Member(shard, entry.name, entry.offset, entry.size, repository))
    if not pictures:
        raise UsageError(f"no {'validation' if held_out else 'training'} pictures in {len(shards)} shards of {folder}")
    return pictures


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
    if missing := {"shard", "key", "repository", "licence_class"} - set(rows[0] if rows else ()):
        raise UsageError(f"{path}: lacks the column {min(missing)}")
    return {(row["shard"], row["key"]): row for row in rows}


class Crops(Dataset[Tensor]):
    """Sample n -> a crop in one of the eight poses of a square, or a synthetic image: float32 (3, crop, crop)."""

    def __init__(self, pictures: list[Member], seed: int, config: DataConfig) -> None:
        """`seed` is that of the order and of the augmentation, whose shares are in `config`. Values are in [-1, 1]."""
        self.pictures, self.seed, self.config = pictures, seed, config
        self._reported: set[str] = set()

    def __getitem__(self, key: tuple[int, int]) -> Tensor:
        """`key` is (sample number, crop size). A picture of no use is reported, once, and the next one taken."""
        number, crop = key
        random = np.random.default_rng((self.seed, number))
        if random.random() < self.config.drawn:
            return synthetic_image(crop, random)
        for attempt in range(BAD_IN_A_ROW):
            try:
                return self._crop(self._pick(number + attempt), crop, random)
            except ImageError as error:
                self._report(str(error))
        raise UsageError(f"{BAD_IN_A_ROW} pictures in a row are of no use; the first is {self._pick(number).title}")

    def _report(self, reason: str) -> None:
        if reason not in self._reported:
            self._reported.add(reason)
            log.warning("skipped: %s", reason)

    def _pick(self, number: int) -> Member:
        epoch, index = divmod(number, len(self.pictures))
        return self.pictures[int(_permutation(self.seed, epoch, len(self.pictures))[index])]

    def _crop(self, member: Member, crop: int, random: np.random.Generator) -> Tensor:
        pixels = member.read()
        height, width = pixels.shape[:2]
        if min(height, width) < crop:
            raise ImageError(f"{member.title}: {width}x{height} is smaller than the crop of {crop}")
        side = int(random.integers(crop, min(height, width) + 1)) if random.random() < self.config.reduced else crop
        row, column = random.integers(height - side + 1), random.integers(width - side + 1)
        window = np.rot90(pixels[row : row + side, column : column + side], int(random.integers(4)))
        x = torch.from_numpy(to_signed(np.ascontiguousarray(window[:, ::-1] if random.integers(2) else window)))
        x = x if side == crop else _reduce(x, crop)
        return _fade(x, random) if random.random() < self.config.faded else x


def _reduce(x: Tensor, side: int) -> Tensor:
    """(3, H, W) scaled down to (3, side, side): the same scene with finer detail, as a smaller picture shows it."""
    smaller = nn.functional.interpolate(x[None], (side, side), mode="bicubic", antialias=True)[0]
    return smaller.clamp(-1, 1)


def _fade(x: Tensor, random: np.random.Generator) -> Tensor:
    """Contrast drawn from [0, 1], brightness from what is then left: flat, dark and burnt-out pictures exist."""
    contrast = random.random()
    brightness = (1 - contrast) * (2 * random.random() - 1)
    return x * contrast + brightness


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, size: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, 1, epoch)).permutation(size)


def batches(
    crops: Crops, *, first: int, stride: int, steps: int, batch: int, crop: int, workers: int
) -> Iterator[Tensor]:
    """`steps` batches (batch, 3, crop, crop); batch k begins with sample number `first + k stride`.

    Raises UsageError if too many pictures in a row are of no use, RegrainError if a worker is killed.
    """
    keys = ([(first + step * stride + i, crop) for i in range(batch)] for step in range(steps))
    loader: DataLoader[Tensor] = DataLoader(
        crops, batch_sampler=keys, num_workers=workers, worker_init_fn=leave_signals_alone,
        pin_memory=torch.cuda.is_available(),
    )  # fmt: skip
    failure = ""
    try:
        yield from loader
    except UsageError as error:  # a worker's comes with its traceback as text, and frames that hold the workers
        failure = str(error).strip().splitlines()[-1].rpartition("UsageError: ")[2]
        traceback.clear_frames(error.__traceback__)
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        reason = str(error).partition("\n")[0]
        raise RegrainError(f"a process that reads pictures ended ({reason}): fewer workers need less memory") from None
    if failure:
        raise UsageError(failure)


def holdout_batch(pictures: list[Member], count: int) -> Tensor:
    """`count` pictures spread evenly over the list, their top left squares: (count, 3, side, side) in [-1, 1].

    `side` is the largest multiple of 32 that fits into all. A picture that is broken or under 32 pixels is reported and
    left out. Raises UsageError if none is left.
    """
    selection = [pictures[i * len(pictures) // count] for i in range(min(count, len(pictures)))]
    arrays = []
    for member in selection:
        try:
            pixels = member.read()
        except ImageError as error:
            log.warning("held out, but left out: %s", error)
            continue
        if min(pixels.shape[:2]) >= SIDE:
            arrays.append(torch.from_numpy(to_signed(pixels)))
        else:
            log.warning("held out, but left out: %s is under %d pixels", member.title, SIDE)
    if not arrays:
        raise UsageError(f"none of {len(selection)} held-out pictures is of use; the first is {selection[0].title}")
    side = min(min(a.shape[1:]) for a in arrays) // SIDE * SIDE
    return torch.stack([a[:, :side, :side] for a in arrays])
