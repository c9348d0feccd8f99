"""The shipped form says what the trainable whole said: frozen, read and thawed."""

import numpy as np
import pytest
import torch

from conditional.tiny import SMALL, arrays
from conditional.tiny import codec as small_codec
from regrain import torch_checkpoint
from regrain.conditional.config import ModelConfig
from regrain.conditional.torch_backend import TorchNetworks
from regrain.diffusion.unet import DenoiserConfig
from regrain.entropy import tables
from regrain.errors import ModelError
from regrain_lab.trainable.codec import ConditionalCodec, freeze, latent_fingerprint, thaw
from regrain_lab.trainable.frozen import FrozenCodec

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def codec() -> ConditionalCodec:
    return small_codec()


def test_building_the_shipped_form_draws_no_random_number(codec, tmp_path):
    torch_checkpoint.save(tmp_path / "w", freeze(codec), {"config": SMALL.to_dict()})
    before = torch.get_rng_state()
    FrozenCodec.load(tmp_path / "w", CPU)
    assert torch.equal(before, torch.get_rng_state())


def test_fingerprint_is_that_of_the_latents_alone(codec):
    tensors = freeze(codec)
    before = latent_fingerprint(tensors)
    changed = {k: v + 1 if k.startswith("denoiser.") else v for k, v in tensors.items()}
    assert latent_fingerprint(changed) == before
    for name in ("latents.offset", "latents.log_gain", "latents.z_tables", "latents.scale.0.weight"):
        assert latent_fingerprint(tensors | {name: tensors[name] + 1}) != before


def test_weights_of_another_kind_are_refused(codec, tmp_path):
    tensors, path = freeze(codec), tmp_path / "w.safetensors"
    with pytest.raises(ModelError, match="no weights there"):
        FrozenCodec.load(path, CPU)
    path.write_bytes(b"no weights")
    with pytest.raises(ModelError, match="cannot be read"):
        FrozenCodec.load(path, CPU)
    torch_checkpoint.save(path, tensors, {"config": SMALL.to_dict()})
    assert FrozenCodec.load(path, CPU).config == SMALL
    for name in ("latents.offset", "latents.log_gain"):
        for other in ({}, {name: tensors[name][:, :3]}, {name: tensors[name][0]}):
            torch_checkpoint.save(
                path, {**{n: t for n, t in tensors.items() if n != name}, **other}, {"config": SMALL.to_dict()}
            )
            with pytest.raises(ModelError, match="not weights of the conditional codec"):
                FrozenCodec.load(path, CPU)


@pytest.mark.parametrize("prediction", ["x0", "eps", "v"])
def test_predictions_are_one_word_away(prediction):
    config = ModelConfig(transform=SMALL.transform, denoiser=SMALL.denoiser, prediction=prediction)
    networks = TorchNetworks.build(arrays(freeze(small_codec(config))), config)
    x_t, y_hat = (torch.randn(shape).numpy() for shape in ((3, 32, 32), (12, 2, 2)))
    out = networks.denoise(x_t, 0.5, y_hat, 0.5, 1.0)
    assert out.shape == (3, 32, 32)
    assert np.isfinite(out).all()


def test_thawed_weights_freeze_to_what_they_were(codec):
    """All but the distributions of z, which are fitted to their tables and miss a hundredth of a bit at most."""
    with torch.no_grad():
        for parameter in codec.latents.prior.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    tensors, other = freeze(codec), ConditionalCodec(SMALL)
    thaw(other, tensors)
    again = freeze(other)
    assert again.keys() == tensors.keys()
    for name in tensors.keys() - {"latents.z_tables", "latents.log_gain"}:
        assert torch.equal(again[name], tensors[name]), name
    torch.testing.assert_close(again["latents.log_gain"], tensors["latents.log_gain"], rtol=1e-6, atol=1e-6)
    for one, two in zip(*(tables.unpack(t["latents.z_tables"].numpy()) for t in (tensors, again)), strict=True):
        share = one.counts / 65536
        assert float((share * (two.bits() - one.bits())).sum()) < 0.01


def test_weights_of_another_shape_do_not_thaw(codec):
    tensors = freeze(codec)
    wider = ConditionalCodec(ModelConfig(transform=SMALL.transform, denoiser=DenoiserConfig(widths=(8, 8, 16))))
    with pytest.raises(ModelError, match="another shape"):
        thaw(wider, tensors)
    flat, few = (
        tables.pack([tables.freeze((np.arange(255) == 0) / 9e9, -127)] * 18),
        tensors["latents.z_tables"],
    )
    changes = {
        "latents.offset": [None, tensors["latents.offset"].T],
        "latents.log_gain": [torch.zeros(()), tensors["latents.log_gain"].flip(0), 1e9 * tensors["latents.log_gain"]],
        "latents.z_tables": [few.to(torch.bfloat16), few[:-1], torch.from_numpy(flat)],
        "denoiser.blocks4.1.conv1.bias": [torch.zeros(8).half()],
        "analysis.1.weight": [torch.zeros(3).half()],
    }
    for name, values in changes.items():
        for value in values:
            hurt = {k: v for k, v in (tensors | {name: value}).items() if v is not None}
            with pytest.raises(ModelError):
                thaw(ConditionalCodec(SMALL), hurt)
