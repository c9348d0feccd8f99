"""The codec of a weights file whose latents stay as they are, for what trains behind them.

    y_hat = (round(gain g_a(x) - mean) + mean) / gain          as a file gives it: rounded, no noise

Tests hold that y_hat is what encoding and decoding give.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from regrain import registry, torch_checkpoint
from regrain.bitstream import Method
from regrain.conditional.coding_order import CodingStep
from regrain.conditional.config import HYPER_MAX, STRIDE, ModelConfig
from regrain.conditional.context_model import check_anchors, interpolate_gain
from regrain.conditional.edges import noise_gate
from regrain.conditional.encode import correct_latents
from regrain.conditional.torch_backend import TorchNetworks
from regrain.conditional.transform import HyperAnalysis, MeanBranch
from regrain.entropy.integer import QUALITY_TOP, interpolate_offsets
from regrain.errors import ModelError, UsageError
from regrain.onnx.byte_convolution import RANGES
from regrain_lab.trainable.context_model import code_steps
from regrain_lab.trainable.latents import pad_to_hyper
from regrain_lab.trainable.wall import ScaleBranch, build_scale

__all__ = ["FrozenCodec", "guides", "noise_gates", "quantized_latents", "with_network"]


def with_network(tensors: Mapping[str, Tensor], prefix: str, network: nn.Module) -> dict[str, Tensor]:
    """The tensors of a file, to the bit, but for those named `prefix`*, which are the network's as float16.

    Ranges of the network that was there are left out: they are not this one's.
    """
    former = prefix, f"{RANGES}{prefix}"
    others = {name: tensor for name, tensor in tensors.items() if not name.startswith(former)}
    return others | {f"{prefix}{name}": tensor.half() for name, tensor in network.state_dict().items()}


@dataclass(frozen=True, eq=False)
class FrozenCodec:
    """A weights file: its tensors, its metadata, the networks that it holds, and the integer wall on torch.

    The wall is in float64: autocast leaves it alone, and no backend has Winograd transforms for it, which compute whole
    sums from fractions (NNPACK's, in float32, miss three indices in a thousand).
    """

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, Any]
    networks: TorchNetworks
    scale: ScaleBranch

    @classmethod
    def load(cls, path: Path | None, device: torch.device) -> Self:
        """Read it; None is the package's. Raises ModelError if it is missing, damaged, or of another kind."""
        if path is not None and not path.exists():
            raise ModelError(f"{path}: no weights there; teacher is a file of weights, or empty for the package's")
        with as_file(registry.shipped_weights(Method.CONDITIONAL)) as shipped:
            tensors, metadata = torch_checkpoint.load(path or shipped)
        name = path or "the package"
        try:
            codec = cls._build(tensors, metadata, device)
        except (KeyError, ModelError, UsageError) as error:
            reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else error
            raise ModelError(f"{name}: not weights of the conditional codec: {reason}") from None
        if codec.config.prediction == "eps":
            raise ModelError(f"{name}: it predicts eps, which at t = 1 says nothing of x_0; x0 and v are allowed")
        return codec

    @classmethod
    def _build(cls, tensors: dict[str, Tensor], metadata: dict[str, Any], device: torch.device) -> Self:
        config, arrays = ModelConfig.from_dict(metadata.get("config")), {k: v.numpy() for k, v in tensors.items()}
        check_anchors(arrays, (config.transform.anchors, config.transform.latent))
        networks = TorchNetworks.build(arrays, config, str(device))
        with torch.device("meta"):  # which draws no random number
            scale = build_scale(config.transform).double()
        scale = scale.to_empty(device="cpu").eval().requires_grad_(False)
        scale.set_integers(tensors)
        return cls(tensors, metadata, networks, scale)

    @property
    def config(self) -> ModelConfig:
        """The shapes of the networks."""
        return self.networks.config


@torch.no_grad()
def quantized_latents(codec: FrozenCodec, x: Tensor, quality: Tensor) -> Tensor:
    """y_hat (B, C, H/16, W/16) of x (B, 3, H, W), sides multiples of 16, as a file of each quality (B,) would give it.

    Qualities are in [0, 1], as a file can say them: wholes over QUALITY_TOP. As in encoding, nothing here runs under
    autocast. On a CPU the latents are those of a file to the bit.
    """
    scale, mean, hyper_analysis = _on_device(codec, x.device)
    levels: list[int] = (quality.double() * QUALITY_TOP).round().long().tolist()
    with torch.autocast(x.device.type, enabled=False):
        gain = _stacked([interpolate_gain(codec.tensors["latents.log_gain"].numpy(), q) for q in levels], x.device)
        offset = _stacked([interpolate_offsets(codec.tensors["latents.offset"].numpy(), q) for q in levels], x.device)
        pictures = zip(*(batch.cpu().numpy() for batch in (*codec.networks.g_a.parts(x), x)), strict=True)
        y = gain * _stacked([correct_latents(*picture)[0] for picture in pictures], x.device)
        z_hat = hyper_analysis(pad_to_hyper(y)).round().clamp(-HYPER_MAX, HYPER_MAX)

        def symbols(step: CodingStep, mean: Tensor, _index: Tensor) -> Tensor:
            residual: Tensor = y[:, step.channels] - mean
            return residual.round()

        coded = code_steps(scale, mean, z_hat, gain, offset, (y.shape[2], y.shape[3]), symbols)
        y_hat: Tensor = (coded.symbols + coded.mean) / gain
    return y_hat


@torch.no_grad()
def guides(codec: FrozenCodec, y_hat: Tensor, quality: Tensor, realism: Tensor) -> Tensor:
    """The pictures of one step without noise, which the sampler stands on, (B, 3, H, W) in [-1, 1].

    y_hat are latents (B, C, H/16, W/16); quality and realism (B,) are in [0, 1].
    """
    x_t = y_hat.new_zeros(len(y_hat), 3, STRIDE * y_hat.shape[2], STRIDE * y_hat.shape[3])
    return codec.networks.estimate(x_t, 1.0, y_hat, quality, realism).clamp(-1, 1)


def noise_gates(pictures: Tensor) -> Tensor:
    """How much noise enters where, (B, 1, H, W), of (B, 3, H, W) in [-1, 1]: see `conditional.edges`."""
    arrays = pictures.detach().float().cpu().numpy()
    return torch.from_numpy(np.stack([noise_gate(picture) for picture in arrays])).to(pictures.device)


def _stacked(arrays: list[Any], device: torch.device) -> Tensor:
    return torch.from_numpy(np.stack(arrays)).to(device)


def _on_device(codec: FrozenCodec, device: torch.device) -> tuple[ScaleBranch, MeanBranch, HyperAnalysis]:
    """The networks behind the latents. Coding always runs them on the CPU; training uses copies on its device."""
    own = codec.scale, codec.networks.h_s, codec.networks.h_a
    return own if device.type == "cpu" else _copies(codec, device)


@lru_cache(maxsize=1)
def _copies(codec: FrozenCodec, device: torch.device) -> tuple[ScaleBranch, MeanBranch, HyperAnalysis]:
    with torch.inference_mode(False):
        scale, mean, hyper_analysis = copy.deepcopy((codec.scale, codec.networks.h_s, codec.networks.h_a))
        return scale.to(device), mean.to(device), hyper_analysis.to(device)
