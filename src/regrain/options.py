"""What the arguments of the public functions may be; the functions, the command line and Pillow all ask here.

    argument -> its value as a plain Python object, or UsageError with its name, its value and what is allowed

None stands for "not given" where it is a default, and is refused everywhere else.
"""

import operator
import os
import reprlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from regrain.errors import UsageError
from regrain.places import check_installed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from regrain.diffusion.budget import Budget

__all__ = [
    "BLOCKS", "CONTENTS", "DECODING", "ENCODING", "METHODS", "RANGES", "RATES", "REPAIRED", "SAMPLERS", "SCHEDULES",
    "STRIPPED", "Content", "DecodeOptions", "Repaired", "Sampler", "check_arguments", "check_blocks", "check_names",
    "check_options",
]  # fmt: skip

SIDE_MOST = 2**20
"""Pixels that a side of a drawn picture may have."""
Box = tuple[int, int, int, int]
"""Left, top, width and height in pixels."""
SCHEDULES = ("log-linear", "cosine", "linear")
"""Names of `diffusion.schedule` that reach from a picture to noise alone."""
Sampler = Literal["ddim", "ancestral", "second-order"]
SAMPLERS: tuple[Sampler, ...] = ("ddim", "ancestral", "second-order")
"""DDIM with its eta (Song et al. 2021), DDPM's ancestral steps (Ho et al. 2020), DPM-Solver++(2M) (Lu et al. 2022)."""
Content = Literal["auto", "photo", "screen"]
CONTENTS: tuple[Content, ...] = ("auto", "photo", "screen")
"""What the package's weights for a picture know best; auto is what `content` takes the picture for."""
Repaired = Literal["latent", "image", "both"]
REPAIRED: tuple[Repaired, ...] = ("latent", "image", "both")
"""What of a palette file is denoised: its latents, the picture that they decode to, or one after the other."""


@dataclass(frozen=True)
class DecodeOptions:
    """How a file is decoded: steps >= 1 or a time for them, realism and eta in [0, 1], the seed of the noise.

    Where the weights have a sampler, one step is the denoiser's alone, and the first of more; the sampler has the rest.
    `init_noise` is the standard deviation of the noise that sampling starts from, in units of the schedule's own.
    `sampler` is the rule of a step: second-order steps and ancestral ones take no eta.
    `realism_map`, uint8 (height, width), scales realism by place: 0 is the faithful picture, 255 the sample.
    `partial` decodes what is whole of a damaged file. `region` is a box (left, top, width, height) within the picture,
    None all of it, and `reduction` 8 or 16 gives the means of squares of so many pixels. `repair` says what is repaired
    of a palette file, and `repair_strength` how much, in [0, 4]. The numbers of lost tiles go into `missing`. `fast` is
    one step by a smaller network.
    """

    steps: "int | Budget" = 1
    realism: float = 1.0
    eta: float = 0.0
    seed: int = 0
    init_noise: float = 1.0
    sampler: Sampler = "ddim"
    realism_map: "NDArray[np.uint8] | None" = None
    partial: bool = False
    region: "Box | None" = None
    reduction: int = 1
    repair: Repaired = "latent"
    repair_strength: float = 0.5
    missing: set[int] | None = None
    fast: bool = False

    @property
    def step_noise(self) -> float:
        """The eta of a DDIM step: an ancestral step with the posterior's variance is one with eta 1."""
        return 1.0 if self.sampler == "ancestral" else self.eta

    @property
    def order(self) -> int:
        """Of the steps: 2 for second-order ones."""
        return 2 if self.sampler == "second-order" else 1

    def cut(self, pixels: "NDArray[np.uint8]") -> "NDArray[np.uint8]":
        """The region, or the reduction, of the whole pixels (height, width[, channels]) of a picture."""
        if self.region is not None:
            left, top, width, height = self.region
            return pixels[top : top + height, left : left + width]
        return pixels if self.reduction == 1 else _reduce(pixels, self.reduction)


