"""One reader for every value of a recipe: a TOML file -> tables -> frozen dataclasses, all of it bounded first.

A table becomes a dataclass, whose fields are its names; a value has its field's type and is in the range that RANGES
has for its name. Everything else that a file may hold, from a size of 10^400 to tables within tables within tables, is
a UsageError in one line that says where, well under two seconds later, and nothing is built from it.

A file may say `extends = "other.toml"`, a path relative to its own folder, and then gives only what differs from that
file. Tables merge key by key; everything else, lists and [[stage]] too, is replaced whole. Every other path is relative
to the folder of the recipe that is run, wherever it was written: a recipe means what its tables say, not where they
came from.
"""

import math
import stat
import tomllib
from dataclasses import fields, is_dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

from regrain.errors import UsageError, escape

__all__ = ["RANGES", "build", "tables"]

T = TypeVar("T")

FILE_MAX: Final = 2**16
DOTS_MAX: Final = 256
"""In a line: tomllib takes minutes for a key of 30,000 parts."""
TEXT_MAX: Final = 1024
LIST_MAX: Final = 4096
FILES_MAX: Final = 5
"""In a chain of `extends`, the recipe itself counted."""
_MANY: Final = 2**31
_MUCH: Final = 1e9
RANGES: Final[dict[str, tuple[float, float]]] = {
    "seed": (0, 2**22), "ema": (0, 1), "clip": (1e-9, _MUCH), "warmup": (0, _MANY), "checkpoint_every": (1, _MANY),
    "validate_every": (1, _MANY), "report_every": (1, _MANY), "holdout_crops": (1, 65536), "workers": (0, 1024),
    "faded": (0, 1), "reduced": (0, 1), "drawn": (0, 1),
    "steps": (1, _MANY), "batch": (1, 65536), "crop": (64, 8192), "learning_rate": (0, 1), "continuous": (0, 1),
    "rate": (0, _MUCH), "perceptual": (0, _MUCH), "perceptual_weight": (0, 1), "perceptual_scale": (0, _MUCH),
    "structure": (0, _MUCH), "structure_scale": (0, _MUCH), "texture": (0, _MUCH),
    "texture_scale": (0, _MUCH), "adversary_scale": (0, _MUCH), "vgg_scale": (0, _MUCH),
    "rate_weight": (1e-9, _MUCH), "balance": (0, 1), "tone_weight": (0, _MUCH),
    "lattice_weight": (0, _MUCH), "edge_weight": (0, _MUCH), "min_snr_gamma": (1e-9, _MUCH), "min_weight": (0, _MUCH),
    "simple_weight": (0, _MUCH), "vlb_weight": (0, _MUCH), "sampling_steps": (1, 1024), "gap": (1e-3, 1),
    "dropout": (0, 1), "guidance_max": (0, 1000), "guidance": (0, 1000),
    "init_noise": (0, _MUCH), "widths": (1, 4096), "depths": (1, 64), "embedding": (1, 4096), "half": (1, 4096),
    "latent": (1, 768), "encoder": (1, 4096), "decoder": (1, 4096), "encoder_depths": (1, 64),
    "decoder_depths": (1, 64), "channels": (1, 64), "patch": (1, 8),
    "hyper": (1, 64), "hyper_width": (1, 4096), "anchors": (2, 64), "slices": (1, 768), "context": (1, 4096),
    "shared": (1, 4096),
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
        name = _value(str, layers[-1].pop("extends"), f"{where}: extends", "extends")
        path = files[-1].parent / str(name)
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


def build(kind: type[T], data: object, where: str) -> T:
    """A dataclass of a table. Raises UsageError that begins with `where`."""
    if not isinstance(data, dict):
        raise UsageError(f"{where}: expected a table, got {_display(data)}")
    hints = get_type_hints(kind)
    names = [f.name for f in fields(kind) if f.name != "folder"]  # type: ignore[arg-type]
    if unknown := sorted(data.keys() - names):
        raise UsageError(f"{where}: unknown name {_display(unknown[0])}; allowed are {', '.join(sorted(names))}")
    values = {name: _value(hints[name], value, f"{where}: {name}", name) for name, value in data.items()}
    try:
        return kind(**values)
    except UsageError as error:
        raise UsageError(f"{where}: {escape(error)}") from None
    except TypeError as error:
        missing = str(error).partition("argument")[2].lstrip("s: ")
        raise UsageError(f"{where}: lacks {missing}; only a file that recipes extend may leave that out") from None


def _value(hint: object, value: object, where: str, name: str) -> object:
    if isinstance(hint, type) and is_dataclass(hint):
        return build(hint, value, where)
    if get_origin(hint) is tuple:
        return _values(get_args(hint), value, where, name)
    if type(value) is not hint and not (hint is float and type(value) is int):
        raise UsageError(f"{where}: expected {getattr(hint, '__name__', hint)}, got {_display(value)}")
    if isinstance(value, str) and (len(value) > TEXT_MAX or not value.isprintable()):
        raise UsageError(f"{where} is {_display(value)}; up to {TEXT_MAX} printable characters are allowed")
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high = RANGES[name]
        if not low <= value <= high:
            raise UsageError(f"{where} is {_display(value)}; {low:g} to {high:g} is allowed")
        return float(value) if hint is float else value
    return value


def _values(kinds: tuple[object, ...], value: object, where: str, name: str) -> tuple[object, ...]:
    if not isinstance(value, list):
        raise UsageError(f"{where}: expected a list, got {_display(value)}")
    hints = kinds[:1] * min(len(value), LIST_MAX) if kinds[-1] is Ellipsis else kinds
    if len(hints) != len(value):
        most = "at most " * (kinds[-1] is Ellipsis)
        raise UsageError(f"{where}: expected {most}{len(hints)} values, got {len(value)}")
    return tuple(_value(hints[i], item, f"{where} {i + 1}", name) for i, item in enumerate(value))


def _display(value: object) -> str:
    """A value in a message. Python refuses to write long whole numbers in decimal."""
    if type(value) is int and abs(value) >= 10**20:
        return f"a whole number of about {math.log10(2) * value.bit_length():.0f} digits"
    if type(value) is float:
        return f"{value}"
    if isinstance(value, dict | list):
        return f"a {'table' if isinstance(value, dict) else 'list'} of {len(value)}"
    return escape(repr(value))
