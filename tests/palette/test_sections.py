"""What a payload tells of its error; tiles."""

import numpy as np
import pytest

from regrain.errors import Corrupt
from regrain.palette.sections import Channel


def test_a_channel_is_found_by_least_squares():
    random = np.random.default_rng(0)
    z = random.normal(size=(60, 60, 4))
    q = 0.8 * (z + 0.3 * random.normal(size=z.shape))
    levels, told = (np.clip(np.rint(127.5 + 255 / 8 * values), 0, 255).astype(np.uint8) for values in (z, q))
    found = Channel.between(levels, told)
    assert found.gain == pytest.approx(0.8, abs=0.01)
    assert found.error == pytest.approx(0.3, rel=0.02)


def test_colours_that_are_means_vary_less_than_what_they_stand_for():
    """Of two colours for a normal distribution each is its half's mean: the gain is 2 / pi."""
    z = np.random.default_rng(1).normal(size=(200, 200, 1))
    levels = np.clip(np.rint(127.5 + 255 / 8 * z), 0, 255).astype(np.uint8)
    told = np.where(levels > 127, np.uint8(153), np.uint8(102))
    assert Channel.between(levels, told).gain == pytest.approx(2 / np.pi, abs=0.01)


@pytest.mark.parametrize(("gain", "error"), [(1.0, 0.1), (0.3, 0.9), (1.9, 0.01)])
def test_a_channel_comes_back_from_two_bytes(gain, error):
    back = Channel.from_bytes(Channel(gain, error).to_bytes())
    assert back.gain == pytest.approx(gain, abs=1 / 256)
    assert back.error == pytest.approx(error, rel=0.03)
    assert Channel.from_bytes(back.to_bytes()) == back


def test_what_has_nothing_in_it_has_a_channel_all_the_same():
    flat = np.full((3, 3, 4), 127, np.uint8)
    other = np.full((3, 3, 4), 200, np.uint8)
    for told in (flat, other, 255 - flat):
        assert len(Channel.between(flat, told).to_bytes()) == 2
    with pytest.raises(Corrupt, match="gain"):
        Channel.from_bytes(bytes(2))
