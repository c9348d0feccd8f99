"""A palette model so small that a picture takes a moment, and pictures for it."""

import numpy as np
import pytest
import torch

from regrain import torch_checkpoint
from regrain.diffusion.prior import Prior, PriorConfig
from regrain.palette.autoencoder import Autoencoder, AutoencoderConfig, freeze
from regrain.palette.codec import PaletteModel

SMALL = AutoencoderConfig(encoder=(8, 8), encoder_depths=(1, 1), decoder=(8, 8), decoder_depths=(1, 1), half=6)
PRIOR = PriorConfig(widths=(8, 8, 8), depths=(1, 1, 1), embedding=8, channels=4, patch=1)


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """A weights file: random, but with latents that follow the picture and pictures that follow the latents."""
    torch.manual_seed(5)
    network, prior = Autoencoder(SMALL), Prior(PRIOR)
    for parameter in network.decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    torch.nn.init.normal_(prior.leave.weight, std=0.05)
    tensors, about = freeze(network, torch.zeros(4), torch.ones(4))
    tensors |= {f"denoiser.{name}": tensor.half() for name, tensor in prior.state_dict().items()}
    path = tmp_path_factory.mktemp("palette") / "palette.safetensors"
    torch_checkpoint.save(path, tensors, {**about, "config": PRIOR.to_dict(), "recipe": "tiny"})
    return path


@pytest.fixture(scope="session", params=["onnx", "cpu"])
def model(weights, request):
    """That file, loaded: for ONNX Runtime, and for torch."""
    if request.param == "onnx":
        pytest.importorskip("onnxruntime")
    return PaletteModel.load(weights, request.param)


@pytest.fixture
def photo():
    """(height, width) -> pixels (height, width, 3) of smooth waves."""

    def made(height, width):
        row, column = np.mgrid[:height, :width] / 9
        waves = np.stack([np.sin(row), np.cos(column), np.sin(row + column)], 2)
        return (127.5 + 90 * waves).astype(np.uint8)

    return made
