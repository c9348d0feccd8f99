"""The coding order covers y once, and a step knows only what was coded before it."""

import numpy as np
import pytest

from regrain.conditional.coding_order import CodingStep, coding_order
from regrain.conditional.config import ModelConfig, TransformConfig
from regrain.errors import UsageError

SIZE = (5, 7)


@pytest.mark.parametrize("slices", [(), (1,), (2, 6, 16), (2, 6, 16, 40, 96), (300,)])
@pytest.mark.parametrize("channels", [1, 8, 256])
def test_steps_cover_every_symbol_once_and_know_only_what_came_before(slices, channels):
    counts = np.zeros((channels, *SIZE), int)
    for step in coding_order(channels, slices):
        assert counts[: step.context_channels].all() or step.parity == 1
        counts[step.channels] += step.mask(*SIZE)
    assert (counts == 1).all()


def test_the_first_slice_takes_a_chequerboard():
    first, second, *later = coding_order(8, (2, 5))
    assert (first, second) == (CodingStep(0, 2, 0, 0), CodingStep(0, 2, 2, 1))
    assert later == [CodingStep(2, 5, 2), CodingStep(5, 8, 5)]
    assert first.mask(2, 3).tolist() == [[True, False, True], [False, True, False]]
    assert (first.mask(*SIZE) ^ second.mask(*SIZE)).all()


@pytest.mark.parametrize("slices", [(3, 3), (5, 2), (0, 2), (2, 97), (True,), "2", range(1, 99)])
def test_slices_that_are_none_are_refused(slices):
    with pytest.raises(UsageError, match="slices"):
        ModelConfig(transform=TransformConfig(slices=slices))
