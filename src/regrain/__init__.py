"""regrain: an image codec whose decoder is a diffusion model.

    decode(encode(image, quality=q), realism=r)        q in [0, 100] is chosen once, r in [0, 1] every time

These four functions and the errors are the whole public face. Importing it imports neither torch nor numpy nor Pillow;
arguments are checked here, before anything is read or loaded.
"""

import operator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias, cast

from regrain.errors import (
    BitstreamError,
    Corrupt,
    ImageError,
    LimitError,
    ModelError,
    NotRegrain,
    OutputError,
    RegrainError,
    Truncated,
    UnsupportedVersion,
    UsageError,
)

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from regrain.codec import Info
    from regrain.diffusion.budget import Budget
    from regrain.models import Model

    Picturelike: TypeAlias = str | Path | bytes | BinaryIO | Image.Image | np.ndarray[Any, Any]

__all__ = [
    "BitstreamError",
    "Corrupt",
    "ImageError",
    "LimitError",
    "ModelError",
    "NotRegrain",
    "OutputError",
    "RegrainError",
    "Truncated",
    "UnsupportedVersion",
    "UsageError",
    "__version__",
    "decode",
    "encode",
    "inspect",
    "load",
]

__version__ = "0.1.0"

_START = 64
_PIECE = 2**20
_OTHER_BYTES = 2**26
"""What a file may hold beside its pixels, of which none takes more than 4 bytes: profile, EXIF, XMP."""
_RANGES: dict[str, tuple[int, int, type]] = {
    "quality": (0, 100, float),
    "target_size": (1, 2**62, int),
    "target_bpp": (0, 1000, float),
    "tile": (64, 32768, int),
    "steps": (1, 1000, int),
    "budget": (0, 86400, float),
    "realism": (0, 1, float),
    "eta": (0, 1, float),
    "seed": (0, 2**64 - 1, int),
    "max_pixels": (1, 2**62, int),
    "max_memory": (1, 2**62, int),
}
_RATES = ("quality", "target_size", "target_bpp")


def encode(
    image: "Picturelike",
    *,
    quality: float | None = None,
    target_size: int | None = None,
    target_bpp: float | None = None,
    tile: int = 1024,
    method: str | None = None,
    model: "Model | None" = None,
    device: str | None = None,
    max_pixels: int = 100_000_000,
) -> bytes:
    """The .rgn file of a picture: a path, the bytes of its file, a binary file, a Pillow image or an array.

    Arrays are (H, W[, 1, 3 or 4]), of uint8, uint16, bool or float in [0, 1] or [0, 255]. At most one of three chooses
    the rate: `quality` in [0, 100] (50 where none is given), `target_size` in bytes, or `target_bpp` in bits a pixel of
    the whole file, which is never above a target. `tile` is the side of an independent stream in pixels, a power of two
    from 64 to 32768. `method` is "conditional", "progressive" or "palette" (None: the model's, else the first). `model`
    comes from `load` and stays on its device; without it, the one in the package runs on `device`, a name of torch's
    (None: the CPU).

    Raises UsageError for a value out of range or a target below the smallest file, ImageError for what is no picture,
    LimitError above `max_pixels`, ModelError without weights.
    """
    _check(quality=quality, target_size=target_size, target_bpp=target_bpp, tile=tile, max_pixels=max_pixels)
    from regrain import codec
    from regrain import image as pictures

    picture = pictures.read(image, max_pixels=max_pixels)
    return codec.encode(
        picture,
        quality=quality,
        target_size=target_size,
        target_bpp=target_bpp,
        tile=tile,
        method=method,
        model=model,
        device=device,
    )


def decode(
    data: str | Path | bytes | BinaryIO,
    *,
    steps: "int | Literal['auto']" = 1,
    budget: float | None = None,
    realism: float = 1.0,
    eta: float = 0.0,
    seed: int = 0,
    partial: bool = False,
    model: "Model | None" = None,
    device: str | None = None,
    max_pixels: int = 100_000_000,
    max_memory: int | None = None,
) -> "Image.Image":
    """The picture of a .rgn file (a path, its bytes or a binary file), its profile and metadata in Pillow's `info`.

    `realism` 0 is the faithful picture, 1 has its texture regrown; `steps` (1 to 1000) trade time for it, each with
    fresh noise by `eta`: 0 follows the probability flow (DDIM), 1 samples (DDPM). "auto" takes 1, 2, 4, 8, 16 or 32
    steps, the most that should end within `budget` seconds (None: 5) of the call on this machine, where the first step
    is timed. The same `seed` and number of steps give the same pixels on the same machine and threads. `partial`
    decodes what is whole of a damaged file. `max_memory` is in bytes (None: half the machine's). `model` and `device`
    are as in `encode`.

    Raises UsageError for a value out of range, BitstreamError for a file that cannot be decoded, ModelError when the
    weights are not those the file names, LimitError above `max_pixels` or `max_memory`.
    """
    _check(realism=realism, eta=eta, seed=seed, max_pixels=max_pixels, max_memory=max_memory)
    chosen = _steps(steps, budget)
    from regrain import codec

    picture = codec.decode(
        _read(data, max_pixels),
        steps=chosen,
        realism=realism,
        eta=eta,
        seed=seed,
        partial=partial,
        model=model,
        device=device,
        max_pixels=max_pixels,
        max_memory=max_memory,
    )
    return picture.to_pillow()


