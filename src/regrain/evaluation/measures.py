"""The metrics that an evaluation knows, by the name of their column: how each is to be read, and what computes it.

A metric takes the original and what was decoded, uint8 (h, w, 3), and gives one figure, or None for a picture that is
too small for it. Weights come from files that the caller names; nothing is fetched.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from regrain.evaluation.perceptual import Lpips

    Pixels = NDArray[np.uint8]

__all__ = ["NO_LPIPS", "SCALES", "Metric", "Scale", "measures"]

Metric = Callable[["Pixels", "Pixels"], float | None]

NO_LPIPS = "LPIPS left out: name its weights with --lpips, one safetensors file each for AlexNet and SqueezeNet"


class Scale(NamedTuple):
    """How to read a metric: `higher` says whether more is better, `perceptual` whether it was fitted to human eyes."""

    title: str
    unit: str = ""
    higher: bool = True
    perceptual: bool = False
    digits: int = 4
    note: str = ""

    @property
    def axis(self) -> str:
        """Title, unit and the better direction, for an axis."""
        unit = f", {self.unit}" if self.unit else ""
        return f"{self.title}{unit} ({'higher' if self.higher else 'lower'} is better)"


SCALES: dict[str, Scale] = {
    "psnr": Scale("PSNR", unit="dB", digits=2),
    "ssim": Scale("SSIM"),
    "ms_ssim": Scale("MS-SSIM"),
    "fsim": Scale("FSIMc"),
    "lpips_alex": Scale("LPIPS (AlexNet)", higher=False, perceptual=True),
    "lpips_squeeze": Scale(
        "LPIPS (SqueezeNet)", higher=False, perceptual=True, note="regrain was trained on it: read it with that in mind"
    ),
    "dists": Scale("DISTS", higher=False, perceptual=True),
    "pieapp": Scale("PieAPP", higher=False, perceptual=True),
}
"""By column. What is not in here is no metric that this version can report."""

_SMALLEST_LPIPS = 32
_LPIPS_BY_TAPS = {5: "lpips_alex", 7: "lpips_squeeze"}


def measures(lpips: Iterable[str | Path] = ()) -> Mapping[str, Metric]:
    """The metrics that can be computed here, LPIPS for each file of weights in `lpips`. Raises ModelError for those."""
    from regrain.evaluation import metrics
    from regrain.evaluation.perceptual import Lpips

    plain = (metrics.psnr, metrics.ssim, metrics.ms_ssim, metrics.fsim)
    found: dict[str, Metric] = {metric.__name__: metric for metric in plain}
    for path in lpips:
        network = Lpips.load(path)
        found[_LPIPS_BY_TAPS[len(network.taps)]] = _lpips(network)
    return found


def _lpips(network: "Lpips") -> Metric:
    def _distance(original: "Pixels", decoded: "Pixels") -> float | None:
        import torch

        from regrain.image import to_signed

        if min(original.shape[:2]) < _SMALLEST_LPIPS:
            return None
        with torch.inference_mode():
            pair = [torch.from_numpy(to_signed(pixels))[None] for pixels in (original, decoded)]
            return float(network(*pair))

    return _distance
