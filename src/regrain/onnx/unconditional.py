"""The unconditional denoiser on ONNX Runtime: what `diffusion.prior.Prior` computes on torch.

    x_0 = to_x0(network(x_t, 1/2 + log_snr / 40), x_t)        alpha_t^2 = sigmoid(log_snr) = 1 - sigma_t^2

Invariant: estimates equal torch's with the same weights, up to rounding.
"""

from typing import cast

import numpy as np
from numpy.typing import NDArray

from regrain.configuration import check_depth
from regrain.diffusion.parametrize import Prediction, to_x0
from regrain.diffusion.schedule import LOG_SNR_MAX, REACH, levels_at
from regrain.diffusion.unconditional_config import PriorConfig
from regrain.onnx import blocks
from regrain.onnx.graph import Graph, Weights
from regrain.onnx.network import Network

__all__ = ["Denoiser", "graph"]

Image = NDArray[np.float32]


class Denoiser:
    """The network of a configuration and its weights, ready to run."""

    def __init__(self, config: PriorConfig, weights: Weights) -> None:
        """Make the graph of float32 arrays named as in Prior's state dict. Raises ModelError where they do not fit."""
        check_depth(config, len(weights))
        self.config, self._network = config, graph(config, weights)

    @np.errstate(all="ignore")
    def denoise(self, x_t: Image, log_snr: float, leap: float = 0.0) -> Image:
        """The estimate of x_0 (C, H, W), not clamped, from x_t (C, H, W), whose sides are multiples of 4 patches.

        `leap` is how far a network that takes leaps goes in log-SNR. `log_snr` is log(alpha_t^2 / sigma_t^2), within
        +-20 (what lies beyond counts as the nearest of them). Broken weights give infinity or NaN without a warning of
        NumPy's.
        """
        scalars = [0.5 + log_snr / (2 * LOG_SNR_MAX), min(leap / REACH, 1.0)][: 1 + self.config.leaps]
        (output,) = self._network(x_t, np.array(scalars, np.float32)[:, None, None])
        image = output[: self.config.channels]
        return to_x0(cast(Prediction, self.config.prediction), image, x_t, *levels_at(log_snr))


def graph(config: PriorConfig, weights: Weights) -> Network:
    """x_t (C, H, W), the level (1, 1, 1) in [0, 1] -> the prediction (C, H, W); (2 C, H, W) where nu is learned, too.

    A network that takes leaps has the leap, in [0, 1], behind the level: (2, 1, 1).

    Raises ModelError for weights of another configuration.
    """
    (half, quarter, eighth), values = config.widths, config.channels * config.patch**2
    net = Graph(weights, "x_t", "level")
    vector = blocks.embedding(net, "level", "embed", 1 + config.leaps, config.embedding), config.embedding

    def run(stack: str, x: str, level: int) -> str:
        for number in range(config.depths[level]):
            x = blocks.film(net, x, f"{stack}.{number}", config.widths[level], vector)
        return x

    at2 = run("down2", blocks.patches(net, "x_t", "enter", config.patch, (values, half)), 0)
    at4 = run("down4", net.norm(blocks.conv(net, net.silu(at2), "to4", (half, quarter), stride=2)), 1)
    h = run("blocks8", net.norm(blocks.conv(net, net.silu(at4), "to8", (quarter, eighth), stride=2)), 2)
    h = run("up4", net.norm(net.sum(blocks.upsample(net, net.norm(h), "from8", (eighth, quarter)), at4)), 1)
    h = run("up2", net.norm(net.sum(blocks.upsample(net, net.norm(h), "from4", (quarter, half)), at2)), 0)
    out = blocks.conv(net, net.silu(net.norm(h)), "leave", (half, values * (1 + config.learned_variance)))
    return net.network(out if config.patch == 1 else net.shuffle(out, config.patch))
