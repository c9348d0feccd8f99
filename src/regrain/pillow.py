"""The Pillow plugin: after `import regrain.pillow`, `Image.open` reads .rgn and `save` writes it; imageio follows.

Invariants: opening reads the few bytes of the header and imports no network; pixels are decoded at the first `load`.

    with Image.open("photo.rgn") as image:
        image.load(steps=4, realism=0.5, seed=7)        may be left out: steps=1, realism=1, seed=0
        image.save("photo.png")
    image.save("photo.rgn", quality=30)                 or target_size=BYTES, or target_bpp=BITS

A file with another magic is left to Pillow's other plugins. A broken one is an `OSError` with the one line of the
`RegrainError` behind it; an option out of range is a `UsageError`, which is a `ValueError`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import IO, TYPE_CHECKING

from PIL import Image, ImageFile, UnidentifiedImageError

from regrain import _RATES, _check, bitstream
from regrain.errors import RegrainError, UsageError
from regrain.image import Metadata, Picture, read
from regrain.image.picture import EXIF_MARK

if TYPE_CHECKING:
    from PIL._imaging import PixelAccess

FORMAT = "REGRAIN"
_MODES = {(True, False): "L", (True, True): "LA", (False, False): "RGB", (False, True): "RGBA"}


class RegrainImageFile(ImageFile.ImageFile):
    """A .rgn file opened by Pillow: size and mode (L, LA, RGB or RGBA) from its header, pixels at the first `load`."""

    format = FORMAT
    format_description = "regrain, a diffusion image codec"
    _settings: tuple[int, float, int] = (1, 1.0, 0)
    _file: bytes | None = None

    def _open(self) -> None:
        """Read the header; `UnidentifiedImageError` with the reason when it is broken."""
        assert self.fp is not None
        try:
            header = bitstream.read_header(self.fp.read(bitstream.MAX_HEADER_BYTES))
        except RegrainError as error:
            raise UnidentifiedImageError(str(error)) from error
        self._size = header.width, header.height
        self._mode = _MODES[header.grey, header.alpha]

    def load(
        self, *, steps: int | None = None, realism: float | None = None, seed: int | None = None
    ) -> "PixelAccess | None":
        """Decode the pixels, and put ICC profile, EXIF and XMP into `info`; returns Pillow's access to the pixels.

        `steps` (1 or more, at first 1), `realism` (in [0, 1], at first 1) and `seed` (0 or more, at first 0) stay as
        they were where not given; a later call decodes again when one of them changes.
        Raises `OSError` on a broken file or missing weights, `UsageError` for a value out of range.
        """
        _check(steps=steps, realism=realism, seed=seed)
        asked = zip((steps, realism, seed), self._settings, strict=True)
        wanted_steps, wanted_realism, wanted_seed = (old if new is None else new for new, old in asked)
        wanted = int(wanted_steps), float(wanted_realism), int(wanted_seed)
        if self._im is None or wanted != self._settings:
            self._show(_decoded(self._whole_file(), self.width * self.height, *wanted))
            self._settings = wanted
        return Image.Image.load(self)

    def verify(self) -> None:
        """Check every length and checksum without decoding; raises `OSError` when one is wrong."""
        with _as_os_errors():
            bitstream.read(self._whole_file(), max_pixels=self.width * self.height)
        super().verify()

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

    def _show(self, picture: Picture) -> None:
        """Become this picture."""
        decoded = picture.to_pillow()
        self.im, self._mode, self._size = decoded.im, decoded.mode, decoded.size
        self.readonly = decoded.readonly
        self.info.update(decoded.info)


@contextmanager
def _as_os_errors() -> Iterator[None]:
    """A `RegrainError` as the `OSError` that users of Pillow catch; `UsageError`, a `ValueError`, stays."""
    try:
        yield
    except UsageError:
        raise
    except RegrainError as error:
        raise OSError(str(error)) from error


def _decoded(data: bytes, pixels: int, steps: int, realism: float, seed: int) -> Picture:
    """The picture of a file of so many pixels, which Pillow's own limit let pass; the codec is imported only here."""
    from regrain import codec

    with _as_os_errors():
        picture: Picture = codec.decode(data, steps=steps, realism=realism, seed=seed, max_pixels=pixels)
    return picture


def _accept(prefix: bytes) -> bool:
    """Whether a file that begins so is ours."""
    return prefix.startswith(bitstream.MAGIC)


def _save(image: Image.Image, file: IO[bytes], filename: str | bytes) -> None:
    """Pillow's save: rate options go to the codec; icc_profile, exif and xmp replace those of `info`."""
    from regrain import codec

    options = image.encoderinfo
    rate = {name: options[name] for name in _RATES if options.get(name) is not None}
    _check(**rate)
    with _as_os_errors():
        picture = read(image, max_pixels=image.width * image.height)
        picture = replace(picture, metadata=_metadata(picture.metadata, options))
        file.write(codec.encode(picture, **rate))


def _metadata(own: Metadata, options: dict[str, object]) -> Metadata:
    """An image's own metadata with what the options of `save` put in its place; None or empty takes it away."""
    icc, exif, xmp = options.get("icc_profile", own.icc), options.get("exif", own.exif), options.get("xmp", own.xmp)
    exif = exif.tobytes() if isinstance(exif, Image.Exif) else exif
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    kept = [block if isinstance(block, bytes) else b"" for block in (icc, exif, xmp)]
    return Metadata(kept[0] or None, kept[1].removeprefix(EXIF_MARK) or None, kept[2] or None)


def register() -> None:
    """Make Pillow know the format; importing this module does it."""
    Image.register_open(FORMAT, RegrainImageFile, _accept)
    Image.register_save(FORMAT, _save)
    Image.register_extension(FORMAT, bitstream.EXTENSION)
    Image.register_mime(FORMAT, bitstream.MIME)


register()
