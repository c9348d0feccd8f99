"""The values of a recipe: TOML files -> tables, and the range of every number in them (`configuration` holds both).

Everything else that a file may hold, from a size of 10^400 to tables within tables within tables, is a UsageError in
one line that says where, well under two seconds later, and nothing is built from it.

A file may say `extends = "other.toml"`, a path relative to its own folder, and then gives only what differs from that
file. Tables merge key by key; everything else, lists and [[stage]] too, is replaced whole. Every other path is relative
to the folder of the recipe that is run, wherever it was written: a recipe means what its tables say, not where they
came from.
"""

import stat
import tomllib
from functools import reduce
from pathlib import Path
from typing import Any, Final

from regrain import configuration
from regrain.errors import UsageError, escape

__all__ = ["RANGES", "tables"]

FILE_MAX: Final = 2**16
DOTS_MAX: Final = 256
"""In a line: tomllib takes minutes for a key of 30,000 parts."""
FILES_MAX: Final = 5
"""In a chain of `extends`, the recipe itself counted."""
_MANY: Final = 2**31
_MUCH: Final = 1e9
RANGES: Final[configuration.Ranges] = {
    **configuration.NETWORKS,
    "rank": (1, 64), "patience": (0, _MANY), "seed": (0, 2**22), "ema": (0, 1), "clip": (1e-9, _MUCH),
    "warmup": (0, _MANY), "checkpoint_every": (1, _MANY),
    "validate_every": (1, _MANY), "report_every": (1, _MANY), "holdout_crops": (1, 65536), "workers": (0, 1024),
    "holdout_share": (0, 1), "faded": (0, 1), "reduced": (0, 1), "drawn": (0, 1),
    "steps": (1, _MANY), "batch": (1, 65536), "crop": (32, 8192), "learning_rate": (0, 1), "continuous": (0, 1),
    "rate": (0, _MUCH), "perceptual": (0, _MUCH), "perceptual_weight": (0, 1), "perceptual_scale": (0, _MUCH),
    "structure": (0, _MUCH), "structure_scale": (0, _MUCH), "texture": (0, _MUCH),
    "texture_scale": (0, _MUCH), "adversary_scale": (0, _MUCH), "vgg_scale": (0, _MUCH),
    "bands_scale": (0, _MUCH), "edge_scale": (0, _MUCH), "drift_scale": (0, _MUCH),
    "means_scale": (0, _MUCH), "spectrum_scale": (0, _MUCH),
    "rate_weight": (1e-9, _MUCH), "balance": (0, 1), "tone_weight": (0, _MUCH),
    "lattice_weight": (0, _MUCH), "min_snr_gamma": (1e-9, _MUCH), "min_weight": (0, _MUCH),
    "simple_weight": (0, _MUCH), "vlb_weight": (0, _MUCH), "sampling_steps": (1, 1024), "gap": (1e-3, 1),
    "dropout": (0, 1), "guidance_max": (0, 1000), "guidance": (0, 1000),
}  # fmt: skip
"""The range of each number of a recipe, both ends included; every number has one."""


def tables(path: Path) -> tuple[dict[str, Any], str]:
    """The tables of a recipe over those of the files that it extends, and their name for messages.

    Raises UsageError, naming every file on the way, for one that is no TOML file or over FILE_MAX bytes, for a cycle
    and for a chain of over FILES_MAX files.
    """
    where = escape(path)
    layers, files = [_table(path, where)], [path.resolve()]
    while "extends" in layers[-1]:
        path = files[-1].parent / configuration.text(layers[-1].pop("extends"), f"{where}: extends")
        where += f" extends {escape(path)}"
        if len(files) == FILES_MAX:
            raise UsageError(f"{where}: a chain of over {FILES_MAX} files; fewer are allowed")
        layers.append(_table(path, where))
        files.append(path.resolve())
        if files[-1] in files[:-1]:
            raise UsageError(f"{where}: a cycle; a file may not extend itself")
    try:
        return reduce(_merge, reversed(layers)), where
    except RecursionError:
        raise UsageError(f"{where}: not a TOML recipe: too deeply nested") from None


def _merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Two tables as one, key by key; where only one side has a table, `over` holds."""
    both = {key for key, value in over.items() if isinstance(value, dict) and isinstance(under.get(key), dict)}
    return under | over | {key: _merge(under[key], over[key]) for key in both}


def _table(path: Path, where: str) -> dict[str, Any]:
    """The tables of one TOML file, as they stand. Raises UsageError that begins with `where`."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(f"{where}: {'a directory' if path.is_dir() else 'not a file'}; a TOML file is allowed")
        with path.open("rb") as file:
            data = file.read(FILE_MAX + 1)
        if len(data) > FILE_MAX:
            raise UsageError(f"{where}: over {FILE_MAX} bytes; smaller recipes are allowed")
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
        if max(line.count(".") for line in text.split("\n")) > DOTS_MAX:
            raise UsageError(f"{where}: a line with over {DOTS_MAX} dots; shorter lines are allowed")
        return tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"{where}: {error.strerror or error}") from None
    except RecursionError:
        raise UsageError(f"{where}: not a TOML recipe: too deeply nested") from None
    except ValueError as error:  # of the file's name, its encoding, its syntax, its numbers
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{where}: not a TOML recipe: {escape(error)}") from None
