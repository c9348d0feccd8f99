"""What these tests share: the shipped weights as torch runs them and as ONNX Runtime does."""

import pytest

from regrain import models


@pytest.fixture(scope="session")
def torch_model():
    return models.load()


@pytest.fixture(scope="session")
def onnx_model():
    pytest.importorskip("onnxruntime")
    return models.load(device="onnx")