ENCODING = (
    "quality", "target_size", "target_bpp", "target_psnr", "target_ssimulacra2", "effort", "tile", "method", "content",
    "model", "device", "max_pixels", "max_memory",
)  # fmt: skip
"""What `encode` takes, in `regrain`, in `Encoder` and in Pillow's `save`."""
DECODING = (
    "steps", "budget", "realism", "eta", "seed", "init_noise", "sampler", "realism_map", "partial", "fill", "region",
    "max_size", "repair", "repair_strength", "fast", "model", "device", "max_pixels", "max_memory",
)  # fmt: skip
"""What `decode` takes, in `regrain`, in Pillow's `load` and, but for the map of realism, in `Decoder`."""
METHODS = ("conditional", "progressive", "palette")
"""The names of `bitstream.Method`, in small letters and in its order."""
BLOCKS = ("exif", "icc", "xmp")
"""The names of all blocks of metadata, which are kept unless somebody says otherwise."""
STRIPPED = ("icc",)
"""What is kept of a picture that is stripped."""
RANGES: dict[str, tuple[int, int, type]] = {
    "quality": (0, 100, float),
    "target_size": (1, 2**62, int),
    "target_bpp": (0, 1000, float),
    "target_psnr": (0, 100, float),
    "target_ssimulacra2": (0, 100, float),
    "effort": (0, 9, int),
    "tile": (64, 32768, int),
    "steps": (1, 1000, int),
    "budget": (0, 86400, float),
    "realism": (0, 1, float),
    "eta": (0, 1, float),
    "seed": (0, 2**64 - 1, int),
    "seeds": (2, 1000, int),
    "count": (1, 10_000, int),
    "init_noise": (0, 1, float),
    "repair_strength": (0, 4, float),
    "strength": (0, 4, float),
    "max_size": (1, 2**31, int),
    "max_pixels": (1, 2**62, int),
    "max_memory": (1, 2**62, int),
    "threads": (1, 1024, int),
    "jobs": (1, 1024, int),
    "ahead": (1, 10_000, int),
}
RATES = ("quality", "target_size", "target_bpp", "target_psnr", "target_ssimulacra2")
"""What an encoder may be told of how large a file becomes: at most one of them."""
_CHOICES: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(
        ("partial", "fill", "fast", "download"), (lambda value: isinstance(value, bool), "is True or False")
    ),
    "sampler": (lambda value: isinstance(value, str) and value in SAMPLERS, f"are {', '.join(SAMPLERS)}"),
    "content": (lambda value: isinstance(value, str) and value in CONTENTS, f"are {', '.join(CONTENTS)}"),
    "repair": (lambda value: isinstance(value, str) and value in REPAIRED, f"are {', '.join(REPAIRED)}"),
    "schedule": (lambda value: isinstance(value, str) and value in SCHEDULES, f"are {', '.join(SCHEDULES)}"),
    "size": (lambda value: _is_size(value), f"are two whole numbers from 1 to {SIDE_MOST}: width, height"),
    "realism_map": (lambda value: True, "is a grey picture of the size of the decoded one"),
    "region": (lambda value: _is_box(value), "are four whole numbers: left, top, width, height"),
    "method": (lambda value: isinstance(value, str) and value in METHODS, f"are {', '.join(METHODS)}"),
    "device": (lambda value: isinstance(value, str), "is a name such as cpu, cuda or onnx"),
    "model": (
        lambda value: isinstance(value, str | os.PathLike) or hasattr(value, "fingerprint"),
        f"is what regrain.load returns, a path, or one of {', '.join(METHODS)}",
    ),
    "path": (lambda value: isinstance(value, str | os.PathLike), "is a path, hf://ORG/NAME, or a method's name"),
}
_OPTIONAL = {
    *RATES, "budget", "steps", "max_memory", "method", "device", "model", "path", "realism_map", "region", "max_size",
    "repair", "repair_strength", "threads", "jobs", "ahead",
}  # fmt: skip


