"""A teacher's weights file and a recipe that distils it, as small as `tiny`'s."""

from pathlib import Path

import torch
from torch import Tensor, nn

from lab.training.tiny import HEAD, tiny_codec
from regrain import torch_checkpoint
from regrain_lab.trainable.codec import freeze, latent_fingerprint
from regrain_lab.trainable.frozen import FrozenCodec

CPU = torch.device("cpu")
STUDENT_HEAD = HEAD.partition("[model.transform]")[0].replace("seed = 3", 'seed = 3\ntrains = "student"')
STAGES = """
[distill]
teacher = "teacher.safetensors"

[[stage]]
name = "direct"
steps = 2
batch = 2
crop = 64
sampling_steps = 4
continuous = 0.5

[[stage]]
name = "halve"
method = "progressive"
steps = 3
batch = 2
crop = 64
sampling_steps = 2

[[stage]]
name = "halve again"
method = "progressive"
steps = 3
batch = 2
crop = 64
sampling_steps = 1
"""


def shaken(module: nn.Module, size: float = 0.05) -> None:
    """Move all weights a little, so that nothing is zero that only starts so."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=size)


def write_teacher(path: Path, **about: object) -> Path:
    """Weights of a tiny codec whose denoiser does something."""
    codec = tiny_codec()
    shaken(codec.denoiser)
    tensors = freeze(codec)
    said = {"config": codec.config.to_dict(), "latent_fingerprint": latent_fingerprint(tensors).hex()}
    torch_checkpoint.save(path, tensors, {"recipe": "teacher", "step": 7, **said, **about})
    return path


def write_student(folder: Path, text: str = STUDENT_HEAD + STAGES) -> Path:
    """A recipe in a folder with `shards`, and the teacher that it names."""
    write_teacher(folder / "teacher.safetensors")
    path = folder / "tiny.toml"
    path.write_text(text, encoding="utf-8")
    return path


def origin(folder: Path) -> FrozenCodec:
    return FrozenCodec.load(write_teacher(folder / "teacher.safetensors"), CPU)


def full(count: int, value: float) -> Tensor:
    return torch.full((count,), value)
