"""Held-out figures: what they are for known networks, and that they repeat."""

import math

import pytest
import torch
from torch import nn

from lab.training.tiny import crops, tiny_codec
from regrain_lab.training.validate import QUALITIES, validate


class Half(nn.Module):
    def forward(self, a, b):
        return torch.full((a.shape[0],), 0.5)


@pytest.fixture
def grey():
    """A codec that answers grey, whatever it is asked."""
    codec = tiny_codec().eval()
    codec.denoiser.corrects = False
    nn.init.zeros_(codec.denoiser.leave.weight)
    nn.init.zeros_(codec.denoiser.leave.bias)
    return codec


def test_one_row_a_quality_with_closed_forms(grey):
    x = crops(11)
    rows = validate(grey, x, Half())
    assert [row.quality for row in rows] == [100 * quality for quality in QUALITIES]
    for row in rows:
        psnr = 10 * math.log10(4 / float(x.square().mean()))
        assert row.psnr_faithful == pytest.approx(psnr, rel=1e-4)
        assert row.psnr_textured == pytest.approx(psnr, rel=1e-4)
        assert row.lpips_faithful == row.lpips_textured == pytest.approx(0.5)
        assert 0 < row.z_bpp < row.bpp < 50


def test_rates_rise_with_quality(grey):
    rates = [row.bpp for row in validate(grey, crops(2), None)]
    assert rates == sorted(rates)


def test_figures_repeat_and_need_no_lpips():
    codec = tiny_codec().eval()
    codec.denoiser.corrects = False
    first, second = (validate(codec, crops(2), None) for _ in range(2))
    assert [row.scalars() for row in first] == [row.scalars() for row in second]
    assert "lpips" not in str(first[0])
    assert len(first[0].scalars()) == 4


def test_a_row_is_a_line_and_scalars(grey):
    row = validate(grey, crops(1), Half())[1]
    assert len(str(row).splitlines()) == 1
    assert f"bpp {row.bpp:.3f}" in str(row)
    assert row.scalars()["bpp/q25"] == row.bpp
    assert len(row.scalars()) == 6


def test_a_perfect_picture_has_a_psnr(grey):
    row = validate(grey, torch.zeros(1, 3, 64, 64), None)[0]
    assert row.psnr_faithful >= 100
