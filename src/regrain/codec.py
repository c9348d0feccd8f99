"""The method named in a file's header -> the room that decodes it; pictures in and out.

Everything a file can be refused for (magic, version, lengths, checksums, limits, the wrong weights) is refused here,
before a network is loaded and before anything of the size the header claims is allocated.
"""

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from regrain import bitstream, memory, registry
from regrain.content import classify, is_plain
from regrain.diffusion.budget import STEPS, Budget
from regrain.draft import Draft
from regrain.effort import Watch, stoppable, try_harder
from regrain.errors import Corrupt, ModelError, UsageError
from regrain.inspection import Info, inspect
from regrain.layering import Cells, add_foreground, blank_pixels, cells_of, has_latents, without_shown
from regrain.options import Box, Content, DecodeOptions, Repaired, Sampler
from regrain.search import Candidate, Rate, finite, values_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from regrain.image import Picture
    from regrain.registry import Codec, Prepared

__all__ = [
    "REDUCTIONS", "Info", "check_fingerprint", "check_region", "content_for", "decode", "deviation_map", "encode",
    "inspect", "mask_of", "reduction_of",
]  # fmt: skip

log = logging.getLogger(__name__)
REDUCTIONS = (16, 8)
"""How much smaller a picture is that comes from latents alone."""


def encode(
    picture: "Picture",
    *,
    quality: float | None = None,
    target_size: int | None = None,
    target_bpp: float | None = None,
    target_psnr: float | None = None,
    target_ssimulacra2: float | None = None,
    effort: int = 0,
    tile: int = 1024,
    method: str | None = None,
    content: Content = "auto",
    model: "Codec | str | os.PathLike[str] | None" = None,
    device: str | None = None,
    max_memory: int | None = None,
    progress: Callable[[float, float], None] | None = None,
    watch: Watch | None = None,
    facts: dict[str, float | None] | None = None,
) -> bytes:
    """The file of a picture, at a quality (50 unless one of the five is given) or the one that keeps to a target.

    For a target of a metric `progress` hears each quality that is tried, and its value; `facts` get what the file has
    of it, under the name of the metric, None for infinity. Under `effort` `watch` hears how many iterations of how many
    are done, and what they gain, and where it is there Ctrl-C ends them, not the call; `facts` get effort, iterations
    and gain. Raises UsageError for a target that is out of reach, a tile that is no power of two from 64 to 32768, or a
    method that is not there, not the model's, or without effort; LimitError above `max_memory`.
    """
    rate = Rate(quality, target_size, target_bpp, target_psnr, target_ssimulacra2)
    given = registry.resolve_model(model, device)
    which = registry.method_of(method, given)
    size, has_alpha = (picture.width, picture.height), picture.alpha is not None
    content = content_for(picture, content, which, given)
    screen = content == "screen"
    fingerprint = given.fingerprint if given else registry.shipped_fingerprint(which, content)
    header = bitstream.Header(*size, 0, fingerprint, which, grey=picture.grey, alpha=has_alpha, tile=tile)
    aim, torch = rate.aim(), registry.needs_torch(given, device)
    searching = None if aim is None else aim[1].pixel_bytes
    beside = memory.beside_encoding(header, searching, effort, torch=torch, screen=screen)
    memory.check("encoding", header, limit=max_memory, torch=torch, beside=beside)
    codec = registry.model_for(given, which, device, fingerprint)
    apart = screen and is_plain(picture.pixels, picture.alpha)
    draft, most = Draft.of(codec, picture, header, with_foreground=apart), rate.most(size[0] * size[1])
    if draft.foreground and most is not None and len(draft.file(0)) > most:
        draft = min(draft, Draft.of(codec, picture, header, with_foreground=False), key=lambda one: len(one.file(0)))

    def pixels_of(data: bytes) -> "NDArray[np.uint8]":
        return decode(data, model=codec, device=device, max_pixels=2**62, max_memory=max_memory).pixels

    def candidate(prepared: "Prepared | None" = None) -> Candidate:
        def at(step: int) -> bytes:
            return draft.file(step, prepared)

        value_at = None if aim is None else values_of(at, pixels_of, picture, aim[1], progress)
        return rate.candidate(at, value_at, size[0] * size[1])

    kept = plain = candidate()
    facts, attempt = {} if facts is None else facts, try_harder(draft.prepared, plain.step, effort, watch)
    if attempt.gain:
        stopped = stoppable(watch, lambda: "stopped: the file without effort is kept")
        with stopped, suppress(UsageError):  # a target that the plain file reaches, and this one does not
            kept = rate.better(plain, candidate(attempt.best), size[0] * size[1])
    if aim is not None and kept.value is not None:
        facts[aim[0]] = finite(kept.value)
    facts |= (attempt if kept is not plain else attempt._replace(gain=0.0)).facts(effort)
    return kept.data


