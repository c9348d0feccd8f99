"""The Pillow plugin: after `import regrain.pillow`, `Image.open` reads .rgn and `save` writes it; imageio follows.

Invariants: opening reads what stands before the first tile (header, ICC profile, EXIF, XMP) and imports no network;
pixels are decoded at the first `load`. `load` takes what `regrain.decode` takes, `save` what `regrain.encode` takes.

    with Image.open("photo.rgn") as image:
        image.load(steps=4, realism=0.5, seed=7)        may be left out: realism=1, seed=0
        image.save("photo.png")
    image.save("photo.rgn", quality=30)                 or target_size=BYTES, target_bpp=BITS, target_psnr=DB

A file with another magic is left to Pillow's other plugins. A broken one is an `OSError` with the one line of the
`RegrainError` behind it; an option out of range is a `UsageError`, which is a `ValueError`.
"""

import mimetypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from inspect import signature
from typing import IO, TYPE_CHECKING, Any

from PIL import Image, ImageFile, UnidentifiedImageError

import regrain
from regrain import bitstream
from regrain.codec import REDUCTIONS
from regrain.errors import RegrainError, UsageError
from regrain.image import Metadata, read
from regrain.image.picture import EXIF_MARK
from regrain.options import ENCODING, check_arguments, check_names
from regrain.varint import get_varint

if TYPE_CHECKING:
    from PIL._imaging import PixelAccess
else:
    PixelAccess = Any  # a type that Pillow's stubs alone have

FORMAT, SHORT = "REGRAIN", "RGN"
"""The format's names: either will do for `save` and `open`."""
_MODES = {(True, False): "L", (True, True): "LA", (False, False): "RGB", (False, True): "RGBA"}
_METADATA = ("icc_profile", "exif", "xmp")
_DECODING = {name: knob.default for name, knob in signature(regrain.decode).parameters.items() if name != "data"}
_PILLOWS = {"partial": None, "max_pixels": None}
"""Settings that follow Pillow where nobody gives them: LOAD_TRUNCATED_IMAGES, and the size that `open` let pass."""
_FRONT = 4096
"""Bytes to read first: header and metadata of most files."""


