"""The metrics of an evaluation by the name of their column: how to read each, and the function that computes it.

A metric takes the original and the decoded picture, uint8 (h, w, 3), and gives one figure, or None for a picture that
is too small for it. Weights come from files that the caller names; nothing is fetched.
"""

from collections.abc import Callable, Collection, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    Pixels = NDArray[np.uint8]

__all__ = ["NEEDS", "REALISM", "SCALES", "Metric", "Scale", "load_metrics", "missing_weights", "network_metric"]

Metric = Callable[["Pixels", "Pixels"], float | None]

_LPIPS = "one safetensors file of {} with the v0.1 weights of github.com/richzhang/PerceptualSimilarity"
_VGG16 = "torchvision's vgg16-397923af.pth or its features as safetensors"
REALISM = "KID and Gram distance"
NEEDS = {
    "lpips_alex": (("lpips_alex",), _LPIPS.format("AlexNet")),
    "lpips_squeeze": (("lpips_squeeze",), _LPIPS.format("SqueezeNet 1.1")),
    "lpips_vgg": (("lpips_vgg", "vgg16"), f"{_LPIPS.format('VGG16')} without its features, and {_VGG16}"),
    "dists": (("vgg16", "dists"), f"{_VGG16} and the weights.pt of github.com/dingkeyan93/DISTS"),
    "pieapp": (("pieapp",), "the PieAPPv0.1.pth of github.com/prashnani/PerceptualImageError"),
    REALISM: (("lpips_vgg", "vgg16", "lpips_alex"), "what LPIPS needs on AlexNet and on VGG16"),
}
"""By column, or by the name `REALISM`: the kinds of files that a metric needs, and where they are published."""


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
    "lpips_vgg": Scale("LPIPS (VGG16)", higher=False, perceptual=True),
    "dists": Scale("DISTS", higher=False, perceptual=True),
    "pieapp": Scale("PieAPP", higher=False, perceptual=True, digits=3),
    "ssimulacra2": Scale("SSIMULACRA2", perceptual=True, digits=1),
}
"""By column. A column that is not in here is no metric that this version can report."""


def load_metrics(weights: Iterable[str | Path] = ()) -> dict[str, Metric]:
    """The metrics of a pair of pictures that can be computed with these files of weights, by column.

    Raises ModelError for a file that cannot be read or used.
    """
    from regrain_lab.metrics import fidelity
    from regrain_lab.metrics.dists import Dists
    from regrain_lab.metrics.lpips import Lpips
    from regrain_lab.metrics.pieapp import PieApp
    from regrain_lab.metrics.pretrained import classify

    files = classify(weights)
    networks: dict[str, type[Lpips | Dists | PieApp]] = {"dists": Dists, "pieapp": PieApp}
    formulas = (fidelity.psnr, fidelity.ssim, fidelity.ms_ssim, fidelity.fsim)
    metrics: dict[str, Metric] = {formula.__name__: formula for formula in formulas}
    for name, (kinds, _) in NEEDS.items():
        if name in SCALES and set(kinds) <= files.keys():
            network = networks.get(name, Lpips).load(*(files[kind] for kind in kinds))
            metrics[name] = network_metric(network, network.smallest)
    if find_spec("ssimulacra2"):
        metrics["ssimulacra2"] = fidelity.ssimulacra2
    return metrics


def missing_weights(kinds: Collection[str]) -> list[str]:
    """A line for each metric that needs more files than these kinds (see `pretrained.classify`): how to get them."""
    return [
        f"{SCALES[name].title if name in SCALES else name} left out: name {source} with --weights"
        for name, (needs, source) in NEEDS.items()
        if not set(needs) <= set(kinds)
    ]


def network_metric(network: "Callable[[Tensor, Tensor], Tensor]", smallest: int) -> Metric:
    """Turn a network that compares batches in [-1, 1] into a metric; None where a side is under `smallest` pixels."""

    def distance(original: "Pixels", decoded: "Pixels") -> float | None:
        import torch

        from regrain.image import to_signed

        if min(original.shape[:2]) < smallest:
            return None
        with torch.inference_mode():
            pair = [torch.from_numpy(to_signed(pixels))[None] for pixels in (original, decoded)]
            return float(network(*pair))

    return distance
