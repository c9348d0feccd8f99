"""HEVC intra at 4:4:4 and 10 bit through ffmpeg and x265: what BPG stores, without BPG's container.

    Y = 0.299 R + 0.587 G + 0.114 B,   Cb = (B - Y) / 1.772,   Cr = (R - Y) / 1.402          (ITU-R BT.601)

with R, G, B in [0, 1]; the codes are round(1023 Y) and round(1023 Cb + 512), full range, and the stream's header says
so. A file is the raw bitstream (`.hevc`: parameter sets and one intra picture), without the 2 kB in which x265 writes
down its options: one quantiser for the whole picture, nothing tuned for looks. Pixels and files pass through pipes, so
nothing is left on disk.
"""

import shutil
import subprocess
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from regrain.errors import ImageError

__all__ = ["OPTIONS", "SMALLEST", "decode", "encode", "version"]

OPTIONS = "x265 intra 4:4:4 10 bit preset veryslow tune psnr constant QP, raw bitstream"
SMALLEST = 16

_PROGRAM = "ffmpeg"
_SECONDS = 600.0
_KR, _KG, _KB = 0.299, 0.587, 0.114
_PEAK, _MIDDLE = 1023, 512
_X265 = (
    "qp={}:ipratio=1:keyint=1:psy-rd=0:psy-rdoq=0:aq-mode=0:info=0:pools=none:frame-threads=1:"
    "range=full:colormatrix=smpte170m:colorprim=bt709:transfer=iec61966-2-1"
)

Pixels = NDArray[np.uint8]


def version() -> str:
    """The versions of x265 and of ffmpeg; empty where ffmpeg is missing, or brings no x265."""
    program = shutil.which(_PROGRAM)
    return _version(program) if program else ""


def encode(picture: Pixels, quality: int) -> bytes:
    """A raw HEVC bitstream of a uint8 (h, w, 3) sRGB picture at the quantiser `quality`, 0 (finest) to 51.

    Raises ImageError for sides under 16 pixels, which x265 does not take, and when ffmpeg fails or takes over 600 s.
    """
    height, width = picture.shape[:2]
    if min(height, width) < SMALLEST:
        raise ImageError(f"HEVC cannot hold a picture of {width}x{height}: sides of {SMALLEST} at least are allowed")
    layout = f"-f rawvideo -pixel_format yuv444p10le -color_range pc -video_size {width}x{height} -i pipe:0 -frames:v 1"
    coder = ["-c:v", "libx265", "-preset", "veryslow", "-tune", "psnr", "-x265-params", _X265.format(quality)]
    return _run([*layout.split(), *coder, "-f", "hevc", "pipe:1"], _planes(picture).tobytes()).stdout


def decode(data: bytes) -> Pixels:
    """The uint8 (h, w, 3) picture of a file that `encode` made; raises ImageError for any other that ffmpeg refuses."""
    target = ["-pix_fmt", "yuv444p10le", "-strict", "-1", "-f", "yuv4mpegpipe", "pipe:1"]
    frame = _run(["-threads", "1", "-f", "hevc", "-i", "pipe:0", "-frames:v", "1", *target], data).stdout
    header, _, rest = frame.partition(b"\n")
    _, _, samples = rest.partition(b"\n")
    sides = {field[:1]: int(field[1:]) for field in header.split()[1:3]}
    return _picture(np.frombuffer(samples, "<u2").reshape(3, sides[b"H"], sides[b"W"]))


def _planes(picture: Pixels) -> NDArray[np.uint16]:
    """RGB (h, w, 3) to the 10-bit codes of Y, Cb and Cr (3, h, w)."""
    red, green, blue = np.moveaxis(picture, 2, 0) / 255
    luma = _KR * red + _KG * green + _KB * blue
    chroma = (blue - luma) / (2 * (1 - _KB)), (red - luma) / (2 * (1 - _KR))
    codes = np.stack([_PEAK * luma, *(_PEAK * plane + _MIDDLE for plane in chroma)])
    return np.asarray(np.clip(np.rint(codes), 0, _PEAK), "<u2")


def _picture(planes: NDArray[np.uint16]) -> Pixels:
    """The inverse of `_planes`, rounded and clipped to 8 bits."""
    luma = planes[0] / _PEAK
    blueness, redness = ((plane.astype(float) - _MIDDLE) / _PEAK for plane in planes[1:])
    red, blue = luma + 2 * (1 - _KR) * redness, luma + 2 * (1 - _KB) * blueness
    green = (luma - _KR * red - _KB * blue) / _KG
    return np.asarray(np.clip(np.rint(255 * np.stack([red, green, blue], axis=-1)), 0, 255), np.uint8)


def _run(arguments: Sequence[str], data: bytes, level: str = "error") -> subprocess.CompletedProcess[bytes]:
    """Ffmpeg with `arguments`, fed `data`; ImageError with the last line it wrote when it brings nothing back."""
    command = [_PROGRAM, "-hide_banner", "-nostdin", "-loglevel", level, *arguments]
    try:
        result = subprocess.run(command, input=data, capture_output=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise ImageError(f"ffmpeg took more than {_SECONDS:g} s over an HEVC picture") from error
    except OSError as error:
        raise ImageError(f"ffmpeg does not run: {error.strerror}") from error
    if result.returncode or not result.stdout:
        messages = result.stderr.decode(errors="replace").strip().splitlines()
        raise ImageError(f"ffmpeg failed on an HEVC picture: {messages[-1] if messages else 'it said nothing'}")
    return result


@cache
def _version(program: str) -> str:
    """The versions that the `program` prints while it codes a small grey picture; empty when it cannot."""
    source = ["-f", "lavfi", "-i", f"color=gray:size={SMALLEST}x{SMALLEST}", "-frames:v", "1"]
    try:
        log = _run([*source, "-c:v", "libx265", "-pix_fmt", "yuv444p10le", "-f", "hevc", "pipe:1"], b"", "info").stderr
        banner = subprocess.run([program, "-version"], capture_output=True, timeout=_SECONDS, check=False).stdout
    except (ImageError, OSError, subprocess.TimeoutExpired):
        return ""
    return f"x265 {_word_after(log, 'encoder version')}, ffmpeg {_word_after(banner, 'ffmpeg version')}"


def _word_after(text: bytes, words: str) -> str:
    """The first word after `words` in what a program wrote."""
    return [*text.decode(errors="replace").partition(words)[2].split(), "unknown"][0]
