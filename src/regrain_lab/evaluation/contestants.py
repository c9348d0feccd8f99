"""Who takes part in an evaluation: each codec as settings to encode at and ways to decode, the same for all.

Everybody gets the same pixels, uint8 (h, w, 3) RGB: grey becomes three equal channels, 16 bit become 8, and alpha is
dropped, because the old formats of the comparison have none. Everybody answers with a whole file.
"""

import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

import regrain
from regrain.errors import UsageError
from regrain_lab.evaluation.rows import Series
from regrain_lab.evaluation.stopwatch import Place
from regrain_lab.metrics.registry import Metric, measures

if TYPE_CHECKING:
    from torch import nn

    from regrain.registry import Codec as Model
    from regrain_lab.evaluation.baselines import Codec

__all__ = ["OURS", "PLAIN", "Bench", "Cast", "Contestant", "Knobs", "Plan", "baseline", "choose", "ours"]

OURS = "regrain"
DEFAULT_RECIPE = "default"
Pixels = NDArray[np.uint8]


class Knobs(NamedTuple):
    """A way to decode one file; None where the codec has no such choice."""

    seed: int | None = None
    steps: int | None = None
    realism: float | None = None


PLAIN = (Knobs(),)
_USUAL = {
    "JPEG": (5, 10, 20, 35, 55, 75, 88),
    "mozjpeg": (5, 10, 20, 35, 55, 75, 88),
    "WebP": (1, 10, 30, 50, 75, 90),
    "JPEG 2000": (5, 10, 20, 40, 75, 150),
    "JPEG XL": (5, 15, 30, 50, 70, 85),
    "AVIF": (5, 15, 25, 35, 45, 60, 75),
    "AVIF tune ssim": (2, 8, 15, 25, 35, 50, 65),
    "AVIF 4:2:0": (5, 15, 25, 35, 45, 60, 75),
    "HEVC": (47, 42, 37, 32, 27, 22),
}


@dataclass(frozen=True)
class Contestant:
    """A codec at all its settings, smallest files first.

    `encode(pixels, setting)` gives a whole file, `decode(file, knobs)` pixels of the same shape; both may raise.
    `options` are what does not vary; `fingerprint` is of the weights, empty without any; `threads` says how many the
    codec itself uses. `stages` says where the two parts run whose times are of interest: `analyse`, of encoding, and
    `symbols`, of decoding.
    """

    name: str
    version: str
    settings: Sequence[float]
    encode: Callable[[Pixels, float], bytes]
    decode: Callable[[bytes, Knobs], Pixels]
    options: str = ""
    fingerprint: str = ""
    threads: int = 1
    knobs: Sequence[Knobs] = PLAIN
    stages: Callable[[], Mapping[str, Sequence[Place]]] = dict

    def series(self, knobs: Knobs) -> Series:
        """The curve of one way to decode."""
        return Series(self.name, self.version, self.options, *knobs, self.fingerprint)


@dataclass(frozen=True)
class Bench:
    """All that an evaluation measures: who, and by what."""

    contestants: Sequence[Contestant]
    metrics: Mapping[str, Metric]


class Cast(Hashable, Protocol):
    """What builds one contestant alone: a value, that can be sent to another process."""

    def only(self, name: str, setting: float, knobs: Sequence[Knobs] = PLAIN) -> Contestant:
        """Build it at one setting, with these ways to decode."""


@dataclass(frozen=True)
class Plan:
    """A bench before it is built: names and numbers only, so that a worker process can build its own.

    `codecs` are as of `choose`. `qualities` in [0, 100], `realisms`, `steps` and the seed 0 are regrain's. Weights are
    named by `weights` (of metrics) and `model` (None: the package's). `threads` are torch's, None leaves its choice.
    """

    codecs: tuple[str, ...]
    qualities: tuple[float, ...]
    realisms: tuple[float, ...] = (1.0,)
    steps: tuple[int, ...] = (1,)
    weights: tuple[str, ...] = ()
    model: str | None = None
    device: str | None = None
    threads: int | None = None

    def __call__(self) -> Bench:
        """Load what is to be loaded. Raises ModelError, and UsageError for an unknown codec."""
        self._limit_threads()
        contestants, with_ours, _ = choose(self.codecs)
        if with_ours:
            knobs = [Knobs(0, steps, realism) for steps in self.steps for realism in self.realisms]
            contestants.insert(0, self._ours(self.qualities, knobs))
        return Bench(contestants, measures(self.weights))

    def only(self, name: str, setting: float, knobs: Sequence[Knobs] = PLAIN) -> Contestant:
        """One of them at one setting, and nothing else is loaded; `knobs` are regrain's. Raises as the whole does."""
        self._limit_threads()
        if name == OURS:
            return self._ours([setting], knobs)
        found, _, missing = choose([f"{name}={setting:g}"])
        if missing:
            raise UsageError(missing[0])
        return found[0]

    def _ours(self, qualities: Sequence[float], knobs: Sequence[Knobs]) -> Contestant:
        return ours(regrain.load(self.model, self.device), qualities, knobs)

    def _limit_threads(self) -> None:
        if self.threads is not None:
            import torch

            torch.set_num_threads(self.threads)


