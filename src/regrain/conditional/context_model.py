"""The context model: what is coded already predicts the mean and the scale of what comes next.

    mean_k  = gain (h_s(z) + c_k(y_hat before k, h(z)))                         floats
    index_k = floor((s(z) + d_k(symbols before k, a(z)) + offset) / 16 + 1/2)    integers alone
    y_hat   = (symbols + mean) / gain        networks see z within +-127, y_hat within +-LATENT_MAX

Encoder and decoder take the same steps: `predict`, then code, then `update`. They differ in where symbols come from,
and in that a decoder needs no mean to read them: its means may come later.
A tile's payload has z with the tables of its channels, then y step by step with those of its scale indices, each in C
order, and the check of both.
"""

import zlib
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from regrain.checkpoint import Arrays
from regrain.conditional.coding_order import CodingStep, coding_order
from regrain.conditional.config import HYPER_FACTOR, HYPER_MAX, TransformConfig
from regrain.conditional.dct import LATENT_MAX
from regrain.conditional.grid import Region
from regrain.conditional.networks import Image, Networks
from regrain.entropy import tables
from regrain.entropy.integer import QUALITY_TOP, Product, ScaleBranch, Whole, interpolate_offsets, level, scale_index
from regrain.errors import ModelError

__all__ = [
    "ContextModel", "Means", "Scales", "State", "Symbols", "check_anchors", "checksum", "hyper_size", "hyper_table_ids",
    "interpolate_gain",
]  # fmt: skip

Symbols = NDArray[np.int32]
Number = TypeVar("Number", bound=np.generic)

LOG_GAIN_MOST: Final = 20
OFFSET_MOST: Final = 2**20
"""In 1/16 of a scale index, of which there are 64."""


class ContextModel:
    """The part of the weights that turns bytes into y_hat: hyper tables, scale branch, means and offsets."""

    def __init__(self, arrays: Arrays, config: TransformConfig, networks: Networks, product: Product) -> None:
        """Take the `latents.*` arrays of a weights file. Raises ModelError where they break the integer wall."""
        check_anchors(arrays, (config.anchors, config.latent))
        self.channels, self.hyper, self.anchors = config.latent, config.hyper, config.anchors
        self.order, self.networks = coding_order(config.latent, config.slices), networks
        self.log_gain, self.offset = arrays["latents.log_gain"], arrays["latents.offset"]
        contexts = [(step.context_channels, step.last - step.first) for step in self.order[1:]]
        self.scale = ScaleBranch(arrays, config.hyper, config.latent, contexts, product)
        self.z_tables = tables.unpack(arrays["latents.z_tables"])
        if len(self.z_tables) != self.anchors * self.hyper:
            raise ModelError(f"weights hold {len(self.z_tables)} hyper tables, expected {self.anchors * self.hyper}")

    def gain(self, quality: int) -> Image:
        """Gains (C, 1, 1) of the latents at quality q times 256."""
        return interpolate_gain(self.log_gain, quality)

    def hyper_tables(self, quality: int) -> tuple[tables.Table, ...]:
        """The tables of z's channels at the quality anchor nearest to q times 256."""
        anchor = (2 * quality * (self.anchors - 1) + QUALITY_TOP) // (2 * QUALITY_TOP)
        return self.z_tables[anchor * self.hyper : (anchor + 1) * self.hyper]

    def start(self, z_hat: Symbols, quality: int, size: tuple[int, int]) -> "State":
        """Begin on a tile of latents of `size` (H, W). z_hat: integers (Z, ceil(H/4), ceil(W/4)); q times 256."""
        return State(self.start_scales(z_hat, quality, size), self.start_means(z_hat, quality, size))

    def start_scales(self, z_hat: Symbols, quality: int, size: tuple[int, int]) -> "Scales":
        """The part of the state that is integers, and chooses tables."""
        inside = ..., slice(size[0]), slice(size[1])
        scales, hidden = self.scale(z_hat)
        scales = scales[inside] + interpolate_offsets(self.offset, quality).astype(np.int32)[:, None, None]
        symbols, known = np.zeros((self.channels, *size), np.int32), self.order[-1].context_channels
        return Scales(self.scale, scales, self.scale.share(hidden[inside]), symbols, level(symbols[:known]))

    def start_means(self, z_hat: Symbols, quality: int, size: tuple[int, int]) -> "Means":
        """The part of the state that is floats, which no table depends on."""
        inside = ..., slice(size[0]), slice(size[1])
        means, features = self.networks.hyper_synthesis(z_hat.clip(-HYPER_MAX, HYPER_MAX).astype(np.float32))
        y_hat = np.zeros((self.channels, *size), np.float32)
        return Means(self.networks, self.order, self.gain(quality), means[inside], features[inside], y_hat)


