"""Gains rise with quality, and lie on their anchors."""

import pytest
import torch

from regrain.errors import ModelError
from regrain_lab.trainable.latents import Gain, interpolate


def test_gain_rises_with_quality_and_hits_its_ends():
    gain = Gain(4, torch.tensor([1.0, 2.0, 0.25]), low=0.5, high=8.0)
    values = gain(torch.linspace(0, 1, 101))[:, :, 0, 0].detach()
    assert bool((values.diff(dim=0) > 0).all())
    torch.testing.assert_close(values[0], torch.tensor([0.5, 1.0, 0.125]))
    torch.testing.assert_close(values[-1], torch.tensor([8.0, 16.0, 2.0]))


def test_stored_gains_come_back_and_others_are_refused():
    gain, other = Gain(4, torch.tensor([1.0, 2.0]), low=0.5, high=8.0), Gain(4, torch.tensor([3.0, 3.0]))
    other.set_anchors(gain.log_anchors().detach())
    torch.testing.assert_close(other.log_anchors(), gain.log_anchors())
    for wrong in (gain.log_anchors()[:3], gain.log_anchors().flip(0), 1e9 * gain.log_anchors()):
        with pytest.raises(ModelError, match="gains"):
            other.set_anchors(wrong.detach())


def test_interpolation_passes_through_the_anchors():
    anchors = torch.tensor([[0.0, 1.0], [2.0, -1.0], [8.0, 5.0]])
    torch.testing.assert_close(interpolate(anchors, torch.tensor([0.0, 0.5, 1.0])), anchors)
    torch.testing.assert_close(interpolate(anchors, torch.tensor([0.25])), (anchors[:1] + anchors[1:2]) / 2)
