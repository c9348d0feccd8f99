"""What scripts/graphed.py trains: pictures on the GPU, the distortion and the steps, all of shapes that never change.

The objective, the draws, networks and weights of the loss are the package's; crops, LPIPS's views and MS-SSIM are
written anew as what a CUDA graph can hold, and do the same (a window of 176 pixels where the package takes 177 to 192).
"""

import random
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from pytorch_msssim.ssim import _fspecial_gauss_1d, _ssim
from torch import Tensor, nn

from regrain.conditional.model import ConditionalCodec
from regrain.diffusion import sampler, schedule
from regrain_lab.metrics.lpips import Lpips
from regrain_lab.training.config import LossConfig, Recipe
from regrain_lab.training.data import Member, members
from regrain_lab.training.drawings import draw
from regrain_lab.training.lessons import step
from regrain_lab.training.objective import SQUARED_ERROR_UNIT, Distortion, Draw, Objective, Rules, rate_weight

__all__ = ["VIEWS", "Codec", "Pictures", "Student"]

DRAWINGS = 2048
SEEN, VIEWS = 176, ("whole", "whole", "half", "double")
"""Side of the window that LPIPS sees, and how often each view is taken; see objective's."""
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Weights of MS-SSIM's scales (Wang et al. 2003)."""


def pixels(member: Member) -> np.ndarray:
    """One picture, uint8 (3, H, W)."""
    return np.ascontiguousarray(member.read().transpose(2, 0, 1))


def drawing(number: int, side: int) -> np.ndarray:
    """One drawing, uint8 (3, side, side)."""
    return ((draw(side, np.random.default_rng((7, number))) + 1) * 127.5).round().to(torch.uint8).numpy()


class Pictures:
    """Crops as training.data cuts them, from pictures of one size that lie on the device."""

    def __init__(self, recipe: Recipe, device: torch.device, workers: int) -> None:
        """Decode and draw, in processes."""
        self.data, self.stage = recipe.data, recipe.stage[0]
        chosen = members(recipe.path(recipe.data.shards), recipe.data, held_out=False)
        with ProcessPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as processes:
            photos = np.stack(list(processes.map(pixels, chosen, chunksize=32)))
            sketches = partial(drawing, side=self.stage.crop)
            drawn = np.stack(list(processes.map(sketches, range(DRAWINGS), chunksize=32)))
        self.photos, self.drawn = (torch.from_numpy(array).to(device) for array in (photos, drawn))
        side, crop = self.photos.shape[2], self.stage.crop
        self.resize = torch.zeros(side - crop + 1, crop, side)
        for wide in range(crop, side + 1):
            one = torch.eye(wide)[None, None]
            narrow = nn.functional.interpolate(one, (crop, wide), mode="bicubic", antialias=True)[0, 0]
            self.resize[wide - crop, :, :wide] = one[0, 0] if wide == crop else narrow
        self.resize = self.resize.to(device)

    def batch(self, count: int) -> Tensor:
        """(count, 3, crop, crop) in [-1, 1], float32."""
        with torch.autocast(self.photos.device.type, enabled=False):
            return self._batch(count)

    def _batch(self, count: int) -> Tensor:
        where, crop, side = self.photos.device, self.stage.crop, self.photos.shape[2]
        reduced, faded, drawn, contrast, brightness, *poses = torch.rand(8, count, device=where)
        x = self.photos[torch.randint(len(self.photos), (count,), device=where)].float() / 127.5 - 1
        wide = torch.randint(crop, side + 1, (count,), device=where)
        wide = torch.where(reduced < self.data.reduced, wide, crop)
        places = (torch.rand(2, count, device=where) * (side - wide + 1)).floor().long()
        rows, columns = (self._window(wide, place) for place in places)
        x = (rows @ x @ columns.mT).clamp(-1, 1)
        for pose, change in zip(poses, (lambda p: p.flip(2), lambda p: p.flip(3), lambda p: p.mT), strict=True):
            x = torch.where(_wide(pose < 0.5), change(x), x)
        faint = _wide(contrast) * x + _wide((1 - contrast) * (2 * brightness - 1))
        x = torch.where(_wide(faded < self.data.faded), faint, x)
        other = self.drawn[torch.randint(len(self.drawn), (count,), device=where)].float() / 127.5 - 1
        x = torch.where(_wide(drawn < self.data.drawn), other, x)
        return x.contiguous(memory_format=torch.channels_last)

    def _window(self, wide: Tensor, place: Tensor) -> Tensor:
        """Matrices (B, 1, crop, side) that cut `wide` rows from `place` on and scale them down to the crop."""
        matrix = self.resize[wide - self.stage.crop]
        rows = (torch.arange(matrix.shape[2], device=place.device) - place[:, None]) % matrix.shape[2]
        return matrix.gather(2, rows[:, None].expand_as(matrix))[:, None]


