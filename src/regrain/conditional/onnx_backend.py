"""The conditional codec's networks on ONNX Runtime, on the CPU: the default, and it needs no torch.

    analysis:   x -> what the network adds, DCT           hyper_analysis: gained y -> z
    synthesis:  z_hat -> h_s, h                           context k:      y_hat before k, h -> c_k
    denoiser:   x_t, cond, (t, quality, realism) -> output
    picture:    cond, (1, quality, realism) -> x_0        fast:           cond, (quality, realism) -> x_0
    sampling context: guide, cond, (1, quality) -> context
    sampler:    x_t / alpha_t - guide, scaled, context, (t, quality) -> output

Each graph equals its torch module (`transform`, `diffusion.unet`) up to rounding. It is written when it first runs, so
that a decoder never builds an encoder's networks; the shapes of all weights are checked at once. `picture` is the
denoiser from no noise. It, `fast` and the sampler run on bytes, at half of the time, where the weights have ranges
(`ranges.denoiser.*`, `ranges.fast.*`, `ranges.sampler.*`).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, TypeAlias

import numpy as np

from regrain import checkpoint
from regrain.checkpoint import Arrays
from regrain.conditional.coding_order import CodingStep, coding_order
from regrain.conditional.config import SAMPLING_SCHEDULE, STRIDE, ModelConfig
from regrain.conditional.dct import BLOCK, dct_basis
from regrain.conditional.edges import noise_gate
from regrain.conditional.networks import Context, Image
from regrain.diffusion import parametrize, schedule
from regrain.diffusion.unet_config import PATCH, RESIDUAL
from regrain.onnx import blocks
from regrain.onnx.graph import Graph
from regrain.onnx.network import Network

__all__ = ["OnnxNetworks", "fast", "picture", "sampler", "sampling_context"]

Weights: TypeAlias = Mapping[str, Image]

LATE: Final = ("embed.", "enter_x.", "gate.", "blocks4.", "up2.", "leave.")
"""Tensors of the sampler that run in every step; `embed.` runs in its context, too."""


class OnnxNetworks:
    """All networks of one weights file."""

    device = "onnx"

    def __init__(self, arrays: Arrays, config: ModelConfig) -> None:
        """Take the arrays of a weights file. Raises ModelError where they have other shapes than `config` says."""
        shape = config.transform
        self.config = config
        self._analysis = _analysis(checkpoint.part(arrays, "analysis."), config)
        self._hyper_analysis = _hyper_analysis(checkpoint.part(arrays, "hyper_analysis."), config)
        later = coding_order(shape.latent, shape.slices)[1:]
        prefixes = [f"latents.mean.contexts.{number}." for number in range(len(later))]
        own = {name: array for name, array in arrays.items() if not name.startswith(tuple(prefixes))}
        self._synthesis = _synthesis(checkpoint.part(own, "latents.mean."), config)
        self._contexts = [
            _context(checkpoint.part(arrays, prefix), config, step)
            for prefix, step in zip(prefixes, later, strict=True)
        ]
        denoiser, ranges = checkpoint.part(arrays, "denoiser."), checkpoint.part(arrays, "ranges.denoiser.")
        self._denoiser = _denoiser(denoiser, config)
        self._picture = picture(denoiser, config, ranges) if ranges else None
        if config.fast:
            self._fast = fast(checkpoint.part(arrays, "fast."), config, checkpoint.part(arrays, "ranges.fast."))
        if config.sampler:
            own, ranges = checkpoint.part(arrays, "sampler."), checkpoint.part(arrays, "ranges.sampler.")
            self._sampling_context = sampling_context(own, config, ranges)
            self._sampler = sampler(own, config, ranges)

    def analysis(self, x: Image) -> tuple[Image, Image]:
        """See `Networks`."""
        added, ground = self._analysis(x)
        return added, ground

    def hyper_analysis(self, gained: Image) -> Image:
        """See `Networks`."""
        (z,) = self._hyper_analysis(gained)
        return z

    def hyper_synthesis(self, z_hat: Image) -> tuple[Image, Image]:
        """See `Networks`."""
        means, features = self._synthesis(z_hat)
        return means, features

    def context(self, number: int, y_hat: Image, features: Image) -> Image:
        """See `Networks`."""
        (added,) = self._contexts[number - 1](y_hat, features)
        return added

    def denoise(self, x_t: Image, t: float, y_hat: Image, quality: float, realism: float) -> Image:
        """See `Networks`."""
        (output,) = self._denoiser(x_t, y_hat, _scalars(t, quality, realism))
        alpha, sigma = schedule.get(self.config.schedule).at(t)
        return parametrize.to_x0(self.config.parametrization, output, x_t, alpha, sigma)

    def picture(self, y_hat: Image, quality: float, realism: float) -> Image:
        """See `Networks`."""
        if self._picture is None:
            blank = np.zeros((3, STRIDE * y_hat.shape[1], STRIDE * y_hat.shape[2]), np.float32)
            return self.denoise(blank, 1.0, y_hat, quality, realism)
        (x_0,) = self._picture(y_hat, _scalars(1, quality, realism))
        return x_0

    def decode_fast(self, y_hat: Image, quality: float, realism: float) -> Image:
        """See `Networks`."""
        (x_0,) = self._fast(y_hat, _scalars(quality, realism))
        return x_0

    def sampling_context(self, guide: Image, y_hat: Image, quality: float) -> Context:
        """See `Networks`."""
        (features,) = self._sampling_context(guide, y_hat, _scalars(1, quality))
        return Context(guide, features, noise_gate(guide))

    def sample(self, x_t: Image, t: float, quality: float, context: Context) -> Image:
        """See `Networks`.

        x_0 = guide + k d + sqrt(1 - k) F(d, t, context)   d = x_t / alpha_t - guide   k = s^2 / (s^2 + SNR(t)^-1)
        """
        alpha, sigma = schedule.get(SAMPLING_SCHEDULE).at(t)
        noise, known = (sigma / alpha) ** 2, RESIDUAL**2
        skip = known / (known + noise)
        difference = x_t / np.float32(alpha) - context.guide
        scaled = difference * np.float32((2 * RESIDUAL**2 + noise) ** -0.5)
        features = np.asarray(context.features, np.float32)
        (output,) = self._sampler(scaled, features, _scalars(t, quality))
        x_0: Image = context.guide + np.float32(skip) * difference + np.float32((1 - skip) ** 0.5) * output
        return x_0


def _scalars(*values: float) -> Image:
    return np.array(values, np.float32)[:, None, None]


def _analysis(arrays: Weights, config: ModelConfig) -> Network:
    """x (3, 16 H, 16 W) -> what the network adds and the DCT, both (C, H, W)."""
    graph, latent = Graph(arrays, "x"), config.transform.latent
    quarter, eighth, sixteenth = config.transform.widths
    h = blocks.patches(graph, "x", "1", PATCH, (3 * PATCH**2, quarter))
    h = graph.silu(blocks.residual(graph, h, "2", quarter))
    h = graph.norm(blocks.conv(graph, h, "4", (quarter, eighth), stride=2))
    h = blocks.residual(graph, blocks.residual(graph, h, "6", eighth), "7", eighth)
    h = graph.norm(blocks.conv(graph, graph.silu(h), "9", (eighth, sixteenth), stride=2))
    h = graph.silu(graph.norm(blocks.residual(graph, h, "11", sixteenth)))
    added = blocks.conv(graph, h, "14", (sixteenth, latent))
    basis, std = dct_basis(latent)
    whitened = blocks.patch_major((basis / std[:, None])[:, :, None, None], BLOCK)
    return graph.network(added, graph.convolve(graph.node("SpaceToDepth", "x", blocksize=BLOCK), whitened))


def _hyper_analysis(arrays: Weights, config: ModelConfig) -> Network:
    """Gained y (C, 4 H, 4 W) -> z (Z, H, W)."""
    graph, shape = Graph(arrays, "gained"), config.transform
    width = shape.hyper_width
    h = graph.silu(blocks.conv(graph, graph.node("Asinh", "gained"), "0", (shape.latent, width)))
    h = graph.silu(blocks.conv(graph, h, "2", (width, width), stride=2))
    return graph.network(blocks.conv(graph, h, "4", (width, shape.hyper), stride=2))


def _synthesis(arrays: Weights, config: ModelConfig) -> Network:
    """z_hat (Z, H, W) -> means (C, 4 H, 4 W), and features (F, 4 H, 4 W) for the contexts."""
    graph, shape = Graph(arrays, "z_hat"), config.transform
    width = shape.hyper_width
    h = blocks.conv(graph, "z_hat", "hyper.0", (shape.hyper, width))
    h = blocks.conv(graph, graph.silu(blocks.upsample(graph, h, "hyper.1", (width, width))), "hyper.3", (width, width))
    h = graph.silu(blocks.upsample(graph, h, "hyper.4", (width, width)))
    means = blocks.conv(graph, h, "leave", (width, shape.latent))
    return graph.network(means, graph.silu(blocks.conv(graph, h, "share", (width, shape.shared))))


def _context(arrays: Weights, config: ModelConfig, step: CodingStep) -> Network:
    """y_hat (known, H, W) and features -> what a later step adds to its means, (last - first, H, W)."""
    graph, shape = Graph(arrays, "y_hat", "features"), config.transform
    h = graph.node("Concat", "y_hat", "features", axis=1)
    h = graph.silu(blocks.conv(graph, h, "0", (step.context_channels + shape.shared, shape.context)))
    h = graph.silu(blocks.conv(graph, h, "2", (shape.context, shape.context), kernel=1))
    return graph.network(blocks.conv(graph, h, "4", (shape.context, step.last - step.first), kernel=1))


class _UNet:
    """The denoiser's layers on one graph, whose inputs `cond` and `scalars` it reads."""

    def __init__(self, graph: Graph, config: ModelConfig, scalars: int) -> None:
        self.graph, self.shape, self.latent = graph, config.denoiser, config.transform.latent
        self.vector = blocks.embedding(graph, "scalars", "embed", scalars, self.shape.embedding), self.shape.embedding

    def sketch(self) -> str:
        """What the latents say without a network, (3, 16 H, 16 W)."""
        basis, std = dct_basis(self.latent)
        spread = (basis * std[:, None]).T[:, :, None, None]
        return self.graph.shuffle(self.graph.convolve("cond", np.ascontiguousarray(spread)), BLOCK)

    def enter(self, x: str, name: str, channels: int) -> str:
        """Patches of a picture with so many channels, through a convolution, (quarter, 4 H, 4 W)."""
        return blocks.patches(self.graph, x, name, PATCH, (channels * PATCH**2, self.shape.widths[0]))

    def stack(self, name: str, x: str, level: int) -> str:
        """The blocks of a level, 0 at 1/4 to 2 at 1/16, after a norm."""
        x = self.graph.norm(x, self.shape.widths[level])
        for index in range(self.shape.depths[level]):
            x = blocks.film(self.graph, x, f"{name}.{index}", self.shape.widths[level], self.vector)
        return x

    def deep(self, at4: str) -> str:
        """From 1/4 down to 1/16, where the latents enter, and back to 1/4."""
        graph, (quarter, eighth, sixteenth) = self.graph, self.shape.widths
        at8 = blocks.conv(graph, graph.silu(at4), "down8", (quarter, eighth), stride=2)
        latents = blocks.conv(graph, graph.node("Asinh", "cond"), "cond", (self.latent, sixteenth))
        at16 = graph.sum(blocks.conv(graph, graph.silu(at8), "down16", (eighth, sixteenth), stride=2), latents)
        h = blocks.upsample(graph, graph.norm(self.stack("blocks16", at16, 2), sixteenth), "up8", (sixteenth, eighth))
        h = blocks.upsample(
            graph, graph.norm(self.stack("blocks8", graph.sum(h, at8), 1), eighth), "up4", (eighth, quarter)
        )
        return graph.sum(h, at4)

    def leave(self, h: str) -> str:
        """From 1/4 to pixels, by way of 1/2."""
        graph, quarter, half = self.graph, self.shape.widths[0], self.shape.half
        h = graph.shuffle(blocks.conv(graph, graph.silu(graph.norm(h, quarter)), "up2", (quarter, 4 * half)))
        return graph.shuffle(blocks.conv(graph, graph.silu(h), "leave", (half, 12)))


