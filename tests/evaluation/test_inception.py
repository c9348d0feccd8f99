"""FID's Inception: how it enlarges, its layout, and figures of another program on the same weights."""

import pytest
import torch
import waves

from regrain.errors import ModelError, UsageError
from regrain.evaluation import inception
from regrain.evaluation.inception import FEATURES, Inception, _reading

TENSORS = waves.weights(waves.inception())


@pytest.fixture
def network(monkeypatch) -> Inception:
    monkeypatch.setattr(inception, "read", lambda path: dict(TENSORS))
    return Inception("inception.pth")


def pixels() -> torch.Tensor:
    return ((waves.pictures()[0] + 1) * 127.5).round().to(torch.uint8)


def test_the_published_layout_has_94_convolutions_and_21_820_000_numbers_beside_the_classifier():
    assert sum(name.endswith("conv.weight") for name in TENSORS) == 94
    assert sum(tensor.numel() for name, tensor in TENSORS.items() if not name.startswith("fc.")) == 21_820_000


def test_another_program_has_the_same_features_to_1e_5(network):
    """torch-fidelity 0.4.0 on these weights and pixels: mean, spread, and three of the features."""
    (features,) = network(pixels())
    assert features.mean().item() == pytest.approx(17.289598, rel=1e-5)
    assert features.std().item() == pytest.approx(25.073719, rel=1e-5)
    assert features[[0, 500, 2047]].tolist() == pytest.approx([49.516403, 8.754298, 0.796319], rel=1e-5)


def test_features_are_of_each_picture_alone_and_never_negative(network):
    batch = torch.cat([pixels(), 255 - pixels()])
    features = network(batch)
    assert features.shape == (2, FEATURES)
    assert features.min() >= 0
    torch.testing.assert_close(features[1:], network(batch[1:]), rtol=1e-5, atol=1e-4)
    assert not torch.allclose(features[0], features[1], rtol=1e-2)


def test_a_line_is_read_as_tensorflow_1_did():
    torch.testing.assert_close(_reading(299), torch.eye(299))
    ramp = _reading(64) @ torch.arange(64.0)
    torch.testing.assert_close(ramp, (torch.arange(299) * 64 / 299).clamp(max=63))
    torch.testing.assert_close(_reading(1) @ torch.tensor([5.0]), torch.full((299,), 5.0))


@pytest.mark.parametrize("batch", [torch.zeros(1, 3, 8, 8), pixels()[:, :1], pixels()[0]])
def test_other_pictures_are_refused(network, batch):
    with pytest.raises(UsageError, match=r"^pictures are [^\n]+ does$"):
        network(batch)


@pytest.mark.parametrize(
    "change", [{"fc.weight": torch.ones(1000, 2048)}, {"AuxLogits.fc.weight": torch.ones(1000, 768)}]
)
def test_torchvisions_own_inception_is_refused(monkeypatch, change):
    monkeypatch.setattr(inception, "read", lambda path: TENSORS | change)
    with pytest.raises(ModelError, match=r"^[^\n]+FID's Inception[^\n]+$"):
        Inception("inception_v3_google.pth")


def test_counters_of_batch_norms_do_not_count(monkeypatch):
    counter = {"Conv2d_1a_3x3.bn.num_batches_tracked": torch.tensor(0)}
    monkeypatch.setattr(inception, "read", lambda path: TENSORS | counter)
    Inception("inception.pth")
