"""regrain: an image codec whose decoder is a diffusion model.

    decode(encode(image, quality=q), realism=r)        q in [0, 100] is chosen once, r in [0, 1] every time

These functions, `Encoder` and `Decoder`, the types and the errors are the whole public face. Importing it loads neither
torch nor numpy nor Pillow; `options` checks arguments before anything is read.
"""

import os
from typing import TYPE_CHECKING, BinaryIO, Literal

from regrain import types
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
from regrain.files import read_file as _read
from regrain.options import DECODING, ENCODING, check_arguments, check_names, check_options

if TYPE_CHECKING:
    from regrain.halves import from_latents, latents
    from regrain.many import decode_many, encode_many
    from regrain.pretrained import from_pretrained, push_to_hub, save_pretrained
    from regrain.types import Decoder, Encoder, Info, Latents, Model, Picturelike
else:

    def __getattr__(name: str) -> object:
        if name in __all__:
            return getattr(types, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "BitstreamError", "Corrupt", "Decoder", "Encoder", "ImageError", "Info", "Latents", "LimitError", "Model",
    "ModelError", "NotRegrain", "OutputError", "Picturelike", "RegrainError", "Truncated", "UnsupportedVersion",
    "UsageError", "__version__", "decode", "decode_many", "deviation_map", "encode", "encode_many", "from_latents",
    "from_pretrained", "inspect", "latents", "load", "push_to_hub", "repair", "sample", "save_pretrained",
]  # fmt: skip

__version__ = "0.1.0"

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
"""OpenMP, which torch computes with, reads it when loaded. Threads that spin stall others, and double the time."""


def encode(
    image: "types.Picturelike",
    *,
    quality: float | None = None,
    target_size: int | None = None,
    target_bpp: float | None = None,
    target_psnr: float | None = None,
    target_ssimulacra2: float | None = None,
    effort: int = 0,
    tile: int = 1024,
    method: str | None = None,
    content: "types.Content" = "auto",
    model: "types.Model | str | os.PathLike[str] | None" = None,
    device: str | None = None,
    max_pixels: int = 250_000_000,
    max_memory: int | None = None,
) -> bytes:
    """The .rgn file of a picture: a path, the bytes of its file, a binary file, a Pillow image or an array.

    Arrays, torch's tensors too, are (H, W[, 1, 3 or 4]), of uint8, uint16, bool or float in [0, 1] or [0, 255], or of
    any whole numbers from 0 to 255. At most one of five chooses the rate: `quality` in [0, 100] (50 where none is
    given), `target_size` in bytes, or `target_bpp` in bits a pixel of the whole file, which is never above these; or a
    value that the picture has at least, by the smallest such file: `target_psnr` in dB or `target_ssimulacra2` (needs
    regrain[lab]), both 0 to 100, of what `decode` makes of the file by default. Some nine files are decoded to find it.
    `effort` from 0 to 9 is the time spent on fewer bytes for a picture that is as near, by error and by texture: 9
    takes minutes (default method, needs regrain[torch]). `tile` is the side of an independent stream in pixels, a power
    of two from 64 to 32768. `method` is "conditional", "progressive" or "palette" (None: the model's, else the first).
    `content` says which of the package's weights are used, those for a "photo" or a "screen"; "auto" looks at the
    picture, and a doubtful one is a photo. `model` comes from `load` and stays on its device, or is what `load` takes,
    a method's name or a path, which is read at each call. Without a model, the one in the package runs on `device`:
    "onnx" (None too) is ONNX Runtime on the CPU, and "cpu" and "cuda" are torch's. `max_memory` is in bytes (None: half
    of the machine's, or of its control group's).

    Raises UsageError for a value out of range or a target out of reach, ImageError for what is no picture,
    LimitError above `max_pixels` or `max_memory`, ModelError without weights.

    >>> import numpy, regrain
    >>> data = regrain.encode(numpy.zeros((24, 32, 3), numpy.uint8), quality=30)
    >>> data[:4], len(data) < 100
    (b'\\x9fRGN', True)
    """
    knobs = check_options(ENCODING, locals())
    from regrain import codec
    from regrain.image import read

    picture = read(image, max_pixels=knobs.pop("max_pixels"))
    return codec.encode(picture, **knobs)