def _wide(values: Tensor) -> Tensor:
    return values[:, None, None, None]


class Steady(Distortion):
    """The distortion in one view, of all pictures, whatever their realism."""

    def __init__(self, config: LossConfig, lpips: Lpips, view: str, side: int, device: torch.device) -> None:
        """Make the matrices of the view."""
        super().__init__(config, lpips)
        window = side // 2 if view == "double" else SEEN
        one = torch.eye(window)
        if view == "half":
            one = nn.functional.avg_pool1d(one[None], 2)[0].T
        if view == "double":
            one = nn.functional.interpolate(one[None], scale_factor=2, mode="linear")[0].T
        self.scale, self.side, self.window = one.to(device), side, window
        self.win = _fspecial_gauss_1d(11, 1.5)[None].to(device)
        self.scales = torch.tensor(SCALES, device=device)

    def perceptual(self, x_hat: Tensor, x: Tensor, rho: Tensor) -> Tensor:
        """LPIPS where rho > 0, else 0, (B,)."""
        with torch.autocast(x.device.type, enabled=False):
            rows, columns = (self.scale @ self._cut() for _ in range(2))
            decoded, original = (
                (rows @ picture.float() @ columns.mT).contiguous(memory_format=torch.channels_last)
                for picture in (x_hat, x)
            )
            assert self.lpips is not None
            return torch.where(rho > 0, self.lpips(decoded, original), 0.0)

    def _cut(self) -> Tensor:
        """A matrix (window, side) that takes a window at random."""
        device = self.scale.device
        first = torch.randint(self.side - self.window + 1, (), device=device)
        lines = torch.arange(self.window, device=device)[:, None] + first
        return (torch.arange(self.side, device=device) == lines).float()

    def structure(self, x_hat: Tensor, x: Tensor, rho: Tensor, scale: float) -> Tensor:
        """scale (1 - MS-SSIM) where rho > 0, else 0, (B,)."""
        with torch.autocast(x.device.type, enabled=False):
            a, b = ((p.float() + 1).contiguous().view(-1, 1, *p.shape[2:]) for p in (x_hat, x))
            levels = []
            for number in range(len(SCALES)):
                alike, contrast = _ssim(a, b, 2.0, self.win, size_average=False)
                levels.append(torch.relu(alike if number == len(SCALES) - 1 else contrast).clamp_min(1e-4))
                padding = [length % 2 for length in a.shape[2:]]
                a, b = (nn.functional.avg_pool2d(p, 2, padding=padding) for p in (a, b))
            value = (torch.stack(levels).log() * self.scales[:, None, None]).sum(0).exp().view(len(x), -1).mean(1)
            return torch.where(rho > 0, scale * (1 - value), 0.0)


class Codec:
    """Steps of the whole codec."""

    def __init__(self, codec: ConditionalCodec, recipe: Recipe, lpips: Lpips, pictures: Pictures) -> None:
        """One objective a view."""
        self.codec, self.recipe, self.pictures, self.stage = codec, recipe, pictures, recipe.stage[0]
        self.device = pictures.photos.device
        self.parameters = list(codec.parameters())
        if any(first != last for first, last in (self.stage.rate, self.stage.perceptual, self.stage.structure)):
            raise SystemExit(f"{recipe.name}: rate, perceptual and structure of a graph stay as they are; no ramps do")
        self.rules = Rules.at(self.stage, 0)
        self.objectives = {}
        for view in dict.fromkeys(VIEWS):
            objective = Objective(codec, recipe.loss, lpips)
            objective.distortion = Steady(recipe.loss, lpips, view, self.stage.crop, self.device)
            self.objectives[view] = objective

    def loss(self, view: str) -> dict[str, Tensor]:
        """Scalars of one batch."""
        found: dict[str, Tensor] = self.objectives[view](self.pictures.batch(self.stage.batch), self.rules)
        return found

    def between(self, replay: Callable[[str], None]) -> None:
        """Nothing goes before a step."""

    def graphs(self) -> dict[str, Callable[[], object]]:
        """Graphs beside those of the steps."""
        return {}


