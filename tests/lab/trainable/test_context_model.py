"""Training takes the coding order as a decoder does: no step looks ahead."""

import pytest
import torch

from regrain.conditional.coding_order import coding_order
from regrain.conditional.config import TransformConfig
from regrain.conditional.transform import MeanBranch
from regrain_lab.trainable.context_model import code_steps
from regrain_lab.trainable.wall import build_scale

CONFIG = TransformConfig(latent=12, hyper=6, hyper_width=8, anchors=3, slices=(2, 5))
SIZE = (5, 7)


@pytest.fixture(scope="module")
def symbols() -> torch.Tensor:
    return torch.randint(-9, 10, (1, 12, *SIZE), generator=torch.Generator().manual_seed(1)).float()


@pytest.fixture(scope="module")
@torch.no_grad()
def taken():
    """What random networks make over symbols that are known."""
    torch.manual_seed(0)
    scale, mean = build_scale(CONFIG), MeanBranch(CONFIG)
    for parameter in (*scale.parameters(), *mean.parameters()):
        parameter.add_(torch.randn_like(parameter), alpha=0.2)
    z_hat, gain = torch.randint(-20, 21, (1, 6, 2, 2)).float(), torch.full((1, 12, 1, 1), 1.5)
    offset = torch.full((1, 12), 400.0)

    @torch.no_grad()
    def take(known):
        return code_steps(scale, mean, z_hat, gain, offset, SIZE, lambda step, *_: known[:, step.channels])

    return take


def test_code_steps_returns_the_symbols_that_it_was_given(taken, symbols):
    torch.testing.assert_close(taken(symbols).symbols, symbols)


def test_no_step_depends_on_symbols_that_come_later(taken, symbols):
    """What a decoder has not read yet cannot matter: change a step's symbols, and only later steps may change."""
    first, order = taken(symbols), coding_order(12, CONFIG.slices)
    for number, step in enumerate(order):
        changed = symbols.clone()
        changed[:, step.channels] += 5 * torch.from_numpy(step.mask(*SIZE))
        other = taken(changed)
        for place, at in enumerate((part.channels, part.mask(*SIZE)) for part in order):
            for one, two in ((other.mean, first.mean), (other.scale_index, first.scale_index)):
                assert torch.equal(one[0][at], two[0][at]) == (place <= number)
