"""Pictures -> batches, as a pure function of (seed, counter).

Sample number n of a run is picture permutation(seed, epoch)[n mod size] under an augmentation drawn from (seed, n):
nothing is remembered between steps, so a run that resumes at step k sees exactly what it would have seen.
"""

import logging
import traceback
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from regrain.errors import ImageError, RegrainError, UsageError
from regrain.image import to_signed
from regrain_lab.training.members import DataConfig, Member, members
from regrain_lab.training.stopping import leave_signals_alone
from regrain_lab.training.synthetic_images import synthetic_image

__all__ = ["Crops", "Member", "batches", "holdout_batch", "members"]

log = logging.getLogger(__name__)
BAD_IN_A_ROW = 64
SIDE = 32


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
