"""What these tests share: the shipped weights as torch runs them and as ONNX Runtime does."""

import pytest

from regrain import registry


@pytest.fixture(scope="session")
def torch_model():
    return registry.load()


@pytest.fixture(scope="session")
def onnx_model():
    pytest.importorskip("onnxruntime")
    return registry.load(device="onnx")
