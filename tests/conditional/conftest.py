"""What these tests share: the shipped weights as torch runs them and as ONNX Runtime does."""

import pytest

from conditional.tiny import DEVICES, in_floats, shipped
from regrain.conditional.codec import ConditionalModel


@pytest.fixture(scope="session")
def torch_model() -> ConditionalModel:
    return shipped("cpu")


@pytest.fixture(scope="session")
def onnx_model() -> ConditionalModel:
    return shipped("onnx")


@pytest.fixture(scope="session")
def float_model() -> ConditionalModel:
    """The shipped weights on ONNX Runtime, without bytes."""
    return in_floats()


@pytest.fixture(scope="session", params=DEVICES)
def model(request) -> ConditionalModel:
    """The shipped weights on either backend."""
    return shipped(request.param)
