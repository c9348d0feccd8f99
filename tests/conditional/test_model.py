"""The trainable whole and its frozen form say the same thing."""

import numpy as np
import pytest
import torch

from regrain.conditional.decode import tile_symbols
from regrain.conditional.encode import analyse, encode_tiles
from regrain.conditional.frozen import Model, freeze, latent_fingerprint, thaw
from regrain.conditional.grid import tiles
from regrain.conditional.model import ConditionalCodec, ModelConfig
from regrain.conditional.transform import Gain, TransformConfig
from regrain.diffusion.unet import DenoiserConfig
from regrain.entropy import tables
from regrain.entropy.prior import gaussian_bits
from regrain.entropy.tables import scales
from regrain.errors import ModelError, UsageError

SMALL = ModelConfig(
    transform=TransformConfig(widths=(8, 8, 8), latent=12, hyper=6, hyper_width=8, anchors=3),
    denoiser=DenoiserConfig(widths=(8, 8, 8), depths=(1, 1, 1), embedding=8),
)


@pytest.fixture(scope="module")
def codec() -> ConditionalCodec:
    torch.manual_seed(5)
    made = ConditionalCodec(SMALL).eval()
    with torch.no_grad():
        made.latents.offset.add_(0.375)  # 3 nats: wide scales, as untrained latents are wide
    return made


@pytest.fixture(scope="module")
def model(codec) -> Model:
    return Model.build(freeze(codec), SMALL.to_dict())


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (128, 192, 3), dtype=np.uint8)


def test_config_survives_json():
    assert ModelConfig.from_dict(SMALL.to_dict()) == SMALL


def test_gain_rises_with_quality_and_hits_its_ends():
    gain = Gain(4, torch.tensor([1.0, 2.0, 0.25]), low=0.5, high=8.0)
    values = gain(torch.linspace(0, 1, 101))[:, :, 0, 0].detach()
    assert bool((values.diff(dim=0) > 0).all())
    torch.testing.assert_close(values[0], torch.tensor([0.5, 1.0, 0.125]))
    torch.testing.assert_close(values[-1], torch.tensor([8.0, 16.0, 2.0]))


@torch.no_grad()
def test_bytes_are_the_priors_estimate_of_their_symbols(codec, model, pixels):
    y = analyse(model, pixels)
    region = tiles(*y.shape[1:], 64)[0]
    for quality in (0, 8000, 25600):
        (payload,) = encode_tiles(model, y, quality, 1024)
        z, symbols = (torch.from_numpy(a) for a in tile_symbols(model, payload, 0, region, quality))
        scale = torch.from_numpy(scales())[model.latents.index(z, symbols, quality)]
        bits = gaussian_bits(symbols, scale).sum()
        bits += codec.latents.prior.bits(z[None].float(), codec.latents.anchor(torch.tensor([quality / 25600]))).sum()
        assert len(payload) == pytest.approx(float(bits) / 8, rel=0.01, abs=32)


@torch.no_grad()
def test_under_autocast_latents_are_coded_in_float32(codec):
    x, quality = torch.rand(2, 3, 64, 64) * 2 - 1, torch.tensor([0.2, 0.9])
    with torch.autocast("cpu", torch.bfloat16):
        y = codec.analysis(x)
        torch.manual_seed(0)
        coded = codec.code(x, quality)
    assert y.dtype == torch.float32  # the DCT is, and the sum with it
    z = codec.hyper_analysis(codec.latents.gain(quality) * y.float())
    torch.manual_seed(0)
    for found, wanted in zip(coded, codec.latents(y.float(), z, quality), strict=True):
        assert torch.equal(found, wanted)


def test_building_the_shipped_form_draws_no_random_number(codec):
    tensors, before = freeze(codec), torch.get_rng_state()
    Model.build(tensors, SMALL.to_dict())
    assert torch.equal(before, torch.get_rng_state())


def test_fingerprint_is_that_of_the_latents_alone(codec):
    tensors = freeze(codec)
    before = latent_fingerprint(tensors)
    changed = {k: v + 1 if k.startswith("denoiser.") else v for k, v in tensors.items()}
    assert latent_fingerprint(changed) == before
    for name in ("latents.offset", "latents.log_gain", "latents.z_tables", "latents.scale.0.weight"):
        assert latent_fingerprint(tensors | {name: tensors[name] + 1}) != before


def test_weights_of_another_kind_are_refused(codec, tmp_path):
    from regrain import checkpoint

    tensors = freeze(codec)
    path = tmp_path / "w.safetensors"
    with pytest.raises(ModelError, match="cannot be read"):
        Model.load(path)
    path.write_bytes(b"no weights")
    with pytest.raises(ModelError, match="cannot be read"):
        Model.load(path)
    del tensors["latents.offset"]
    checkpoint.save(path, tensors, {"config": SMALL.to_dict()})
    with pytest.raises(ModelError, match="not weights of the conditional codec"):
        Model.load(path)


@pytest.mark.parametrize("prediction", ["x0", "eps", "v"])
def test_predictions_are_one_word_away(prediction):
    config = ModelConfig(transform=SMALL.transform, denoiser=SMALL.denoiser, prediction=prediction)
    torch.manual_seed(1)
    model = Model.build(freeze(ConditionalCodec(config)), config.to_dict())
    out = model.denoise(torch.randn(3, 32, 32), 0.5, torch.randn(12, 2, 2), 12800, 1.0)
    assert out.shape == (3, 32, 32)
    assert float(out.abs().max()) <= 1


def test_an_unknown_prediction_is_refused():
    with pytest.raises((UsageError, ModelError), match="prediction"):
        ModelConfig(prediction="x1")


def test_scales_learn_from_rounded_symbols_and_latents_from_noise(codec):
    """The rate that training reports is that of the file; noise moves the latents alone."""
    trained = ConditionalCodec(SMALL)
    trained.load_state_dict(codec.state_dict())
    x, quality = torch.rand(2, 3, 64, 64) * 2 - 1, torch.tensor([0.3, 0.8])
    found, gradients = [], []
    for seed in (0, 1):
        torch.manual_seed(seed)
        trained.zero_grad()
        y = trained.analysis(x).detach().requires_grad_()
        coded = trained.latents(y, trained.hyper_analysis(trained.latents.gain(quality) * y).detach(), quality)
        (coded.y_bits + coded.z_bits).sum().backward()
        found.append(coded)
        gradients.append((y.grad, trained.latents.offset.grad.clone(), trained.latents.prior.log_scale.grad.clone()))
    exact = codec.code(x, quality)
    for coded in found:
        torch.testing.assert_close(coded.y_bits, exact.y_bits)
        torch.testing.assert_close(coded.z_bits, exact.z_bits)
    (moved, *fitted), (moved_again, *fitted_again) = gradients
    assert not torch.equal(moved, moved_again)
    for one, other in zip(fitted, fitted_again, strict=True):
        torch.testing.assert_close(one, other)


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