def decode(
    data: str | os.PathLike[str] | bytes | BinaryIO,
    *,
    steps: int | Literal["auto"] | None = None,
    budget: float | None = None,
    realism: float = 1.0,
    eta: float = 0.0,
    seed: int = 0,
    init_noise: float = 1.0,
    sampler: "types.Sampler" = "ddim",
    realism_map: "types.Picturelike | None" = None,
    partial: bool = False,
    fill: bool = False,
    region: "tuple[int, int, int, int] | None" = None,
    max_size: int | None = None,
    repair: "types.Repaired | None" = None,
    repair_strength: float | None = None,
    fast: bool = False,
    model: "types.Model | str | os.PathLike[str] | None" = None,
    device: str | None = None,
    max_pixels: int = 250_000_000,
    max_memory: int | None = None,
) -> "types.Image":
    """The picture of a .rgn file (a path, its bytes or a binary file), its profile and metadata in Pillow's `info`.

    `realism` 0 is the faithful picture, and 1 has its texture drawn; one of `steps` (1 to 1000, None: one) is a fixed
    picture in the default method, two and more are drawn from the noise of the seed. `eta` adds fresh noise in each
    step after the first: 0 follows the probability flow (DDIM), 1 samples (DDPM). "auto" takes 1, 2, 4, 8, 16 or 32
    steps, the most that should end within `budget` seconds (None: 5) of the call, by the time of the first step.
    `init_noise` in [0, 1] is the standard deviation of the noise that the default method starts from, in units of the
    schedule's: at 0 all seeds are alike. `sampler` is the rule of a step: "ddim" with its `eta`, "ancestral" (as with
    eta 1), or "second-order", which is deterministic (DPM-Solver++(2M)). `realism_map`, whatever `encode` takes and of
    the size of the picture, scales realism by place in the default method: black stays faithful, white is drawn. The
    same `seed` and number of steps give the same pixels on the same machine and threads. `fast` is one step by a
    smaller network, quicker and a little worse. `partial` decodes what is whole of a damaged file, and `fill` draws
    what is lost of it by the progressive method's model to fit what is known (RePaint): `seed` chooses one of many, and
    `info["invented"]` has their boxes (left, top, width, height). `region`, such a box, gives this part of the picture,
    equal to a crop of the whole to one level; the default method decodes no more than it needs, the others, and `fill`,
    all of it. `max_size` fits the picture into a square of so many pixels; in the default method, where an eighth of it
    is no smaller, it comes from the latents alone, faithful and quick. In the palette method `repair` says what is
    denoised in so many steps, "latent" (None too), "image" or "both", and `repair_strength` in [0, 4] (None: 0.5) how
    much of its error is noise. The rest are as in `encode`.

    Raises UsageError for a value out of range, BitstreamError for a file that cannot be decoded, ModelError when the
    weights are not those the file names, LimitError above `max_pixels` or `max_memory`.

    >>> import numpy, regrain
    >>> picture = regrain.decode(regrain.encode(numpy.zeros((24, 32, 3), numpy.uint8)), realism=0)
    >>> picture.size, picture.mode
    ((32, 24), 'RGB')
    """
    knobs = check_options(DECODING, locals())
    from regrain import codec

    return codec.decode(_read(data, knobs["max_pixels"]), **knobs).to_pillow()


def deviation_map(
    data: str | os.PathLike[str] | bytes | BinaryIO, *, seeds: int = 8, seed: int = 0, **options: object
) -> "types.Figures":
    """Where a decoded picture was drawn by chance: the standard deviation over `seeds` (2 to 1000), from `seed` on.

    float32 (height, width), in levels of 255, the root mean square over the channels: 0 where the file says it all.
    `options` are those of `decode`, but that steps are 2 where none are given; a `budget` is that of the first seed,
    whose steps all others take. With realism 0 it is 0 throughout, and for the progressive method, too, unless several
    steps add noise (`eta`, or the sampler "ancestral"). Raises what `decode` raises.

    >>> import numpy, regrain
    >>> data = regrain.encode(numpy.zeros((24, 32, 3), numpy.uint8))
    >>> regrain.deviation_map(data, seeds=2).shape
    (24, 32)
    """
    check_names(options, {*DECODING} - {"seed"}, "deviation_map")
    knobs = check_arguments(seeds=seeds, seed=seed, **{"max_pixels": 250_000_000, "steps": 2} | options)
    from regrain import codec
    from regrain.diffusion.budget import Budget

    file, count, first = _read(data, knobs["max_pixels"]), knobs.pop("seeds"), knobs.pop("seed")

    def pixels_of(chosen: int) -> "types.Pixels":
        """The picture of a seed; all take the steps that the first one had time for."""
        pixels = codec.decode(file, seed=chosen, for_map=True, **knobs).pixels
        if isinstance(knobs["steps"], Budget):
            knobs["steps"] = knobs["steps"].steps
        return pixels

    return codec.deviation_map(pixels_of, count, first)


