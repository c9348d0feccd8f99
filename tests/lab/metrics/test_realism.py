"""Kernel distances between sets of patches: closed forms, what leaves them as they are, and what patches are."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from regrain.errors import UsageError
from regrain_lab.metrics import realism
from regrain_lab.metrics.realism import Distance, Features, Realism, cells, discrepancy, distances, pool_units

VGG_WIDTHS, ALEX_WIDTHS = (64, 128, 256, 512, 512), (64, 192, 384, 256, 256)


def draw(rows: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def pictures(sizes: Sequence[int], width: int, seed: int = 0) -> list[torch.Tensor]:
    return list(draw(sum(sizes), width, seed).split(list(sizes)))


def test_two_pairs_by_hand():
    """k(1, 0) = k(0, 0) = 1 and k(1, 1) = 8: 1 + 1 - 8 - 1 of the one pair of pictures."""
    one, none = torch.tensor([[1.0]]), torch.tensor([[0.0]])
    assert discrepancy([one, none], [none, one], 1) == Distance(pytest.approx(-7), None)


def test_equal_sets_are_at_0():
    a = pictures([3, 5, 2], 40)
    found = discrepancy(a, a, 40)
    assert found.value == pytest.approx(0, abs=1e-9)
    assert found.error == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("shift", "wanted"), [(0.0, 0.0), (1.0, 22.0)])
def test_it_is_unbiased_however_few_the_pictures(shift, wanted, monkeypatch):
    """Of x ~ N(0, 1) and y ~ N(1, 1): 3 (E x - E y)^2 + 3 (E x^2 - E y^2)^2 + (E x^3 - E y^3)^2 = 3 + 3 + 16.

    The patches of one picture are nearly alike, as are a patch and what became of it.
    """
    monkeypatch.setattr(realism, "_DRAWS", 2)
    values = []
    for seed in range(400):
        own, within, after = draw(6, 1, 3 * seed), draw(12, 1, 3 * seed + 1), draw(12, 1, 3 * seed + 2)
        a = 0.8 * own.repeat_interleave(2, 0) + 0.6 * within
        b = shift + 0.8 * a + 0.6 * after
        values.append(discrepancy(a.split(2), b.split(2), 1).value)
    assert abs(np.mean(values) - wanted) < 4 * np.std(values) / math.sqrt(len(values))


def test_the_error_is_that_of_other_pictures():
    """The spread of 100 sets of 30 pictures, against what single sets say of themselves."""
    found = [discrepancy(draw(30, 2, n).split(1), (0.7 + draw(30, 2, 999 + n)).split(1), 2) for n in range(60)]
    assert np.mean([one.error for one in found]) == pytest.approx(np.std([one.value for one in found]), rel=0.35)


def test_order_and_turning_change_nothing():
    sizes = [3, 0, 4, 2]
    a, b = pictures(sizes, 5), pictures(sizes, 5, 1)
    value = discrepancy(a, b, 5).value
    assert discrepancy(b[::-1], a[::-1], 5).value == pytest.approx(value, rel=1e-9)
    turn = torch.linalg.qr(draw(5, 5, 2)).Q
    turned = [[one @ turn for one in side] for side in (a, b)]
    assert discrepancy(*turned, 5).value == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize(
    ("first", "second"), [([(4, 3)], [(4, 3)]), ([(4, 3), (2, 3)], [(4, 3), (3, 3)]), ([(4, 3), (0, 3)],) * 2]
)
def test_other_sets_are_refused(first, second):
    with pytest.raises(UsageError, match=r"^patches are [^\n]+$"):
        discrepancy([torch.zeros(s) for s in first], [torch.zeros(s) for s in second], 1)


@pytest.mark.parametrize(
    ("size", "wanted"), [((512, 768), (4, 6)), ((128, 128), (1, 1)), ((255, 400), (1, 3)), ((127, 900), (0, 7))]
)
def test_patches_are_as_many_as_fit(size, wanted):
    assert cells(*size) == wanted


def taps(widths: Sequence[int], height: int, width: int, seed: int = 0) -> list[torch.Tensor]:
    draws = torch.Generator().manual_seed(seed)
    return [torch.nn.functional.normalize(torch.rand(1, w, height, width, generator=draws)) for w in widths]


def test_features_are_means_and_gram_matrices_of_windows():
    vgg, alex = taps(VGG_WIDTHS, 8, 12), taps(ALEX_WIDTHS, 8, 12)
    found = pool_units(vgg, alex, (256, 384))
    assert found.pooled.shape == (6, 1472)
    assert found.grams.shape == (6, 20_608)
    torch.testing.assert_close(found.pooled[1, :64], vgg[0][0, :, :4, 4:8].mean(dim=(1, 2)))
    left, right = (alex[0][0, :, 4:, 4 * n : 4 * n + 4].flatten(1) for n in (0, 1))
    product = ((left @ left.T / 16) * (right @ right.T / 16)).sum()
    torch.testing.assert_close(found.grams[3, :2080] @ found.grams[4, :2080], product)


class Network:
    def __init__(self, widths: Sequence[int]) -> None:
        self.widths = widths

    def units(self, x: torch.Tensor) -> list[torch.Tensor]:
        return taps(self.widths, x.shape[2] // 16, x.shape[3] // 16, int(x.sum()))


def test_a_picture_is_seen_whole_and_a_small_one_has_no_patch():
    network = Realism(Network(VGG_WIDTHS), Network(ALEX_WIDTHS))
    random = np.random.default_rng(0)
    seen = [
        network.features(random.integers(0, 256, (*size, 3), np.uint8)) for size in ((128, 256), (127, 300), (128, 128))
    ]
    assert [len(one.pooled) for one in seen] == [2, 0, 1]
    assert all(one.pooled.shape[1:] == (1472,) and one.grams.shape[1:] == (20_608,) for one in seen)
    assert {name: one.value for name, one in distances(seen, seen).items()} == {"kid": 0, "gram": 0}
    swapped = [Features(-one.pooled, one.grams) for one in seen]
    kid, gram = distances(seen, swapped).values()
    assert kid.value > 0.1
    assert gram.value == 0


@pytest.mark.slow
def test_detail_that_is_lost_is_seen(shared, kodak):
    """Two halves of one photo, blurred a little and more."""
    from regrain_lab.evaluation.sweep import load_pixels

    folder = shared / "data" / "weights"
    names = ("lpips_vgg_lins", "vgg16_features_fp16", "lpips_alex_v0.1")
    network = Realism.load(*(folder / f"{name}.safetensors" for name in names))
    photo = load_pixels(kodak[0])[128:256, :256]
    halves = photo[:, :128], photo[:, 128:]

    def blurred(one: np.ndarray, part: float) -> np.ndarray:
        wide = one.astype(float)
        return ((1 - part) * wide + part * (np.roll(wide, 1, 0) + np.roll(wide, 1, 1)) / 2).astype(np.uint8)

    originals = [network.features(one) for one in halves]
    less, more = (distances(originals, [network.features(blurred(one, part)) for one in halves]) for part in (0.2, 0.5))
    for name in ("kid", "gram"):
        assert 0 < less[name].value < more[name].value
