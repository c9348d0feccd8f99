"""Lost parts of a picture drawn by the prior, while the known parts are held.

    x[lost] = harmonic(x[known])                                               x_t = alpha_t x + sigma_t eps
    for t -> s, twice:    x_t[known] = alpha_t x + sigma_t eps                 x_s = a step towards denoise(x_t)
                          x_t = x_s under more noise, before the second time
    x[lost] = denoise(x_t)[lost] at the last t

(RePaint, Lugmayr et al. 2022, https://arxiv.org/abs/2201.09865, algorithm 1, with jumps of one step.) It starts from
the smooth surface over the lost part and not from noise alone, as in SDEdit (Meng et al. 2022): this prior sees too
little at once to find the light of a large part by itself, and drew blue squares into yellow walls.

A window is drawn at once, from the first step to the last, and sees its surroundings, what was drawn there before too:
only windows are held as floats. Invariant: no pixel changes but the lost ones.
"""

from collections.abc import Iterable
from itertools import count, pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from regrain.diffusion import noise
from regrain.diffusion.sampler import ddim_step
from regrain.diffusion.schedule import LogLinear
from regrain.diffusion.unconditional_config import HALO, STRIDE
from regrain.image import pad_edge, to_bytes, to_signed
from regrain.progressive.reverse_process import Denoiser
from regrain.tiles import Place, places

__all__ = ["fill", "harmonic"]

Image = NDArray[np.float32]
Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
SIDE: Final = 512
"""Of the largest window, without its surroundings."""
LOG_SNR: Final = (0.0, 7.0)
"""At the first step and at the last one."""
STEPS: Final = 12
TRIES: Final = 2
"""How often each step is taken."""
RELAXED: Final = 16
"""How often a surface is relaxed at each of its scales."""
LEVELS: Final = LogLinear()
NOISE: Final = 2**63
"""The noise of filling has numbers from here on, which no other noise of a seed has."""


def fill(denoiser: Denoiser, pixels: Pixels, lost: Iterable[Place], seed: int = 0) -> None:
    """Draw the lost places of pixels (h, w, 1 or 3), which are changed in place; other pixels stay as they are.

    Windows that see a known pixel come first, and what they drew is known to those after them. Where nothing is known
    at all, nothing is drawn.

    >>> pixels = np.zeros((16, 32, 3), np.uint8)
    >>> class Grey:
    ...     def denoise(self, x_t, log_snr): return 0 * x_t
    >>> fill(Grey(), pixels, [(slice(0, 16), slice(24, 32))])
    >>> pixels[0, 20:28, 0].tolist()
    [0, 0, 0, 0, 128, 128, 128, 128]
    """
    height, width = pixels.shape[:2]
    known = np.ones((height, width), bool)
    for place in lost:
        known[place] = False
    waiting = [place for place in places(height, width, SIDE) if not known[place].all()]
    drawn = True
    while waiting and drawn:
        drawn, turn, waiting = False, waiting, []
        for place in turn:
            part = _lost_part(known, place)
            if known[_around(part)].any():
                _draw(denoiser, pixels, known, part, seed)
                drawn = True
            else:
                waiting.append(place)


def _lost_part(known: Mask, place: Place) -> Place:
    """The smallest box that holds what is lost within a place."""
    sides = (
        np.flatnonzero(~known[place].all(axis=axis)) + side.start for axis, side in zip((1, 0), place, strict=True)
    )
    down, across = (slice(int(side[0]), int(side[-1]) + 1) for side in sides)
    return down, across


def _around(place: Place) -> Place:
    """The place with as much of its surroundings as the network sees; it begins at the earliest at 0."""
    down, across = (slice(max(0, side.start - HALO), side.stop + HALO) for side in place)
    return down, across


