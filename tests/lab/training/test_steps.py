"""Quality against steps: the same figures as the decoder's own loop gives, and a table of both networks."""

import pytest
import torch
from torch import nn

from lab.training.tiny import crops
from lab.training.tiny_student import origin
from regrain.diffusion import sampler, schedule
from regrain_lab.training.steps import COUNTS, QUALITY, Row, ladder, table
from regrain_lab.training.student import quantised


class Apart(nn.Module):
    """Mean absolute difference, as a perceptual distance."""

    def forward(self, a, b):
        return (a - b).abs().mean((1, 2, 3))


def test_the_ladder_walks_as_the_decoder(tmp_path):
    model, x = origin(tmp_path).model, crops(3)
    rows = ladder(model, model.denoiser, x, Apart(), (1, 3))
    assert [row.steps for row in rows] == [1, 3]
    x_1 = 0.8 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    y_hat = quantised(model, x, torch.full((3,), QUALITY / 100))
    levels = schedule.get("cosine")
    for row in rows:
        decoded = [
            sampler.sample(
                lambda x_t, t, c=c: model.denoise(x_t, t, c, 256 * QUALITY, 1.0), start, levels, steps=row.steps
            )
            for start, c in zip(x_1, y_hat, strict=True)
        ]
        error = (torch.stack(decoded) - x).square().mean()
        assert row.psnr == pytest.approx(float(10 * torch.log10(4 / error)), abs=1e-3)
        assert row.lpips == pytest.approx(float((torch.stack(decoded) - x).abs().mean()), rel=1e-3)


def test_figures_come_out_the_same_and_draw_nothing(tmp_path):
    model = origin(tmp_path).model
    before = torch.get_rng_state()
    rows = [ladder(model, model.denoiser, crops(), None, (2,)) for _ in range(2)]
    assert rows[0] == rows[1]
    assert torch.equal(torch.get_rng_state(), before)
    assert rows[0][0].scalars().keys() == {"psnr/steps2"}
    assert str(rows[0][0]).startswith("steps  2  psnr ")


def test_the_table_has_a_line_a_count():
    rows = [Row(n, 28.0 + n, 0.1) for n in COUNTS]
    lines = table(rows, rows).splitlines()
    assert lines[2].split() == ["steps", "PSNR", "LPIPS", "PSNR", "LPIPS"]
    assert [line.split()[0] for line in lines[3:]] == [str(n) for n in COUNTS]
    assert lines[3].split() == ["1", "29.00", "0.1000", "29.00", "0.1000"]
    bare = [Row(n, 28.0, None) for n in COUNTS]
    assert table(bare, bare).splitlines()[2].split() == ["steps", "PSNR", "PSNR"]
    assert len({len(line) for line in lines[2:]}) == 1
