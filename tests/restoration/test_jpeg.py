"""What a JPEG says of its error, and of what its picture may have been."""

import io

import numpy as np
import pytest
from PIL import Image

from regrain.image import read, to_signed
from regrain.restoration import jpeg

HALVES = np.array([0.5, 4.0, 40.0])


def compressed(pixels, quality):
    """The JPEG of an array (h, w, 3) as it is read back, and its steps."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    picture = read(buffer.getvalue())
    return picture.pixels, picture.luma_steps


@pytest.fixture(scope="module")
def photo():
    return np.asarray(Image.open("demo/photo.png").convert("RGB"))[:256, :256]


def luma(pixels):
    return np.tensordot(jpeg.LUMA, to_signed(pixels), 1)


@pytest.mark.parametrize("width", [0.3, 3.0, 30.0])
def test_the_error_of_rounding_is_that_of_drawn_coefficients(width):
    drawn = np.random.default_rng(0).laplace(0, width, 400_000)
    for half in HALVES:
        error = np.square(drawn - 2 * half * np.round(drawn / (2 * half))).mean()
        assert float(jpeg.laplace_error(np.array(half), np.array(width))) == pytest.approx(error, rel=0.03, abs=1e-9)


@pytest.mark.parametrize("quality", [10, 20, 40, 75])
def test_the_error_is_about_the_true_one(photo, quality):
    decoded, steps = compressed(photo, quality)
    true = float((luma(decoded) - luma(photo)).std())
    assert jpeg.error(to_signed(decoded), steps) == pytest.approx(true, rel=0.25)


def test_coarser_steps_are_a_larger_error(photo):
    x = to_signed(photo)
    errors = [jpeg.error(x, np.full((8, 8), step, np.float32)) for step in (4, 16, 64)]
    assert errors == sorted(errors)
    assert jpeg.error(x[:, :7, :7], np.ones((8, 8), np.float32)) == 0


def test_the_original_is_allowed_and_stays(photo):
    decoded, steps = compressed(photo, 30)
    x, known = to_signed(photo), to_signed(decoded)
    kept = jpeg.keep_to_steps(x, known, steps)
    assert np.abs(kept - x).max() < 0.06
    assert np.square(kept - x).mean() < 1e-5


def test_what_no_such_file_may_be_moves_to_the_border_and_colours_stay(photo):
    decoded, steps = compressed(photo, 30)
    known = to_signed(decoded)
    kept = jpeg.keep_to_steps(np.clip(known * 0.5, -1, 1), known, steps)
    change = jpeg.coefficients(kept - known)
    assert (np.abs(change) <= steps / 2 + 0.51).all()
    np.testing.assert_allclose(kept[0] - kept[1], 0.5 * (known[0] - known[1]), atol=1e-5)


def test_blocks_that_are_cut_off_stay():
    x = np.random.default_rng(0).uniform(-1, 1, (3, 13, 20)).astype(np.float32)
    kept = jpeg.keep_to_steps(x, np.zeros_like(x), np.ones((8, 8), np.float32))
    assert np.array_equal(kept[:, 8:], x[:, 8:])
    assert np.array_equal(kept[:, :, 16:], x[:, :, 16:])
    assert not np.array_equal(kept[:, :8, :16], x[:, :8, :16])


def test_a_jpeg_has_its_table_and_no_other_picture_has_one(photo, tmp_path):
    decoded, steps = compressed(photo, 75)
    assert steps[0, 0] == 8
    assert steps[7, 7] > steps[0, 0]
    path = tmp_path / "a.png"
    Image.fromarray(decoded).save(path)
    assert read(path).luma_steps is None
    assert read(decoded).luma_steps is None
    buffer = io.BytesIO()
    Image.fromarray(decoded).convert("L").save(buffer, "JPEG", quality=75)
    assert read(buffer.getvalue()).luma_steps is not None
    Image.fromarray(decoded).convert("CMYK").save(buffer := io.BytesIO(), "JPEG")
    assert read(buffer.getvalue()).luma_steps is None
