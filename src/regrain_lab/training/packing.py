"""Pictures -> shards that recipes read: crops, or whole pictures, without those that teach nothing.

    picture -> (broken? small? seen before?) -> crops -> (flat? clipped?) -> packed-00000.tar ... and index.csv

What is left out is counted. The same pictures under the same names give the same shards, byte for byte.
"""

import csv
import io
import math
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn

from regrain.errors import ImageError, OutputError, UsageError, escape
from regrain.image import Picture, shrink, to_file
from regrain.output import as_output_errors, whole_folder, write_bytes
from regrain_lab.training.members import COLUMNS, SUFFIXES, Member
from regrain_lab.training.shards import MEMBERS_MAX

__all__ = ["RANGES", "PackConfig", "Tally", "check_target", "pack", "perceptual_hash"]

Pixels = NDArray[np.uint8]
RANGES: Final = {
    "crop": (0, 8192), "min_side": (0, 2**20), "crops": (1, 2**20), "duplicates": (0, 65), "flat": (0, 128),
    "clipped": (0, 1), "megabytes": (0.01, 1e5), "max_pixels": (0, 2**40),
}  # fmt: skip
SIDE, WAVES = 32, 8
"""A hash is of a picture scaled down to 32 x 32, and has a bit for each of the lowest 8 x 8 waves of its DCT."""
INDEX, SHARD = "index.csv", "packed-*.tar"
NAME_MAX: Final = 1024
PIECE: Final = 2**18
DARK, BRIGHT = 1, 254
"""A pixel is clipped whose three values are at most, or at least, this."""


@dataclass(frozen=True)
class PackConfig:
    """What becomes of the pictures."""

    crop: int = 256
    """Side of the crops in pixels, 32 or more; 0 keeps whole pictures, their bytes unchanged."""
    min_side: int = 0
    """Pictures whose shorter side has fewer pixels are left out, as are those smaller than a crop or than 32."""
    crops: int = 16
    """Of one picture, at most."""
    duplicates: int = 6
    """A picture is left out whose hash differs in fewer bits from that of one before; 0 keeps all."""
    flat: float = 3.0
    """A crop is left out whose luma has a smaller standard deviation, in levels of 255; 0 keeps all."""
    clipped: float = 0.25
    """A crop is left out of which a larger share is black or white to within a level; 1 keeps all."""
    licence: str = ""
    """The licence class of all pictures; empty keeps what an index says."""
    megabytes: float = 100.0
    """Of a shard, at most, unless one picture is larger."""
    max_pixels: int = 250_000_000
    """Of a picture; a larger one counts as broken."""

    def __post_init__(self) -> None:
        """Refuse, with UsageError, crops that nothing trains on."""
        if 0 < self.crop < SIDE:
            raise UsageError(f"crop is {self.crop}; allowed are 0 and whole numbers from {SIDE}")


@dataclass
class Tally:
    """What became of the pictures and their crops; `broken` has a line for each picture that cannot be read."""

    pictures: int = 0
    broken: list[str] = field(default_factory=list)
    small: int = 0
    duplicates: int = 0
    flat: int = 0
    clipped: int = 0
    packed: int = 0
    shards: int = 0
    bytes: int = 0

    def __str__(self) -> str:
        """One line for people: what was left out."""
        counts = (
            ("broken", len(self.broken)), ("small", self.small), ("duplicate", self.duplicates),
            ("flat", self.flat), ("clipped", self.clipped),
        )  # fmt: skip
        return ", ".join(f"{count:,} {word}" for word, count in counts if count) or "nothing"


