"""The loop: recipe -> checkpoints, on a CPU, one GPU, or many under `torchrun` (through accelerate).

Every random draw of step k is a function of (seed, rank, k), and every sample of its number, so the state of a run is
weights, moving average, optimiser moments and k: a run killed at any moment goes on exactly from its last checkpoint.
Ctrl-C waits for the step that runs and writes a checkpoint; a second one does not wait.

The folder of a run holds `last.safetensors` (that state), `weights.safetensors` (the averaged weights as they ship; a
copy at src/regrain/weights/conditional.safetensors is the package's default) and `log` (for TensorBoard).
"""

import logging
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from regrain import checkpoint
from regrain.errors import OutputError, RegrainError, UsageError
from regrain.training import decoders
from regrain.training.config import Recipe, Stage, read_recipe
from regrain.training.data import Crops, batches, holdout_batch, members
from regrain.training.objective import Rules
from regrain.training.state import State
from regrain.training.trainee import Trainee

__all__ = ["main", "train"]

log = logging.getLogger(__name__)
BAD_STEPS_IN_A_ROW = 10
LAST = "last.safetensors"
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Position:
    """Where step k of a run stands: its stage, the step within it, and the number of its first sample."""

    stage: Stage
    step: int
    sample: int


def position(recipe: Recipe, step: int) -> Position | None:
    """The position of a step of the whole run; None once the run is over."""
    sample = 0
    for stage in recipe.stage:
        if step < stage.steps:
            return Position(stage, step, sample + step * stage.batch)
        step -= stage.steps
        sample += stage.steps * stage.batch
    return None


def learning_rate(recipe: Recipe, step: int, where: Position) -> float:
    """Cosine from the stage's first rate to its last, after a linear warm-up of the run."""
    first, last = where.stage.learning_rate
    wave = 0.5 * (1 + math.cos(math.pi * where.step / max(1, where.stage.steps)))
    return (last + (first - last) * wave) * min(1.0, (step + 1) / max(1, recipe.warmup))