def _denoiser(arrays: Weights, config: ModelConfig) -> Network:
    """x_t (3, 16 H, 16 W), cond (C, H, W), scalars (3, 1, 1) -> the output (3, 16 H, 16 W)."""
    net = _UNet(graph := Graph(arrays, "x_t", "cond", "scalars"), config, scalars=3)
    sketch = net.sketch()
    at4 = net.enter(graph.node("Concat", "x_t", sketch, axis=1), "enter", 6)
    out = net.leave(net.stack("blocks4", net.deep(at4), 0))
    return graph.network(graph.sum(out, sketch) if config.prediction == "x0" else out)


def picture(
    arrays: Weights, config: ModelConfig, ranges: Weights | None, empty: Callable[..., Graph] = Graph
) -> Network | None:
    """The denoiser from no noise: cond (C, H, W), scalars (3, 1, 1) -> x_0 (3, 16 H, 16 W); None where it is no x_0."""
    if config.prediction != "x0":
        return None
    known = 3 * PATCH**2
    arrays = {name: array[:, known:] if name == "enter.weight" else array for name, array in arrays.items()}
    return _from_latents(empty(arrays, "cond", "scalars", ranges=ranges), config, scalars=3)


def fast(arrays: Weights, config: ModelConfig, ranges: Weights | None, empty: Callable[..., Graph] = Graph) -> Network:
    """The fast decoder: cond (C, H, W), scalars (2, 1, 1) -> x_0 (3, 16 H, 16 W)."""
    assert config.fast is not None
    graph = empty(checkpoint.from_8_bits(arrays), "cond", "scalars", ranges=ranges)
    return _from_latents(graph, replace(config, denoiser=config.fast), scalars=2)


