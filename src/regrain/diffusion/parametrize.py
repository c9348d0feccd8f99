"""What the network's output means, and how much an error in it counts.

    x_t = alpha x_0 + sigma eps,   v = alpha eps - sigma x_0   (Salimans and Ho 2022, appendix D)

Each of x_0, eps and v, together with x_t, fixes the other two. Invariants: to_x0(target(x_0, eps), x_t) = x_0 for
every prediction; loss_weight times the squared error of the output is one and the same number in all three.

Images are NumPy arrays or torch's tensors, and this module imports neither library. `alpha` and `sigma` are floats or,
beside tensors, tensors that broadcast against the images, such as (B, 1, 1, 1) against (B, C, H, W),
both in (0, 1) with alpha^2 + sigma^2 = 1. Every function raises UsageError for a prediction outside `Prediction`.
"""

from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args

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


def to_x0(prediction: Prediction, output: Output, x_t: Image, alpha: Level, sigma: Level) -> Image:
    """The clean image that the network's output stands for; all images (B, C, H, W)."""
    _check(prediction)
    known: Any = output  # of the type of x_t, which its own cannot say
    x_0: Image = known
    if prediction == "eps":
        x_0 = (x_t - sigma * known) / alpha
    if prediction == "v":
        x_0 = alpha * x_t - sigma * known
    return x_0


def target(prediction: Prediction, x_0: Image, eps: Output, alpha: Level, sigma: Level) -> Image:
    """What the network should output for x_t = alpha x_0 + sigma eps; all images (B, C, H, W).

    >>> import numpy as np
    >>> target("v", np.zeros(1), np.ones(1), 0.6, 0.8), to_x0("v", np.full(1, 0.6), np.full(1, 0.8), 0.6, 0.8)
    (array([0.6]), array([0.]))
    """
    _check(prediction)
    noise: Any = eps  # of the type of x_0
    output: Image = x_0
    if prediction == "eps":
        output = noise
    if prediction == "v":
        output = alpha * noise - sigma * x_0
    return output


def loss_weight(prediction: Prediction, log_snr: "Tensor", *, min_snr_gamma: float = 5.0) -> "Tensor":
    """Min-SNR weight of the output's mean squared error (Hang et al. 2023, section 3.4), in the shape of `log_snr`.

    min(snr, gamma) times the squared gain from output to x_0: 1 for x0, 1 / snr for eps, 1 / (snr + 1) for v.
    `log_snr` must be finite, as `Schedule.log_snr` is. Raises UsageError unless min_snr_gamma > 0.
    """
    _check(prediction)
    if not min_snr_gamma > 0:
        raise UsageError(f"min-SNR gamma {min_snr_gamma} is out of range: more than 0 is allowed")
    snr = log_snr.exp()
    weight = snr.clamp(max=min_snr_gamma)
    if prediction == "eps":
        weight = weight * (1 / snr)
    if prediction == "v":
        weight = weight * (1 / (snr + 1))
    return weight


def _check(prediction: str) -> None:
    if prediction not in (allowed := get_args(Prediction)):
        raise UsageError(f"no prediction is named {prediction!r}: {', '.join(allowed)} are allowed")
