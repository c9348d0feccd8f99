"""Any codec, frozen, is the same codec in torch and in ONNX Runtime."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("onnxruntime")

from regrain.conditional.frozen import Model as TorchModel
from regrain.conditional.frozen import freeze
from regrain.conditional.model import ConditionalCodec, ModelConfig
from regrain.conditional.transform import TransformConfig
from regrain.diffusion.unet import DenoiserConfig
from regrain.onnx.model import Model

SIZE, SLICES = (5, 7), [(), (2, 5), (3,), (40,)]


def both(config: ModelConfig, seed: int) -> tuple[TorchModel, Model]:
    """A codec of random weights, as either room has it."""
    torch.manual_seed(seed)
    codec = ConditionalCodec(config)
    with torch.no_grad():
        for name, parameter in codec.named_parameters():
            if name.startswith(("latents.scale", "latents.mean", "denoiser")):
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
        codec.latents.offset.add_(0.2)
    tensors = freeze(codec)
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    return TorchModel.build(tensors, config.to_dict()), Model.build(arrays, config.to_dict())


@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 12), st.integers(1, 6), st.sampled_from(SLICES), st.integers(2, 4),
    st.sampled_from(["x0", "eps", "v"]), st.integers(0, 25600), st.integers(0, 99),
)  # fmt: skip
def test_a_codec_of_any_shape(latent, hyper, slices, anchors, prediction, quality, seed):
    transform = TransformConfig((4, 4, 4), latent, hyper, 6, anchors, slices, context=5, shared=3)
    denoiser = DenoiserConfig(widths=(5, 6, 7), depths=(1, 0, 2), half=2, embedding=4)
    torch_model, model = both(ModelConfig(transform, denoiser, prediction), seed)
    assert model.fingerprint == torch_model.fingerprint
    draw, found = np.random.default_rng(seed), np.zeros((latent, *SIZE), np.int64)
    z_hat, symbols = (draw.integers(-99, 100, shape, dtype=np.int32) for shape in ((hyper, 2, 2), (latent, *SIZE)))

    def read(part, ids):
        """The symbols that are known; `found` keeps the indices."""
        place = part.places(*SIZE)
        found[part.channels, place] = ids
        return symbols[part.channels, place]

    known = torch.from_numpy(symbols).float()[None]
    walked = torch_model.latents.walk(torch.from_numpy(z_hat), quality, SIZE, lambda part, *_: known[:, part.channels])
    again, y_hat = model.latents.walk(z_hat, quality, SIZE, read)
    wanted = ((known + walked.mean) / torch_model.latents.gain(quality))[0]
    assert np.array_equal(again, symbols)
    assert np.array_equal(found, walked.scale_index[0].numpy())
    np.testing.assert_allclose(y_hat, wanted, rtol=1e-3, atol=1e-3)
    x_t, cond = draw.standard_normal((3, 80, 112)).astype(np.float32), wanted.numpy()
    one = model.denoise(x_t, 0.7, cond, quality, 0.5)
    other = torch_model.denoise(torch.from_numpy(x_t), 0.7, wanted, quality, 0.5)
    np.testing.assert_allclose(one, other.numpy(), atol=2e-3)


def test_a_model_is_one_line(onnx_model):
    assert repr(onnx_model) == f"<conditional model, latents {onnx_model.fingerprint.hex()}, on onnx>"