def content_for(
    picture: "Picture", content: Content, method: bitstream.Method, given: "Codec | None"
) -> Literal["photo", "screen"]:
    """What the package's weights are to be for: a content, or what the picture looks like; with others a photo.

    A picture is not looked at where there is one.
    """
    if given:
        return "photo"
    if content == "auto":
        return classify(picture.pixels, picture.alpha) if registry.has_content(method, "screen") else "photo"
    return content


def decode(
    data: bytes,
    *,
    steps: int | Budget | None = None,
    realism: float = 1.0,
    eta: float = 0.0,
    seed: int = 0,
    init_noise: float = 1.0,
    sampler: Sampler = "ddim",
    realism_map: object = None,
    partial: bool = False,
    fill: bool = False,
    region: Box | None = None,
    max_size: int | None = None,
    repair: Repaired | None = None,
    repair_strength: float | None = None,
    fast: bool = False,
    model: "Codec | str | os.PathLike[str] | None" = None,
    device: str | None = None,
    max_pixels: int = 250_000_000,
    max_memory: int | None = None,
    for_map: bool = False,
) -> "Picture":
    """The picture of a file; `for_map` leaves memory for `deviation_map`.

    Raises BitstreamError, ModelError, LimitError, each before anything large happens, and UsageError for a realism map
    of another size, or for one where the method has no realism by place, and for a region that is not within the
    picture.
    """
    header = bitstream.read_header(data)
    _check_method(header, repairs=(repair, repair_strength) != (None, None), fast=fast)
    reduction = reduction_of(header, max_size)
    check_region(region or (0, 0, header.width, header.height), header)
    bitstream.check_pixels(header, max_pixels, partial=partial)
    memory.check(
        "decoding",
        memory.decoded_part(header, None if fill else region),
        steps=STEPS[-1] if isinstance(steps, Budget) else steps or 1,
        limit=max_memory,
        torch=registry.needs_torch(model, device),
        second_order=sampler == "second-order",
        beside=(0 if region is None else memory.whole_planes(header, mask=realism_map is not None))
        + (memory.map_bytes(header, region) if for_map else 0)
        + fill * header.width * header.height,
    )
    stream = bitstream.read(data, partial=partial, max_pixels=max_pixels)
    cells = cells_of(data, stream, partial=partial)
    given = registry.resolve_model(model, device, header.fingerprint)
    if given:
        check_fingerprint(header.fingerprint, given.fingerprint)
    from regrain.image import Metadata, Picture, shrink

    mask = None if realism_map is None else mask_of(realism_map, header, max_pixels)
    strength = DecodeOptions.repair_strength if repair_strength is None else repair_strength
    options = DecodeOptions(
        steps or 1, realism, eta, seed, init_noise, sampler, mask, partial, region, reduction, repair or "latent",
        strength, fast=fast,
    )  # fmt: skip
    alpha = _alpha(stream, options)
    pixels, invented = _pixels(given, stream, cells, options, device, fill=fill)
    picture = Picture(pixels, alpha, Metadata(stream.icc, stream.exif, stream.xmp), invented=invented)
    return picture if max_size is None else shrink(picture, max_size)


def _check_method(header: bitstream.Header, *, repairs: bool, fast: bool) -> None:
    """Raise UsageError for what the file's method does not know."""
    wanted = {"repair": (repairs, bitstream.Method.PALETTE), "fast": (fast, bitstream.Method.CONDITIONAL)}
    for name, (given, method) in wanted.items():
        if given and header.method is not method:
            raise UsageError(
                f"{name} is for the {method.name.lower()} method; the file is {header.method.name.lower()}"
            )


