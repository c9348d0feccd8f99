"""`regrain.repair` as a caller has it: by the package's prior, of arrays, of files with all that they carry."""

import io

import numpy as np
import pytest
from PIL import Image

import regrain


@pytest.fixture(scope="module")
def photo():
    return np.asarray(Image.open("demo/photo.png").convert("RGB"))[:128, :160]


def distance(one, other):
    return float(np.square(np.asarray(one, float) - other).mean())


def saved(pixels, kind="JPEG", **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def test_noise_goes(photo):
    noisy = (photo + np.random.default_rng(0).normal(0, 15, photo.shape)).round().clip(0, 255).astype(np.uint8)
    assert distance(regrain.repair(noisy), photo) < 0.5 * distance(noisy, photo)


def test_a_jpeg_gets_nearer_to_what_it_was(photo):
    data = saved(photo, quality=10)
    decoded = np.asarray(Image.open(io.BytesIO(data)))
    repaired = regrain.repair(data)
    assert distance(repaired, photo) < distance(decoded, photo)
    assert not np.array_equal(np.asarray(repaired), decoded)


def test_strength_0_is_the_picture_itself(photo):
    assert np.array_equal(np.asarray(regrain.repair(photo, strength=0)), photo)


def test_alpha_and_metadata_stay(photo):
    planes = np.dstack([photo, np.tile(np.arange(160, dtype=np.uint8), (128, 1))])
    exif = Image.Exif()
    exif[0x010E] = "a caption"
    repaired = regrain.repair(saved(planes, "PNG", exif=exif))
    assert repaired.mode == "RGBA"
    assert np.array_equal(np.asarray(repaired)[..., 3], planes[..., 3])
    assert b"a caption" in repaired.info["exif"]


@pytest.mark.parametrize(
    "knobs",
    [
        {"strength": -0.1},
        {"strength": 4.1},
        {"steps": 0},
        {"steps": "auto"},
        {"steps": None},
        {"eta": 2},
        {"seed": -1},
        {"model": "palette"},
    ],
)
def test_what_is_out_of_range_is_refused(knobs, photo):
    with pytest.raises(regrain.UsageError, match=next(iter(knobs)) if "model" not in knobs else "progressive"):
        regrain.repair(photo[:8, :8], **knobs)


def test_limits_hold(photo):
    with pytest.raises(regrain.LimitError, match="max-memory"):
        regrain.repair(photo, max_memory=1000)
    with pytest.raises(regrain.LimitError, match="max-pixels"):
        regrain.repair(photo, max_pixels=1000)
    with pytest.raises(regrain.ImageError):
        regrain.repair(b"no picture")