class Student(Codec):
    """Steps of the denoiser alone."""

    def __init__(self, codec: ConditionalCodec, recipe: Recipe, lpips: Lpips, pictures: Pictures) -> None:
        """Buffers for a batch, which is drawn by one graph, led on by another and learned from by a third."""
        super().__init__(codec, recipe, lpips, pictures)
        self.parameters = list(codec.denoiser.parameters())
        self.schedule = schedule.get(codec.config.schedule)
        count, crop = self.stage.batch, self.stage.crop
        self.x, self.x_t = (self._empty(count, 3, crop, crop) for _ in range(2))
        self.cond = self._empty(count, codec.config.transform.latent, crop // 16, crop // 16)
        self.quality, self.realism, self.led = (torch.ones(count, device=self.device) for _ in range(3))
        self.t, self.s = (torch.ones((), device=self.device) for _ in range(2))

    def _empty(self, *shape: int) -> Tensor:
        return torch.zeros(shape, device=self.device).contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def drawn(self) -> None:
        """A batch at t = 1."""
        x = self.pictures.batch(self.stage.batch)
        drawn = Draw.sample(len(x), self.stage.continuous, self.device)
        noise = torch.randn_like(x) * _wide(drawn.realism * self.codec.config.init_noise)
        alpha, sigma = self.schedule.at(1.0)
        for buffer, value in (
            (self.x, x), (self.x_t, alpha * x + sigma * noise), (self.cond, self.codec.code(x, drawn.quality).y_hat),
            (self.quality, drawn.quality), (self.realism, drawn.realism), (self.led, (drawn.t < 1).float()),
        ):  # fmt: skip
            buffer.copy_(value)

    @torch.no_grad()
    def walked(self) -> None:
        """Those that are led, one step from t to s."""
        told = self._says(self.t.expand(len(self.x))).clamp(-1, 1)
        there, here = ((self.schedule.alpha(t), self.schedule.sigma(t)) for t in (self.t, self.s))
        self.x_t.copy_(torch.where(_wide(self.led > 0), step(self.x_t, told, there, here), self.x_t))

    def _says(self, t: Tensor) -> Tensor:
        return self.codec.denoiser(self.x_t, t, self.cond, self.quality, self.realism).float()

    def graphs(self) -> dict[str, Callable[[], object]]:
        """Drawing and walking."""
        return {"draw": self.drawn, "walk": self.walked}

    def between(self, replay: Callable[[str], None]) -> None:
        """Draw a batch and lead half of it k steps of 2, 4 ... or N on."""
        replay("draw")
        count = 2 ** random.randint(1, self.stage.sampling_steps.bit_length() - 1)
        times = sampler.time_grid(count)[: random.randint(1, count - 1) + 1]
        for t, s in pairwise(times):
            self.t.fill_(t)
            self.s.fill_(s)
            replay("walk")
        self.t.fill_(times[-1])

    def loss(self, view: str) -> dict[str, Tensor]:
        """Scalars of the batch that lies ready."""
        distortion = self.objectives[view].distortion
        x_hat = self._says(torch.where(self.led > 0, self.t, 1.0))
        error = distortion.squared(x_hat - self.x) * SQUARED_ERROR_UNIT
        rho = self.realism * distortion.perceptual_weight(self.rules)
        total, distance = distortion.mix(error, x_hat, self.x, rho, self.rules)
        loss = (total * rate_weight(self.recipe.loss, self.quality) ** -self.recipe.loss.balance).mean()
        mse = (x_hat.detach() - self.x).square().mean() * 127.5**2
        seen = distance.detach().sum() / (rho > 0).sum().clamp_min(1)
        return {"loss": loss, "bpp": torch.zeros_like(mse), "mse": mse, "lpips": seen}
