"""Held-out figures: what they are for known networks, and that they repeat."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from lab.training.tiny import crops, tiny_codec
from lab.training.tiny_student import origin
from regrain.diffusion import sampler, schedule
from regrain_lab.trainable.frozen import quantized_latents
from regrain_lab.training.validation import QUALITIES, QUALITY, STEPS, Row, by_quality, by_steps, steps_table


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
    rows = by_quality(grey, x, Half())
    assert [row.at for row in rows] == [100 * quality for quality in QUALITIES]
    for row in rows:
        psnr = 10 * math.log10(4 / float(x.square().mean()))
        assert row.figures["psnr_faithful"] == pytest.approx(psnr, rel=1e-4)
        assert row.figures["psnr_textured"] == pytest.approx(psnr, rel=1e-4)
        assert row.figures["lpips_faithful"] == row.figures["lpips_textured"] == pytest.approx(0.5)
        assert 0 < row.figures["z_bpp"] < row.figures["bpp"] < 50


def test_rates_rise_with_quality(grey):
    rates = [row.figures["bpp"] for row in by_quality(grey, crops(2), None)]
    assert rates == sorted(rates)


def test_figures_repeat_and_need_no_lpips():
    codec = tiny_codec().eval()
    codec.denoiser.corrects = False
    first, second = (by_quality(codec, crops(2), None) for _ in range(2))
    assert [row.scalars() for row in first] == [row.scalars() for row in second]
    assert "lpips" not in str(first[0])
    assert len(first[0].scalars()) == 4


def test_a_row_is_a_line_and_scalars(grey):
    row = by_quality(grey, crops(1), Half())[1]
    assert len(str(row).splitlines()) == 1
    assert f"bpp {row.figures['bpp']:.4g}" in str(row)
    assert row.scalars()["bpp/q25"] == row.figures["bpp"]
    assert len(row.scalars()) == 6


def test_a_perfect_picture_has_a_psnr(grey):
    row = by_quality(grey, torch.zeros(1, 3, 64, 64), None)[0]
    assert row.figures["psnr_faithful"] >= 100


class Apart(nn.Module):
    """Mean absolute difference, as a perceptual distance."""

    def forward(self, a, b):
        return (a - b).abs().mean((1, 2, 3))


def test_rows_by_steps_sample_as_the_decoder(tmp_path):
    model, x = origin(tmp_path), crops(3)
    rows = by_steps(model, model.networks.denoiser, x, Apart(), (1, 3))
    assert [row.at for row in rows] == [1, 3]
    x_1 = 0.8 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    y_hat = quantized_latents(model, x, torch.full((3,), QUALITY / 100))
    levels = schedule.get("cosine")
    for row in rows:
        decoded = [
            sampler.sample(
                lambda x_t, t, c=c: model.networks.denoise(x_t, t, c, QUALITY / 100, 1.0).clip(-1, 1),
                start,
                levels,
                steps=row.at,
            )
            for start, c in zip(x_1.numpy(), y_hat.numpy(), strict=True)
        ]
        difference = torch.from_numpy(np.stack(decoded)) - x
        error = difference.square().mean()
        assert row.figures["psnr"] == pytest.approx(float(10 * torch.log10(4 / error)), abs=1e-3)
        assert row.figures["lpips"] == pytest.approx(float(difference.abs().mean()), rel=1e-3)


def test_figures_come_out_the_same_and_draw_nothing(tmp_path):
    model = origin(tmp_path)
    before = torch.get_rng_state()
    rows = [by_steps(model, model.networks.denoiser, crops(), None, (2,)) for _ in range(2)]
    assert rows[0] == rows[1]
    assert torch.equal(torch.get_rng_state(), before)
    assert rows[0][0].scalars().keys() == {"psnr/steps2"}
    assert str(rows[0][0]).startswith("steps 2  psnr ")


def test_the_table_has_a_line_a_count():
    rows = [Row("steps", n, {"psnr": 28.0 + n, "lpips": 0.1}) for n in STEPS]
    lines = steps_table(rows, rows).splitlines()
    assert lines[2].split() == ["steps", "PSNR", "LPIPS", "PSNR", "LPIPS"]
    assert [line.split()[0] for line in lines[3:]] == [str(n) for n in STEPS]
    assert lines[3].split() == ["1", "29.00", "0.1000", "29.00", "0.1000"]
    bare = [Row("steps", n, {"psnr": 28.0}) for n in STEPS]
    assert steps_table(bare, bare).splitlines()[2].split() == ["steps", "PSNR", "PSNR"]
    assert len({len(line) for line in lines[2:]}) == 1
