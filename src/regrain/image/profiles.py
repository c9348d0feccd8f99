"""ICC profiles: which pixels one is for, colours through one to sRGB, and one made of what a PNG says of its colours.

    linear = curve(sample)        XYZ at D50 = adapted(white) [red green blue] linear

Invariant: the same numbers give the same profile on every machine, and none where they are those of sRGB, which is what
pixels without a profile are. Sources: ICC.1:2022; ITU-T H.273 (code points); ITU-R BT.2100 (PQ and HLG), of which
203 cd/m2 is the white of a page (ITU-R BT.2408).
"""

import io
import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from regrain.image.picture import U8

Floats = npt.NDArray[np.float64]

GREY, RGB = b"GRAY", b"RGB "
PQ, HLG = 16, 18
_SRGB, _SRGB_CURVE = 1, 13
_D50 = (0.9642, 1.0, 0.8249)
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D65 = (0.3127, 0.329)
_PRIMARIES: dict[int, tuple[float, ...]] = {
    1: (*_D65, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06),
    4: (0.31, 0.316, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (*_D65, 0.64, 0.33, 0.29, 0.6, 0.15, 0.06),
    6: (*_D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),
    7: (*_D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),
    9: (*_D65, 0.708, 0.292, 0.17, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
    12: (*_D65, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
}
"""White, red, green and blue of H.273's ColourPrimaries, x and y each."""
_CURVES: dict[int, tuple[float, ...]] = {
    **dict.fromkeys((1, 6, 14, 15), (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)),
    4: (2.2,),
    5: (2.8,),
    8: (1.0,),
    13: (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045),
}
"""H.273's TransferCharacteristics as ICC's parameters g, or g a b c d, of `parametricCurveType`."""
_ENTRIES = 1024
_PAGE_WHITE, _PQ_WHITE, _HLG_WHITE = 203, 10_000, 1000
_SAME_GAMMA, _SAME_PLACE = 0.05, 0.005


def space_of(icc: bytes | None) -> bytes | None:
    """The colour space that a profile is for (`GREY`, `RGB`, ...), None where it is no profile that says so."""
    return icc[16:20] if icc and icc[36:40] == b"acsp" else None


def to_srgb(pixels: U8, icc: bytes) -> U8:
    """Pixels (h, w, 1 or 3) brought from a profile to sRGB, in the same shape. Raises what Pillow does on a bad one."""
    profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    if ImageCms.getProfileDescription(profile).startswith("sRGB"):
        return pixels
    if pixels.shape[2] == 3:
        return _transform(Image.fromarray(pixels), profile, ImageCms.Flags.NONE)
    levels = Image.fromarray(np.arange(256, dtype=np.uint8)[:, None]).convert("L" if space_of(icc) == GREY else "RGB")
    # 256 levels need no quick way, which is 10 levels off in the shadows of a linear grey
    return _transform(levels, profile, ImageCms.Flags.NOOPTIMIZE)[:, 0, 1][pixels]


def _transform(image: Image.Image, profile: ImageCms.ImageCmsProfile, flags: ImageCms.Flags) -> U8:
    target = ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, profile, target, outputMode="RGB", flags=flags)
    assert converted is not None
    return np.array(converted)


def profile_of_chunks(gamma: object, places: object, *, grey: bool) -> bytes | None:
    """The profile of a PNG's gAMA (a number such as 0.45455) and cHRM (white, red, green, blue: x, y each), or None.

    What is missing or senseless is that of sRGB; None stands for sRGB, and for what PNG writers call gamma 1 / 2.2.
    """
    exponent = 1 / gamma if isinstance(gamma, float) and gamma > 0 else 0.0
    primaries = places if isinstance(places, tuple) and len(places) == 8 else _PRIMARIES[_SRGB]
    near = float(np.abs(np.subtract(primaries, _PRIMARIES[_SRGB])).max()) <= _SAME_PLACE
    usual = not 0.05 < exponent < 20 or abs(exponent / 2.2 - 1) <= _SAME_GAMMA
    if usual and (near or grey):
        return None
    curve = _parametric((exponent,) if 0.05 < exponent < 20 else _CURVES[_SRGB_CURVE])
    return _profile(primaries, curve, grey=grey)


def profile_of_points(points: bytes, *, grey: bool) -> bytes | None:
    """The profile of a cICP chunk, None for sRGB and for those that `has_profile` does not know."""
    place, transfer = points[0], points[1]
    if (place, transfer) == (_SRGB, _SRGB_CURVE) or not has_profile(points):
        return None
    curve = _table(transfer) if transfer in (PQ, HLG) else _parametric(_CURVES[transfer])
    return _profile(_PRIMARIES[place], curve, grey=grey, points=points if transfer in (PQ, HLG) else None)


def has_profile(points: bytes) -> bool:
    """Whether the code points of a cICP chunk (primaries, transfer, matrix, range) are among those above."""
    return points[0] in _PRIMARIES and (points[1] in _CURVES or points[1] in (PQ, HLG)) and points[2:4] == b"\0\1"


def _parametric(values: Sequence[float]) -> bytes:
    """A curve by its formula: sample^g, or ((a s + b)^g from d on, c s below it)."""
    return struct.pack(">4sIHH", b"para", 0, 0 if len(values) == 1 else 3, 0) + _fixed_point(values)


def _table(transfer: int) -> bytes:
    """PQ or HLG as a table of 16-bit values; 1 is the white of a page, and what is brighter is 1 too."""
    signal = np.linspace(0, 1, _ENTRIES)
    if transfer == PQ:
        root = signal ** (32 / 2523)
        light = (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (8192 / 1305)
        light *= _PQ_WHITE / _PAGE_WHITE
    else:
        scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12)
        light = scene**1.2 * (_HLG_WHITE / _PAGE_WHITE)
    entries = np.rint(65535 * light.clip(0, 1)).astype(">u2")
    return struct.pack(">4sII", b"curv", 0, _ENTRIES) + bytes(entries.tobytes())


def _colorants(primaries: Sequence[float]) -> tuple[Floats, Floats] | None:
    """XYZ at D50 of red, green and blue as columns, and the adaptation that gave them; None where there are none."""
    x, y = np.array(primaries, float).reshape(4, 2).T
    with np.errstate(all="ignore"):
        xyz = np.stack([x / y, np.ones(4), (1 - x - y) / y])
        try:
            cones = np.diag(_BRADFORD @ _D50 / (_BRADFORD @ xyz[:, 0]))
            adaptation = np.linalg.inv(_BRADFORD) @ cones @ _BRADFORD
            columns = adaptation @ xyz[:, 1:] * np.linalg.solve(xyz[:, 1:], xyz[:, 0])
        except np.linalg.LinAlgError:
            return None
    sane = bool((np.abs(columns) < 4).all() and (np.abs(adaptation) < 4).all())
    return (columns, adaptation) if sane else None


def _profile(primaries: Sequence[float], curve: bytes, *, grey: bool, points: bytes | None = None) -> bytes | None:
    """A display profile of these primaries and one curve for all channels; None where the primaries span nothing."""
    if (matrices := _colorants(primaries)) is None:
        return None
    columns, adaptation = matrices
    tags = {b"desc": _text("PNG"), b"cprt": _text("CC0")}
    tags[b"wtpt"] = _xyz(_D50)
    tags[b"chad"] = struct.pack(">4sI", b"sf32", 0) + _fixed_point(adaptation.ravel())
    if grey:
        tags[b"kTRC"] = curve
    else:
        for channel, letter in enumerate((b"r", b"g", b"b")):
            tags |= {letter + b"XYZ": _xyz(columns[:, channel]), letter + b"TRC": curve}
    if points is not None:
        tags[b"cicp"] = struct.pack(">4sI", b"cicp", 0) + points
    return _pack_profile(tags, GREY if grey else RGB)


def _pack_profile(tags: dict[bytes, bytes], space: bytes) -> bytes:
    """Header, table and data of a profile; equal data is there once."""
    table, data, places = b"", b"", dict[bytes, int]()
    start = 128 + 4 + 12 * len(tags)
    for key, body in tags.items():
        if body not in places:
            places[body] = start + len(data)
            data += body + bytes(-len(body) % 4)
        table += struct.pack(">4sII", key, places[body], len(body))
    size = start + len(data)
    date = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
    header = struct.pack(">I4xI4s4s4s", size, 0x04400000, b"mntr", space, b"XYZ ") + date + b"acsp"
    header = header.ljust(68, b"\0") + _fixed_point(_D50)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


def _text(text: str) -> bytes:
    encoded = text.encode("utf-16-be")
    return struct.pack(">4sIII4sII", b"mluc", 0, 1, 12, b"enUS", len(encoded), 28) + encoded


def _xyz(values: Sequence[float] | Floats) -> bytes:
    return struct.pack(">4sI", b"XYZ ", 0) + _fixed_point(values)


def _fixed_point(values: Sequence[float] | Floats) -> bytes:
    """Numbers as ICC's s15Fixed16Number."""
    return struct.pack(f">{len(values)}i", *(round(65536 * float(value)) for value in values))
