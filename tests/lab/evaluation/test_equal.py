"""Equal bytes: nobody is larger than asked, and who cannot be so small says so."""

from dataclasses import replace

import numpy as np

from regrain.errors import ImageError
from regrain_lab.evaluation.baselines import JPEG, WEBP
from regrain_lab.evaluation.equal import through

PHOTO = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8) // 4


def refuse(pixels, quality):
    raise ImageError("too wide")


def test_each_is_the_largest_that_fits():
    found, notes = through([JPEG, WEBP], PHOTO, 1500)
    assert notes == []
    for one, codec in zip(found, (JPEG, WEBP), strict=True):
        assert one.codec == codec.name
        assert one.fits
        assert one.bytes == len(codec.encode(PHOTO, int(one.quality))) <= 1500
        assert one.pixels.shape == PHOTO.shape


def test_the_smallest_and_the_failing_are_named():
    found, notes = through([JPEG, replace(WEBP, encode=refuse)], PHOTO, 1)
    assert [one.fits for one in found] == [False]
    assert notes == ["JPEG cannot be as small: shown is its smallest file", "WebP skipped: too wide"]