@dataclass
class Scales:
    """Scale indices, and the `symbols` (C, H, W) that are coded so far, 0 where nothing is coded yet.

    `levels` are those of the channels that a step knows.
    """

    branch: ScaleBranch
    scales: Whole
    shared: list[Whole]
    symbols: Symbols
    levels: NDArray[np.uint8]

    def predict(self, number: int, step: CodingStep, mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Scale indices, (last - first, n), at the n places of the mask."""
        scale = self.scales[step.channels]
        if known := step.context_channels:
            scale = scale + self.branch.context(number, self.levels[:known], self.shared[number - 1])
        return scale_index(_places(scale, mask))

    def update(self, step: CodingStep, symbols: Symbols, mask: NDArray[np.bool_]) -> None:
        """Take the symbols (last - first, n) that were coded at the places of the mask."""
        _store(self.symbols, step, symbols, mask)
        if step.first < len(self.levels):
            _store(self.levels, step, level(symbols), mask)


@dataclass
class Means:
    """Means of gained y, and `y_hat` (C, H, W) of what is coded so far, 0 where nothing is coded yet."""

    networks: Networks
    order: tuple[CodingStep, ...]
    gain: Image
    means: Image
    features: Image
    y_hat: Image

    def predict(self, number: int, step: CodingStep, mask: NDArray[np.bool_]) -> Image:
        """Means of gained y, (last - first, n), at the n places of the mask."""
        mean = self.means[step.channels]
        if known := step.context_channels:
            mean = mean + self.networks.context(number, self.y_hat[:known], self.features)
        return _places(self.gain[step.channels] * mean, mask)

    def update(self, step: CodingStep, symbols: Symbols, mean: Image, mask: NDArray[np.bool_]) -> None:
        """Take the symbols (last - first, n) that were coded at the places of the mask, about these means."""
        latents = (symbols.astype(np.float32) + mean) / self.gain[step.channels, 0]
        _store(self.y_hat, step, latents.clip(-LATENT_MAX, LATENT_MAX), mask)


@dataclass
class State:
    """What is coded of one tile so far: scales, which are integers, and means, which are floats."""

    scales: Scales
    means: Means

    @property
    def symbols(self) -> Symbols:
        """(C, H, W), 0 where nothing is coded yet."""
        return self.scales.symbols

    @property
    def y_hat(self) -> Image:
        """(C, H, W), 0 where nothing is coded yet."""
        return self.means.y_hat

    def predict(self, number: int, step: CodingStep) -> tuple[Image, NDArray[np.uint8], NDArray[np.bool_]]:
        """Means of gained y and scale indices, (last - first, n), at the n places of the mask, bool (H, W)."""
        mask = step.mask(*self.y_hat.shape[1:])
        return self.means.predict(number, step, mask), self.scales.predict(number, step, mask), mask

    def update(self, step: CodingStep, symbols: Symbols, mean: Image, mask: NDArray[np.bool_]) -> None:
        """Take the symbols (last - first, n) that were coded at the places of the mask."""
        self.scales.update(step, symbols, mask)
        self.means.update(step, symbols, mean, mask)


def _store(whole: NDArray[Number], step: CodingStep, part: NDArray[Number], mask: NDArray[np.bool_]) -> None:
    """Put a part (last - first, n) into its places of a whole (C, H, W)."""
    if step.parity is None:  # several times as fast as by a mask that is true throughout
        whole[step.channels] = part.reshape(-1, *mask.shape)
    else:
        whole[step.channels, mask] = part


def _places(values: NDArray[Number], mask: NDArray[np.bool_]) -> NDArray[Number]:
    """Those of (C, H, W) at the n places of the mask, (C, n)."""
    return values.reshape(len(values), -1) if mask.all() else values[:, mask]


def interpolate_gain(log_gain: Image, quality: int) -> Image:
    """Gains (C, 1, 1) at quality q times 256: logarithms (anchors, C) are linear in quality between the anchors.

    One gain a channel and quality makes one set of weights serve every rate (gained VAE, Cui et al. 2021).

    >>> interpolate_gain(np.log(np.float32([[1], [4]])), 12800)[:, 0, 0].round(5)
    array([2.], dtype=float32)
    """
    anchors = len(log_gain) - 1
    left = min(quality * anchors // QUALITY_TOP, anchors - 1)
    part, (low, high) = quality * anchors / QUALITY_TOP - left, log_gain[left : left + 2].astype(np.float64)
    gain: Image = np.exp(low + part * (high - low)).astype(np.float32)[:, None, None]
    return gain


def check_anchors(arrays: Arrays, shape: tuple[int, int]) -> None:
    """Raise ModelError unless gains and offsets, at the anchors of quality, have this shape and lie in their ranges."""
    log_gain, offset = arrays["latents.log_gain"], arrays["latents.offset"]
    if not log_gain.shape == offset.shape == shape:
        raise ModelError(f"weights hold gains of shape {log_gain.shape}, expected {shape}")
    if offset.dtype != np.int32 or not (np.abs(offset.astype(np.int64)) <= OFFSET_MOST).all():
        raise ModelError(f"weights hold offsets that are no integers of 32 bits within {OFFSET_MOST}")
    if not (np.abs(log_gain.astype(np.float64)) <= LOG_GAIN_MOST).all():
        raise ModelError(f"weights hold gains out of range: exp(-{LOG_GAIN_MOST}) to exp({LOG_GAIN_MOST}) is allowed")


def hyper_size(region: Region) -> tuple[int, int]:
    """Rows and columns of hyper-latents that cover a tile of latents."""
    return -(-region.height // HYPER_FACTOR), -(-region.width // HYPER_FACTOR)


def hyper_table_ids(channels: int, rows: int, columns: int) -> NDArray[np.int64]:
    """The table of every symbol of z, in C order: its channel."""
    return np.repeat(np.arange(channels), rows * columns)


def checksum(tile: int, z: Symbols, y: Symbols) -> int:
    """CRC-32 that turns plausible but wrong symbols into an error."""
    crc = zlib.crc32(np.array([tile], dtype="<i4").tobytes())
    crc = zlib.crc32(np.ascontiguousarray(z, dtype="<i4").tobytes(), crc)
    return zlib.crc32(np.ascontiguousarray(y, dtype="<i4").tobytes(), crc)
