"""A loss and its gradients as one CUDA graph: a fast GPU mostly waits for the thousands of kernels of an eager step.

    draw a batch (eager: its shapes may depend on chance) -> copy it to where the graph reads -> replay -> gradients

The loop, its state, its losses and its batches are those of every run; only the forward and backward pass differ. A
graph holds shapes and numbers as they were when it was captured, so that LPIPS and MS-SSIM here take all pictures, not
only those where they count, and there is one graph for each view that LPIPS takes.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import torch
from pytorch_msssim.ssim import _fspecial_gauss_1d, _ssim
from torch import Tensor, nn

from regrain_lab.training.losses.codec import SHIFTS, Distortion, SplitLoss, StageWeights

__all__ = ["FixedShapeDistortion", "GraphedLoss", "capture"]

VIEWS: Final = ("whole", "whole", "half", "double")
"""The views of `losses.codec`, each as often as it is taken there."""
MS_SSIM_WEIGHTS: Final = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""The weights of its scales (Wang et al. 2003)."""
WARMUP: Final = 3

Capture = Callable[[Callable[[], None]], Callable[[], None]]


def capture(work: Callable[[], None]) -> Callable[[], None]:
    """Run `work` a few times as it is, then record it as a CUDA graph; returns its replay."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARMUP):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


class GraphedLoss:
    """The scalars of a batch, as the loss itself gives them; the gradients are left in the network."""

    def __init__(self, loss: SplitLoss, network: nn.Module, *, bfloat16: bool, capture: Capture = capture) -> None:
        """`network` is in `loss`; `bfloat16` runs it under autocast. `capture` is for tests."""
        self.loss, self.bfloat16, self.capture = loss, bfloat16, capture
        self.parameters = list(network.parameters())
        device = self.parameters[0].device
        self.loss.distortion = self.distortion = FixedShapeDistortion(self.loss.distortion, device)
        self.graphs: dict[tuple[str, torch.Size], _Graph] = {}
        self.weights: StageWeights | None = None

    def __call__(self, x: Tensor, weights: StageWeights) -> dict[str, Tensor]:
        """x (B, 3, H, W) in [-1, 1]. Only `gap` and `texture` of the weights may change without a new graph."""
        constants = replace(weights, gap=1.0, texture=1.0)
        if constants != self.weights:
            self.weights = constants
            self.graphs.clear()
        with self._autocast(x.device):
            inputs = self.loss.prepare(x, weights)
        self.distortion.view = VIEWS[int(torch.randint(len(VIEWS), ()))]
        key = self.distortion.view, x.shape
        if key not in self.graphs:
            with torch.random.fork_rng():  # a run that goes on here draws what an unbroken one draws
                self.graphs[key] = _Graph(self, inputs, constants)
        return self.graphs[key].run(inputs)

    def _autocast(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, torch.bfloat16, enabled=self.bfloat16, cache_enabled=False)


class _Graph:
    """One view's forward and backward pass, and the memory that it reads and writes."""

    def __init__(self, owner: GraphedLoss, inputs: tuple[Tensor, ...], weights: StageWeights) -> None:
        self.owner, self.weights = owner, weights
        self.inputs = tuple(value.clone() for value in inputs)
        self.scalars: dict[str, Tensor] = {}
        self.gradients: list[Tensor | None] = []
        self.replay = owner.capture(self._work)

    def run(self, inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
        for memory, value in zip(self.inputs, inputs, strict=True):
            memory.copy_(value)
        self.replay()
        for parameter, gradient in zip(self.owner.parameters, self.gradients, strict=True):
            parameter.grad = gradient
        return self.scalars

    def _work(self) -> None:
        for parameter in self.owner.parameters:
            parameter.grad = None
        with self.owner._autocast(self.inputs[0].device):
            scalars = self.owner.loss.evaluate(self.inputs, self.weights)
        scalars["loss"].backward()  # type: ignore[no-untyped-call]
        self.scalars = {name: value.detach() for name, value in scalars.items()}
        self.gradients = [parameter.grad for parameter in self.owner.parameters]


class FixedShapeDistortion(Distortion):
    """The distortion of all pictures, whatever their realism, in one view; no shape and no branch depends on chance."""

    def __init__(self, distortion: Distortion, device: torch.device) -> None:
        """Take another's weights and LPIPS; constants go to the device."""
        super().__init__(distortion.config, distortion.lpips)
        self.view = "whole"
        self.window = _fspecial_gauss_1d(11, 1.5)[None].to(device)
        self.scale_weights = torch.tensor(MS_SSIM_WEIGHTS, device=device)

    def perceptual(self, x_hat: Tensor, x: Tensor, rho: Tensor) -> Tensor:
        """LPIPS in this view where rho > 0, else 0, (B,)."""
        if self.lpips is None:
            return torch.zeros_like(rho)
        with torch.autocast(x.device.type, enabled=False):
            pair = torch.cat([x_hat.float(), x.float()])
            for dim in (2, 3):
                side = pair.shape[dim] // 2 if self.view == "double" else pair.shape[dim] - SHIFTS
                first = torch.randint(pair.shape[dim] - side + 1, (), device=x.device)
                pair = pair.index_select(dim, first + torch.arange(side, device=x.device))
            if self.view == "half":
                pair = nn.functional.avg_pool2d(pair, 2)
            elif self.view == "double":
                pair = nn.functional.interpolate(pair, scale_factor=2, mode="bilinear")
            decoded, original = pair.contiguous(memory_format=torch.channels_last).chunk(2)
            return torch.where(rho > 0, self.lpips(decoded, original.detach()), 0.0)

    def structure(self, x_hat: Tensor, x: Tensor, rho: Tensor, scale: float) -> Tensor:
        """scale (1 - MS-SSIM) where rho > 0, else 0, (B,)."""
        if not scale:
            return torch.zeros_like(rho)
        with torch.autocast(x.device.type, enabled=False):
            a, b = ((picture.float() + 1).contiguous().view(-1, 1, *picture.shape[2:]) for picture in (x_hat, x))
            scales = []
            for number in range(len(MS_SSIM_WEIGHTS)):
                similarity, contrast = _ssim(a, b, 2.0, self.window, size_average=False)
                scales.append(
                    torch.relu(similarity if number == len(MS_SSIM_WEIGHTS) - 1 else contrast).clamp_min(1e-4)
                )
                padding = [length % 2 for length in a.shape[2:]]
                a, b = (nn.functional.avg_pool2d(picture, 2, padding=padding) for picture in (a, b))
            product = (torch.stack(scales).log() * self.scale_weights[:, None, None]).sum(0).exp()
            return torch.where(rho > 0, scale * (1 - product.view(len(x), -1).mean(1)), 0.0)
