"""Pipelines in diffusers' layout, so small that one is made, saved and loaded in a fraction of a second."""

import json
from contextlib import nullcontext
from functools import cache
from pathlib import Path

import pytest
import torch

from regrain.errors import ModelError
from regrain.palette.codec import PaletteModel

WIDTHS, PROMPT_WIDTH = (8, 8, 8, 8), 6


def kl(**config):
    from diffusers import AutoencoderKL

    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    return AutoencoderKL(
        **{"block_out_channels": WIDTHS, "norm_num_groups": 4, "latent_channels": 4, **blocks, **config}
    )


def tiny(**config):
    from diffusers import AutoencoderTiny

    return AutoencoderTiny(
        **{
            "encoder_block_out_channels": WIDTHS,
            "decoder_block_out_channels": WIDTHS,
            "num_encoder_blocks": (1, 1, 1, 1),
            "num_decoder_blocks": (1, 1, 1, 1),
            **config,
        }
    )


def unconditional(channels=4, **config):
    from diffusers import UNet2DModel

    return UNet2DModel(
        **{
            "in_channels": channels,
            "out_channels": channels,
            "block_out_channels": WIDTHS[:3],
            "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
            "layers_per_block": 1,
            "norm_num_groups": 4,
            "attention_head_dim": 4,
            **config,
        }
    )


def conditional(channels=4, **config):
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        **{
            "in_channels": channels,
            "out_channels": channels,
            "block_out_channels": WIDTHS[:2],
            "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
            "layers_per_block": 1,
            "norm_num_groups": 4,
            "attention_head_dim": 4,
            "cross_attention_dim": PROMPT_WIDTH,
            **config,
        }
    )


def load(place):
    """The model of a folder or a hub id."""
    return PaletteModel.load(Path(place))


AUTOENCODERS = {"kl": kl, "tiny": tiny}
DENOISERS = {"unconditional": unconditional, "conditional": conditional}


def ddpm(**config):
    from diffusers import DDPMScheduler

    return DDPMScheduler(**{"beta_schedule": "scaled_linear", "clip_sample": False, **config})


def lay_out(folder, vae=None, unet=None, scheduler=None):
    """Save what is given where a pipeline has it."""
    for name, part in (("vae", vae), ("unet", unet), ("scheduler", scheduler)):
        if part is not None:
            part.save_pretrained(folder / name)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    return folder


@cache
def made(kind):
    """The parts of a pipeline whose denoiser is "unconditional" or "conditional", which wants a prompt; made once."""
    torch.manual_seed(0)
    return kl(), DENOISERS[kind](), ddpm()


def pipeline(folder, kind="unconditional"):
    return lay_out(folder, *made(kind))


def cached(cache, hub_id, **parts):
    """Save what is given as the local Hugging Face cache has it."""
    repository = cache / f"models--{hub_id.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    return lay_out(repository / "snapshots" / ("0" * 40), **parts)


def edit(path, **changes):
    """Change a JSON file; a value of None takes its key away."""
    data = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in data.items() if value is not None}))


def weights(part):
    return part / "diffusion_pytorch_model.safetensors"


def raw_latents(network, x):
    """What diffusers' own autoencoder makes of a picture, before normalisation."""
    with torch.no_grad():
        code = network.eval().encode(x[None])
    return (code.latents if hasattr(code, "latents") else code.latent_dist.mean)[0]


def refused(place, *words):
    """Hold that a place is refused in one line that has these words."""
    with pytest.raises(ModelError) as caught:
        load(place)
    message = str(caught.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == [], message


def hide_accelerate(monkeypatch):
    """It is not in the extra; diffusers loads in another way without it, and its older versions draw weights first."""
    monkeypatch.setattr("diffusers.models.modeling_utils.is_accelerate_available", lambda: False)
    monkeypatch.setattr("diffusers.models.modeling_utils.no_init_weights", nullcontext, raising=False)


def picture(height=64, width=48, seed=1):
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def encoded(space, x):
    """The latents of a picture, a tensor for a tensor."""
    return torch.from_numpy(space.encode(x.numpy()))


def decoded(space, z):
    """The picture of latents, a tensor for a tensor."""
    return torch.from_numpy(space.decode(z.numpy()))


def denoised(denoiser, z_t, log_snr):
    """The estimate of z_0, a tensor for a tensor."""
    return torch.from_numpy(denoiser.denoise(z_t.numpy(), log_snr))


def latents(*shape, seed=2):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
