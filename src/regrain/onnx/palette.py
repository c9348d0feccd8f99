"""The palette codec's autoencoder as graphs: what `palette.autoencoder.Autoencoder` computes on torch.

    encoder: x (3, H, W) -> mean and log-variance (2 channels, H/8, W/8)      decoder: latents -> x_hat (3, 8 H, 8 W)

Weights have the names of torch's Sequential, a number for each layer: `number` counts those without weights, too.
Invariant: a graph gives what torch's network with the same weights gives, up to rounding.
"""

from itertools import count

from regrain.onnx import blocks
from regrain.onnx.graph import Graph, Weights
from regrain.onnx.network import Network

__all__ = ["decoder", "encoder"]

PATCH = 4
Pair = tuple[int, int]
"""Widths or depths at 1/4 and 1/8."""


def encoder(weights: Weights, channels: int, widths: Pair, depths: Pair) -> Network:
    """x (3, H, W) in [-1, 1], sides multiples of 8 -> (2 channels, H/8, W/8), the posterior's mean in the first half.

    Weights are named as in the state dict of `encoder`. Raises ModelError where they are of another shape.
    """
    graph, (quarter, eighth), number = Graph(weights, "x"), widths, count(1)
    h = blocks.patches(graph, "x", f"{next(number)}", PATCH, (3 * PATCH**2, quarter))
    for _ in range(depths[0]):
        h = blocks.residual(graph, h, f"{next(number)}", quarter)
    next(number)
    h = graph.norm(blocks.conv(graph, graph.silu(h), f"{next(number)}", (quarter, eighth), stride=2))
    next(number)
    for _ in range(depths[1]):
        h = blocks.residual(graph, h, f"{next(number)}", eighth)
    h = graph.silu(graph.norm(h))
    return graph.network(blocks.conv(graph, h, f"{next(number) + 2}", (eighth, 2 * channels)))


def decoder(weights: Weights, channels: int, widths: Pair, depths: Pair, half: int) -> Network:
    """Latents (channels, H, W), not normalised -> the picture (3, 8 H, 8 W), not clamped.

    Weights are named as in the state dict of `decoder`. Raises ModelError where they are of another shape.
    """
    graph, (quarter, eighth), number = Graph(weights, "latents"), widths, count()
    h = blocks.conv(graph, "latents", f"{next(number)}", (channels, eighth))
    for _ in range(depths[1]):
        h = blocks.residual(graph, h, f"{next(number)}", eighth)
    next(number)
    h = graph.norm(blocks.upsample(graph, graph.norm(h), f"{next(number)}", (eighth, quarter)))
    next(number)
    for _ in range(depths[0]):
        h = blocks.residual(graph, h, f"{next(number)}", quarter)
    last = next(number) + 2
    h = graph.shuffle(blocks.conv(graph, graph.silu(graph.norm(h)), f"{last}", (quarter, 4 * half)))
    return graph.network(graph.shuffle(blocks.conv(graph, graph.silu(h), f"{last + 3}", (half, 12))))
