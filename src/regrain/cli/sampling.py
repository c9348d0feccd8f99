"""`sample`: a sheet of pictures from noise alone."""

import argparse
import re
from typing import TYPE_CHECKING

from regrain.cli.commands import report, weights
from regrain.cli.streams import check_target, picture_format, put
from regrain.cli.terminal import STANDARD, display_name
from regrain.cli.work import seconds, working
from regrain.options import DecodeOptions, check_arguments

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["pair", "sample"]

_GAP = 2
"""White pixels between two pictures of a sheet."""
_DRAWING = ("steps", "eta", "sampler", "seed")


def pair(text: str) -> tuple[int, int]:
    """Two whole numbers with an x between them; one alone stands for both.

    >>> pair("2x5"), pair("96")
    ((2, 5), (96, 96))
    """
    match = re.fullmatch(r"(\d{1,9})(?:x(\d{1,9}))?", text.strip(), re.ASCII)
    if match is None or 0 in map(int, match.groups("1")):
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; a whole number above 0 or two, as 64 or 4x2, are")
    return int(match[1]), int(match[2] or match[1])


def sample(options: argparse.Namespace) -> None:
    """Draw the sheet; raises what `regrain.sample` raises, and OutputError."""
    from regrain import image, samples

    (rows, columns), (width, height) = options.grid, options.size
    check_arguments(count=rows * columns, size=options.size)
    target = options.output
    kind = picture_format(target)
    check_target(target, overwrite=options.overwrite)
    sheet_size = columns * (width + _GAP) - _GAP, rows * (height + _GAP) - _GAP
    image.check_format(kind, *sheet_size, alpha=False, name=display_name(target, "stdout"))
    what, steps = f"drawing {rows * columns} pictures", rows * columns * options.steps
    with working(options, what) as progress:
        pictures = samples.draw(
            rows * columns,
            options.size,
            DecodeOptions(**{name: getattr(options, name) for name in _DRAWING}),
            schedule=options.schedule,
            model=weights(options),
            device=options.device,
            max_memory=options.max_memory,
            step_done=lambda done: progress(f"{what}: step {done:,} of {steps:,}"),
        )
        sheet = image.Picture(_sheet(pictures, rows, columns))
        data = image.to_file(sheet, kind, display_name(target, "stdout"))
    put(data, target, overwrite=options.overwrite)
    knobs = {name: getattr(options, name) for name in (*_DRAWING, "schedule")}
    waited = seconds(options)
    report(
        options,
        {"output": target, "grid": [rows, columns], "size": [width, height], **knobs, "seconds": round(waited, 3)},
        f"{display_name(target, 'stdout')}: pictures {rows * columns} of {width} x {height}, steps {options.steps}, "
        f"seeds {options.seed} to {(options.seed + rows * columns - 1) % samples.SEEDS}, {waited:.1f} s",
        aside=target == STANDARD,
    )


def _sheet(pictures: "NDArray[np.uint8]", rows: int, columns: int) -> "NDArray[np.uint8]":
    """Pictures (n, h, w, 3) side by side in rows, with a gap between them."""
    import numpy as np

    padded = np.pad(pictures, ((0, 0), (0, _GAP), (0, _GAP), (0, 0)), constant_values=255)
    height, width = padded.shape[1:3]
    sheet: NDArray[np.uint8] = (
        padded.reshape(rows, columns, height, width, 3).swapaxes(1, 2).reshape(rows * height, columns * width, 3)
    )
    return sheet[:-_GAP, :-_GAP]
