"""The palette codec's measured alternatives: a plain loop dithers alike, and a picture is repaired from its seed."""

import pytest
import torch

from experiments.palette.alternatives import nearest, of_picture, serpentine
from palette.test_dither import case, loop
from palette.test_repair import Shrink
from regrain.options import DecodeOptions


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (12, 17)])
def test_rows_to_and_fro_are_those_of_a_plain_loop(size):
    latents, palette = case(*size)
    for strength in (0.5, 1.0):
        expected = loop(latents, palette, strength, turning=True)[0]
        assert (serpentine(latents, palette, strength) == expected).all()
    assert (serpentine(latents, palette, 0) == nearest(latents, palette)).all()


def test_a_picture_is_noised_from_the_seed_and_repaired_in_part():
    x = torch.randn(3, 16, 24) / 3
    once, again = (of_picture(Shrink(1 / 3).denoise, x, 2.0, DecodeOptions(seed=1)) for _ in range(2))
    other = of_picture(Shrink(1 / 3).denoise, x, 2.0, DecodeOptions(seed=2))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    assert torch.equal(of_picture(Shrink().denoise, x, 2.0, DecodeOptions(realism=0)), x)
    half = of_picture(Shrink(1 / 3).denoise, x, 2.0, DecodeOptions(realism=0.5, seed=1))
    torch.testing.assert_close(half, (x + once) / 2)


def test_a_picture_taken_to_have_its_noise_gets_none():
    x = torch.randn(3, 16, 24) / 3
    seeds = [of_picture(Shrink(1 / 3).denoise, x, 2.0, DecodeOptions(seed=seed), noised=False) for seed in (1, 2)]
    assert torch.equal(*seeds)
