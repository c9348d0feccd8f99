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


def orthogonalise(matrix: Tensor) -> Tensor:
    """Singular values to about 1 (0.7 to 1.2; less where tiny), singular vectors kept. (rows, columns) -> the same."""
    a, b, c = COEFFICIENTS
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (x.norm() + 1e-12)
    gram, one = x @ x.T, torch.eye(x.shape[0], device=x.device)
    total: Tensor = one
    for _ in range(STEPS):
        step = torch.addmm(torch.add(a * one, gram, alpha=b), gram, gram, alpha=c)
        total = step @ total
        gram = step @ (step @ gram)
    out: Tensor = total @ x
    return out.T if matrix.shape[0] > matrix.shape[1] else out


class Muon(torch.optim.Adam):
    """Adam, but for convolution kernels (4 dimensions), which move by orthogonalised momentum."""

    def __init__(self, parameters: Iterable[Tensor], momentum: float = 0.95, factor: float = 0.2) -> None:
        """Set the parameters; the learning rate is set a step."""
        super().__init__(parameters, lr=0.0, betas=(0.9, 0.99))
        self.momentum, self.factor = momentum, factor

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        kernels = [p for group in self.param_groups for p in group["params"] if p.grad is not None and p.dim() == 4]
        gradients = [p.grad for p in kernels]
        for kernel in kernels:
            kernel.grad = None
        super().step()
        for kernel, gradient in zip(kernels, gradients, strict=True):
            self._move(kernel, gradient)

    def _move(self, kernel: Tensor, gradient: Tensor) -> None:
        state = self.state[kernel]
        if not state:
            state.update(step=torch.tensor(0.0), exp_avg=torch.zeros_like(kernel), exp_avg_sq=torch.zeros_like(kernel))
        state["step"] += 1
        momentum = state["exp_avg"].lerp_(gradient, 1 - self.momentum)
        ahead = gradient.lerp(momentum, self.momentum).flatten(1)
        size = self.factor * max(ahead.shape) ** 0.5
        kernel.sub_(orthogonalise(ahead).view_as(kernel), alpha=self.param_groups[0]["lr"] * size)