def inspect(data: str | Path | bytes | BinaryIO) -> "Info":
    """What a .rgn file says about itself, without torch and without decoding it; raises BitstreamError."""
    from regrain import codec

    return codec.inspect(_read(data))


def load(path: str | Path | None = None, device: str | None = None) -> "Model":
    """Weights, ready for `encode` and `decode`, from a .safetensors file, or a Stable Diffusion's
    folder or hub id (for the palette method); None: those in the package.

    `device` is a name of torch's (None: the CPU), or "onnx": ONNX Runtime, which decodes the default method and is what
    None stands for where torch is not installed. Raises ModelError when the weights are missing or unreadable, and
    UsageError for a device that is not there.
    """
    from regrain import models

    return models.load(path, device)


def _check(**knobs: float | None) -> None:
    """Raise UsageError where an argument of `encode` or `decode` is out of its range; None stands for not given.

    Of quality, target_size and target_bpp at most one may be given.
    """
    for name, value in knobs.items():
        low, high, kind = _RANGES[name]
        if value is not None and not _within(value, low, high, kind):
            what = "a number" if kind is float else "a whole number"
            raise UsageError(f"{name} is {value!r}; allowed is {what} from {low} to {high}")
    given = [name for name in _RATES if knobs.get(name) is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} are given together; at most one of them is allowed")


def _steps(steps: "int | Literal['auto']", budget: float | None) -> "int | Budget":
    """The steps of `decode`, or a clock that starts now."""
    if steps != "auto":
        _check(steps=steps)
        if budget is not None:
            raise UsageError(f"budget is {budget!r} and steps are {steps}; a budget is allowed with steps 'auto' alone")
        return steps
    from regrain.diffusion.budget import SECONDS, Budget

    _check(budget=budget)
    return Budget(SECONDS if budget is None else budget)


def _within(value: float, low: int, high: int, kind: type) -> bool:
    """Whether `value` is of `kind` (a bool is of neither) and in [low, high]; NaN is not."""
    try:
        figure = float(value) if kind is float else operator.index(cast("int", value))
    except (TypeError, ValueError, OverflowError):
        return False
    return not isinstance(value, bool | str) and low <= figure <= high


def _read(data: str | Path | bytes | BinaryIO, max_pixels: int = 2**28) -> bytes:
    """All of `data`, or only its start where that shows that it cannot be decoded: a stream may have no end."""
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    if not isinstance(data, str | Path):
        return _read_stream(data, max_pixels)
    try:
        with Path(data).open("rb") as file:
            return _read_stream(file, max_pixels)
    except (OSError, ValueError) as error:
        raise BitstreamError(f"cannot read {data}: {getattr(error, 'strerror', None) or error}") from error


def _read_stream(file: BinaryIO, max_pixels: int) -> bytes:
    """As `_read`; raises BitstreamError where the header does not pass, or more follows than its pixels can take."""
    from regrain import bitstream

    data = file.read(_START) if hasattr(file, "read") else None
    if not isinstance(data, bytes):
        raise UsageError(f"data is a {type(file).__name__}; allowed are a path, bytes and a file opened in binary mode")
    while len(data) < _START and (piece := file.read(_START - len(data))):  # a pipe gives what it has at the moment
        data += piece
    if not data.startswith(bitstream.MAGIC):
        return data
    header = bitstream.read_header(data)
    most = 4 * min(header.width * header.height, max_pixels) + _OTHER_BYTES
    pieces, size = [data], len(data)
    while size <= most and (piece := file.read(_PIECE)):
        pieces.append(piece)
        size += len(piece)
    if size > most:
        raise Corrupt(f"it goes on after {most} bytes, more than {header.width} x {header.height} pixels can take")
    return b"".join(pieces)
