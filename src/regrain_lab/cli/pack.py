"""`pack`: a folder of pictures, a tree, an archive, a URL, or what a recipe takes, becomes shards that recipes read."""

import argparse
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

from regrain import configuration, image, places
from regrain.cli.commands import report
from regrain.cli.terminal import about, escape, one_line, say
from regrain.cli.work import seconds, silent_libraries
from regrain.errors import OutputError
from regrain_lab.cli.extra import check_folder, check_installed

if TYPE_CHECKING:
    from regrain_lab.training.members import Member
    from regrain_lab.training.packing import Tally

__all__ = ["pack"]

_LINES = 20
"""Broken pictures that have a line each; the others are counted."""


def pack(options: argparse.Namespace) -> None:
    """Write the shards, and say what was left out.

    Raises UsageError, OutputError, and ImageError where there is no picture or none of use; a broken one is a line.
    """
    if places.is_url(options.output):
        raise OutputError(f"cannot write into {escape(options.output)}: shards go into a folder of this machine")
    out = check_folder(Path(options.output))
    check_installed("packing", ("scipy", "tqdm"))
    from regrain_lab.evaluation.progress import bar
    from regrain_lab.training import packing

    names = [one.name for one in fields(packing.PackConfig)]
    config = configuration.read(
        packing.PackConfig, {name: getattr(options, name) for name in names}, "pack", packing.RANGES
    )
    packing.check_target(out, overwrite=options.overwrite)
    loud, limited = not (options.quiet or options.json), image.pillow_limited(options.max_pixels)
    with silent_libraries(wanted=not options.verbose), limited, about(options.input):
        pictures = _pictures(options.input)
        with bar(len(pictures), "picture", visible=loud) as advance:
            tally = packing.pack(pictures, out, config, advance=advance)
    _report(options, tally, out)


def _pictures(name: str) -> "list[Member]":
    """The pictures of a place; of a recipe those that it holds out, and then those that train."""
    from regrain_lab.training.members import members, pictures_of

    if not name.lower().endswith(".toml"):
        return pictures_of(name)
    check_installed("reading a recipe", ("torch",))
    from regrain_lab.training.recipe import read_recipe

    recipe = read_recipe(Path(name))
    folder, sides = recipe.path(recipe.data.shards), (True, False) if recipe.data.validates else (False,)
    return [one for held_out in sides for one in members(folder, recipe.data, held_out=held_out)]


def _report(options: argparse.Namespace, tally: "Tally", out: Path) -> None:
    """A line for each broken picture, up to a number, and the summary."""
    for line in tally.broken[:_LINES]:
        say(f"regrain: warning: left out: {one_line(line)}", aside=True)
    if len(tally.broken) > _LINES:
        say(f"regrain: warning: and {len(tally.broken) - _LINES:,} more are broken", aside=True)
    facts = {"input": options.input, "output": str(out), **asdict(tally), "broken": len(tally.broken)}
    waited = seconds(options)
    report(
        options,
        {**facts, "seconds": round(waited, 3)},
        f"{escape(options.input)} -> {escape(str(out))}: pictures {tally.pictures:,}, packed {tally.packed:,}, shards "
        f"{tally.shards:,}, {tally.bytes:,} bytes; left out: {tally}; {waited:.1f} s",
    )
