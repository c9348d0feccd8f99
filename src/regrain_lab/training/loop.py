"""The loop: recipe -> checkpoints, on a CPU, one GPU, or many under `torchrun` (through accelerate).

Every random draw of step k is a function of (seed, rank, k), and every sample of its number, so the state of a run is
weights, moving average, optimiser moments and k: a run killed at any moment goes on exactly from its last checkpoint.
Ctrl-C, SIGTERM and SIGHUP wait for the step that runs and a checkpoint; a second one does not wait. An error between
two steps, such as a disk that fails or a process that dies, leaves a checkpoint too.

The folder of a run holds `last.safetensors` (that state), `weights.safetensors` (the averaged weights, as
they ship in src/regrain/weights under METHOD-FINGERPRINT.safetensors), `log` (for TensorBoard) and `log.csv`.
"""

import logging
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import Tensor
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from regrain import checkpoint
from regrain.errors import OutputError, RegrainError, UsageError
from regrain_lab.training import decoders
from regrain_lab.training.config import Recipe, Stage, read_recipe
from regrain_lab.training.data import Crops, batches, holdout_batch, members
from regrain_lab.training.journal import Journal, Lines
from regrain_lab.training.objective import Rules
from regrain_lab.training.state import State
from regrain_lab.training.stopping import held_signals
from regrain_lab.training.trainee import Trainee

__all__ = ["main", "train"]

log = logging.getLogger(__name__)
BAD_STEPS_IN_A_ROW = 10
UNSAVED_IN_A_ROW = 3
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


def main(recipe_path: Path, *, out: Path | None = None, quiet: bool = False) -> Path:
    """Train a recipe, resuming where its last checkpoint stands. Returns the folder of the run.

    Raises UsageError for what is wrong in the recipe or its data, and what `train` raises.
    """
    recipe = read_recipe(recipe_path)
    if recipe.trains == "student":
        raise UsageError(f"{recipe_path}: trains is 'student'; regrain distill runs this recipe")
    return train(recipe, out or recipe.path(recipe.out) / recipe.name, quiet=quiet)