def perceptual_hash(pixels: Pixels) -> int:
    """64 bits that hardly change when a picture is scaled or compressed: which low waves are above their median.

    pixels: uint8 (H, W, 3), no side below SIDE. Of two hashes `(a ^ b).bit_count()` is the distance: 4 or less for nine
    tenths of the copies and more, 6 or more for two of 5,263 photos; two pages of one layout may have as little as 6.
    Source: pHash (Zauner 2010, section 3.2.1), on means over areas.

    >>> x = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8).repeat(40, 0).repeat(60, 1)
    >>> (perceptual_hash(x) ^ perceptual_hash(x[::2, ::2])).bit_count()
    0
    """
    small = _luma(_means(_means(shrink(Picture(pixels), 8 * SIDE).pixels, 0), 1))
    waves = dctn(small, norm="ortho")[:WAVES, :WAVES].ravel().round(3)
    return int.from_bytes(np.packbits(waves > np.median(waves[1:])).tobytes())


def _means(pixels: NDArray[np.generic], axis: int) -> NDArray[np.float64]:
    """Means over SIDE parts of an axis, which are equal to an eighth of their length or better."""
    pixels = pixels.repeat(-(-8 * SIDE // pixels.shape[axis]), axis)
    edges = np.arange(SIDE + 1) * pixels.shape[axis] // SIDE
    counts = np.diff(edges).reshape([-1 if i == axis else 1 for i in range(3)])
    return np.asarray(np.add.reduceat(pixels, edges[:-1], axis=axis, dtype=np.float64) / counts)


def _luma(pixels: NDArray[np.generic]) -> NDArray[np.float64]:
    return np.asarray(pixels @ np.array([0.299, 0.587, 0.114]), np.float64)


def _contrast(pixels: Pixels) -> tuple[float, float]:
    """The standard deviation of luma and the share of clipped pixels, a piece at a time: luma takes eight bytes."""
    sums, every = np.zeros(3), pixels.reshape(-1, 3)
    for start in range(0, len(every), PIECE):
        piece = every[start : start + PIECE]
        luma, clipped = _luma(piece), (piece <= DARK).all(1) | (piece >= BRIGHT).all(1)
        sums += luma.sum(), np.square(luma).sum(), clipped.sum()
    mean, square, share = (sums / len(every)).tolist()
    return math.sqrt(max(0.0, square - mean**2)), share


def check_target(out: Path, *, overwrite: bool) -> None:
    """Raise OutputError where shards would stand among others', or with `overwrite` false replace some."""
    there = sorted(path.name for path in out.glob("*.tar")) if out.is_dir() else []
    ours = {path.name for path in out.glob(SHARD)}
    if others := [name for name in there if name not in ours]:
        raise OutputError(f"{escape(out / others[0])} is of other shards; name another folder")
    if not overwrite and (there or (out / INDEX).exists()):
        raise OutputError(f"{escape(out / (there or [INDEX])[0])} exists; --overwrite replaces it")


def pack(
    pictures: Sequence[Member], out: Path, config: PackConfig, *, advance: Callable[[], object] = lambda: None
) -> Tally:
    """Write shards of the pictures and their index into the folder `out`, all or nothing; `advance` after each one.

    Shards that `pack` wrote there before are replaced. Raises ImageError where nothing is left to write, OutputError.
    """
    tally, hashes = Tally(len(pictures)), list[int]()
    with whole_folder(out) as waiting, closing(_Shards(Path(waiting), config, tally)) as shards:
        for member in pictures:
            _pack_picture(member, config, hashes, shards)
            advance()
        if not tally.packed:
            first = f"; the first that is broken: {tally.broken[0]}" if tally.broken else ""
            raise ImageError(f"none of {tally.pictures:,} pictures is of use: {tally}{first}")
        shards.finish()
        with as_output_errors(escape(out)):
            for path in out.glob(SHARD):
                path.unlink()
    return tally


def _pack_picture(member: Member, config: PackConfig, hashes: list[int], shards: "_Shards") -> None:
    """Add what is of use of a picture, or count why nothing is; `hashes` are those of the pictures before."""
    tally = shards.tally
    try:
        data = member.data()
        pixels = member.decode(data, config.max_pixels)
    except ImageError as error:
        tally.broken.append(str(error))
        return
    if min(pixels.shape[:2]) < max(config.crop, config.min_side, SIDE):
        tally.small += 1
        return
    own = perceptual_hash(pixels)
    if config.duplicates and any((own ^ other).bit_count() < config.duplicates for other in hashes):
        tally.duplicates += 1
        return
    hashes.append(own)
    suffix, last = PurePosixPath(member.name).suffix.lower(), tally.packed + config.crops
    for top, left in _places(pixels, config.crop, member.name):
        window = pixels[top : top + config.crop, left : left + config.crop] if config.crop else pixels
        deviation, share = _contrast(window)
        if deviation < config.flat:
            tally.flat += 1
        elif share > config.clipped:
            tally.clipped += 1
        else:
            box = (left, top, *window.shape[1::-1])
            if config.crop or suffix not in SUFFIXES:
                data, suffix = to_file(Picture(window), "png"), ".png"
            shards.add(member, data, suffix, box, own)
        if tally.packed == last:
            return


def _places(pixels: Pixels, crop: int, name: str) -> Iterator[tuple[int, int]]:
    """Top and left of the squares that lie side by side in a picture, in an order that its name draws."""
    height, width = pixels.shape[:2]
    if not crop:
        yield 0, 0
        return
    random = np.random.default_rng(zlib.crc32(name.encode("utf-8", "surrogateescape")))
    for place in random.permutation((height // crop) * (width // crop)).tolist():
        row, column = divmod(place, width // crop)
        yield height % crop // 2 + row * crop, width % crop // 2 + column * crop


class _Shards:
    """Shards that are being written, one after the other, and the rows of their index."""

    def __init__(self, folder: Path, config: PackConfig, tally: Tally) -> None:
        self.folder, self.config, self.tally = folder, config, tally
        self.tar: tarfile.TarFile | None = None
        self.first = 0
        self.rows = [[*COLUMNS, "source", "left", "top", "width", "height", "bytes", "hash"]]

    def add(self, member: Member, data: bytes, suffix: str, box: Sequence[int], own: int) -> None:
        """Write a picture under the next number, into a new shard where it does not fit into this one."""
        info = tarfile.TarInfo(f"{self.tally.packed:08}{suffix}")
        info.size = len(data)
        with as_output_errors(SHARD):
            tar = self._open(len(data))
            tar.addfile(info, io.BytesIO(data))
        self.tally.packed += 1
        place = [os.path.basename(str(tar.name)), info.name.removesuffix(suffix)]
        about = [member.repository, self.config.licence or member.licence_class, member.source or member.name]
        about = [escape(word, NAME_MAX) for word in about]
        self.rows.append([*place, *about, *map(str, box), str(len(data)), f"{own:016x}"])

    def _open(self, size: int) -> tarfile.TarFile:
        """The shard that has room for so many bytes."""
        blocks = 3 - -size // tarfile.BLOCKSIZE  # of its header, its data, and two empty ones at the end
        end = (self.tar.offset if self.tar else 0) + blocks * tarfile.BLOCKSIZE
        full = self.tally.packed - self.first == MEMBERS_MAX
        if full or -(-end // tarfile.RECORDSIZE) * tarfile.RECORDSIZE > self.config.megabytes * 1e6:
            self.close()
        if self.tar is None:
            self.first = self.tally.packed
            path = self.folder / SHARD.replace("*", f"{self.tally.shards:05}")
            self.tar = tarfile.open(path, "x")  # noqa: SIM115 - `close` does
            self.tally.shards += 1
        return self.tar

    def close(self) -> None:
        """End the shard that is open, if one is."""
        if self.tar is not None:
            tar, self.tar = self.tar, None
            with as_output_errors(SHARD):
                tar.close()
                self.tally.bytes += os.path.getsize(str(tar.name))

    def finish(self) -> None:
        """End the last shard, and write the index."""
        self.close()
        text = io.StringIO(newline="")
        csv.writer(text).writerows(self.rows)
        write_bytes(text.getvalue().encode(), self.folder / INDEX)
