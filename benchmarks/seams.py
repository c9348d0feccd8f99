"""The largest difference at tile borders between a picture decoded in windows and the same file decoded whole.

    python benchmarks/seams.py [--image PICTURE] [--size 1536x1024] [--halos 2 4 6 8 10 12]
        [--model FILE] [--threads N] [--json]

One file with tiles of 512 pixels is decoded in windows of 512 pixels, for each halo, and in one window: the same
symbols, so that all that differs is what the pixel decoder sees of its neighbours. Differences are in 1/255, of
decoding in floats: on bytes they are lost in noise that is everywhere.
"""

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from machine import describe, limit_threads
from numpy.typing import NDArray
from pictures import DEMO, fitted

if TYPE_CHECKING:
    from collections.abc import Callable

    from regrain.conditional.codec import ConditionalModel
    from regrain.options import DecodeOptions

TILE = 512
REACH = 16
BAR = 2
KNOBS = ((0.0, 1), (1.0, 1), (1.0, 4))
HALOS = (0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12)


def near_borders(height: int, width: int) -> NDArray[np.bool_]:
    """Which pixels lie within 16 of a border between tiles, (height, width)."""

    out = np.zeros((height, width), bool)
    for border in range(TILE, height, TILE):
        out[border - REACH : border + REACH] = True
    for border in range(TILE, width, TILE):
        out[:, border - REACH : border + REACH] = True
    return out


def in_floats(model: "ConditionalModel") -> "ConditionalModel":
    """The same weights without ranges: on bytes every border, and every other place, has noise of some levels."""
    from regrain.onnx.byte_convolution import without_ranges

    return type(model).build(without_ranges(model.arrays), model.config.to_dict())


def decoder(model: "ConditionalModel", data: bytes) -> "Callable[[DecodeOptions, int, int], NDArray[np.uint8]]":
    """The pixels of a file by options, halo and window, both in latents."""
    from unittest.mock import patch

    from regrain import bitstream
    from regrain.conditional import decode

    stream = bitstream.read(data)
    header = stream.header
    size = header.height, header.width
    y_hat = decode.decode_latents(model.latents, stream.tiles, size, header.quality, header.tile)

    def pixels(options: "DecodeOptions", halo: int, window: int) -> NDArray[np.uint8]:
        with patch.object(decode, "HALO", halo):
            return decode.reconstruct(model.denoiser, y_hat, size, header.quality, options, grey=False, window=window)

    return pixels


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The table: one row for each realism and number of steps, and each halo."""
    import regrain
    from regrain.conditional import decode, grid
    from regrain.options import DecodeOptions

    width, height = options.size
    model, image = in_floats(regrain.load(options.model)), fitted(options.image, width, height)
    data = regrain.encode(image, tile=TILE, quality=options.quality, model=model)
    pixels, near = decoder(model, data), near_borders(height, width)
    rows = []
    for realism, steps in KNOBS:
        knobs = DecodeOptions(steps, realism)
        whole = pixels(knobs, 0, max(width, height))
        for halo in options.halos:
            windowed = pixels(knobs, halo, TILE // grid.STRIDE)
            difference = np.abs(windowed.astype(int) - whole).max(2)
            rows.append(
                {
                    "realism": realism,
                    "steps": steps,
                    "halo": halo,
                    "border": int(difference[near].max()),
                    "anywhere": int(difference.max()),
                    "over_bar": float((difference[near] > BAR).mean()),
                    "work": (1 + 2 * halo / decode.WINDOW) ** 2,
                }
            )
    return {
        "machine": describe(),
        "width": width,
        "height": height,
        "bytes": len(data),
        "halo": decode.HALO,
        "rows": rows,
    }


def lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """The report for people."""
    machine = facts["machine"]
    yield f"{machine['cpu']}, torch {machine['torch']}, {machine['threads']} threads"
    yield (
        f"{facts['width']}x{facts['height']}, {facts['bytes']:,} bytes; tiles and windows of {TILE} against one window"
    )
    yield f"bar: at most {BAR}/255 within {REACH} pixels of a border; the package's halo is {facts['halo']} latents"
    yield f"\n{'realism':>8}{'steps':>7}{'halo':>6}{'border':>8}{'anywhere':>10}{'over the bar':>14}{'work':>7}"
    for row in facts["rows"]:
        yield (
            f"{row['realism']:8g}{row['steps']:7d}{row['halo']:6d}{row['border']:8d}{row['anywhere']:10d}"
            f"{100 * row['over_bar']:12.4f} %{row['work']:7.2f}"
        )


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description="Seams between windows, by halo.")
    parser.add_argument("--image", type=Path, default=DEMO, help="scaled and cut to the size")
    parser.add_argument("--size", type=lambda text: tuple(map(int, text.split("x"))), default=(1536, 1024))
    parser.add_argument("-q", "--quality", type=float, default=50.0)
    parser.add_argument("--halos", type=int, nargs="+", default=HALOS, help="in latents of 16 pixels")
    parser.add_argument("--model", type=Path, default=None, help="weights, if not those in the package")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    limit_threads(options.threads)
    facts = measure(options)
    print(json.dumps(facts) if options.json else "\n".join(lines(facts)))


if __name__ == "__main__":
    main()
