"""`Encoder` and `Decoder`: `encode` and `decode` as objects that travel to where the pictures are.

Invariants: they hold options alone, so that they are pickled in a few hundred bytes; weights are loaded at the first
call in each process, once; networks get `threads` threads, so that a process a core disturbs no other, and so that the
pixels do not depend on how many there are.

    batch     a list of pictures or files          -> a list of what they become
              columns by name, such as Ray's       -> the same columns and one more
"""

import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, overload

from regrain.errors import RegrainError, UsageError
from regrain.loading import TURN, threads_at_most
from regrain.options import BLOCKS, DECODING, ENCODING, check_blocks, check_options

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from regrain.image import Picture, Picturelike
    from regrain.options import Content, Repaired, Sampler

    Batch = Mapping[str, Sequence[object]]
    Filelike = str | os.PathLike[str] | bytes | BinaryIO
    Decoded = NDArray[np.uint8] | Image | bytes

__all__ = ["Decoder", "Encoder"]

_ERRORS = ("raise", "column")
_TIME = ("steps", "budget")
"""Options that are checked anew for each picture: the clock of a budget starts with it."""


class _Worker:
    """What both have: a column in, a column out, threads, and what becomes of errors."""

    def __init__(self, options: Iterable[str], given: Mapping[str, Any]) -> None:
        """Check what `Encoder` and `Decoder` are given, the `options` of their function among it."""
        self._column, self._into, self._errors = given["column"], given["into"], given["errors"]
        if self._errors not in _ERRORS:
            raise UsageError(f"errors is {self._errors!r}; allowed are {', '.join(_ERRORS)}")
        self._threads: int | None = check_options(["threads"], given)["threads"]
        self._keep = check_blocks(given["keep"])
        self._knobs = check_options(options, {**given, "model": _plain(given["model"])})

    @contextmanager
    def _capped(self, device: str | None) -> Iterator[None]:
        """Networks of ONNX Runtime and of torch on the CPU have so many threads, whatever the process had before."""
        if device not in (None, "onnx"):
            with suppress(ImportError), TURN:  # the first call imports it, and is to have so many, too
                import_module("torch")
        with threads_at_most(self._threads), _torch_at_most(self._threads):
            yield

    def _columns(self, batch: "Batch", work: Callable[[Any], object]) -> dict[str, object]:
        """The batch with a column more, and a column `error` where failures are to go there."""
        if self._column not in batch:
            raise UsageError(f"column is {self._column!r}; the batch has {', '.join(sorted(batch))}")
        results: list[object] = []
        failures: list[str | None] = []
        for item in batch[self._column]:
            try:
                results.append(work(_whole(item)))
                failures.append(None)
            except RegrainError as error:
                if self._errors == "raise":
                    raise
                results.append(None)
                failures.append(f"{type(error).__name__}: {error}")
        errors = {"error": failures} if self._errors == "column" else {}
        return {**batch, self._into: results, **errors}


_capped_before: list[int] = []
"""The threads of torch before any `_torch_at_most` that runs now: one entry for each of these."""
_COUNTING = Lock()


@contextmanager
def _torch_at_most(threads: int | None) -> Iterator[None]:
    """Inside, torch has so many threads in this thread; None, or where nobody has imported it, leaves it alone.

    The number is the process's for threads that start later. So of several callers at once the first one says what
    all go back to: the others would read its number for the process's own.
    """
    torch = sys.modules.get("torch")
    if torch is None or threads is None:
        yield
        return
    with _COUNTING:
        _capped_before.append(before := _capped_before[0] if _capped_before else torch.get_num_threads())
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        with _COUNTING:
            _capped_before.pop()
            torch.set_num_threads(before)


def _whole(item: object) -> object:
    """The bytes, or else the path, of an item that Hugging Face's `Image(decode=False)` gives; others as they are."""
    if isinstance(item, Mapping) and {"bytes", "path"} & item.keys():
        data = item.get("bytes")
        return item.get("path") if data is None else data
    return item


def _plain(model: object) -> str | None:
    """A model by its name, which can travel; raises UsageError for one that is loaded."""
    if model is None:
        return None
    if isinstance(model, str | os.PathLike):
        return os.fspath(model)
    raise UsageError(f"model is a loaded {type(model).__name__}; allowed is its path, or a method's name")


