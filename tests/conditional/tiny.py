"""What these tests share: a small shape, and codecs of random weights on both backends."""

from functools import cache
from importlib.resources import as_file

import numpy as np
import torch

from regrain import registry, torch_checkpoint
from regrain.bitstream import Method
from regrain.conditional.codec import ConditionalModel
from regrain.conditional.config import ModelConfig, TransformConfig
from regrain.diffusion.unet import DenoiserConfig
from regrain.onnx.byte_convolution import without_ranges
from regrain_lab.trainable.codec import ConditionalCodec, freeze

SMALL = ModelConfig(
    transform=TransformConfig(widths=(8, 8, 8), latent=12, hyper=6, hyper_width=8, anchors=3),
    denoiser=DenoiserConfig(widths=(8, 8, 8), depths=(1, 1, 1), embedding=8),
)
DEVICES = ("onnx", "cpu")
WIDE = 0.375
"""3 nats of the offsets: wide scales, as untrained latents are wide."""


def codec(config: ModelConfig = SMALL, seed: int = 5, noise: float = 0.0, offset: float = WIDE) -> ConditionalCodec:
    """An untrained codec, for inference; `noise` moves every weight, those too that begin at zero."""
    torch.manual_seed(seed)
    made = ConditionalCodec(config).eval().requires_grad_(False)
    if noise:
        for name, parameter in made.named_parameters():
            if not name.startswith(("latents.gain", "latents.prior", "latents.offset")):
                parameter.add_(torch.randn_like(parameter), alpha=noise)
    made.latents.offset.add_(offset)
    return made


def arrays(tensors: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """Tensors as a weights file gives them to the codec."""
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def built(tensors: dict[str, torch.Tensor], config: ModelConfig, device: str) -> ConditionalModel:
    """The codec of frozen tensors on a device."""
    return ConditionalModel.build(arrays(tensors), config.to_dict(), device)


def both(trained: ConditionalCodec) -> tuple[ConditionalModel, ConditionalModel]:
    """The codec frozen, on torch and on ONNX Runtime."""
    tensors = freeze(trained)
    return built(tensors, trained.config, "cpu"), built(tensors, trained.config, "onnx")


def shipped(device: str, fingerprint: bytes = b"") -> ConditionalModel:
    """The package's weights on a device, the current ones or those of a fingerprint."""
    model = registry.model_for(None, Method.CONDITIONAL, device, fingerprint)
    assert isinstance(model, ConditionalModel)
    return model


@cache
def in_floats(fingerprint: bytes = b"") -> ConditionalModel:
    """The package's weights without ranges, on ONNX Runtime: nothing runs on bytes."""
    model = shipped("onnx", fingerprint)
    return ConditionalModel.build(without_ranges(model.arrays), model.config.to_dict(), "onnx")


def shipped_tensors() -> tuple[dict[str, torch.Tensor], dict]:
    """Tensors and metadata of the package's weights."""
    with as_file(registry.shipped_weights(Method.CONDITIONAL)) as path:
        return torch_checkpoint.load(path)