class RegrainImageFile(ImageFile.ImageFile):
    """A .rgn file opened by Pillow: size, mode (L, LA, RGB or RGBA) and `info` at once, pixels at the first `load`."""

    format = FORMAT
    format_description = "regrain, a diffusion image codec"
    _settings: dict[str, Any] = {**_DECODING, **_PILLOWS}  # noqa: RUF012 - replaced, never changed
    _file: bytes | None = None
    _whole_pixels = 2**62

    def _open(self) -> None:
        """Read header and metadata; `UnidentifiedImageError` with the reason when the header is broken."""
        assert self.fp is not None
        try:
            front = _front(self.fp)
            header = bitstream.read_header(front)
        except RegrainError as error:
            raise UnidentifiedImageError(str(error)) from error
        self._size, self._whole_pixels = (header.width, header.height), header.width * header.height
        self._mode = _MODES[header.grey, header.alpha]
        self.info.update(_front_metadata(front).info())

    def draft(self, mode: str | None, size: tuple[int, int] | None) -> tuple[str, tuple[int, int, float, float]] | None:
        """Before the pixels are loaded, choose an eighth or a sixteenth that is no smaller than `size`; see Pillow's.

        The mode stays. Returns what Pillow's `draft` does: the mode and the box of the whole picture, or None.
        """
        if size is None or self._im is not None or self._settings["region"] is not None:
            return None
        width, height = self.size
        for reduction in REDUCTIONS:
            smaller = -(-width // reduction), -(-height // reduction)
            if smaller[0] >= size[0] and smaller[1] >= size[1]:
                self._size, self._settings = smaller, self._settings | {"max_size": max(smaller)}
                return self.mode, (0, 0, width / reduction, height / reduction)
        return None

    def load(self, **settings: Any) -> PixelAccess | None:  # noqa: ANN401 - those of `regrain.decode`
        """Decode the pixels with the `settings` that `regrain.decode` takes; returns Pillow's access to the pixels.

        A setting that is not given, or None, stays as it was: at first what it is in `decode`, but for `partial`, which
        is Pillow's LOAD_TRUNCATED_IMAGES. A later call decodes again when a setting changes.
        Raises `OSError` on a broken file or missing weights, `UsageError` for a value out of range or another name.
        """
        check_names(settings, _DECODING, "load")
        given = {name: value for name, value in settings.items() if value is not None}
        if self._im is None or given:
            kept = self._settings | ({"budget": None} if "steps" in given else {})
            self._decode(kept | given)
        return Image.Image.load(self)

    def _decode(self, wanted: dict[str, Any]) -> None:
        """Become the picture that these settings make of the file, unless that is what this is."""
        own = {"partial": bool(ImageFile.LOAD_TRUNCATED_IMAGES), "max_pixels": self._whole_pixels}
        knobs = wanted | {name: value for name, value in own.items() if wanted[name] is None}
        check_arguments(**knobs)
        if self._im is not None and all(_equal(value, self._settings[name]) for name, value in wanted.items()):
            return
        with _as_os_errors():
            decoded = regrain.decode(self._whole_file(), **knobs)
        self.im, self._mode, self._size = decoded.im, decoded.mode, decoded.size
        self.readonly = decoded.readonly
        self._settings = wanted

    def verify(self) -> None:
        """Check every length and checksum without decoding; raises `OSError` when one is wrong."""
        with _as_os_errors():
            bitstream.read(self._whole_file(), max_pixels=self._whole_pixels)
        super().verify()

    def __getstate__(self) -> list[Any]:
        """Pixels, file and settings; a model is left out unless it is a name or a path."""
        state, model = super().__getstate__(), self._settings["model"]
        named = model if isinstance(model, str | os.PathLike) else None
        return [*state, (self._file, self._settings | {"model": named}, self._whole_pixels)]

    def __setstate__(self, state: list[Any]) -> None:
        """The inverse: the picture is loaded, and may be loaded again with other settings."""
        *rest, (self._file, self._settings, self._whole_pixels) = state
        self.fp = None
        super().__setstate__(rest)

    def _whole_file(self) -> bytes:
        """The bytes of the file, kept (they are few) so that other settings can decode them again; closes it."""
        if self._file is None:
            if self.fp is None:
                raise ValueError("the file is closed and was not decoded before")
            self.fp.seek(0)
            self._file = self.fp.read()
            if self._exclusive_fp:
                self.fp.close()
            self.fp = None
        return self._file


def _equal(one: object, other: object) -> bool:
    """Whether a setting is what it was; a realism map, which may be an array, is the same only as the same object."""
    return one is other or (not hasattr(one, "__array__") and not hasattr(other, "__array__") and one == other)


def _front(file: IO[bytes]) -> bytes:
    """A file up to its first tile and somewhat further: its header and all metadata."""
    front = file.read(_FRONT)
    while not any(section.name in ("latents", "unreadable") for section in bitstream.layout(front)):
        if not (more := file.read(len(front))):
            break
        front += more
    return front


def _front_metadata(front: bytes) -> Metadata:
    """The metadata in the first bytes of a file, as far as it is whole."""
    blocks: dict[str, bytes] = {}
    for section in bitstream.layout(front):
        if section.whole and section.name in ("icc", "exif", "xmp"):
            end = section.offset + section.length
            blocks[section.name] = front[end - get_varint(front, section.offset + 1)[0] : end]
    return Metadata(**blocks)


@contextmanager
def _as_os_errors() -> Iterator[None]:
    """A `RegrainError` as the `OSError` that users of Pillow catch; `UsageError`, a `ValueError`, stays."""
    try:
        yield
    except UsageError:
        raise
    except RegrainError as error:
        raise OSError(str(error)) from error


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(bitstream.MAGIC)


def _save(image: Image.Image, file: IO[bytes], filename: str | bytes) -> None:
    """Pillow's save: options go to the codec, None is not given; icc_profile, exif and xmp replace those of `info`."""
    from regrain import codec

    options = image.encoderinfo
    check_names(options, [*ENCODING, *_METADATA], "save")
    knobs = check_arguments(**{name: options[name] for name in ENCODING if options.get(name) is not None})
    with _as_os_errors():
        picture = read(image, max_pixels=knobs.pop("max_pixels", image.width * image.height))
        picture = replace(picture, metadata=_metadata(picture.metadata, options))
        file.write(codec.encode(picture, **knobs))


def _save_all(image: Image.Image, file: IO[bytes], filename: str | bytes) -> None:
    """Pillow's save with `save_all`, of one picture; raises `UsageError` for several."""
    if (frames := getattr(image, "n_frames", 1)) > 1:
        raise UsageError(f"the picture has {frames} frames; allowed is one, as without save_all")
    _save(image, file, filename)


def _metadata(own: Metadata, options: dict[str, object]) -> Metadata:
    """An image's own metadata with what the options of `save` put in its place; None or empty takes it away."""
    icc, exif, xmp = options.get("icc_profile", own.icc), options.get("exif", own.exif), options.get("xmp", own.xmp)
    exif = exif.tobytes() if isinstance(exif, Image.Exif) else exif
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    kept = [block if isinstance(block, bytes) else b"" for block in (icc, exif, xmp)]
    return Metadata(kept[0] or None, kept[1].removeprefix(EXIF_MARK) or None, kept[2] or None)


def register() -> None:
    """Make Pillow know the format, and `mimetypes` its type; importing this module does it."""
    for name in (FORMAT, SHORT):
        Image.register_open(name, RegrainImageFile, _accept)
        Image.register_save(name, _save)
        Image.register_save_all(name, _save_all)
        Image.register_mime(name, bitstream.MIME)
    Image.register_extension(FORMAT, bitstream.EXTENSION)
    mimetypes.add_type(bitstream.MIME, bitstream.EXTENSION)


register()
