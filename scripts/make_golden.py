"""Make the golden files with the weights in the package: PYTHONPATH=tests python scripts/make_golden.py [FOLDER]

Writes, for each picture below, NAME.rgn and NAME.png (that file decoded at realism 0 by torch), and golden.json with
size, SHA-256 and symbol digest of each. The pictures are formulas in integers, so they are the same everywhere and for
ever.
What is there already is left alone: golden files never change.
"""

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from exactness import digest
from regrain import codec, image, registry
from regrain.bitstream import Method
from regrain.image import Metadata, Picture
from regrain.options import Content

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "golden"
LARGEST = 3000
EXTRAS = Metadata(icc=b"a profile", exif=b"MM\0*\0\0\0\x08\0\0\0\0\0\0", xmp=b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>")


@dataclass(frozen=True)
class Golden:
    """A picture's size and kind, and how it is encoded."""

    width: int
    height: int
    quality: float
    channels: int = 3
    tile: int = 1024
    extras: bool = False
    method: str = "conditional"
    content: Content = "photo"
    drawn: float = 0
    """The share of its columns, from the left on, that letters and lines cover."""


GOLDEN = {
    "progressive": Golden(40, 24, 60, tile=64, extras=True, method="progressive"),
    "palette": Golden(130, 70, 30, tile=64, extras=True, method="palette"),
    "levels": Golden(96, 80, 80, method="palette"),
    # The conditional codec: a second one of a kind has another size, quality and tile.
    "colour": Golden(96, 80, 40),
    "colour-2": Golden(72, 104, 20),
    "grey": Golden(33, 17, 60, channels=1),
    "grey-2": Golden(50, 41, 25, channels=1),
    "tiles": Golden(130, 70, 10, tile=64, extras=True),
    "tiles-2": Golden(100, 150, 6, tile=64),
    "lowest": Golden(64, 48, 0),
    "plain": Golden(130, 70, 12, tile=64),
    "pixel": Golden(1, 1, 50),
    "extras": Golden(40, 24, 30.5, extras=True),
    "highest": Golden(24, 20, 100),
    "screen": Golden(96, 80, 40, content="screen"),
    "foreground": Golden(240, 130, 40, content="screen", drawn=0.75),
    "foreground-2": Golden(150, 90, 10, content="screen", drawn=1, tile=64),
    "foreground-3": Golden(200, 140, 50, channels=1, content="screen", drawn=0.8, tile=64),
}


def wave(position: NDArray[np.int64], period: int) -> NDArray[np.int64]:
    """A triangle between 0 and 255: integers of any shape to integers of the same shape."""
    return abs(position % (2 * period) - period) * 255 // period


def picture(golden: Golden) -> Picture:
    """Two crossing waves a channel, a disc with a hard edge, and a little grain."""
    row, column = np.mgrid[: golden.height, : golden.width]
    disc = (4 * row - 2 * golden.height) ** 2 + (4 * column - 2 * golden.width) ** 2 < golden.height**2
    grain = (row * row * 7 + column * 13 * row + column) % 9 - 4
    planes = [
        (wave(3 * row + (k + 1) * column, 90 + 20 * k) + 2 * wave(5 * column - k * row, 130)) // 3
        for k in range(golden.channels)
    ]
    pixels = np.stack([np.where(disc, 255 - plane, plane) + grain for plane in planes], 2).clip(0, 255).astype(np.uint8)
    if golden.drawn:
        page = np.stack([letters(row, column, 230 - 60 * k, 40 + 50 * k) for k in range(golden.channels)], 2)
        pixels = np.where((column < golden.drawn * golden.width)[..., None], page, pixels).astype(np.uint8)
    if not golden.extras:
        return Picture(pixels)
    return Picture(pixels, wave(6 * column + row, 100).astype(np.uint8), EXTRAS)


def letters(row: NDArray[np.int64], column: NDArray[np.int64], ground: int, ink: int) -> NDArray[np.int64]:
    """Levels: lines of marks of one pixel on a ground, with a shade of both beside them."""
    on_line, mark = row % 12 < 7, (row * 5 + column * 3 + row // 12 * 7 + column // 5 * 11) % 4 == 0
    inked, beside = on_line & mark & (column % 5 < 4), on_line & (column % 5 == 4) & (row % 2 == 0)
    return np.where(inked, ink, np.where(beside, (ground + ink) // 2, ground))


def make(name: str, golden: Golden, folder: Path) -> dict[str, object]:
    """Write one file and its picture; return what golden.json says of it."""
    data = codec.encode(
        picture(golden), quality=golden.quality, tile=golden.tile, method=golden.method, content=golden.content
    )
    if len(data) > LARGEST:
        raise SystemExit(f"{name} has {len(data)} bytes; allowed are {LARGEST}")
    (folder / f"{name}.rgn").write_bytes(data)
    image.write(codec.decode(data, realism=0, device="cpu"), folder / f"{name}.png")
    made: dict[str, object] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    if golden.method == "conditional":
        made["symbols"] = digest(data)
    return {"width": golden.width, "height": golden.height, **made}


def has_weights(golden: Golden) -> bool:
    """Whether the package has weights for the content."""
    return registry.has_content(Method[golden.method.upper()], golden.content)


def main() -> None:
    """Make them all."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    told = folder / "golden.json"
    entries = json.loads(told.read_text(encoding="utf-8")) if told.exists() else {}
    missing = {name: golden for name, golden in GOLDEN.items() if name not in entries}
    entries |= {name: make(name, golden, folder) for name, golden in missing.items() if has_weights(golden)}
    told.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    for name, entry in entries.items():
        print(f"{name:12} {entry['bytes']:5} bytes  {entry.get('symbols', '')}")


if __name__ == "__main__":
    main()
