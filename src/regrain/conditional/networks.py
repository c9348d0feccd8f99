"""What the conditional codec asks of its networks: arrays in, arrays out, whichever library runs them.

Arrays are float32 without an axis for the batch. `onnx_backend` runs the networks on ONNX Runtime, `torch_backend` on
torch.
"""

from typing import Final, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["DISTORTIONS", "Context", "Differentiable", "Image", "Networks", "Terms", "View"]

Image = NDArray[np.float32]


class Context(NamedTuple):
    """What the sampler stands on in all steps: the picture in one, and features of it of the backend's own.

    `gate`, (1, H, W), is how much noise enters where.
    """

    guide: Image
    features: object
    gate: Image


class Networks(Protocol):
    """The networks of one set of weights. H and W are those of the latents."""

    @property
    def device(self) -> str:
        """Where they run: "onnx", or a device of torch's."""

    def analysis(self, x: Image) -> tuple[Image, Image]:
        """g_a: x (3, 16 H, 16 W) in [-1, 1] -> what the network adds to the DCT, and the DCT, both (C, H, W)."""

    def hyper_analysis(self, gained: Image) -> Image:
        """h_a: gained y (C, 4 H, 4 W) -> hyper-latents z (Z, H, W)."""

    def hyper_synthesis(self, z_hat: Image) -> tuple[Image, Image]:
        """h_s for means: z_hat (Z, H, W) -> means before the gain (C, 4 H, 4 W), and features (F, 4 H, 4 W)."""

    def context(self, number: int, y_hat: Image, features: Image) -> Image:
        """What coding step `number` >= 1 adds to its means, of the channels of y_hat that it knows."""

    def denoise(self, x_t: Image, t: float, y_hat: Image, quality: float, realism: float) -> Image:
        """The faithful denoiser's estimate of x_0 (3, 16 H, 16 W); t, quality and realism in [0, 1]."""

    def picture(self, y_hat: Image, quality: float, realism: float) -> Image:
        """The faithful denoiser's x_0 (3, 16 H, 16 W) in one step from no noise, perhaps on bytes, in less time."""

    def decode_fast(self, y_hat: Image, quality: float, realism: float) -> Image:
        """The fast decoder's estimate of x_0 (3, 16 H, 16 W), of weights that have one; knobs as in `denoise`."""

    def sampling_context(self, guide: Image, y_hat: Image, quality: float) -> Context:
        """What the sampler computes once, of the picture in one step (3, 16 H, 16 W) and its latents."""

    def sample(self, x_t: Image, t: float, quality: float, context: Context) -> Image:
        """The sampler's estimate of x_0 (3, 16 H, 16 W)."""


class View(NamedTuple):
    """Latents y_hat (C, H, W) and a target (3, h, w) in [-1, 1] for the core of what they decode to.

    The core is slices of rows and columns of pixels.
    """

    y_hat: Image
    target: Image
    core: tuple[slice, slice]


Terms: TypeAlias = NDArray[np.float64]
"""A number for each distortion, (DISTORTIONS,)."""
DISTORTIONS: Final = 5
"""Squared error, dissimilarity, and `texture`'s three."""


class Differentiable(Protocol):
    """How far the decoded picture is from another, and where that falls."""

    def distortion(self, view: View, quality: float, realism: float, weights: Terms) -> Terms:
        """The distortions of the core of the picture that one step decodes to the target.

        Rounding may take one just below 0. The others than squared error are for each value of the target, and 0 where
        they have no weight. Dissimilarity is 1 - MS-SSIM, 0 where the core is too small for it. Textures are compared
        at draw 0.
        """

    def descend(self, view: View, quality: float, realism: float, weights: Terms, draw: int) -> Image:
        """The gradient (C, H, W), by y_hat, of the same, weighted.

        Textures are compared at a draw, 0 or more; each looks at them in another way.
        """
