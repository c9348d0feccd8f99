"""The sampling denoiser without torch: what `diffusion.unet.SamplingDenoiser` says, at any realism above 0.

    x_0 = sketch + k d + sqrt(1 - k) F(d, t, context)     d = x_t / alpha_t - sketch     k = s^2 / (s^2 + SNR(t)^-1)

Between realism 0 and 1 every weight lies on the line from the faithful denoiser's to the sampler's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from regrain.onnx import ddim, networks, weights
from regrain.onnx.network import Network

__all__ = ["Context", "Sampler"]

Image = NDArray[np.float32]
RESIDUAL: Final = 0.1
LATE: Final = ("embed.", "enter_x.", "gate.", "blocks4.", "up2.", "leave.")
"""Of tensors that run in every step; `embed.` runs in the context, too."""


class Context(NamedTuple):
    """What is computed once of latents: features (width, H/4, W/4), and the sketch (3, H, W)."""

    features: Image
    sketch: Image


@dataclass
class Sampler:
    """The sampler's arrays, the faithful denoiser's, and the graphs of the realism that was asked for last."""

    arrays: Mapping[str, NDArray[Any]]
    faithful: Mapping[str, NDArray[Any]]
    graphs: dict[float, tuple[Network, Network]] = field(default_factory=dict)

    def context(self, cond: Image, quality: float, realism: float) -> Context:
        """Of latents (C, H/16, W/16); quality and realism in [0, 1]."""
        return Context(*self._networks(realism)[0](cond, _knobs(1, quality, realism)))

    def estimate(self, x_t: Image, t: float, context: Context, quality: float, realism: float) -> Image:
        """x_0 (3, H, W) from x_t (3, H, W)."""
        alpha, sigma = ddim.truncated(t)
        noise = (sigma / alpha) ** 2
        skip = (RESIDUAL * realism) ** 2 / ((RESIDUAL * realism) ** 2 + noise)
        apart = x_t / np.float32(alpha) - context.sketch
        scaled = apart * np.float32((2 * RESIDUAL**2 + noise) ** -0.5)
        (output,) = self._networks(realism)[1](scaled, context.features, _knobs(t, quality, realism))
        x_0: Image = context.sketch + np.float32(skip) * apart + np.float32((1 - skip) ** 0.5) * output
        return x_0

    def _networks(self, realism: float) -> tuple[Network, Network]:
        """The two graphs, made at the first call for this realism."""
        if realism not in self.graphs:
            mine, theirs = weights.part(self.arrays, ""), weights.part(self.faithful, "")
            theirs["enter.weight"] = theirs["enter.weight"][:, -mine["enter.weight"].shape[1] :]
            between = {
                name: (1 - realism) * theirs.get(name, np.float32(0)) + realism * array for name, array in mine.items()
            }
            between = {name: array.astype(np.float32) for name, array in between.items()}
            late = {name: array for name, array in between.items() if name.startswith(LATE)}
            early = {name: array for name, array in between.items() if not name.startswith(LATE[1:])}
            self.graphs = {realism: (Network(networks.sampler_context(early)), Network(networks.sampler(late)))}
        return self.graphs[realism]


def _knobs(*values: float) -> Image:
    return np.array(values, np.float32)[:, None, None]
