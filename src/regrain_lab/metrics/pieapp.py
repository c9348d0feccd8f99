"""PieAPP v0.1, an error learned from pairwise preference (Prashnani et al., CVPR 2018, arXiv:1806.02067).

    E(original, decoded) = sum_p w_p s_p / sum_p w_p ,   s_p = S(f(o_p) - f(d_p)) ,   w_p = W(g(o_p) - g(d_p)) + 1e-6

over patches p of 64 x 64 pixels, every 27th in both directions from the top left ("sparse" in the authors' program,
which says 6, "dense", for the last digit at twenty times the cost). f are the outputs of every other layer of eleven
convolutions, g those of the last. It is no metric: not symmetric, and below zero where the change was liked. The
authors' program hands the network BGR pixels in [0, 255], as OpenCV reads them, and so does this; ports that hand it
RGB give other values.
"""

from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from regrain_lab.metrics.pretrained import check_pair, load_weights, read

__all__ = ["PieApp"]

_WIDTHS = (64, 64, 64, 128, 128, 128, 256, 256, 256, 512, 512)
_TAPPED = (3, 5, 7, 9, 11)
_POOLED = (2, 4, 6, 8, 10)
_SIDE = 64
_STRIDE = 27
_BATCH = 64
_BRIDGE = "ref_score_subtract.weight"


class PieApp(nn.Module):
    """PieAPP v0.1 as a frozen module. Build it with `PieApp.load`."""

    smallest = _SIDE
    """Shortest side in pixels: one patch."""

    def __init__(self) -> None:
        """Without weights."""
        super().__init__()
        for number, (inputs, outputs) in enumerate(zip((3, *_WIDTHS), _WIDTHS, strict=False), start=1):
            self.add_module(f"conv{number}", nn.Conv2d(inputs, outputs, 3, padding=1))
        widths = {n: _WIDTHS[n - 1] * (_SIDE >> (n // 2)) ** 2 for n in _TAPPED}
        self.fc1_score = nn.Linear(sum(widths.values()), 512)
        self.fc2_score = nn.Linear(512, 1)
        self.fc1_weight = nn.Linear(widths[11], 512)
        self.fc2_weight = nn.Linear(512, 1)
        self.ref_score_subtract = nn.Linear(1, 1)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read the authors' PyTorch weights; raises ModelError when they are missing, unreadable or others."""
        tensors = read(path)
        if _BRIDGE in tensors:
            tensors[_BRIDGE] = tensors[_BRIDGE].reshape(-1, 1)  # the file has it as (1,)
        with torch.device("meta"):
            model = cls()
        return load_weights(model, tensors, f"{path} does not hold the weights of PieAPP v0.1")

    def forward(self, original: Tensor, decoded: Tensor) -> Tensor:
        """Errors (B,) of `decoded`, both RGB (B, 3, H, W) in [-1, 1]; the more, the worse.

        Raises UsageError for unequal or other shapes, and for sides under 64 pixels.
        """
        check_pair("PieAPP", original, decoded, _SIDE)
        return torch.stack([self._error(_patches(a), _patches(b)) for a, b in zip(original, decoded, strict=True)])

    def _error(self, originals: Tensor, decoded: Tensor) -> Tensor:
        """The weighted mean over patches (N, 3, 64, 64), a few at a time."""
        pairs = zip(torch.split(originals, _BATCH), torch.split(decoded, _BATCH), strict=True)
        scores, weights = map(torch.cat, zip(*(self._score(a, b) for a, b in pairs), strict=True))
        return (scores * weights).sum() / weights.sum()

    def _score(self, original: Tensor, decoded: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and weights of patches, (N, 1) each."""
        taps = [a - b for a, b in zip(self._taps(original), self._taps(decoded), strict=True)]
        score = self.fc2_score(torch.relu(self.fc1_score(torch.cat(taps, dim=1))))
        weight = self.fc2_weight(torch.relu(self.fc1_weight(taps[-1])))
        return self.ref_score_subtract(0.01 * score), weight + 1e-6

    def _taps(self, x: Tensor) -> list[Tensor]:
        """Outputs (N, features) of the tapped layers, shallowest first."""
        taps = []
        for number in range(1, len(_WIDTHS) + 1):
            x = torch.relu(self.get_submodule(f"conv{number}")(x))
            if number in _TAPPED:
                taps.append(x.flatten(1))
            if number in _POOLED:
                x = nn.functional.max_pool2d(x, 2)
        return taps


def _patches(picture: Tensor) -> Tensor:
    """Patches (N, 3, 64, 64) of a (3, H, W) in [-1, 1], BGR in [0, 255]."""
    cut = (picture.flip(0) * 127.5 + 127.5).unfold(1, _SIDE, _STRIDE).unfold(2, _SIDE, _STRIDE)
    return cut.permute(1, 2, 0, 3, 4).flatten(0, 1)
