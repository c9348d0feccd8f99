"""Train the conditional codec on a GPU that is lent for minutes: everything on the GPU, each step one CUDA graph.

    python tools/graphed.py recipes/gpu.toml --then recipes/gpu-distill.toml --seconds 365 105 --weights runs

The loop of `regrain train` launches some 8,000 small kernels a step, and a fast GPU mostly waits for them (4.6 steps a
second there, whether of 64 or of 128 crops; here 14.8 of 80). Here pictures lie decoded on the GPU, crops are cut by
products with matrices, nothing has a shape that chance decides, and a step is captured once for each view that LPIPS
takes. Losses, networks and optimiser are the package's. Stages last as long as the seconds say, whatever steps the
recipe has, and the learning rate follows the clock. The second recipe trains the denoiser alone behind latents that
stay, half of the pictures standing where 1 to N - 1 steps of its own have led them (training.lessons, "direct").
"""

import argparse
import math
import random
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from pytorch_msssim.ssim import _fspecial_gauss_1d, _ssim
from torch import Tensor, nn

from regrain import checkpoint
from regrain.conditional.frozen import freeze, latent_fingerprint
from regrain.conditional.model import ConditionalCodec
from regrain.diffusion import sampler, schedule
from regrain.evaluation.perceptual import Lpips
from regrain.training import trainee
from regrain.training.config import LossConfig, Recipe, read_recipe
from regrain.training.data import Member, members
from regrain.training.drawings import draw
from regrain.training.lessons import step
from regrain.training.muon import orthogonalise
from regrain.training.objective import SQUARED_ERROR_UNIT, Distortion, Draw, Objective, Rules, rate_weight

DRAWINGS = 2048
SEEN, VIEWS = 176, ("whole", "whole", "half", "double")
"""Side of the window that LPIPS sees, and how often each view is taken; see objective's."""
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
LOOK = 50


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


class Optimiser:
    """training.muon's, and the average, without anything that a graph cannot hold."""

    def __init__(self, parameters: list[nn.Parameter], recipe: Recipe, device: torch.device) -> None:
        """Start at rest."""
        self.all, self.clip, self.decay = parameters, recipe.clip, recipe.ema
        self.rate = torch.zeros((), device=device)
        self.average = [p.detach().clone() for p in parameters]
        rest = [p for p in parameters if p.dim() != 4]
        self.adam = torch.optim.Adam(rest, lr=self.rate, betas=(0.9, 0.99), capturable=device.type == "cuda")
        alike: dict[torch.Size, list[nn.Parameter]] = {}
        for kernel in (p for p in parameters if p.dim() == 4):
            alike.setdefault(kernel.flatten(1).shape, []).append(kernel)
        self.kernels = [(group, [torch.zeros_like(p) for p in group]) for group in alike.values()]

    @torch.no_grad()
    def step(self) -> Tensor:
        """Move everything; the norm of the gradient."""
        norm = nn.utils.clip_grad_norm_(self.all, self.clip)
        self.adam.step()
        for group, moments in self.kernels:
            gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in group]
            torch._foreach_lerp_(moments, gradients, 0.05)
            ahead = torch.stack([g.lerp(m, 0.95).flatten(1) for g, m in zip(gradients, moments, strict=True)])
            moves = orthogonalise(ahead) * (self.rate * 0.2 * max(ahead.shape[1:]) ** 0.5)
            torch._foreach_sub_(group, [m.view_as(p) for m, p in zip(moves.unbind(), group, strict=True)])
        torch._foreach_lerp_(self.average, [p.detach() for p in self.all], 1 - self.decay)
        return norm

    @torch.no_grad()
    def settle(self) -> None:
        """Put the average in the place of the parameters."""
        torch._foreach_copy_([p.detach() for p in self.all], self.average)


class Codec:
    """Steps of the whole codec."""

    def __init__(self, codec: ConditionalCodec, recipe: Recipe, lpips: Lpips, pictures: Pictures) -> None:
        """One objective a view."""
        self.codec, self.recipe, self.pictures, self.stage = codec, recipe, pictures, recipe.stage[0]
        self.device = pictures.photos.device
        self.parameters = list(codec.parameters())
        self.rules = Rules.at(replace(self.stage, method=""), 0)
        self.objectives = {}
        for view in dict.fromkeys(VIEWS):
            objective = Objective(codec, recipe.loss, lpips)
            objective.distortion = Steady(recipe.loss, lpips, view, self.stage.crop, self.device)
            self.objectives[view] = objective

    def prepare(self) -> None:
        """Nothing goes before a step."""

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