def _pixels(
    given: "Codec | None",
    stream: bitstream.Stream,
    cells: Cells,
    options: DecodeOptions,
    device: str | None,
    *,
    fill: bool,
) -> "tuple[NDArray[np.uint8], tuple[Box, ...]]":
    """The pixels that the options name, and the boxes that are drawn without a word of the file."""
    if not has_latents(stream, cells):
        pixels, invented = blank_pixels(stream, options), tuple[Box, ...]()
    else:
        model = registry.model_for(given, stream.header.method, device, stream.header.fingerprint)
        with registry.torch_defaults():
            pixels, invented = _decoded(model, stream, options, device, fill=fill)
    add_foreground(pixels, cells, options)
    return pixels, without_shown(invented, cells)


def _decoded(
    model: "Codec", stream: bitstream.Stream, options: DecodeOptions, device: str | None, *, fill: bool
) -> "tuple[NDArray[np.uint8], tuple[Box, ...]]":
    """The same, of latents alone."""
    if options.repair == "latent" and not fill:
        return model.decode(stream, options), ()
    from regrain.restoration.picture import decode_filled, decode_repaired

    if fill:
        return decode_filled(model, stream, options, device)
    return decode_repaired(model, stream, options, device), ()


def deviation_map(
    decode_seed: "Callable[[int], NDArray[np.uint8]]",
    seeds: int,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> "NDArray[np.float32]":
    """The standard deviation over so many seeds, from `seed` on, in levels: float32 (height, width).

    It is the root mean square over the channels of the unbiased estimate. `decode_seed` gives the pixels of a seed,
    and `progress` hears after each how many are done.
    """
    import numpy as np

    for number in range(seeds):
        pixels = decode_seed((seed + number) % 2**64)
        if not number:
            means, squares = np.zeros(pixels.shape, np.float32), np.zeros(pixels.shape[:2], np.float32)
        for row, mean, square in zip(pixels, means, squares, strict=True):  # so that nothing else is held of a picture
            apart = row - mean  # Welford's update (Technometrics 4, 1962): no large sums that cancel
            mean += apart / np.float32(number + 1)
            square += (apart * (row - mean)).mean(axis=1)
        if progress is not None:
            progress(number + 1)
    deviation: NDArray[np.float32] = np.sqrt(squares / np.float32(seeds - 1))
    if not deviation.any():
        log.warning("all %d seeds give one picture: realism, steps, eta or init_noise leave nothing to chance", seeds)
    return deviation


def mask_of(source: object, header: bitstream.Header, max_pixels: int) -> "NDArray[np.uint8]":
    """The mask of a file's size. Raises UsageError where it has another size or the method has no realism by place."""
    from regrain.image import read_mask

    if header.method is not bitstream.Method.CONDITIONAL:
        raise UsageError(f"realism_map is for the conditional method; the file is {header.method.name.lower()}")
    return read_mask(source, header.width, header.height, max_pixels=max_pixels)


def reduction_of(header: bitstream.Header, max_size: int | None) -> int:
    """The largest reduction, 16 or 8, that leaves a picture at least `max_size` pixels on its longer side, else 1."""
    longest = max(header.width, header.height)
    fitting = (reduction for reduction in REDUCTIONS if max_size is not None and -(-longest // reduction) >= max_size)
    return next(fitting, 1)


def check_region(region: Box, header: bitstream.Header) -> None:
    """Raise UsageError unless the box has a pixel and lies within the picture."""
    left, top, width, height = region
    inside = min(left, top) >= 0 and left + width <= header.width and top + height <= header.height
    if not inside or min(width, height) < 1:
        raise UsageError(
            f"region is {left},{top},{width},{height}; allowed is a box within {header.width} x {header.height} pixels"
        )


def _alpha(stream: bitstream.Stream, options: DecodeOptions) -> "NDArray[np.uint8] | None":
    """The alpha plane of the part that the options name, None where the file has none or, if partial, has lost it."""
    from regrain.image import decode_alpha

    with suppress(*(Corrupt,) if options.partial else ()):
        if stream.alpha is not None:
            return options.cut(decode_alpha(stream.alpha, stream.header.height, stream.header.width))
    return None


def check_fingerprint(wanted: bytes, present: bytes) -> None:
    """Raise ModelError unless the weights that are present are those that a file names."""
    if wanted != present:
        raise ModelError(
            f"the file needs the weights with latent fingerprint {wanted.hex()}, these are {present.hex()}: "
            "name the right ones with --model, or install the regrain release that wrote the file"
        )
