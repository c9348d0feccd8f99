"""How far apart two sets of features are: the Frechet distance of FID, and the kernel distance of KID.

    FID = |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))           Heusel et al. 2017, arXiv:1706.08500, equation 6
    KID = mean_{i != j} k(a_i, a_j) + k(b_i, b_j) - 2 k(a_i, b_j) ,   k(x, y) = (x . y / d + 1)^3

KID is of Binkowski et al. 2018 (arXiv:1801.01401, equation 4) as a U-statistic: rows come in pairs, an original and
what became of it, and a pair is no sample of two independent ones, so i = j is left out of the last term too. Its
expectation is that of the other, does not depend on the number of rows, and equal sets give 0. FID's does depend on
it, and below d rows its covariances are singular.

With A and B the centred rows over sqrt(n - 1), tr (C_a C_b)^(1/2) is the sum of the singular values of A B^T, which
is that of R_a R_b^T for the triangles of A = Q R: so no root of a singular matrix is ever taken.
"""

import math

import torch
from torch import Tensor

from regrain.errors import UsageError

__all__ = ["frechet", "kernel"]

_AT_ONCE = 1024


def frechet(a: Tensor, b: Tensor) -> float:
    """The FID of two sets of features, (n, d) and (m, d), in float64; 0 or more.

    Raises UsageError unless both have two rows at least and the same d.
    """
    _check(a, b)
    shift = (a.double().mean(dim=0) - b.double().mean(dim=0)).square().sum()
    left, right = _centred(a), _centred(b)
    spread = left.square().sum() + right.square().sum()
    triangles = [torch.linalg.qr(part, mode="r").R for part in (left, right)]
    shared = torch.linalg.svdvals(triangles[0] @ triangles[1].T).sum()
    return max(0.0, float(shift + spread - 2 * shared))


def kernel(a: Tensor, b: Tensor) -> float:
    """The KID of two sets of features (n, d) whose rows belong together, in float64; unbiased, and so below 0 at times.

    Raises UsageError unless both have the same shape and two rows at least.
    """
    _check(a, b)
    if len(a) != len(b):
        raise UsageError(f"features are {tuple(a.shape)} and {tuple(b.shape)}: only rows in pairs are compared")
    a, b = a.double(), b.double()
    return float((_off_diagonal(a, a) + _off_diagonal(b, b) - 2 * _off_diagonal(a, b)) / (len(a) * (len(a) - 1)))


def _check(a: Tensor, b: Tensor) -> None:
    if a.dim() != 2 or b.dim() != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise UsageError(f"features are {tuple(a.shape)} and {tuple(b.shape)}: two sets of two (rows, d) at least do")


def _centred(features: Tensor) -> Tensor:
    """Rows less their mean, over sqrt(n - 1): its Gram matrix is the unbiased covariance."""
    wide = features.double()
    centred: Tensor = (wide - wide.mean(dim=0)) / math.sqrt(len(wide) - 1)
    return centred


def _off_diagonal(a: Tensor, b: Tensor) -> Tensor:
    """The sum of k(a_i, b_j) over i != j, a few rows at a time."""
    width = a.shape[1]
    total = sum(((part @ b.T / width + 1) ** 3).sum() for part in torch.split(a, _AT_ONCE))
    return total - (((a * b).sum(dim=1) / width + 1) ** 3).sum()
