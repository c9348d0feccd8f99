"""Train the conditional codec on a GPU that is lent for minutes: everything on the GPU, each step one CUDA graph.

    python scripts/graphed.py recipes/gpu.toml --then recipes/gpu-distill.toml --seconds 365 105 --weights runs
      [--called default --after 34100]

The loop of `regrain train` launches some 8,000 small kernels a step, and a fast GPU mostly waits for them (4.6 steps a
second there, whether of 64 or of 128 crops; here 14.8 of 80). Here (see graphed_steps) pictures lie decoded on the GPU,
crops are cut by products with matrices, nothing has a shape that chance decides, and a step is captured once for each
view that LPIPS takes; the optimiser is training.muon's arithmetic on tensors that stay in place, the average has no
ramp. Stages last as long as the seconds say, whatever steps the recipe has, and the learning rate follows the clock.
The second recipe trains the denoiser of the first alone behind latents that stay, whatever teacher it names, half of
the pictures standing where 1 to N - 1 steps of its own have led them (training.lessons, "direct").
"""

import argparse
import math
import random
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from graphed_steps import VIEWS, Codec, Pictures, Student
from torch import Tensor, nn

from regrain import checkpoint
from regrain.conditional.frozen import freeze, latent_fingerprint
from regrain.conditional.model import ConditionalCodec
from regrain_lab.training.config import Recipe, read_recipe
from regrain_lab.training.muon import orthogonalise
from regrain_lab.training.trainee import CodecTrainee

LOOK, WARMUP = 100, 100


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
            rate = (last + (first - last) * 0.5 * (1 + math.cos(math.pi * part))) * min(1.0, (self.steps + 1) / WARMUP)
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


def save(codec: ConditionalCodec, recipe: Recipe, step_count: int, folder: Path, called: str) -> None:
    """The weights as they ship, in the folder of the recipe; the file calls it so, or as it is `called`."""
    tensors = freeze(codec)
    about = {"config": recipe.model.to_dict(), "latent_fingerprint": latent_fingerprint(tensors).hex()}
    path = folder / recipe.name / "weights.safetensors"
    checkpoint.save(path, tensors, {"recipe": called or recipe.name, "step": step_count} | about)
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
    parser.add_argument("--called", default="", help="the recipe's name in the files")
    parser.add_argument("--after", type=int, default=0, help="steps taken before, to be counted on from")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    begun, done = time.monotonic(), options.after
    first, second = (read_recipe(path) for path in (options.recipe, options.then))
    if options.batch:
        first, second = (replace(r, stage=(replace(r.stage[0], batch=options.batch),)) for r in (first, second))
    pictures = Pictures(first, device, options.workers)
    torch.manual_seed(first.seed)
    random.seed(first.seed)
    whole = CodecTrainee(first, device)
    whole.begin()
    assert whole.lpips is not None
    print(f"{len(pictures.photos)} pictures after {time.monotonic() - begun:.0f} s", flush=True)
    for recipe, kind, seconds in zip((first, second), (Codec, Student), options.seconds, strict=True):
        run = Run(kind(whole.codec, recipe, whole.lpips, pictures), seconds)
        run.all(options.limit)
        done += run.steps
        save(whole.codec, recipe, done, options.weights, options.called)


if __name__ == "__main__":
    main()
