"""A prior so small that a stream takes a second."""

import pytest
import torch

from regrain import torch_checkpoint
from regrain.diffusion.prior import Prior, PriorConfig

TINY = PriorConfig(widths=(8, 8, 8), depths=(1, 1, 1), embedding=8)


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "prior.safetensors"
    tensors = {name: tensor.half() for name, tensor in Prior(TINY).state_dict().items()}
    torch_checkpoint.save(path, tensors, {"kind": "prior", "config": TINY.to_dict(), "recipe": "tiny"})
    return path