def repair(
    image: "types.Picturelike",
    *,
    strength: float = 1.0,
    steps: int = 1,
    eta: float = 0.0,
    seed: int = 0,
    model: "types.Model | str | os.PathLike[str] | None" = None,
    device: str | None = None,
    max_pixels: int = 250_000_000,
    max_memory: int | None = None,
) -> "types.Image":
    """A picture, whatever `encode` takes, with less of what compression or noise did to it, as a Pillow image.

    It is taken as x_t of the progressive method's diffusion model at the noise level of its error, which a JPEG's
    quantisation tables tell, and else its own noise and blocks, and denoised from there. One of `steps` (1 to 1000) is
    the estimate of least squared error, more draw what that leaves smooth, and `eta` adds noise of the `seed` in each
    step after the first. `strength` in [0, 4] multiplies the deviation of the error; 0 changes nothing. What a JPEG
    says of its brightness stays: no coefficient moves by more than half its step. All else is as in `encode`.

    Raises UsageError for a value out of range, ImageError, LimitError, ModelError as `encode`.

    >>> import numpy, regrain
    >>> regrain.repair(numpy.zeros((24, 32, 3), numpy.uint8)).size
    (32, 24)
    """
    knobs = check_options(("strength", "steps", "eta", "seed", "model", "device", "max_pixels", "max_memory"), locals())
    if not isinstance(count := knobs.pop("steps"), int):
        raise UsageError(f"steps is {steps!r}; allowed is a whole number from 1 to 1000")
    from regrain.image import read
    from regrain.restoration.denoise import Repair
    from regrain.restoration.picture import repair_picture

    how = Repair(knobs.pop("strength"), count, knobs.pop("eta"), knobs.pop("seed"))
    return repair_picture(read(image, max_pixels=knobs.pop("max_pixels")), how, **knobs)[0].to_pillow()


def inspect(data: str | os.PathLike[str] | bytes | BinaryIO) -> "types.Info":
    """What a .rgn file says about itself, without torch and without decoding it; raises BitstreamError.

    The file must be whole, but for a progressive one: where that is cut short, what is there is told.

    >>> import numpy, regrain
    >>> info = regrain.inspect(regrain.encode(numpy.zeros((24, 32), numpy.uint8), quality=30))
    >>> info.width, info.height, info.grey, info.quality, info.method
    (32, 24, True, 30.0, 'conditional')
    """
    from regrain import codec

    return codec.inspect(_read(data))


def load(
    path: str | os.PathLike[str] | None = None, device: str | None = None, *, download: bool = False
) -> "types.Model":
    """Weights, ready for `encode` and `decode`: a .safetensors file, a folder of `save_pretrained`, or hf://ORG/NAME in
    the local cache, which under `download` is fetched where it is not there; or a Stable Diffusion's folder or hub id
    (palette method). "conditional", "progressive" and "palette" are the package's own, None those of the first.

    `device` is "onnx" (None too) for ONNX Runtime on the CPU, or a name of torch's, as "cpu" and "cuda" are. Raises
    ModelError for weights that are missing, unreadable or not what their folder says, UsageError for no such device.

    >>> import regrain
    >>> regrain.load("palette").method.name
    'PALETTE'
    """
    named = check_arguments(path=path, device=device, download=download)
    from regrain import registry

    return registry.load(named["path"], named["device"], download=named["download"])


def sample(
    count: int = 1,
    *,
    size: tuple[int, int] = (64, 64),
    steps: int = 50,
    eta: float = 0.0,
    sampler: "types.Sampler" = "ddim",
    schedule: Literal["log-linear", "cosine", "linear"] = "log-linear",
    seed: int = 0,
    model: "types.Model | str | os.PathLike[str] | None" = None,
    device: str | None = None,
    max_memory: int | None = None,
) -> "types.Pixels":
    """Pictures from noise alone, uint8 (count, height, width, 3): no file says anything of them.

    The diffusion model of the progressive method draws `count` pictures (1 to 10,000) of `size` (width, height); the
    k-th is the first one of `seed` + k. `steps` (1 to 1000), `eta` and `sampler` are those of `decode`. `schedule` says
    how much noise each of the evenly spaced times has: "log-linear" (even in log-SNR), "cosine" (Nichol and Dhariwal
    2021) or "linear" (Ho et al. 2020: beta from 1e-4 to 0.02). The model was trained on small crops of photos: it draws
    surfaces and light, no things.

    Raises UsageError for a value out of range or weights of another method, LimitError above `max_memory`, ModelError
    without weights.

    >>> import regrain
    >>> pictures = regrain.sample(2, size=(24, 16), steps=2)
    >>> pictures.shape, bool((pictures[1] == regrain.sample(size=(24, 16), steps=2, seed=1)[0]).all())
    ((2, 16, 24, 3), True)
    """
    names = ("count", "size", "steps", "eta", "sampler", "schedule", "seed", "model", "device", "max_memory")
    knobs = check_options(names, locals())
    from regrain.options import DecodeOptions
    from regrain.samples import draw

    options = DecodeOptions(**{name: knobs.pop(name) for name in ("steps", "eta", "sampler", "seed")})
    return draw(knobs.pop("count"), knobs.pop("size"), options, **knobs)