def _draw(denoiser: Denoiser, pixels: Pixels, known: Mask, part: Place, seed: int) -> None:
    """Draw what is lost in one part, which is known from then on."""
    window = _around(part)
    corner = window[0].start, window[1].start
    mask = pad_edge(known[None, *window], STRIDE)
    drawn = to_bytes(
        _sample(denoiser, pad_edge(to_signed(pixels[window]), STRIDE), mask, corner, seed), pixels.shape[2] == 1
    )
    inner = tuple(slice(side.start - first, side.stop - first) for side, first in zip(part, corner, strict=True))
    target, missing = pixels[part], ~known[part]
    target[missing] = drawn[inner][missing]
    known[part] = True


def _sample(denoiser: Denoiser, x: Image, mask: Mask, corner: tuple[int, int], seed: int) -> Image:
    """x (3, h, w), drawn where the mask (1, h, w) is False; `corner` is the row and column of its first pixel."""
    first, last = LOG_SNR
    times = [LEVELS.time(first + (last - first) * k / STEPS) for k in range(STEPS + 1)]
    numbers = count(NOISE)

    def fresh() -> Image:
        return noise.normal(seed, next(numbers), *corner, *x.shape[1:])

    def estimate(x_t: Image, t: float) -> tuple[Image, Image]:
        """x_t with the known part held, and its estimate of x_0."""
        alpha, sigma = LEVELS.at(t)
        x_t = np.where(mask, alpha * x + sigma * fresh(), x_t).astype(np.float32)
        return x_t, denoiser.denoise(x_t, LEVELS.log_snr_at(t)).clip(-1, 1)

    alpha, sigma = LEVELS.at(times[0])
    x_t: Image = np.float32(alpha) * harmonic(x, mask) + np.float32(sigma) * fresh()
    for t, s in pairwise(times):
        for number in range(TRIES):
            x_t, x_0 = estimate(x_t, t)
            x_s = ddim_step(x_t, x_0, t, s, LEVELS)
            x_t = x_s if number == TRIES - 1 else _back(x_s, s, t, fresh())
    return estimate(x_t, times[-1])[1]


def harmonic(x: Image, mask: Mask) -> Image:
    """x (C, h, w), smooth where the mask (1, h, w) is False: Laplace's equation, nearly, from coarse to fine.

    At least one place must be True.

    >>> x, mask = np.float32([[[0, 9, 9, 3]]]), np.array([[[True, False, False, True]]])
    >>> harmonic(x, mask).round(1).tolist()
    [[[0.0, 1.0, 2.0, 3.0]]]
    """
    if mask.all():
        return x
    weights, sums = _halved(mask.astype(np.float32)), _halved(x * mask)
    means = (sums / np.maximum(weights, np.float32(1e-6))).astype(np.float32)
    coarse = harmonic(means, weights > 0)
    surface = np.where(mask, x, coarse.repeat(2, 1).repeat(2, 2)[:, : x.shape[1], : x.shape[2]])
    for _ in range(RELAXED):
        wide = np.pad(surface, ((0, 0), (1, 1), (1, 1)), mode="edge")
        mean = (wide[:, :-2, 1:-1] + wide[:, 2:, 1:-1] + wide[:, 1:-1, :-2] + wide[:, 1:-1, 2:]) / np.float32(4)
        surface = np.where(mask, x, mean)
    return surface


def _halved(x: Image) -> Image:
    """Means over squares of 2 x 2, those at an odd border beside nothing."""
    channels, height, width = x.shape
    even = np.pad(x, ((0, 0), (0, height % 2), (0, width % 2)))
    halved: Image = even.reshape(channels, -(-height // 2), 2, -(-width // 2), 2).mean((2, 4))
    return halved


def _back(x_s: Image, s: float, t: float, z: Image) -> Image:
    """x_t of x_s, by the forward process: s < t, standard normal z."""
    (alpha_s, sigma_s), (alpha_t, sigma_t) = LEVELS.at(s), LEVELS.at(t)
    ratio = alpha_t / alpha_s
    x_t: Image = ratio * x_s + np.float32((sigma_t**2 - (ratio * sigma_s) ** 2) ** 0.5) * z
    return x_t