class Run:
    """One recipe for so many seconds."""

    def __init__(self, subject: Codec, seconds: float) -> None:
        """Capture."""
        self.subject, self.recipe, self.end = subject, subject.recipe, time.monotonic() + seconds
        self.optimiser = Optimiser(subject.parameters, subject.recipe, subject.device)
        self.sums = torch.zeros(5, device=subject.device)
        self.steps = 0
        works = {view: partial(self._step, view) for view in subject.objectives} | subject.graphs()
        self.replays = captured(works) if subject.device.type == "cuda" else works
        self.start = time.monotonic()
        print(f"{self.recipe.name}: ready, {self.end - self.start:.0f} s left", flush=True)

    def _step(self, view: str) -> None:
        for parameter in self.subject.parameters:
            parameter.grad = None
        with torch.autocast(self.subject.device.type, torch.bfloat16, cache_enabled=False):
            scalars = self.subject.loss(view)
        scalars["loss"].backward()  # type: ignore[no-untyped-call]
        norm = self.optimiser.step()
        self.sums += torch.stack([*(value.detach().float() for value in scalars.values()), norm])

    def all(self, limit: int) -> None:
        """Train until the clock says so, or for `limit` steps."""
        first, last = self.subject.stage.learning_rate
        self.sums.zero_()
        while (now := time.monotonic()) < self.end and self.steps < limit:
            part = (now - self.start) / (self.end - self.start)
            rate = (last + (first - last) * 0.5 * (1 + math.cos(math.pi * part))) * min(1.0, (self.steps + 1) / 100)
            self.optimiser.rate.fill_(rate)
            self.subject.between(self._replay)
            self._replay(random.choice(VIEWS))
            self.steps += 1
            if self.steps % LOOK == 0:
                means = (self.sums / LOOK).tolist()
                self.sums.zero_()
                if not all(map(math.isfinite, means)):
                    raise SystemExit(f"{self.recipe.name}: not finite at step {self.steps}: {means}")
                if self.steps % (10 * LOOK) == 0 or self.steps <= 3 * LOOK:
                    speed = self.steps / (time.monotonic() - self.start)
                    print(f"{self.steps} {speed:.2f}/s rate {rate:.2e}", *(f"{v:.4f}" for v in means), flush=True)
        self.optimiser.settle()

    def _replay(self, name: str) -> None:
        self.replays[name]()


def captured(works: dict[str, Callable[[], object]]) -> dict[str, Callable[[], object]]:
    """Each work as a CUDA graph, after it has run as it is three times."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for work in works.values():
            for _ in range(3):
                work()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graphs = {name: torch.cuda.CUDAGraph() for name in works}
    pool = torch.cuda.graph_pool_handle()
    for name, work in works.items():
        with torch.cuda.graph(graphs[name], pool=pool):
            work()
    return {name: graph.replay for name, graph in graphs.items()}


def save(codec: ConditionalCodec, recipe: Recipe, step_count: int, folder: Path) -> None:
    """The weights as they ship."""
    tensors = freeze(codec)
    about = {"config": recipe.model.to_dict(), "latent_fingerprint": latent_fingerprint(tensors).hex()}
    path = folder / recipe.name / "weights.safetensors"
    checkpoint.save(path, tensors, {"recipe": recipe.name, "step": step_count} | about)
    print(f"{path.parent.name}: {about['latent_fingerprint']} after {step_count} steps", flush=True)


def main() -> None:
    """Both recipes, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--then", type=Path, required=True, help="a recipe that trains a student, with its data")
    parser.add_argument("--seconds", type=float, nargs=2, default=(420, 140), help="of each, its capture included")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=2**31, help="steps of each at most")
    parser.add_argument("--batch", type=int, default=0, help="another batch than the recipes'")
    parser.add_argument("--workers", type=int, default=14)
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    begun, done = time.monotonic(), 0
    first, second = (read_recipe(path) for path in (options.recipe, options.then))
    if options.batch:
        first, second = (replace(r, stage=(replace(r.stage[0], batch=options.batch),)) for r in (first, second))
    pictures = Pictures(first, device, options.workers)
    torch.manual_seed(first.seed)
    random.seed(first.seed)
    whole = trainee.CodecTrainee(first, device)
    assert whole.lpips is not None
    print(f"{len(pictures.photos)} pictures after {time.monotonic() - begun:.0f} s", flush=True)
    for recipe, kind, seconds in zip((first, second), (Codec, Student), options.seconds, strict=True):
        run = Run(kind(whole.codec, recipe, whole.lpips, pictures), seconds)
        run.all(options.limit)
        done += run.steps
        save(whole.codec, recipe, done, options.weights)


if __name__ == "__main__":
    main()
