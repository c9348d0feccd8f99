"""`explain`: what diffusion and the codec do with one photo, as pictures and one page."""

import argparse
import os
from pathlib import Path

from regrain.cli.commands import rate, report
from regrain.cli.streams import default_output, seekable
from regrain.cli.terminal import STANDARD, about, display_name, escape
from regrain.cli.work import seconds, working
from regrain.errors import OutputError, UsageError
from regrain.output import write_folder
from regrain_lab.cli.extra import check_folder, check_installed

__all__ = ["SIDE_LEAST", "SIDE_MOST", "explain"]

_EXTRA = ("torch", "matplotlib")
_DEFAULT_QUALITY = 50.0
SIDE_LEAST, SIDE_MOST = 8, 1024
"""Pixels that the longer side of the copy may have."""


def explain(options: argparse.Namespace) -> None:
    """Write the folder; raises what `regrain.encode` raises, and OutputError."""
    if not SIDE_LEAST <= options.side <= SIDE_MOST:
        raise UsageError(f"size is {options.side}; allowed is a whole number from {SIDE_LEAST} to {SIDE_MOST}")
    folder = _folder(options)
    check_installed("explaining", _EXTRA)
    from regrain import image
    from regrain_lab.explanation.report import FILES, HTML
    from regrain_lab.explanation.report import explain as explain_photo
    from regrain_lab.explanation.subject import Subject

    there = next((name for name in FILES if (folder / name).exists()), None)
    if there is not None and not options.overwrite:
        raise OutputError(f"{escape(str(folder / there))} exists; --overwrite replaces it")
    name = display_name(options.input)
    limited = image.pillow_limited(options.max_pixels)
    with working(options, f"explaining {name}") as progress, limited, about(options.input):
        photo = image.read(seekable(options.input, options.max_pixels), max_pixels=options.max_pixels)
        files = explain_photo(
            Subject(os.path.basename(name), photo, options.side),
            steps=options.steps,
            seed=options.seed,
            progress=lambda message: progress(f"{name}: {message}"),
            **rate(options, quality=_DEFAULT_QUALITY),
        )
    write_folder(files, folder)
    waited = seconds(options)
    report(
        options,
        {"input": options.input, "output": str(folder), "files": [*files], "seconds": round(waited, 3)},
        f"{name} -> {escape(str(folder / HTML))}: pictures {len(files) - 1}, {waited:.1f} s",
    )


def _folder(options: argparse.Namespace) -> Path:
    """Where the files go; nothing is made yet. Raises UsageError and OutputError."""
    target = options.output or default_output(options.input, ".explained")
    if target == STANDARD:
        raise UsageError("OUT is a folder of several files, which stdout cannot be; name it")
    return check_folder(Path(target))
