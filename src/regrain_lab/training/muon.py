"""Muon for convolutions, Adam for all else (Jordan et al. 2024; the scale of Liu et al. 2025, sec. 2.2).

    m <- beta m + (1 - beta) g        W <- W - rate 0.2 sqrt(max(rows, columns)) orth(beta m + (1 - beta) g)

orth is about the nearest semi-orthogonal matrix, by five Newton-Schulz steps X <- (a + b G + c G G) X, G = X X^T, all
taken on the small Gram matrix G, which commutes with its polynomials: two products with the wide X instead of ten. A
kernel is the matrix (out, in height width). The factor gives every update the root mean square of a usual Adam update,
so that both share a learning rate.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["Muon", "orthogonalise"]

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
STEPS = 5


def orthogonalise(matrices: Tensor) -> Tensor:
    """Singular values to about 1 (0.7 to 1.2; less where tiny), singular vectors kept; (..., rows, columns) each."""
    a, b, c = COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-12)
    gram = x @ x.mT
    total = identity = torch.eye(x.shape[-2], device=x.device).expand_as(gram)
    for _ in range(STEPS):
        square = gram @ gram
        step = a * identity + b * gram + c * square
        total = step @ total
        gram = step @ (step @ gram)
    out: Tensor = total @ x
    return out.mT if tall else out


class Muon(torch.optim.Adam):
    """Adam, but for convolution kernels (4 dimensions), which move by orthogonalised momentum."""

    def __init__(self, parameters: Iterable[Tensor], momentum: float = 0.95, factor: float = 0.2) -> None:
        """The learning rate is set before each step."""
        super().__init__(parameters, lr=0.0, betas=(0.9, 0.99))
        self.momentum, self.factor = momentum, factor

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient; kernels of one size move together, which suits a GPU."""
        kernels = [p for group in self.param_groups for p in group["params"] if p.grad is not None and p.dim() == 4]
        groups: dict[torch.Size, tuple[list[Tensor], list[Tensor]]] = {}
        for kernel in kernels:
            assert kernel.grad is not None
            members, gradients = groups.setdefault(kernel.flatten(1).shape, ([], []))
            members.append(kernel)
            gradients.append(kernel.grad)
            kernel.grad = None  # so that Adam leaves it alone
        super().step()
        for members, gradients in groups.values():
            self._move(members, gradients)

    def _move(self, kernels: list[Tensor], gradients: list[Tensor]) -> None:
        moments = [self._moment(kernel) for kernel in kernels]
        torch._foreach_lerp_(moments, gradients, 1 - self.momentum)
        lookahead = torch.stack([g.lerp(m, self.momentum).flatten(1) for g, m in zip(gradients, moments, strict=True)])
        size = self.factor * max(lookahead.shape[1:]) ** 0.5
        moves = orthogonalise(lookahead).unbind()
        shaped = [move.view_as(kernel) for move, kernel in zip(moves, kernels, strict=True)]
        torch._foreach_add_(kernels, shaped, alpha=-self.param_groups[0]["lr"] * size)

    def _moment(self, kernel: Tensor) -> Tensor:
        state = self.state[kernel]
        if not state:
            state.update(step=torch.tensor(0.0), exp_avg=torch.zeros_like(kernel), exp_avg_sq=torch.zeros_like(kernel))
        state["step"] += 1
        moment: Tensor = state["exp_avg"]
        return moment
