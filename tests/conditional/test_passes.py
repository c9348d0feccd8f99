"""Passes cover y once, and a walk is the same whoever takes it."""

import pytest
import torch

from regrain.conditional.coding_order import Pass, passes
from regrain.conditional.model import ModelConfig, build_scale
from regrain.conditional.transform import MeanBranch, TransformConfig
from regrain.conditional.walk import walk
from regrain.errors import UsageError

CONFIG = TransformConfig(latent=12, hyper=6, hyper_width=8, anchors=3, slices=(2, 5))
SIZE = (5, 7)


@pytest.mark.parametrize("slices", [(), (1,), (2, 6, 16), (2, 6, 16, 40, 96), (300,)])
@pytest.mark.parametrize("channels", [1, 8, 256])
def test_passes_cover_every_symbol_once_and_know_only_what_came_before(slices, channels):
    seen = torch.zeros(channels, *SIZE, dtype=torch.int64)
    for part in passes(channels, slices):
        whole = bool(seen[: part.known].all())
        assert whole or part.colour == 1
        seen[part.channels] += torch.from_numpy(part.places(*SIZE))
    assert bool((seen == 1).all())


def test_the_first_slice_takes_a_chequerboard():
    assert passes(8, (2, 5)) == (Pass(0, 2, 0, 0), Pass(0, 2, 2, 1), Pass(2, 5, 2), Pass(5, 8, 5))
    assert passes(8, (2,))[0].places(2, 3).tolist() == [[True, False, True], [False, True, False]]


@pytest.mark.parametrize("slices", [(3, 3), (5, 2), (0, 2), (2, 97)])
def test_slices_that_are_none_are_refused(slices):
    with pytest.raises(UsageError, match="slices"):
        ModelConfig(transform=TransformConfig(slices=slices))


@torch.no_grad()
def test_no_pass_depends_on_symbols_that_come_later():
    """What a decoder has not read yet cannot matter: change a pass's symbols, and only later passes may change."""
    torch.manual_seed(0)
    scale, mean = build_scale(CONFIG), MeanBranch(CONFIG)
    for parameter in (*scale.parameters(), *mean.parameters()):
        parameter.add_(torch.randn_like(parameter), alpha=0.2)
    z_hat, gain = torch.randint(-20, 21, (1, 6, 2, 2)).float(), torch.full((1, 12, 1, 1), 1.5)
    offset = torch.full((1, 12), 400.0)
    symbols = torch.randint(-9, 10, (1, 12, *SIZE)).float()

    def taken(known):
        return walk(scale, mean, z_hat, gain, offset, SIZE, lambda part, *_: known[:, part.channels])

    first = taken(symbols)
    torch.testing.assert_close(first.symbols, symbols)
    parts = passes(12, CONFIG.slices)
    for number, part in enumerate(parts):
        changed = symbols.clone()
        changed[:, part.channels] += 5 * torch.from_numpy(part.places(*SIZE))
        other = taken(changed)
        for earlier in parts[: number + 1]:
            at = earlier.channels, earlier.places(*SIZE)
            assert torch.equal(other.mean[0][at], first.mean[0][at])
            assert torch.equal(other.scale_index[0][at], first.scale_index[0][at])
        for later in parts[number + 1 :]:
            at = later.channels, later.places(*SIZE)
            assert not torch.equal(other.mean[0][at], first.mean[0][at])
            assert not torch.equal(other.scale_index[0][at], first.scale_index[0][at])
