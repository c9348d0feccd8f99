"""Motion made of stills: a photo under a camera that pans and zooms, and a piece of another one that moves over it."""

import math
from collections.abc import Iterator
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from regrain.errors import ImageError
from regrain.image import to_signed
from regrain_lab.training.data import Member

__all__ = ["clip_of", "clips"]

PAN, ZOOM, FOREGROUND = 2.5, 0.012, 0.6
"""Pixels a frame at most, the same of the logarithm of scale, and the share of clips in which something moves."""
SIZES: Final = (0.2, 0.45)
"""Half axes of what moves, over the side of the clip."""


def clips(pictures: list[Member], frames: int, side: int, batch: int, seed: int) -> Iterator[Tensor]:
    """Batches (batch, frames, 3, side, side) in [-1, 1] without end."""
    random, kept = np.random.default_rng(seed), {}
    while True:
        made = []
        while len(made) < batch:
            pair = []
            for number in random.integers(len(pictures), size=2):
                if number not in kept:
                    kept[number] = _still(pictures[number])
                pair.append(kept[number])
            if all(still is not None and min(still.shape[1:]) >= 2 * side for still in pair):
                made.append(clip_of(pair[0], pair[1], frames, side, random))
        yield torch.stack(made)


def _still(picture: Member) -> Tensor | None:
    try:
        return torch.from_numpy(to_signed(picture.read()))
    except ImageError:
        return None


def clip_of(back: Tensor, front: Tensor, frames: int, side: int, random: np.random.Generator) -> Tensor:
    """A clip (frames, 3, side, side) of two stills (3, H, W): the second within a soft ellipse, or not at all."""
    clip = _camera(back, frames, side, random)
    if random.random() < FOREGROUND:
        centre = (random.random(2) - 0.5) * side + _path(frames, 2 * PAN, random)
        opacity = _ellipses(centre, random.uniform(*SIZES, 2) * side, side)
        clip = clip + opacity * (_attached(front, centre, side, random) - clip)
    return clip.flip(0) if random.random() < 0.5 else clip


def _path(frames: int, fastest: float, random: np.random.Generator) -> np.ndarray:
    """Offsets (frames, 2) in pixels: even motion and a little acceleration."""
    angle, speed = 2 * math.pi * random.random(), fastest * random.random()
    time = np.arange(frames)[:, None] - (frames - 1) / 2
    bend = 0.05 * random.standard_normal(2) * time**2 * speed / frames
    return speed * time * np.array([math.cos(angle), math.sin(angle)]) + bend


def _camera(still: Tensor, frames: int, side: int, random: np.random.Generator) -> Tensor:
    """The still from a window that pans and zooms."""
    scale = np.exp(random.uniform(-0.2, 0.5) + ZOOM * random.uniform(-1, 1) * (np.arange(frames) - frames / 2))
    return _windows(still, _corner(still, side, random) + _path(frames, PAN, random), scale, side)


def _attached(still: Tensor, centre: np.ndarray, side: int, random: np.random.Generator) -> Tensor:
    """The still moving with `centre`, (frames, 2), as what lies on a thing does."""
    return _windows(still, _corner(still, side, random) - centre, np.ones(len(centre)), side)


def _corner(still: Tensor, side: int, random: np.random.Generator) -> np.ndarray:
    """The middle of a window, (x, y) in pixels from the still's own."""
    room = np.array([still.shape[2], still.shape[1]]) / 2 - side
    return random.uniform(-1, 1, 2) * np.maximum(room, 0)


def _windows(still: Tensor, centre: np.ndarray, scale: np.ndarray, side: int) -> Tensor:
    """Windows of side `side` times scale about `centre` (frames, 2), scaled to `side`; edges are reflected."""
    middle = torch.arange(side) - (side - 1) / 2
    steps = torch.from_numpy(scale).float()[:, None] * middle
    x, y = (torch.from_numpy(centre[:, k]).float()[:, None] + steps for k in (0, 1))
    height, width = still.shape[1:]
    grid = torch.stack(torch.broadcast_tensors(2 * x[:, None, :] / width, 2 * y[:, :, None] / height), -1)
    sources = still.expand(len(scale), -1, -1, -1)
    return nn.functional.grid_sample(sources, grid, padding_mode="reflection", align_corners=False)


def _ellipses(centre: np.ndarray, axes: np.ndarray, side: int) -> Tensor:
    """Opacity (frames, 1, side, side) of an ellipse about each `centre`, soft over some two pixels."""
    middle = torch.arange(side) - (side - 1) / 2
    x, y = ((middle[None] - torch.from_numpy(centre[:, k]).float()[:, None]) / float(axes[k]) for k in (0, 1))
    radius = (x[:, None, :].square() + y[:, :, None].square()).sqrt()
    return torch.sigmoid((1 - radius) * float(axes.min()))[:, None]