def check_arguments(**arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever a caller passes
    """The arguments, of the names in the tables above, with numbers of NumPy and torch as Python's; raises UsageError.

    Of quality and the targets, `RATES`, at most one may be given, SSIMULACRA2 where its package is there. Effort needs
    torch. Where `steps` is among the arguments, `budget` is not among the results: steps "auto" become a `Budget` of so
    many seconds, whose clock starts now.
    """
    values = {name: _value(name, value, auto="budget" in arguments) for name, value in arguments.items()}
    rates = [name for name in RATES if values.get(name) is not None]
    if len(rates) > 1:
        raise UsageError(f"{' and '.join(rates)} are given together; at most one of them is allowed")
    if values.get("target_ssimulacra2") is not None:
        check_installed("target_ssimulacra2", ("ssimulacra2",), "lab")
    if values.get("effort"):
        check_installed("effort", ("torch", "pytorch_msssim"), "torch")
    if values.get("content") == "screen" and values.get("model") is not None:
        raise UsageError("content screen and a model are given together; at most one of them is allowed")
    if values.get("region") is not None and values.get("max_size") is not None:
        raise UsageError("region and max_size are given together; at most one of them is allowed")
    if values.get("fill") and values.get("partial") is False:
        raise UsageError("fill is given without partial; it draws what is lost of a file that is decoded in part")
    if values.get("fast") and values.get("steps") not in (None, 1):
        raise UsageError(f"fast is given and steps are {values['steps']}; the fast decoder takes one step")
    if values.get("eta") and values.get("sampler", "ddim") != "ddim":
        raise UsageError(f"eta is {values['eta']:g} and the sampler {values['sampler']}; eta goes with ddim alone")
    return _with_budget(values) if "steps" in values else values


def check_options(names: Iterable[str], values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the values that are named, as `check_arguments` returns them: the others are not looked at.

    >>> check_options(["seed"], {"seed": 7, "name": "photo.png"})
    {'seed': 7}
    """
    return check_arguments(**{name: values[name] for name in names})


def check_blocks(keep: Collection[str]) -> tuple[str, ...]:
    """The names of blocks of metadata in a fixed order; raises UsageError for another name.

    >>> check_blocks(["xmp", "icc"])
    ('icc', 'xmp')
    """
    if isinstance(keep, str) or (unknown := sorted(set(keep) - set(BLOCKS))):
        wrong = repr(keep) if isinstance(keep, str) else unknown[0]
        raise UsageError(f"keep is {wrong}; allowed are any of {', '.join(BLOCKS)}")
    return tuple(block for block in BLOCKS if block in keep)


def check_names(given: Iterable[str], allowed: Collection[str], function: str) -> None:
    """Raise UsageError where `function` does not know one of the names given."""
    if unknown := sorted(set(given) - set(allowed)):
        raise UsageError(f"{unknown[0]} is no option of {function}; allowed are {', '.join(sorted(allowed))}")


def _value(name: str, value: Any, *, auto: bool) -> Any:  # noqa: ANN401 - whatever a caller passes
    if value is None and name in _OPTIONAL:
        return None
    if getattr(value, "ndim", None) == 0:  # a number of NumPy's or torch's
        value = value.item()
    if name in RANGES:
        if name == "steps" and isinstance(value, str) and value == "auto":
            return value
        return _number(name, value, auto=auto)
    allows, allowed = _CHOICES[name]
    if not allows(value):
        raise UsageError(f"{name} is {_quote(value)}; allowed {allowed}")
    return tuple(map(operator.index, value)) if name in ("region", "size") else value


def _is_size(value: object) -> bool:
    """Whether this is a width and a height."""
    return _is_row(value, 2) and all(1 <= operator.index(side) <= SIDE_MOST for side in cast(Iterable[int], value))


def _is_box(value: object) -> bool:
    """Whether this is a row of four whole numbers, NumPy's too, none of them larger than any picture."""
    return _is_row(value, 4)


def _is_row(value: object, length: int) -> bool:
    """Whether these are so many whole numbers of at most 2^62."""
    if not isinstance(value, tuple | list) or len(value) != length:
        return False
    try:
        return all(not isinstance(side, bool) and abs(operator.index(side)) < 2**62 for side in value)
    except TypeError:
        return False


def _number(name: str, value: Any, *, auto: bool) -> float | int:  # noqa: ANN401 - whatever a caller passes
    """A number in its range; neither a bool, a text, an array nor NaN is one."""
    low, high, kind = RANGES[name]
    figure: float | int | None = None
    if not isinstance(value, bool | str | bytes | bytearray) and not hasattr(value, "ndim"):
        try:
            figure = float(value) if kind is float else operator.index(value)
        except (TypeError, ValueError, OverflowError):
            figure = None
    if figure is None or not low <= figure <= high:
        what = "a number" if kind is float else "a whole number"
        word = " or 'auto'" if name == "steps" and auto else ""
        raise UsageError(f"{name} is {_quote(value)}; allowed is {what} from {low} to {high}{word}")
    return figure


def _reduce(pixels: "NDArray[np.uint8]", reduction: int) -> "NDArray[np.uint8]":
    """Means of squares of pixels, those at the right and the bottom repeated to whole squares."""
    import numpy as np

    down, across = (-side % reduction for side in pixels.shape[:2])
    whole = np.pad(pixels, [(0, down), (0, across), *[(0, 0)] * (pixels.ndim - 2)], mode="edge")
    rows, columns = whole.shape[0] // reduction, whole.shape[1] // reduction
    squares = whole.reshape(rows, reduction, columns, reduction, *whole.shape[2:])
    means: NDArray[np.uint8] = squares.mean((1, 3), dtype=np.float32).round().astype(np.uint8)
    return means


def _quote(value: object) -> str:
    """A value on one short line, or its type where it is too long to be spelt."""
    try:
        return " ".join(reprlib.repr(value).split())
    except ValueError:
        return f"a huge {type(value).__name__}"


def _with_budget(values: dict[str, Any]) -> dict[str, Any]:
    """The same without `budget`, which becomes the steps if these are "auto"."""
    budget, steps = values.pop("budget", None), values["steps"]
    if steps != "auto":
        if budget is not None:
            count = "not given" if steps is None else steps
            raise UsageError(f"budget is {budget:g} and steps are {count}; a budget is allowed with steps 'auto' alone")
        return values
    from regrain.diffusion.budget import SECONDS, Budget

    return {**values, "steps": Budget(SECONDS if budget is None else budget)}
