"""`regrain fine-tune FOLDER`: weights for your own kind of picture, from the ones that there are.

    decoder    the denoiser alone: every file stays as it is, and looks more like your pictures
    adapter    a little of everything, in a file of some hundred kilobytes (`regrain.adapter`); files are its own
    all        everything, with new latents

A tenth of the pictures is held out: a run ends when their loss no longer falls, and is measured on them.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.resources import as_file
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from regrain import adapter, checkpoint
from regrain.bitstream import Method
from regrain.checkpoint import Arrays
from regrain.conditional.config import ModelConfig
from regrain.errors import ModelError, OutputError, UsageError, reason
from regrain.image import to_bytes
from regrain.shipped import shipped_weights
from regrain_lab.metrics.lpips import Lpips
from regrain_lab.trainable.codec import ConditionalCodec, thaw
from regrain_lab.training import loop, validation, values
from regrain_lab.training.data import holdout_batch, members
from regrain_lab.training.ranges import add_ranges
from regrain_lab.training.recipe import DataConfig, DistillConfig, LossConfig, Recipe, Stage
from regrain_lab.training.validation import Row

__all__ = ["PARTS", "Outcome", "main"]

TRAINS: Final = {"decoder": "student", "adapter": "adapter", "all": "codec"}
PARTS: Final = tuple(TRAINS)
LOSS: Final = LossConfig(
    perceptual_weight=0.5, perceptual_scale=8.0, structure_scale=16.0, tone_weight=2.0, lattice_weight=10.0,
    rate_weight=(30.0, 0.06), balance=0.3,
)  # fmt: skip
"""That of recipes/perceptual.toml."""
STRUCTURE_ALONE: Final = 60.0
"""Scale of 1 - MS-SSIM where LPIPS is not at hand, and MS-SSIM alone says how pictures look."""
LEARNING_RATES: Final = {"decoder": (2e-4, 1e-5), "adapter": (2e-3, 1e-4), "all": (1.2e-3, 2e-5)}
VALIDATIONS, PATIENCE = 10, 3
RUN: Final = "run.json"
RANGE_PICTURES: Final = 24
"""Pictures that tell ranges beside those that are held out."""


@dataclass(frozen=True)
class Outcome:
    """The file of weights, and held-out rows by quality before and after."""

    weights: Path
    before: tuple[Row, ...]
    after: tuple[Row, ...]


def main(
    pictures: Path, out: Path, *, parts: str = "adapter", base: Path | None = None, steps: int = 600,
    lpips: Path | None = None, seed: int = 0, quiet: bool = False,
) -> Outcome:  # fmt: skip
    """Fine-tune `base`, or the package's weights, on a folder of pictures; goes on where a run in `out` was stopped.

    Without `lpips` (weights of LPIPS) MS-SSIM alone says how pictures look. Raises UsageError, ModelError, and what
    `loop.train` raises.
    """
    if parts not in PARTS:
        raise UsageError(f"parts is {parts!r}; allowed are {', '.join(PARTS)}")
    for name, value in (("steps", steps), ("seed", seed)):
        low, high = values.RANGES[name]
        if not low <= value <= high:
            raise UsageError(f"{name} is {value}; allowed are {low} to {high}")
    with as_file(shipped_weights(Method.CONDITIONAL)) as shipped:
        start = (base or shipped).resolve()
        shape, _ = _weights(start)
        recipe = _recipe(pictures.resolve(), start, shape, parts, steps, lpips, seed)
        _check_run(out, _run(pictures.resolve(), start, parts, lpips, seed))
        weights = loop.train(recipe, out, quiet=quiet) / loop.WEIGHTS
        held_out = holdout_batch(members(pictures.resolve(), recipe.data, held_out=True), recipe.data.holdout_crops)
        if parts != "adapter":  # which keeps the ranges of its base
            others = holdout_batch(members(pictures.resolve(), recipe.data, held_out=False), RANGE_PICTURES)
            add_ranges(weights, weights, _pixels(torch.cat([held_out, others])))
        judge = None if lpips is None else Lpips.load(lpips)
        before, after = (tuple(_rows(path, start, held_out, judge)) for path in (start, weights))
    return Outcome(weights, before, after)


def _run(pictures: Path, start: Path, parts: str, lpips: Path | None, seed: int) -> dict[str, str | int]:
    """What may not change while a run goes on: all but the number of steps."""
    files = (path for path in pictures.rglob("*") if path.is_file())
    named = sorted((str(path.relative_to(pictures)), path.stat().st_size) for path in files)
    digest = hashlib.sha256(json.dumps(named).encode()).hexdigest()
    base = hashlib.sha256(start.read_bytes()).hexdigest()
    return {"pictures": digest, "base": base, "parts": parts, "lpips": int(lpips is not None), "seed": seed}


def _check_run(out: Path, run: dict[str, str | int]) -> None:
    """Raise UsageError where `out` has a run of something else, by what stands in RUN; write it down otherwise."""
    path = out / RUN
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text(json.dumps(run, indent=1), encoding="utf-8")
        before = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OutputError(f"{path}: {reason(error)}") from error
    except ValueError:
        before = None
    if not isinstance(before, dict):
        raise UsageError(f"{path}: damaged; remove it, or name another --out")
    if other := [name for name in run if before.get(name) != run[name]]:
        raise UsageError(f"{out}: has a run with other {' and '.join(other)}; name another --out, or remove it")


def _recipe(
    pictures: Path, start: Path, shape: ModelConfig, parts: str, steps: int, lpips: Path | None, seed: int
) -> Recipe:
    every = max(1, steps // VALIDATIONS)
    stage = Stage(
        parts, steps, batch=8, crop=192, perceptual=(1.8, 1.8), structure=(0.6, 0.6),
        learning_rate=LEARNING_RATES[parts], method="none" if parts == "decoder" else "",
    )  # fmt: skip
    return Recipe(
        name="fine-tune", trains=TRAINS[parts], seed=seed, ema=0.99, warmup=20, checkpoint_every=every,
        validate_every=every, patience=PATIENCE, stage=(stage,),
        data=DataConfig(str(pictures), holdout_share=0.1, reduced=0.3),
        loss=_loss(lpips),
        model=replace(shape, sampler=False, fast=None) if parts == "all" else ModelConfig(),
        start="" if parts == "decoder" else str(start),
        distill=DistillConfig(teacher=str(start), method="none") if parts == "decoder" else DistillConfig(),
    )  # fmt: skip


def _loss(lpips: Path | None) -> LossConfig:
    """By LPIPS and MS-SSIM, or by MS-SSIM alone."""
    if lpips is None:
        return replace(LOSS, structure_scale=STRUCTURE_ALONE)
    return replace(LOSS, lpips=str(lpips.resolve()))


def _weights(path: Path, base: Path | None = None) -> tuple[ModelConfig, dict[str, torch.Tensor]]:
    """The shape and the tensors of weights, those of an adapter added to its base's."""
    arrays: Arrays
    arrays, about = checkpoint.load(path)
    if adapter.base_fingerprint(about) is not None:
        if base is None:
            raise ModelError(f"{path}: an adapter, which cannot be added to; name the weights that it comes from")
        arrays, about = adapter.load_adapted(base, arrays, about)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return ModelConfig.from_dict(about.get("config")), tensors


def _pixels(pictures: torch.Tensor) -> Iterator[NDArray[np.uint8]]:
    """Pictures (N, 3, H, W) in [-1, 1], one after the other, as (H, W, 3)."""
    for picture in pictures:
        yield to_bytes(picture.numpy(), False)


def _rows(path: Path, base: Path, pictures: torch.Tensor, lpips: Lpips | None) -> list[Row]:
    shape, tensors = _weights(path, base)
    codec = ConditionalCodec(shape).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    thaw(codec, tensors)
    with torch.no_grad():
        return validation.by_quality(codec, pictures, lpips)
