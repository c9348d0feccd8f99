"""How far what was decoded is from what pictures look like, whether or not it is the same picture: two kernel distances.

    d(a, b)^2 = mean_{i, j of different pictures}  k(a_i, a_j) + k(b_i, b_j) - k(a_i, b_j) - k(b_i, a_j)
    k(x, y) = (x . y / s + 1)^3

is the unbiased squared maximum mean discrepancy with KID's kernel (Binkowski et al. 2018, arXiv:1801.01401, equation 4)
between patches a_i of the originals and what became of them, b_i. Patches come in pairs and one picture's are alike, so
that only those of different pictures count as independent draws; equal sets give 0, and it may fall below 0.

The networks see whole pictures; a patch is a window of their maps, so that no patch has a border of its own. x is, for
KID, the mean over a patch of VGG16's five taps, each of norm 1 along its channels at every place, as LPIPS has them, and
s = 5; for the Gram distance, the matrices mean f f^T of AlexNet's first three taps, of norm 1 too, and s = 3.

Its standard error is that of 200 bootstrap draws of whole pictures.
"""
import torch
from torch import Tensor
from collections.abc import Sequence
from torch.nn import functional as F
import math

KID_SIDE, GRAM_SIDE = 64, 128

def cells(shape, side):
    return max(1, shape[0] // side), max(1, shape[1] // side)

def pooled(units: Sequence[Tensor], shape, side: int = KID_SIDE) -> Tensor:
    """(n, sum C)."""
    rows = [F.adaptive_avg_pool2d(u[0], cells(shape, side)).flatten(1).T for u in units]
    return torch.cat(rows, 1)

def grams(units: Sequence[Tensor], shape, side: int = GRAM_SIDE) -> Tensor:
    r, c = cells(shape, side)
    out = []
    for u in units[:3]:
        C = u.shape[1]
        i, j = torch.triu_indices(C, C)
        w = torch.where(i == j, 1.0, math.sqrt(2))
        fs = [cell.flatten(1) for band in u[0].tensor_split(r, 1) for cell in band.tensor_split(c, 2)]
        out.append(torch.stack([(f @ f.T / f.shape[1])[i, j] * w for f in fs]))
    return torch.cat(out, 1)

def discrepancy(a: Tensor, b: Tensor, groups: Tensor, scale: float, draws: int = 200) -> tuple[float, float]:
    k = lambda x, y: ((x @ y.T).double() / scale + 1) ** 3
    h = k(a, a) + k(b, b)
    cross = k(a, b)
    h = h - cross - cross.T
    n = int(groups.max()) + 1
    one = F.one_hot(groups, n).double()
    sums, counts = one.T @ h @ one, one.sum(0)
    if n == 1:
        m = len(a)
        return float((h.sum() - h.diagonal().sum()) / (m * (m - 1))), math.nan
    sums.fill_diagonal_(0)
    def value(w):
        v = w * counts
        return float(w @ sums @ w / (v.sum() ** 2 - (v * v).sum()))
    g = torch.Generator().manual_seed(0)
    vals = []
    for _ in range(draws):
        w = torch.bincount(torch.randint(n, (n,), generator=g), minlength=n).double()
        if (w > 0).sum() > 1:
            vals.append(value(w))
    return value(torch.ones(n, dtype=torch.float64)), float(torch.tensor(vals).std())
