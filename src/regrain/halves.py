"""The two halves of the default codec apart: a picture -> its latents as arrays, and latents -> a picture."""

import os
from typing import TYPE_CHECKING

from regrain import codec, memory, registry
from regrain.bitstream import Header, Method
from regrain.conditional.codec import ConditionalModel
from regrain.conditional.denoising import Estimate, OtherDenoiser
from regrain.conditional.latents import Latents
from regrain.diffusion.budget import STEPS, Budget
from regrain.errors import UsageError
from regrain.image import Picture, Picturelike, fill_hidden, read, shrink
from regrain.options import DECODING, Content, DecodeOptions, check_arguments, check_names

if TYPE_CHECKING:
    from PIL.Image import Image

    from regrain.registry import Codec

__all__ = ["from_latents", "latents"]

OPTIONS = {*DECODING} - {"partial", "fill", "repair", "repair_strength", "max_pixels"}
"""What `from_latents` takes of the options of `decode`: there is no file, damaged or of another method."""


def latents(
    image: Picturelike,
    *,
    quality: float = 50.0,
    tile: int = 1024,
    content: Content = "auto",
    model: "Codec | str | os.PathLike[str] | None" = None,
    device: str | None = None,
    max_pixels: int = 250_000_000,
    max_memory: int | None = None,
) -> Latents:
    """What a .rgn file of a picture at this quality would hold, as arrays: y_hat, the symbols, and the bits by place.

    `image`, `tile`, `content`, `model` (of the default method) and the rest are as in `encode`. Of the picture its
    colours alone are held: alpha and metadata are not. A screen has latents of all of it here, and no foreground.
    Raises what `encode` raises.

    >>> import numpy, regrain
    >>> parts = regrain.latents(numpy.zeros((24, 40, 3), numpy.uint8), quality=30)
    >>> parts.y_hat.shape, parts.symbols.shape, parts.bits.shape
    ((256, 2, 3), (256, 2, 3), (2, 3))
    """
    knobs = check_arguments(
        quality=quality, tile=tile, content=content, model=model, device=device, max_pixels=max_pixels,
        max_memory=max_memory,
    )  # fmt: skip
    picture = read(image, max_pixels=knobs["max_pixels"])
    given = registry.resolve_model(model, knobs["device"])
    header = Header(picture.width, picture.height, 0, bytes(4), tile=knobs["tile"])
    beside = 8 * 256 * -(-picture.width // 16) * -(-picture.height // 16)
    torch = registry.needs_torch(given, device)
    memory.check("encoding", header, limit=knobs["max_memory"], torch=torch, beside=beside)
    pixels = picture.pixels if picture.alpha is None else fill_hidden(picture.pixels, picture.alpha)
    content = codec.content_for(picture, content, Method.CONDITIONAL, given)
    fingerprint = given.fingerprint if given else registry.shipped_fingerprint(Method.CONDITIONAL, content)
    with registry.torch_defaults():
        prepared = _conditional(given, device, fingerprint).prepare(pixels, header.tile)
        return prepared.latents(round(256 * knobs["quality"]))


def from_latents(
    parts: Latents, *, denoiser: Estimate | None = None, schedule: str = "cosine", **options: object
) -> "Image":
    """The picture that `decode` makes of a file with these latents, to the pixel, as a Pillow image.

    `y_hat` may be changed before, as by `dataclasses.replace(parts, y_hat=...)`: nothing else says what is drawn. The
    `options` are those of `decode`, but for what is of files.

    A `denoiser` of one's own takes the place of the codec's. It is called as denoiser(x_t, t, y_hat), once a step for
    each window of at most 72 x 72 places: float32 x_t (3, 16 H, 16 W), the time t, 1 (noise) at first, and y_hat
    (C, H, W); and returns the x_0 that it estimates, of the shape of x_t, in [-1, 1]. The `schedule` of x_t is
    "cosine", "log-linear" or "linear", of `regrain.diffusion.schedule`. Sampling begins with noise alone, of deviation
    realism times `init_noise`, and follows the `sampler`.

    Raises UsageError for latents of another shape, or with NaN or infinity, and for what such a denoiser gives, and
    else what `decode` raises.

    >>> import numpy, regrain
    >>> parts = regrain.latents(numpy.zeros((24, 32, 3), numpy.uint8))
    >>> regrain.from_latents(parts).size
    (32, 24)
    >>> regrain.from_latents(parts, denoiser=lambda x_t, t, y_hat: 0 * x_t, steps=2).getpixel((0, 0))
    (128, 128, 128)
    """
    check_names(options, OPTIONS, "from_latents")
    if not isinstance(parts, Latents):
        raise UsageError(f"latents are {type(parts).__name__}; allowed is what regrain.latents returns")
    knobs = check_arguments(schedule=schedule, **{"steps": None} | options)
    if denoiser is not None and knobs.get("fast"):
        raise UsageError("fast and denoiser are given together; at most one of them is allowed")
    region, most, mask, model, device, limit, name = (
        knobs.pop(one, None)
        for one in ("region", "max_size", "realism_map", "model", "device", "max_memory", "schedule")
    )
    steps, header = knobs.pop("steps") or 1, parts.header
    codec.check_region(region or (0, 0, header.width, header.height), header)
    memory.check(
        "decoding",
        memory.decoded_part(header, region),
        steps=STEPS[-1] if isinstance(steps, Budget) else steps,
        limit=limit,
        torch=registry.needs_torch(model, device),
        second_order=knobs.get("sampler") == "second-order",
        beside=memory.whole_planes(header, mask=mask is not None),
    )
    own = _conditional(registry.resolve_model(model, device, header.fingerprint), device, header.fingerprint)
    codec.check_fingerprint(header.fingerprint, own.fingerprint)
    weights = None if mask is None else codec.mask_of(mask, header, header.width * header.height)
    other = None if denoiser is None else OtherDenoiser.behind(own.denoiser, denoiser, str(name))
    reduction = 1 if other else codec.reduction_of(header, most)
    drawing = DecodeOptions(steps, realism_map=weights, region=region, reduction=reduction, **knobs)
    with registry.torch_defaults():
        picture = Picture(own.draw(parts, drawing, other))
    return (picture if most is None else shrink(picture, most)).to_pillow()


def _conditional(given: "Codec | None", device: str | None, fingerprint: bytes = b"") -> ConditionalModel:
    """The model given, or the package's own. Raises UsageError for one of another method."""
    model = registry.model_for(given, Method.CONDITIONAL, device, fingerprint)
    if not isinstance(model, ConditionalModel):
        raise UsageError(f"the weights are for {model.method.name.lower()}; latents are of the conditional method")
    return model
