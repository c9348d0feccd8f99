"""Whatever a caller calls a picture: taken as it is, as an array, or refused with what is allowed."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from image.pictures import saved
from regrain.errors import ImageError, UsageError
from regrain.image import read

RGB = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)


@pytest.mark.parametrize("kind", ["int8", "int16", "int64", "uint32", "uint64", ">i8"])
def test_whole_numbers_of_any_width_are_taken_in_range(kind):
    values = (RGB // 2).astype(kind)
    np.testing.assert_array_equal(read(values).pixels, RGB // 2)


@pytest.mark.parametrize("value", [-1, 256])
def test_whole_numbers_out_of_range_are_refused(value):
    with pytest.raises(ImageError, match=f"{value}.*allowed is 0 to 255"):
        read(np.full((2, 2), value))


@pytest.mark.parametrize("kind", [torch.uint8, torch.int64, torch.float32])
def test_tensors_are_taken(kind):
    top = 255 if kind is torch.float32 else 1
    tensor = torch.from_numpy(RGB).to(kind) / top if top > 1 else torch.from_numpy(RGB).to(kind)
    np.testing.assert_array_equal(read(tensor).pixels, RGB)
    if kind is torch.float32:
        np.testing.assert_array_equal(read(tensor.requires_grad_()).pixels, RGB)


def test_a_tensor_that_numpy_cannot_have_is_refused_in_one_line():
    with pytest.raises(UsageError, match=r"^image is a Tensor that gives no array [^\n]*; allowed are [^\n]*$"):
        read(torch.zeros(4, 4, dtype=torch.bfloat16))


@pytest.mark.parametrize("thing", [None, 3, [[1, 2]], {}, object(), io.StringIO("text")])
def test_what_is_no_picture_is_refused_by_its_type(thing):
    with pytest.raises(UsageError, match=f"^image is a {type(thing).__name__}; allowed are a path, "):
        read(thing)


def test_bytes_of_any_kind_are_a_file():
    file = saved(Image.fromarray(RGB), "PNG")
    for thing in (file, bytearray(file), memoryview(file), io.BytesIO(file)):
        np.testing.assert_array_equal(read(thing).pixels, RGB)
