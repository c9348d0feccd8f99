"""Which graphs the decoder needs: the mean branch, a context for each later pass, and the denoiser.

    mean:      z_hat -> h_s, h                          contexts.k:  y_hat before k, h -> c_k
    denoiser:  x_t, cond, (t, quality, realism) -> the network's output          product: a, b -> a b, in float64
    sampler_context: cond, (1, quality, realism) -> context, sketch
    sampler:   x_t / alpha_t - sketch, scaled, context, (t, quality, realism) -> the network's output

Sizes and depths are those of the weights. Each equals its torch module: conditional.transform's, diffusion.unet's.
"""

import numpy as np
from numpy.typing import NDArray

from regrain.conditional.dct import BLOCK, kept
from regrain.errors import ModelError
from regrain.onnx import wire
from regrain.onnx.graph import Graph, Weights

__all__ = ["context", "denoiser", "mean", "product", "sampler", "sampler_context"]

PATCH = 4
FREQUENCIES = 8
SCALARS = 3
"""t, quality and realism."""


def mean(weights: Weights) -> bytes:
    """z_hat (hyper, H, W) -> means (latent, 4H, 4W), and features (shared, 4H, 4W) for the contexts."""
    graph = Graph(weights, "z_hat")
    h = "z_hat"
    for first, up in (("hyper.0", "hyper.1.conv"), ("hyper.3", "hyper.4.conv")):
        h = graph.silu(graph.shuffle(graph.conv(graph.conv(h, first), up)))
    return graph.bytes(graph.conv(h, "leave"), graph.silu(graph.conv(h, "share")))


def context(weights: Weights) -> bytes:
    """What a later pass adds to its means: y_hat (known, H, W), features -> (last - first, H, W)."""
    graph = Graph(weights, "y_hat", "features")
    h = graph.node("Concat", "y_hat", "features", axis=1)
    for layer in ("0", "2"):
        h = graph.silu(graph.conv(h, layer))
    return graph.bytes(graph.conv(h, "4"))


def denoiser(weights: Weights, *, corrects: bool) -> bytes:
    """x_t (3, H, W), cond (C, H/16, W/16), knobs (3, 1, 1) -> (3, H, W); `corrects` adds the sketch."""
    graph = Graph(weights, "x_t", "cond", "knobs")
    sketch, embedding = _sketch(graph), _embedding(graph)
    at4 = _patched(graph, graph.node("Concat", "x_t", sketch, axis=1), "enter")
    h = _blocks(graph, "blocks4", _deep(graph, at4, embedding), embedding)
    out = _leave(graph, h)
    return graph.bytes(graph.sum(out, sketch) if corrects else out)


def sampler_context(weights: Weights) -> bytes:
    """cond (C, H/16, W/16), knobs (3, 1, 1) -> context (width, H/4, W/4), sketch (3, H, W)."""
    graph = Graph(weights, "cond", "knobs")
    sketch, embedding = _sketch(graph), _embedding(graph)
    return graph.bytes(_deep(graph, _patched(graph, sketch, "enter"), embedding), sketch)


def sampler(weights: Weights) -> bytes:
    """What x_t adds to the sketch, scaled (3, H, W), context (width, H/4, W/4), knobs (3, 1, 1) -> (3, H, W)."""
    graph = Graph(weights, "apart", "context", "knobs")
    embedding = _embedding(graph)
    gate = graph.convolve(embedding, graph.weight("gate.weight")[:, :, None, None], 1 + graph.weight("gate.bias"))
    at4 = graph.node("Mul", _patched(graph, "apart", "enter_x"), gate)
    return graph.bytes(_leave(graph, _blocks(graph, "blocks4", graph.sum("context", at4), embedding)))


def product() -> bytes:
    """Matrices (M, K) and (K, N), float64, to (M, N)."""
    return wire.model([wire.Node("MatMul", ("a", "b"), "c", {})], {}, ("a", "b"), ("c",), element=wire.DOUBLE, axes=3)


def _sketch(graph: Graph) -> str:
    """What the latents say without a network, (3, H, W)."""
    channels = graph.weights["cond.weight"].shape[1:2]
    if not channels or not 1 <= channels[0] <= 768:
        raise ModelError(f"latents of {channels} channels; 1 to 768 are allowed")
    basis, spread = kept(channels[0])
    return graph.shuffle(graph.convolve("cond", (basis * spread[:, None]).T[:, :, None, None]), BLOCK)


def _patched(graph: Graph, x: str, name: str) -> str:
    """Patches of 4 x 4 pixels through a convolution."""
    patches = graph.node("SpaceToDepth", x, blocksize=PATCH)
    return graph.convolve(patches, _patch_major(graph.weight(f"{name}.weight")), graph.weight(f"{name}.bias"))


def _deep(graph: Graph, at4: str, embedding: str) -> str:
    """From 1/4 down to 1/16, where the latents enter, and back."""
    at8 = graph.conv(graph.silu(at4), "down8", stride=2)
    latents = graph.conv(graph.node("Asinh", "cond"), "cond")
    h = graph.sum(graph.conv(graph.silu(at8), "down16", stride=2), latents)
    h = _blocks(graph, "blocks16", h, embedding)
    h = _blocks(graph, "blocks8", graph.sum(graph.shuffle(graph.conv(graph.norm(h), "up8.conv")), at8), embedding)
    return graph.sum(graph.shuffle(graph.conv(graph.norm(h), "up4.conv")), at4)


def _leave(graph: Graph, h: str) -> str:
    """From 1/4 to pixels, by way of 1/2."""
    h = graph.shuffle(graph.conv(graph.silu(graph.norm(h)), "up2"))
    return graph.shuffle(graph.conv(graph.silu(h), "leave"))


def _embedding(graph: Graph) -> str:
    """The knobs -> the vector that modulates every block, (embedding, 1, 1)."""
    if graph.weights["embed.mlp.0.weight"].shape[1:] != (SCALARS * FREQUENCIES,):
        raise ModelError(f"an embedding of other than {SCALARS} knobs")
    angles = np.kron(np.eye(SCALARS), np.pi * np.arange(1, FREQUENCIES + 1)[:, None]).astype(np.float32)
    features = graph.node("Cos", graph.convolve("knobs", angles[:, :, None, None]))
    return graph.silu(graph.conv(graph.silu(graph.conv(features, "embed.mlp.0")), "embed.mlp.2"))


def _blocks(graph: Graph, stack: str, x: str, embedding: str) -> str:
    """The stack's FilmBlocks, after a norm: x + conv(silu(conv(silu(x)) (1 + scale) + shift))."""
    x = graph.norm(x)
    for index in range(sum(name.startswith(stack) and name.endswith("film.weight") for name in graph.weights)):
        name = f"{stack}.{index}"
        matrices = np.split(graph.weight(f"{name}.film.weight")[:, :, None, None], 2)
        scale, shift = np.split(graph.weight(f"{name}.film.bias"), 2)
        factor = graph.convolve(embedding, matrices[0], 1 + scale)
        hidden = graph.node("Mul", graph.conv(graph.silu(x), f"{name}.conv1"), factor)
        hidden = graph.sum(hidden, graph.convolve(embedding, matrices[1], shift))
        x = graph.sum(x, graph.conv(graph.silu(hidden), f"{name}.conv2"))
    return x


def _patch_major(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weights for PixelUnshuffle's order of channels, (channel, place), in SpaceToDepth's, (place, channel)."""
    out, channels, *kernel = weight.shape
    split = weight.reshape(out, channels // PATCH**2, PATCH**2, *kernel)
    return np.ascontiguousarray(split.swapaxes(1, 2)).reshape(weight.shape)
