"""WebDataset-style shards -> batches, as a pure function of (seed, counter).

Sample number n of a run is crop permutation(seed, epoch)[n mod size] under an augmentation drawn from (seed, n): nothing
is remembered between steps, so a run that resumes at step k sees exactly what it would have seen.
"""

import csv
import logging
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from regrain.errors import ImageError, LimitError, UsageError
from regrain.image import read, to_signed
from regrain.training.config import DataConfig

__all__ = ["Crops", "Member", "batches", "holdout_batch", "members"]

log = logging.getLogger(__name__)
SUFFIXES = (".avif", ".png", ".jpg", ".jpeg", ".webp")
BAD_IN_A_ROW = 64


@dataclass(frozen=True)
class Member:
    """One picture inside a shard: its bytes are shard[offset : offset + size]."""

    shard: Path
    name: str
    offset: int
    size: int
    repository: str

    def read(self) -> NDArray[np.uint8]:
        """The picture's pixels, uint8 (H, W, 3). Raises ImageError if it is broken."""
        with self.shard.open("rb") as file:
            file.seek(self.offset)
            data = file.read(self.size)
        try:
            pixels = read(data).pixels
        except (ImageError, LimitError) as error:
            raise ImageError(f"{self.shard.name}/{self.name}: {error}") from None
        return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def members(folder: Path, config: DataConfig, *, held_out: bool) -> list[Member]:
    """The pictures of all shards that the recipe selects, or those it holds out, in shard order.

    Raises UsageError if there is none. A shard cut short keeps what is whole of it; that is reported.
    """
    shards = sorted(folder.glob("*.tar"))
    rows = _index(folder / "index.csv")
    picked = []
    for shard in shards:
        for info in _list(shard):
            row = rows.get((shard.name, Path(info.name).stem), {})
            repository = row.get("repository", "")
            free = not config.licence_classes or row.get("licence_class") in config.licence_classes
            wanted = free and repository not in config.exclude and (repository in config.holdout) == held_out
            if wanted and info.name.endswith(SUFFIXES):
                picked.append(Member(shard, info.name, info.offset_data, info.size, repository))
    if not picked:
        raise UsageError(f"no {'validation' if held_out else 'training'} pictures in {len(shards)} shards of {folder}")
    return picked


def _list(shard: Path) -> list[tarfile.TarInfo]:
    found: list[tarfile.TarInfo] = []
    end = shard.stat().st_size
    try:
        with tarfile.open(shard) as tar:
            found.extend(info for info in tar if info.isfile())
    except tarfile.TarError as error:
        log.warning("%s: %s; %d pictures of it are used", shard.name, error, len(found))
    whole = [info for info in found if info.offset_data + info.size <= end]
    if len(whole) < len(found):
        log.warning("%s: cut short; %d of %d pictures are used", shard.name, len(whole), len(found))
    return whole


def _index(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {(row["shard"], row["key"]): row for row in csv.DictReader(file)}


class Crops(Dataset[Tensor]):
    """Sample n -> a random crop, flipped half the time: float32 (3, crop, crop) in [-1, 1]."""

    def __init__(self, pictures: list[Member], seed: int) -> None:
        """Set the pictures and the seed of their order and augmentation."""
        self.pictures = pictures
        self.seed = seed

    def __getitem__(self, key: tuple[int, int]) -> Tensor:
        """`key` is (sample number, crop size). A broken picture is reported and its successor taken."""
        number, crop = key
        random = np.random.default_rng((self.seed, number))
        for attempt in range(BAD_IN_A_ROW):
            try:
                return self._crop(self._pick(number + attempt), crop, random)
            except ImageError as error:
                log.warning("skipped: %s", error)
        raise UsageError(f"{BAD_IN_A_ROW} pictures in a row cannot be used; the last is {self._pick(number).name}")

    def _pick(self, number: int) -> Member:
        epoch, place = divmod(number, len(self.pictures))
        return self.pictures[_permutation(self.seed, epoch, len(self.pictures))[place]]

    @staticmethod
    def _crop(member: Member, crop: int, random: np.random.Generator) -> Tensor:
        pixels = member.read()
        height, width = pixels.shape[:2]
        if min(height, width) < crop:
            raise ImageError(f"{member.name}: {width}x{height} is smaller than the crop of {crop}")
        row, column = random.integers(height - crop + 1), random.integers(width - crop + 1)
        window = pixels[row : row + crop, column : column + crop]
        return torch.from_numpy(to_signed(np.ascontiguousarray(window[:, ::-1] if random.integers(2) else window)))


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, size: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, 1, epoch)).permutation(size)


class _Steps(Sampler[list[tuple[int, int]]]):
    def __init__(self, first: int, stride: int, steps: int, batch: int, crop: int) -> None:
        self.first, self.stride, self.steps, self.batch, self.crop = first, stride, steps, batch, crop

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for step in range(self.steps):
            start = self.first + step * self.stride
            yield [(start + i, self.crop) for i in range(self.batch)]


def batches(
    crops: Crops, *, first: int, stride: int, steps: int, batch: int, crop: int, workers: int
) -> DataLoader[Tensor]:
    """`steps` batches (batch, 3, crop, crop); batch k begins with sample number `first + k stride`."""
    sampler = _Steps(first, stride, steps, batch, crop)
    return DataLoader(crops, batch_sampler=sampler, num_workers=workers, persistent_workers=False)


def holdout_batch(pictures: list[Member], count: int) -> Tensor:
    """`count` held-out pictures spread evenly over the list, cut to multiples of 64 in the middle: (count, 3, H, W)."""
    chosen = [pictures[i * len(pictures) // count] for i in range(min(count, len(pictures)))]
    arrays = [torch.from_numpy(to_signed(member.read())) for member in chosen]
    side = min(min(a.shape[1:]) for a in arrays) // 64 * 64
    return torch.stack([a[:, :side, :side] for a in arrays])