def _from_latents(graph: Graph, config: ModelConfig, scalars: int) -> Network:
    net = _UNet(graph, config, scalars)
    sketch = net.sketch()
    out = net.leave(net.stack("blocks4", net.deep(net.enter(sketch, "enter", 3)), 0))
    return graph.network(graph.sum(out, sketch))


def sampling_context(
    arrays: Weights, config: ModelConfig, ranges: Weights | None, empty: Callable[..., Graph] = Graph
) -> Network:
    """guide (3, 16 H, 16 W), cond (C, H, W), scalars (2, 1, 1) -> context (quarter, 4 H, 4 W)."""
    early = {name: array for name, array in arrays.items() if not name.startswith(LATE[1:])}
    net = _UNet(graph := empty(early, "guide", "cond", "scalars", ranges=ranges), config, scalars=2)
    return graph.network(net.deep(net.enter("guide", "enter", 3)))


def sampler(
    arrays: Weights, config: ModelConfig, ranges: Weights | None, empty: Callable[..., Graph] = Graph
) -> Network:
    """The scaled difference (3, 16 H, 16 W), context (quarter, 4 H, 4 W), scalars (2, 1, 1) -> (3, 16 H, 16 W)."""
    late = {name: array for name, array in arrays.items() if name.startswith(LATE)}
    net = _UNet(graph := empty(late, "difference", "context", "scalars", ranges=ranges), config, scalars=2)
    gate = graph.sum(
        blocks.linear(graph, net.vector[0], "gate", (config.denoiser.embedding, config.denoiser.widths[0])),
        graph.constant(np.ones((1, 1, 1, 1), np.float32)),
    )
    at4 = graph.node("Mul", net.enter("difference", "enter_x", 3), gate)
    return graph.network(net.leave(net.stack("blocks4", graph.sum("context", at4), 0)))
