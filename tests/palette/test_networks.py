import math

import pytest
import torch

pytest.importorskip("diffusers")
from palette import stable
from palette.stable import load


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def folder(tmp_path):
    """A pipeline that wants no prompt."""
    return stable.pipeline(tmp_path / "photos")


@pytest.mark.parametrize("kind", stable.AUTOENCODERS)
def test_pictures_and_latents_have_their_shapes_and_ranges(tmp_path, kind):
    space = load(stable.lay_out(tmp_path, stable.AUTOENCODERS[kind]())).space
    z = stable.encoded(space, stable.picture(64, 48))
    x_hat = stable.decoded(space, 100 * z)
    assert (z.shape, x_hat.shape) == ((4, 8, 6), (3, 64, 48))
    assert z.dtype == x_hat.dtype == torch.float32
    assert x_hat.abs().max() <= 1


@pytest.mark.parametrize("widths", [(8, 8), (8, 8, 8)])
def test_the_stride_is_the_autoencoders_own(tmp_path, widths):
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * len(widths)}
    blocks["up_block_types"] = ("UpDecoderBlock2D",) * len(widths)
    space = load(stable.lay_out(tmp_path, stable.kl(block_out_channels=widths, latent_channels=3, **blocks))).space
    assert stable.encoded(space, stable.picture(16, 32)).shape == (3, 16 // space.stride, 32 // space.stride)


NORMALISATIONS = [
    ("kl", {}, lambda raw: 0.18215 * raw),
    ("kl", {"scaling_factor": 1.5, "shift_factor": 0.1}, lambda raw: 1.5 * (raw - 0.1)),
    (
        "kl",
        {"scaling_factor": 0.5, "latents_mean": [1.0, 2.0, 3.0, 4.0], "latents_std": [1.0, 2.0, 4.0, 8.0]},
        lambda raw: (
            0.5 * (raw - torch.tensor([1.0, 2, 3, 4])[:, None, None]) / torch.tensor([1.0, 2, 4, 8])[:, None, None]
        ),
    ),
    ("tiny", {}, lambda raw: raw),
    ("tiny", {"scaling_factor": 2.0}, lambda raw: 2 * raw),
]


@pytest.mark.parametrize(("kind", "config", "normalise"), NORMALISATIONS)
def test_latents_are_normalised_as_the_config_says_and_back(tmp_path, kind, config, normalise):
    network = stable.AUTOENCODERS[kind](**config).eval()
    space, x = load(stable.lay_out(tmp_path, network)).space, stable.picture()
    raw = stable.raw_latents(network, x)
    torch.testing.assert_close(stable.encoded(space, x), normalise(raw), rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        theirs = network.decode(raw[None]).sample[0].clamp(-1, 1)
    torch.testing.assert_close(stable.decoded(space, normalise(raw)), theirs, rtol=1e-4, atol=1e-5)


def test_latents_are_drawn_from_nothing(folder):
    space, x = load(folder).space, stable.picture()
    assert torch.equal(stable.encoded(space, x), stable.encoded(space, x))


def test_a_window_with_its_halo_gives_the_pixels_of_the_whole(tmp_path):
    space = load(stable.lay_out(tmp_path, stable.tiny(num_decoder_blocks=(3, 3, 3, 1)))).space
    z, halo = stable.latents(4, 40, 40), space.halo
    whole, window = stable.decoded(space, z), stable.decoded(space, z[:, 16 - halo : 24 + halo, 16 - halo : 24 + halo])
    core = slice(halo * 8, halo * 8 + 64)
    torch.testing.assert_close(window[:, core, core], whole[:, 128:192, 128:192], rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", stable.DENOISERS)
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_at_the_schedules_levels_the_estimate_is_that_of_diffusers(tmp_path, kind, prediction):
    network, scheduler = stable.DENOISERS[kind]().eval(), stable.ddpm(prediction_type=prediction)
    denoiser = load(stable.lay_out(tmp_path, stable.kl(), network, scheduler)).denoiser
    given = {"encoder_hidden_states": torch.zeros(1, 1, stable.PROMPT_WIDTH)} if kind == "conditional" else {}
    z_t = stable.latents(4, 8, 12)
    for n in (0, 7, 250, 640, 999):
        kept = scheduler.alphas_cumprod[n].double().item()
        with torch.no_grad():
            output = network(z_t[None], n, **given).sample
        theirs = scheduler.step(output, n, z_t[None]).pred_original_sample[0]
        ours = stable.denoised(denoiser, z_t, math.log(kept / (1 - kept)))
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * theirs.abs().max().item())


@pytest.mark.parametrize(
    "config",
    [
        {"beta_schedule": "linear"},
        {"beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 100},
        {"rescale_betas_zero_snr": True},
        {"trained_betas": [0.1, 0.2, 0.5]},
    ],
)
def test_every_level_has_its_timestep(tmp_path, config):
    scheduler = stable.ddpm(**config)
    denoiser = load(stable.lay_out(tmp_path, stable.kl(), stable.unconditional(), scheduler)).denoiser
    network = denoiser.network
    levels = network.levels
    assert len(levels) == scheduler.config.num_train_timesteps or len(levels) == 3
    assert [network.timestep(level) for level in levels] == pytest.approx(range(len(levels)))
    assert network.timestep((levels[0] + levels[1]) / 2) == pytest.approx(0.5)
    assert (network.timestep(30), network.timestep(-30)) == (0, len(levels) - 1)


@pytest.mark.parametrize("sampler", ["EulerDiscreteScheduler", "PNDMScheduler", "DDIMScheduler"])
def test_the_config_of_any_sampler_gives_the_levels(tmp_path, sampler):
    import diffusers

    scheduler = getattr(diffusers, sampler)(beta_schedule="scaled_linear", prediction_type="v_prediction")
    denoiser = load(stable.lay_out(tmp_path, stable.kl(), stable.unconditional(), scheduler)).denoiser
    assert denoiser.network.prediction == "v"
    kept = scheduler.alphas_cumprod.double().numpy()
    assert 1 / (1 + math.e**-denoiser.network.levels) == pytest.approx(kept, rel=1e-6)


@pytest.mark.parametrize("kind", stable.DENOISERS)
@pytest.mark.parametrize("size", [(1, 1), (5, 8), (9, 3)])
def test_sides_that_the_network_cannot_take_are_padded_by_replication(tmp_path, kind, size):
    denoiser = load(stable.lay_out(tmp_path, stable.kl(), stable.DENOISERS[kind](), stable.ddpm())).denoiser
    z_t = stable.latents(4, *size)
    rows, columns = (
        torch.arange(-(-side // denoiser.multiple) * denoiser.multiple).clamp(max=side - 1) for side in size
    )
    whole = stable.denoised(denoiser, z_t[:, rows][:, :, columns], 0.5)
    assert stable.denoised(denoiser, z_t, 0.5).shape == z_t.shape
    torch.testing.assert_close(
        stable.denoised(denoiser, z_t, 0.5), whole[:, : size[0], : size[1]], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("log_snr", [-1000.0, -20.0, 20.0, 1000.0])
def test_levels_beyond_all_reason_stay_finite(folder, log_snr):
    assert stable.denoised(load(folder).denoiser, stable.latents(4, 4, 4), log_snr).isfinite().all()