class Encoder(_Worker):
    """Pictures to .rgn files, batch by batch, in whatever process it is sent to.

    The options are those of `regrain.encode`, but `model` is a name or a path. `keep` names the metadata that goes
    along, of exif, icc and xmp: what is left out changes neither colours nor orientation. `threads` are those of the
    networks in one process (None: all that there are). A batch with columns has pictures in `column` (paths, URLs,
    bytes, arrays, Pillow's images), and gets their files as bytes in `into`. With `errors` "column" a picture that
    fails is None there, and one line in the column `error`; "raise" ends at the first one.

    Raises UsageError for an option out of range, when it is made; calls raise what `regrain.encode` raises.

    >>> import numpy, pickle, regrain
    >>> encoder = pickle.loads(pickle.dumps(regrain.Encoder(quality=30)))
    >>> [data[:4] for data in encoder([numpy.zeros((24, 32, 3), numpy.uint8)])]
    [b'\\x9fRGN']
    """

    def __init__(
        self,
        *,
        quality: float | None = None,
        target_size: int | None = None,
        target_bpp: float | None = None,
        target_psnr: float | None = None,
        target_ssimulacra2: float | None = None,
        effort: int = 0,
        tile: int = 1024,
        method: str | None = None,
        content: "Content" = "auto",
        model: str | os.PathLike[str] | None = None,
        device: str | None = None,
        max_pixels: int = 250_000_000,
        max_memory: int | None = None,
        keep: Collection[str] = BLOCKS,
        threads: int | None = 1,
        column: str = "image",
        into: str = "rgn",
        errors: Literal["raise", "column"] = "raise",
    ) -> None:
        """Check the options; nothing is loaded."""
        super().__init__(ENCODING, locals())

    @overload
    def __call__(self, batch: "Batch") -> dict[str, object]: ...
    @overload
    def __call__(self, batch: "Sequence[Picturelike]") -> list[bytes]: ...
    def __call__(self, batch: "Batch | Sequence[Picturelike]") -> dict[str, object] | list[bytes]:
        """The batch with a column of files, or the files of a list of pictures."""
        if isinstance(batch, Mapping):
            return self._columns(batch, self.encode)
        return [self.encode(image) for image in batch]

    def encode(self, image: "Picturelike") -> bytes:
        """The .rgn file of one picture, as `regrain.encode` writes it."""
        return self.encode_with_facts(image)[0]

    def encode_with_facts(self, image: "Picturelike") -> "tuple[bytes, dict[str, float | None]]":
        """The same, and what the report of `regrain encode` says beside its bytes: see `codec.encode`."""
        from regrain import codec
        from regrain.image import read, select_metadata

        knobs, facts = dict(self._knobs), dict[str, float | None]()
        picture = read(image, max_pixels=knobs.pop("max_pixels"))
        with self._capped(self._knobs["device"]):
            return codec.encode(select_metadata(picture, self._keep), facts=facts, **knobs), facts


class Decoder(_Worker):
    """.rgn files to pictures, batch by batch, in whatever process it is sent to.

    The options are those of `regrain.decode`, but `model` is a name or a path, and there is no map of realism, which
    belongs to one picture; `keep`, `threads` and `errors` are as in `Encoder`. A batch with columns has files in
    `column` (bytes, paths, URLs), and gets pictures in `into`. What they are is `output`: "array" is uint8 (H, W, C),
    of 1 to 4 channels, grey or RGB and perhaps alpha; "pillow" is Pillow's image; the name of a format, such as "png"
    or "webp", is the bytes of such a file.

    Raises UsageError for an option out of range, when it is made; calls raise what `regrain.decode` raises.

    >>> import numpy, regrain
    >>> file = regrain.encode(numpy.zeros((24, 32, 3), numpy.uint8), quality=30)
    >>> [array.shape for array in regrain.Decoder(realism=0)([file])]
    [(24, 32, 3)]
    """

    def __init__(
        self,
        *,
        steps: int | Literal["auto"] | None = None,
        budget: float | None = None,
        realism: float = 1.0,
        eta: float = 0.0,
        seed: int = 0,
        init_noise: float = 1.0,
        sampler: "Sampler" = "ddim",
        partial: bool = False,
        fill: bool = False,
        region: tuple[int, int, int, int] | None = None,
        max_size: int | None = None,
        repair: "Repaired | None" = None,
        repair_strength: float | None = None,
        fast: bool = False,
        model: str | os.PathLike[str] | None = None,
        device: str | None = None,
        max_pixels: int = 250_000_000,
        max_memory: int | None = None,
        keep: Collection[str] = BLOCKS,
        threads: int | None = 1,
        column: str = "rgn",
        into: str = "image",
        errors: Literal["raise", "column"] = "raise",
        output: str = "array",
    ) -> None:
        """Check the options; nothing is loaded."""
        check_options((*_TIME, "fast"), locals())
        super().__init__([name for name in DECODING if name not in (*_TIME, "realism_map")], locals())
        self._time = {"steps": steps, "budget": budget}
        if output not in ("array", "pillow"):
            from regrain import image

            image.format_of("", output)
        self._output = output

    @overload
    def __call__(self, batch: "Batch") -> dict[str, object]: ...
    @overload
    def __call__(self, batch: "Sequence[Filelike]") -> "list[Decoded]": ...
    def __call__(self, batch: "Batch | Sequence[Filelike]") -> "dict[str, object] | list[Decoded]":
        """The batch with a column of pictures, or the pictures of a list of files."""
        if isinstance(batch, Mapping):
            return self._columns(batch, self.decode)
        return [self.decode(data) for data in batch]

    def decode(self, data: "Filelike") -> "Decoded":
        """One picture, as `output` says."""
        from regrain import codec, image
        from regrain.files import read_file

        file = read_file(data, self._knobs["max_pixels"])
        with self._capped(self._knobs["device"]):
            picture = codec.decode(file, **check_options(_TIME, self._time), **self._knobs)
        return self._as_output(image.select_metadata(picture, self._keep))

    def _as_output(self, picture: "Picture") -> "Decoded":
        if self._output == "pillow":
            return picture.to_pillow()
        if self._output == "array":
            import numpy as np

            planes = [picture.pixels] if picture.alpha is None else [picture.pixels, picture.alpha[..., None]]
            return np.concatenate(planes, axis=2)
        from regrain import image

        return image.to_file(picture, self._output, "picture")