def train(recipe: Recipe, out: Path, *, quiet: bool = False) -> Path:
    """Run all stages that are left; `quiet` draws no progress bar. Without a bar there is a line every few steps.

    Raises ModelError for a checkpoint that cannot be resumed, OutputError, RegrainError if the loss stays not finite,
    and KeyboardInterrupt; the last good checkpoint is then intact. SIGTERM does, after a checkpoint, what it ever did.
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
        self.journal = self._open() if accelerator.is_main_process else None
        self.lines = None if bar else Lines(recipe.steps, recipe.report_every)
        self.bad, self.unsaved, self.saved, self.moving = 0, 0, state.step, False
        self.asked: Callable[[], bool] = bool
        self.agreed = False

    def _holdout(self, folder: Path) -> Tensor | None:
        data = self.recipe.data
        if not data.holdout or not self.accelerator.is_main_process:
            return None
        return holdout_batch(members(folder, data, held_out=True), data.holdout_crops).to(self.accelerator.device)

    def _open(self) -> Journal:
        """The log, without what was logged after the checkpoint; what a killed run left half-written goes too."""
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            for stale in (*self.out.glob(".*.safetensors.*.tmp"), *self.out.glob(".log.csv.*.tmp")):
                stale.unlink()
            return Journal(self.out, self.state.step)
        except OSError as error:
            raise OutputError(f"{self.out}: cannot be written: {error.strerror or error}") from None

    def all_stages(self) -> None:
        """Train from the state's step to the end; checkpoint, validate and log on the way."""
        with held_signals() as self.asked:
            try:
                if whole := self._all_steps():
                    self._validate()  # first, since weights may carry what it finds
                    self._save()
            except Exception:
                self._rescue()
                raise
            finally:
                if self.journal:
                    self.journal.close()
        if not whole:
            raise KeyboardInterrupt  # another process was asked

    def _all_steps(self) -> bool:
        """Take the steps that are left; False if asked to stop before, with a checkpoint written."""
        total, done = self.recipe.steps, self.state.step
        with logging_redirect_tqdm(), tqdm(total=total, initial=done, disable=not self.bar, unit="step") as bar:
            while (where := position(self.recipe, self.state.step)) is not None:
                for scalars in self._stage(where):
                    bar.set_postfix({k: f"{v:.3f}" for k, v in scalars.items()}, refresh=False)
                    bar.update()
                    if self._stops():
                        if not self.bad:
                            self._save()
                        self._say("interrupted at step %d; the same command goes on from there", self.state.step)
                        return False
        return True

    def _stops(self) -> bool:
        """Whether this process was asked to stop; of several all know in the same step, or some would wait for ever."""
        return self.asked() if self.accelerator.num_processes == 1 else self.agreed

    def _rescue(self) -> None:
        """Write down the steps since the last checkpoint, unless one is half taken or they are of no use."""
        if self.moving or self.bad or self.state.step <= self.saved:
            return
        try:
            self._save()
        except Exception as error:
            log.warning("the steps since %d are lost: %s", self.saved, error)
        else:
            self._say("step %d is written down; the same command goes on from there", self.state.step)

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
        own = [*(value.detach() for value in scalars.values()), gradient.new_tensor(float(self.asked()))]
        *means, asked = self.accelerator.reduce(torch.stack(own), "mean").tolist()
        self.agreed = asked > 0
        values = dict(zip(scalars, means, strict=True)) | {"gradient": float(gradient)}
        values["learning_rate"] = learning_rate(self.recipe, step, where)
        self._update(values)
        self._report(values | {"seconds": time.monotonic() - start})
        return {name: values[name] for name in self.subject.shown}

    def _update(self, values: dict[str, float]) -> None:
        """Take the step, or skip it if it is not finite; stop when that goes on."""
        if math.isfinite(values["loss"]) and math.isfinite(values["gradient"]):
            self.bad, self.moving = 0, True
            self.state.update(values["learning_rate"])
            self.moving = False
            return
        self.bad += 1
        log.warning("step %d: loss %s, gradient %s: skipped", self.state.step, values["loss"], values["gradient"])
        self.state.skip()
        if self.bad >= BAD_STEPS_IN_A_ROW:
            raise RegrainError(f"the loss is not finite for {self.bad} steps; {self.out / LAST} is the last good state")

    def _report(self, values: dict[str, float]) -> None:
        step = self.state.step
        if self.journal:
            self.journal.note(step, values)
        if self.lines and self.accelerator.is_main_process:
            self.lines.note(step, {name: values[name] for name in (*self.subject.shown, "seconds")})
        if step % self.recipe.checkpoint_every == 0 and not self.bad:
            self._checkpoint()
        if step % self.recipe.validate_every == 0 and step < self.recipe.steps and not self._stops():
            self._validate()

    def _checkpoint(self) -> None:
        """Save; a disk that is full for a while costs a checkpoint, not the run."""
        try:
            self._save()
        except OutputError as error:
            self.unsaved += 1
            if self.unsaved >= UNSAVED_IN_A_ROW:
                raise
            log.warning("step %d: %s; the next checkpoint is tried again", self.state.step, error)
        else:
            self.unsaved = 0

    def _say(self, message: str, *values: object) -> None:
        if self.accelerator.is_main_process:
            log.info(message, *values)

    def _save(self) -> None:
        if self.accelerator.is_main_process:
            self.state.save(self.out / LAST)
            self.saved = self.state.step
            self._save_weights()
            if self.journal:
                self.journal.flush()

    def _save_weights(self) -> None:
        with self.state.averaged():
            tensors, about = self.subject.frozen()
        checkpoint.save(self.out / WEIGHTS, tensors, {"recipe": self.recipe.name, "step": self.state.step} | about)

    def _validate(self) -> None:
        if self.journal is None or self.holdout is None:
            return
        with self.state.averaged():
            rows = self.subject.validate(self.holdout)
        for row in rows:
            log.info("step %d: %s", self.state.step, row)
            self.journal.held_out(self.state.step, row.scalars())