def choose(names: Sequence[str]) -> tuple[list[Contestant], bool, list[str]]:
    """The baselines of these names that can run here, whether regrain is named, and a line for each that cannot.

    A name is read without regard to case, and may bring its settings: `JPEG=10,50,90`; none at all means everybody, at
    the usual settings. Raises UsageError for a name that is unknown and a setting that is not allowed.
    """
    from regrain_lab.evaluation import baselines

    known = {codec.name.casefold(): codec for codec in baselines.ALL}
    asked = dict(_named(name) for name in names) or dict.fromkeys([*known, OURS], "")
    for name in asked:
        if name not in known and name != OURS:
            allowed = ", ".join([OURS, *(codec.name for codec in known.values())])
            raise UsageError(f"codec is {name!r}; allowed are {allowed}")
    if asked.get(OURS):
        raise UsageError(f"codec is {OURS}={asked[OURS]}; its settings are named by --qualities")
    chosen = [(codec, _settings(codec, asked[name])) for name, codec in known.items() if name in asked]
    present, missing = baselines.present([codec for codec, _ in chosen])
    return [baseline(codec, settings) for codec, settings in chosen if codec in present], OURS in asked, missing


def _named(text: str) -> tuple[str, str]:
    name, _, settings = text.partition("=")
    return name.strip().casefold(), settings.strip()


def _settings(codec: "Codec", text: str) -> list[int]:
    """What `text` lists, else the usual settings of the codec, smallest files first."""
    order = codec.qualities
    try:
        wanted = {int(part) for part in text.split(",")} if text else set(_usual(codec))
        return sorted(wanted, key=order.index)
    except ValueError:
        ends = f"{min(order)} to {max(order)}"
        raise UsageError(f"settings of {codec.name} are {text!r}; allowed are whole numbers from {ends}") from None


def _usual(codec: "Codec") -> Sequence[int]:
    """Settings that span 0.05 to 1.5 bits a pixel on photos; of a codec without a list, seven spread over its range."""
    order = codec.qualities
    return _USUAL.get(codec.name) or [order[round(part * (len(order) - 1) / 6)] for part in range(7)]


def baseline(codec: "Codec", settings: Sequence[int]) -> Contestant:
    """A codec of `baselines` at members of its `qualities`."""
    return Contestant(
        name=codec.name,
        version=codec.version(),
        options=codec.settings,
        threads=codec.threads or os.cpu_count() or 1,
        settings=settings,
        encode=lambda pixels, setting: codec.encode(pixels, int(setting)),
        decode=lambda data, knobs: codec.decode(data),
    )


def ours(model: "Model", qualities: Sequence[float], knobs: Sequence[Knobs]) -> Contestant:
    """Regrain with the weights of `model`; its fingerprint is that of the latents, a dash, and one of all networks.

    Its options name the recipe of the weights, if that is not the default one, and the device, if that is no CPU.
    """
    import torch

    options = [model.recipe] * (model.recipe != DEFAULT_RECIPE) + [str(model.device)] * (str(model.device) != "cpu")
    return Contestant(
        name=OURS,
        version=regrain.__version__,
        options=" ".join(options),
        fingerprint=_fingerprint(model),
        threads=torch.get_num_threads(),
        settings=sorted(set(qualities)),
        knobs=knobs,
        encode=partial(_encode, model),
        decode=partial(_decode, model),
        stages=_stages,
    )


def _stages() -> dict[str, Sequence[Place]]:
    from regrain.conditional import codec as conditional
    from regrain.palette import codec as palette
    from regrain.palette import encode as palette_encode
    from regrain.progressive import codec as progressive

    return {
        "analyse": [(conditional, "analysis_transform"), (palette_encode, "analyse")],
        "symbols": [(conditional, "decode_latents"), (progressive, "receive"), (palette, "decode_tiles")],
    }


def _encode(model: "Model", pixels: Pixels, setting: float) -> bytes:
    return regrain.encode(pixels, quality=setting, model=model)


def _decode(model: "Model", data: bytes, knobs: Knobs) -> Pixels:
    chosen = {name: value for name, value in knobs._asdict().items() if value is not None}
    return np.asarray(regrain.decode(data, **chosen, model=model).convert("RGB"))


def _fingerprint(model: "Model") -> str:
    """That of the latents misses a better denoiser, whose rows are others; so all networks have one here, too."""
    from regrain import checkpoint

    tensors = {f"{name}.{key}": tensor for name, part in _networks(model) for key, tensor in part.state_dict().items()}
    return f"{model.fingerprint.hex()}-{checkpoint.fingerprint(tensors).hex()}"


def _networks(owner: object) -> "list[tuple[str, nn.Module]]":
    """The networks that an object has, by name, or where it has none those that its own parts have."""
    from torch import nn

    parts = vars(owner)
    if networks := [(name, part) for name, part in parts.items() if isinstance(part, nn.Module)]:
        return networks
    ours = {name: part for name, part in parts.items() if type(part).__module__.startswith(regrain.__name__)}
    return [(f"{name}.{inner}", network) for name, part in ours.items() for inner, network in _networks(part)]
