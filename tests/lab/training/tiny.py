"""A recipe, shards and networks so small that a run takes a second."""

import csv
import io
import tarfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from regrain.conditional.config import ModelConfig, TransformConfig
from regrain.diffusion.unet import DenoiserConfig
from regrain_lab.trainable.codec import ConditionalCodec

MODEL = ModelConfig(
    TransformConfig(widths=(4, 8, 8), latent=8, hyper=4, hyper_width=8, anchors=2),
    DenoiserConfig(widths=(8, 8, 8), depths=(1, 1, 1), embedding=8),
)

HEAD = """
name = "tiny"
seed = 3
out = "runs"
ema = 0.9
warmup = 2
checkpoint_every = 2
validate_every = 4

[data]
shards = "shards"
licence_classes = ["free"]
holdout = ["held/out"]
exclude = ["kept/away"]
holdout_crops = 2

[model.transform]
widths = [4, 8, 8]
latent = 8
hyper = 4
hyper_width = 8
anchors = 2

[model.denoiser]
widths = [8, 8, 8]
depths = [1, 1, 1]
embedding = 8
"""

STAGES = """
[[stage]]
name = "warm-up"
steps = 3
batch = 2
crop = 64
rate = [0.02, 0.2]

[[stage]]
name = "latents"
steps = 2
batch = 4
crop = 64

[[stage]]
name = "denoiser"
steps = 3
batch = 2
crop = 64
freeze_latents = true
continuous = 0.5
"""

ROWS = [
    ("a/free", "free", 80), ("a/free", "free", 64), ("b/free", "free", 96), ("held/out", "free", 64),
    ("kept/away", "free", 64), ("c/nc", "noncommercial", 64), ("held/out", "free", 130), ("b/free", "free", 72),
    ("held/out", "noncommercial", 64),
]  # fmt: skip
"""Repository, licence class and side of each picture; the first five are in the first shard."""


def picture(number: int, side: int) -> bytes:
    """A PNG of smooth waves: red is `number` at the top left, so that a crop tells where it is from."""
    y, x = np.mgrid[:side, :side] / side
    waves = [np.full_like(x, number / 255), 0.5 + 0.4 * np.sin(5 * x + number), 0.5 + 0.4 * np.cos(7 * y - number)]
    file = io.BytesIO()
    Image.fromarray((255 * np.stack(waves, axis=2)).round().astype(np.uint8)).save(file, "png")
    return file.getvalue()


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def write_shards(folder: Path) -> Path:
    """Two shards and their index, as ROWS says; `folder` is made."""
    folder.mkdir(parents=True)
    with (folder / "index.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["shard", "key", "repository", "licence_class"])
        for number, (repository, licence, _side) in enumerate(ROWS):
            writer.writerow([shard_of(number), f"{number:04}", repository, licence])
    for shard in {shard_of(number) for number in range(len(ROWS))}:
        with tarfile.open(folder / shard, "w") as tar:
            for number, (_repository, _licence, side) in enumerate(ROWS):
                if shard_of(number) == shard:
                    add(tar, f"{number:04}.png", picture(number, side))
                    add(tar, f"{number:04}.txt", b"not a picture")
    return folder


def shard_of(number: int) -> str:
    return f"train-{number // 5:03}.tar"


def write_recipe(folder: Path, text: str = HEAD + STAGES) -> Path:
    path = folder / "tiny.toml"
    path.write_text(text, encoding="utf-8")
    return path


def tiny_codec(prediction: str = "x0") -> ConditionalCodec:
    torch.manual_seed(1)
    config = ModelConfig(MODEL.transform, MODEL.denoiser, prediction=prediction)
    return ConditionalCodec(config).to(memory_format=torch.channels_last)


def crops(count: int = 2, side: int = 64) -> Tensor:
    """Smooth random pictures (count, 3, side, side) in [-1, 1]."""
    coarse = torch.rand(count, 3, 5, 5, generator=torch.Generator().manual_seed(2))
    fine = nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)
    return (2 * fine - 1).contiguous(memory_format=torch.channels_last)
