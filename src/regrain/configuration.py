"""Configurations that come from files: plain data of JSON or TOML -> a frozen dataclass.

Invariant: what comes out has the types that the dataclass declares, and every number is finite and within its range, so
that nothing which is built of it takes more time or memory than the ranges allow. Layers are counted by `depth`, to be
held against the tensors that are there.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

from regrain.errors import ModelError, UsageError, quote

__all__ = ["NETWORKS", "Ranges", "check_depth", "depth", "number", "read", "text"]

T = TypeVar("T")
Ranges = Mapping[str, tuple[float, float]]

NETWORKS: Final[Ranges] = {
    "widths": (1, 4096), "depths": (0, 1024), "embedding": (1, 4096), "half": (1, 1024), "latent": (1, 768),
    "hyper": (1, 64), "hyper_width": (1, 4096), "anchors": (2, 1024), "slices": (1, 768), "context": (1, 4096),
    "shared": (1, 4096), "encoder": (1, 4096), "decoder": (1, 4096), "encoder_depths": (0, 1024),
    "decoder_depths": (0, 1024), "channels": (1, 64), "patch": (1, 8), "init_noise": (0, 1000),
}  # fmt: skip
"""What the numbers that shape a network may be, both ends included."""
_LONGEST: Final = 4096
_TEXT_MAX: Final = 1024


def read(kind: type[T], data: object, where: str, ranges: Ranges = NETWORKS) -> T:
    """The dataclass `kind` of a table, tables within it and lists for tuples. A field that is a Path is in no table.

    Raises UsageError, beginning with `where`, for a name that is unknown or missing, a value of another type, or a
    number that is not finite or out of its range.
    """
    if not isinstance(data, dict):
        raise UsageError(f"{where}: expected a table, got {quote(data)}")
    hints = {name: hint for name, hint in get_type_hints(kind).items() if hint is not Path}
    if unknown := sorted(quote(name) for name in data.keys() - hints.keys()):
        raise UsageError(f"{where}: unknown name {unknown[0]}; allowed are {', '.join(sorted(hints))}")
    values = {name: _value(hints[name], value, f"{where}: {name}", name, ranges) for name, value in data.items()}
    try:
        return kind(**values)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
    except TypeError as error:
        raise UsageError(f"{where}: lacks {str(error).partition('argument')[2].lstrip('s: ')}") from None


def number(value: object, where: str, span: tuple[float, float] | None = None) -> float:
    """A finite float, or a whole number as one. Raises UsageError for anything else and for one out of its range."""
    if type(value) not in (int, float):
        raise UsageError(f"{where}: expected float, got {quote(value)}")
    return float(_within(value, where, span))


def text(value: object, where: str) -> str:
    """Printable text of a sane length. Raises UsageError for anything else."""
    if type(value) is not str:
        raise UsageError(f"{where}: expected str, got {quote(value)}")
    if len(value) > _TEXT_MAX or not value.isprintable():
        raise UsageError(f"{where} is {quote(value)}; up to {_TEXT_MAX} printable characters are allowed")
    return value


def depth(config: object) -> int:
    """Blocks of all stacks together that a network of this shape has, each of two tensors or more."""
    values = ((f.name, getattr(config, f.name)) for f in fields(config) if f.init)  # type: ignore[arg-type]
    return sum(
        depth(value) if is_dataclass(value) else sum(value) if name.endswith("depths") else 0 for name, value in values
    )


def check_depth(config: object, tensors: int) -> None:
    """Raise ModelError for a configuration of more layers than there are tensors, before any of them is built."""
    if (layers := depth(config)) > tensors:
        raise ModelError(f"{layers} layers, and {tensors} tensors for them")


def _value(hint: object, value: object, where: str, name: str, ranges: Ranges) -> object:
    if isinstance(hint, UnionType):  # a table that may be left out
        hint = get_args(hint)[0]
    if isinstance(hint, type) and is_dataclass(hint):
        return read(hint, value, where, ranges)
    if get_origin(hint) is tuple:
        return _values(get_args(hint), value, where, name, ranges)
    if hint is float:
        return number(value, where, ranges.get(name))
    if hint is str:
        return text(value, where)
    if type(value) is not hint:
        raise UsageError(f"{where}: expected {getattr(hint, '__name__', hint)}, got {quote(value)}")
    return _within(value, where, ranges.get(name)) if type(value) is int else value


def _within(value: Any, where: str, span: tuple[float, float] | None) -> Any:  # noqa: ANN401 - a number of either kind
    low, high = span or (-(2.0**63), 2.0**63)
    if not low <= value <= high:
        raise UsageError(f"{where} is {quote(value)}; {low:g} to {high:g} is allowed")
    return value


def _values(kinds: tuple[Any, ...], value: object, where: str, name: str, ranges: Ranges) -> tuple[object, ...]:
    if not isinstance(value, list | tuple):
        raise UsageError(f"{where}: expected a list, got {quote(value)}")
    hints = kinds[:1] * min(len(value), _LONGEST) if kinds[-1] is Ellipsis else kinds
    if len(hints) != len(value):
        most = "at most " * (kinds[-1] is Ellipsis)
        raise UsageError(f"{where}: expected {most}{len(hints)} values, got {len(value)}")
    return tuple(_value(hints[i], item, f"{where} {i + 1}", name, ranges) for i, item in enumerate(value))