@contextmanager
def held_interrupt() -> Iterator[Callable[[], bool]]:
    """Within, the first Ctrl-C only turns what the given function says to True; the next one acts as ever."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def ask(_number: int, _frame: object) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def main(recipe_path: Path, *, out: Path | None = None, quiet: bool = False) -> Path:
    """Train a recipe, resuming where its last checkpoint stands. Returns the folder of the run.

    Raises UsageError for what is wrong in the recipe or its data, and what `train` raises.
    """
    recipe = read_recipe(recipe_path)
    if recipe.trains == "student":
        raise UsageError(f"{recipe_path}: trains is 'student'; regrain distill runs this recipe")
    return train(recipe, out or recipe.path(recipe.out) / recipe.name, quiet=quiet)


def train(recipe: Recipe, out: Path, *, quiet: bool = False) -> Path:
    """Run all stages that are left; `quiet` draws no progress bar.

    Raises ModelError for a checkpoint that cannot be resumed, OutputError, RegrainError if the loss stays not finite,
    and KeyboardInterrupt; the last good checkpoint is then intact.
    """
    accelerator = Accelerator(
        mixed_precision="bf16" if _bfloat16(recipe.precision) else "no",
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )
    _check_shares(recipe, accelerator.num_processes)
    torch.manual_seed(recipe.seed)
    subject = decoders.of(recipe, accelerator.device)
    if not (out / LAST).exists():
        subject.begin()
    state = State(subject.network, recipe.ema, subject.teacher)
    state.resume(out / LAST)
    bar = accelerator.is_main_process and not quiet and sys.stderr.isatty()
    Run(recipe, out, accelerator, state, subject, bar=bar).all_stages()
    return out


def _bfloat16(precision: str) -> bool:
    """Whether networks run forward in bfloat16; on a CPU only if asked: most are many times slower in it."""
    if precision == "auto":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return precision == "bfloat16"


def _check_shares(recipe: Recipe, ranks: int) -> None:
    for stage in recipe.stage:
        if stage.batch % ranks:
            raise UsageError(
                f"stage {stage.name!r}: batch is {stage.batch}; {ranks} processes need a multiple of {ranks}"
            )


class Run:
    """One process's share of a training run."""

    def __init__(
        self, recipe: Recipe, out: Path, accelerator: Accelerator, state: State, subject: Trainee, *, bar: bool
    ) -> None:
        """Open the data and the log; wrap the objective for its device."""
        self.recipe, self.out, self.accelerator, self.state, self.bar = recipe, out, accelerator, state, bar
        self.subject = subject
        folder = recipe.path(recipe.data.shards)
        self.crops = Crops(members(folder, recipe.data, held_out=False), recipe.seed, recipe.data)
        self.holdout = self._holdout(folder)
        self.objective = accelerator.prepare_model(subject.objective())
        self.writer = self._open() if accelerator.is_main_process else None
        self.bad = 0

    def _holdout(self, folder: Path) -> Tensor | None:
        data = self.recipe.data
        if not data.holdout or not self.accelerator.is_main_process:
            return None
        return holdout_batch(members(folder, data, held_out=True), data.holdout_crops).to(self.accelerator.device)

    def _open(self) -> SummaryWriter:
        """The log, without what was logged after the checkpoint; what a killed run left half-written goes too."""
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            for stale in self.out.glob(".*.safetensors.*.tmp"):
                stale.unlink()
            return SummaryWriter(str(self.out / "log"), purge_step=self.state.step + 1)
        except OSError as error:
            raise OutputError(f"{self.out}: cannot be written: {error.strerror or error}") from None

    def all_stages(self) -> None:
        """Train from the state's step to the end; checkpoint, validate and log on the way."""
        total, done = self.recipe.steps, self.state.step
        try:
            with (
                held_interrupt() as interrupted,
                logging_redirect_tqdm(),
                tqdm(total=total, initial=done, disable=not self.bar, unit="step") as bar,
            ):
                while (where := position(self.recipe, self.state.step)) is not None:
                    for scalars in self._stage(where):
                        bar.set_postfix({k: f"{v:.3f}" for k, v in scalars.items()}, refresh=False)
                        bar.update()
                        if interrupted():
                            self._stop()
            self._validate()  # first, since weights may carry what it finds
            self._save()
        finally:
            if self.writer:
                self.writer.close()

    def _stop(self) -> None:
        if not self.bad:
            self._save()
        self._say("interrupted at step %d; the same command goes on from there", self.state.step)
        raise KeyboardInterrupt(f"interrupted at step {self.state.step}")

    def _stage(self, where: Position) -> Iterator[dict[str, float]]:
        """The steps of one stage that are left."""
        ranks, rank, stage = self.accelerator.num_processes, self.accelerator.process_index, where.stage
        self._say("stage %s: step %d of %d", stage.name, where.step, stage.steps)
        if where.step == 0 and stage.freeze_latents and not self._frozen_before():
            self.state.settle()
        if where.step == 0 and self.subject.promotes(stage):
            self.state.promote()
        share = stage.batch // ranks
        loader = batches(
            self.crops, first=where.sample + rank * share, stride=stage.batch, steps=stage.steps - where.step,
            batch=share, crop=stage.crop, workers=self.recipe.data.workers,
        )  # fmt: skip
        for x in loader:
            yield self._step(x.to(self.accelerator.device).contiguous(memory_format=torch.channels_last))

    def _frozen_before(self) -> bool:
        before = position(self.recipe, self.state.step - 1) if self.state.step else None
        return before is not None and before.stage.freeze_latents

    def _step(self, x: Tensor) -> dict[str, float]:
        step, start = self.state.step, time.monotonic()
        where = position(self.recipe, step)
        assert where is not None
        torch.manual_seed((self.recipe.seed << 40) + (self.accelerator.process_index << 32) + step)
        scalars = self.objective(x, Rules.at(where.stage, where.step))
        self.state.zero_grad()
        self.accelerator.backward(scalars["loss"])
        gradient = self.accelerator.clip_grad_norm_(self.state.network.parameters(), self.recipe.clip)
        means = self.accelerator.reduce(torch.stack([value.detach() for value in scalars.values()]), "mean")
        values = dict(zip(scalars, means.tolist(), strict=True)) | {"gradient": float(gradient)}
        values["learning_rate"] = learning_rate(self.recipe, step, where)
        self._update(values)
        self._report(values | {"seconds": time.monotonic() - start})
        return {name: values[name] for name in self.subject.shown}

    def _update(self, values: dict[str, float]) -> None:
        """Take the step, or skip it if it is not finite; stop when that goes on."""
        if math.isfinite(values["loss"]) and math.isfinite(values["gradient"]):
            self.bad = 0
            self.state.update(values["learning_rate"])
            return
        self.bad += 1
        log.warning("step %d: loss %s, gradient %s: skipped", self.state.step, values["loss"], values["gradient"])
        self.state.skip()
        if self.bad >= BAD_STEPS_IN_A_ROW:
            raise RegrainError(f"the loss is not finite for {self.bad} steps; {self.out / LAST} is the last good state")

    def _report(self, values: dict[str, float]) -> None:
        step = self.state.step
        if self.writer:
            for name, value in values.items():
                self.writer.add_scalar(f"train/{name}", value, step)
        if step % self.recipe.checkpoint_every == 0 and not self.bad:
            self._save()
        if step % self.recipe.validate_every == 0 and step < self.recipe.steps:
            self._validate()

    def _say(self, message: str, *values: object) -> None:
        if self.accelerator.is_main_process:
            log.info(message, *values)

    def _save(self) -> None:
        if self.accelerator.is_main_process:
            self.state.save(self.out / LAST)
            self._save_weights()

    def _save_weights(self) -> None:
        with self.state.averaged():
            tensors, about = self.subject.frozen()
        checkpoint.save(self.out / WEIGHTS, tensors, {"recipe": self.recipe.name, "step": self.state.step} | about)

    def _validate(self) -> None:
        if self.writer is None or self.holdout is None:
            return
        with self.state.averaged():
            rows = self.subject.validate(self.holdout)
        for row in rows:
            log.info("step %d: %s", self.state.step, row)
            for name, value in row.scalars().items():
                self.writer.add_scalar(f"holdout/{name}", value, self.state.step)
