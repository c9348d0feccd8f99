"""Distortion between two 8-bit pictures: PSNR, SSIM, MS-SSIM, FSIM and SSIMULACRA2.

SSIM (Wang et al. 2004) and MS-SSIM (Wang et al. 2003) come from pytorch-msssim: an 11x11 Gaussian window of sigma 1.5,
valid positions only, each channel on its own and then averaged (so over RGB, not luma), five scales with the published
exponents. FSIM (Zhang et al. 2011) is worked out in `fsim`. These are symmetric. SSIMULACRA2 (Sneyers 2022, 2.1), which
is not, and PSNR are those of `regrain.metrics`, which the codec can aim at. All are highest for equal pictures:
infinity, 1, 1, 1 and 100.
"""

import numpy as np
import pytorch_msssim
import torch
from numpy.typing import NDArray

from regrain.errors import UsageError
from regrain.metrics import check_pair, psnr, ssimulacra2
from regrain_lab.metrics.fsim import similarity

__all__ = ["fsim", "ms_ssim", "psnr", "ssim", "ssimulacra2"]

_WINDOW = 11
_SCALES = 5
_SMALLEST_MS = (_WINDOW - 1) * 2 ** (_SCALES - 1) + 1


def _batch(picture: NDArray[np.uint8]) -> torch.Tensor:
    """(h, w, c) uint8 to (1, c, h, w) float32 in [0, 255]."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).unsqueeze(0).float()


def ssim(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float | None:
    """Structural similarity in [-1, 1] of two uint8 (h, w, c) pictures.

    None when a side is under the window's 11 pixels. Raises UsageError for other types or unequal shapes.
    """
    check_pair(a, b)
    if min(a.shape[:2]) < _WINDOW:
        return None
    return float(pytorch_msssim.ssim(_batch(a), _batch(b), data_range=255))


def ms_ssim(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float | None:
    """Multi-scale structural similarity in [0, 1] of two uint8 (h, w, c) pictures.

    None when a side is under 161 pixels: five scales do not fit, and a figure from fewer scales would be on another
    footing and must not be averaged or compared with the rest. Raises UsageError for other types or unequal shapes.
    """
    check_pair(a, b)
    if min(a.shape[:2]) < _SMALLEST_MS:
        return None
    return float(pytorch_msssim.ms_ssim(_batch(a), _batch(b), data_range=255))


def fsim(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float | None:
    """Feature similarity in [0, 1] of two uint8 (h, w, 3) sRGB pictures: FSIMc.

    None when a side is under 48 pixels, or when neither picture has any feature. Raises UsageError for other types,
    unequal shapes and other numbers of channels.
    """
    check_pair(a, b)
    if a.shape[2] != 3:
        raise UsageError(f"pictures are {a.shape} and {b.shape}: FSIM takes 3 channels")
    return similarity(a, b)
