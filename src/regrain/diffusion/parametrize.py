"""What the network's output means, and how much an error in it counts.

    x_t = alpha x_0 + sigma eps,   v = alpha eps - sigma x_0   (Salimans and Ho 2022, appendix D)

Each of x_0, eps and v, together with x_t, fixes the other two. Invariants: to_x0(target(x_0, eps), x_t) = x_0 for
every prediction; loss_weight times the squared error of the output is one and the same number in all three.

Images are NumPy arrays or torch's tensors, and this module imports neither library. `alpha` and `sigma` are floats or,
beside tensors, tensors that broadcast against the images, such as (B, 1, 1, 1) against (B, C, H, W),
both in (0, 1) with alpha^2 + sigma^2 = 1. Every function raises UsageError for a prediction outside `Prediction`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, Union

from regrain.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["Level", "Prediction", "loss_weight", "target", "to_x0"]

Prediction = Literal["x0", "eps", "v"]
Image = TypeVar("Image", "NDArray[np.float32]", "Tensor")
Output = Union["NDArray[np.float32]", "Tensor"]
"""An image of the same library as the one beside it."""
Level = Union["Tensor", float]
_Map = Callable[[Any, Any, Level, Level], Any]


@dataclass(frozen=True)
class _Rule:
    """One prediction: `target` takes (x_0, eps, alpha, sigma), the inverse takes (output, x_t, alpha, sigma).

    `gain` is (d x_0 / d output)^2 at fixed x_t, as a function of the SNR.
    """

    target: _Map
    to_x0: _Map
    gain: Callable[["Tensor"], "Tensor"]


_RULES: Final[dict[str, _Rule]] = {
    "x0": _Rule(
        target=lambda x_0, eps, alpha, sigma: x_0,
        to_x0=lambda x_0, x_t, alpha, sigma: x_0,
        gain=lambda snr: snr.new_ones(()),
    ),
    "eps": _Rule(
        target=lambda x_0, eps, alpha, sigma: eps,
        to_x0=lambda eps, x_t, alpha, sigma: (x_t - sigma * eps) / alpha,
        gain=lambda snr: 1 / snr,
    ),
    "v": _Rule(
        target=lambda x_0, eps, alpha, sigma: alpha * eps - sigma * x_0,
        to_x0=lambda v, x_t, alpha, sigma: alpha * x_t - sigma * v,
        gain=lambda snr: 1 / (snr + 1),
    ),
}


def _rule(prediction: str) -> _Rule:
    if prediction not in _RULES:
        raise UsageError(f"no prediction is named {prediction!r}: {', '.join(_RULES)} are allowed")
    return _RULES[prediction]


def to_x0(prediction: Prediction, output: Output, x_t: Image, alpha: Level, sigma: Level) -> Image:
    """The clean image that the network's output stands for; all images (B, C, H, W)."""
    image: Image = _rule(prediction).to_x0(output, x_t, alpha, sigma)
    return image


def target(prediction: Prediction, x_0: Image, eps: Output, alpha: Level, sigma: Level) -> Image:
    """What the network should output for x_t = alpha x_0 + sigma eps; all images (B, C, H, W)."""
    image: Image = _rule(prediction).target(x_0, eps, alpha, sigma)
    return image


def loss_weight(prediction: Prediction, log_snr: "Tensor", *, min_snr_gamma: float = 5.0) -> "Tensor":
    """Min-SNR weight of the output's mean squared error (Hang et al. 2023, section 3.4), in the shape of `log_snr`.

    min(snr, gamma) times the squared gain from output to x_0: 1 for x0, 1 / snr for eps, 1 / (snr + 1) for v.
    `log_snr` must be finite, as `Schedule.log_snr` is. Raises UsageError unless min_snr_gamma > 0.
    """
    if not min_snr_gamma > 0:
        raise UsageError(f"min-SNR gamma {min_snr_gamma} is out of range: more than 0 is allowed")
    snr = log_snr.exp()
    return snr.clamp(max=min_snr_gamma) * _rule(prediction).gain(snr)
