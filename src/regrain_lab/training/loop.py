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
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import Tensor
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from regrain import torch_checkpoint
from regrain.errors import OutputError, RegrainError, UsageError
from regrain.layers import bfloat16_units
from regrain_lab.training.data import Crops, batches, holdout_batch, members
from regrain_lab.training.early_stop import HELD_OUT_LOSS, EarlyStop
from regrain_lab.training.graph import GraphedLoss
from regrain_lab.training.journal import Journal, Lines
from regrain_lab.training.losses.codec import SplitLoss, StageWeights
from regrain_lab.training.recipe import STUDENTS, TEACHER_RESETS, Recipe, read_recipe
from regrain_lab.training.stages import Position, learning_rate, position
from regrain_lab.training.state import State
from regrain_lab.training.stopping import held_signals
from regrain_lab.training.task import Task
from regrain_lab.training.tasks import task_for

__all__ = ["main", "train"]

log = logging.getLogger(__name__)
BAD_STEPS_IN_A_ROW = 10
UNSAVED_IN_A_ROW = 3
LAST = "last.safetensors"
WEIGHTS = "weights.safetensors"


def main(recipe_path: Path, *, out: Path | None = None, quiet: bool = False) -> Path:
    """Train a recipe, resuming where its last checkpoint stands. Returns the folder of the run.

    Raises UsageError for what is wrong in the recipe or its data, and what `train` raises.
    """
    recipe = read_recipe(recipe_path)
    if recipe.trains in STUDENTS:
        raise UsageError(f"{recipe_path}: trains is {recipe.trains!r}; regrain distill runs this recipe")
    return train(recipe, out or recipe.path(recipe.out) / recipe.name, quiet=quiet)


def train(recipe: Recipe, out: Path, *, quiet: bool = False) -> Path:
    """Run all stages that are left; `quiet` draws no progress bar. Without a bar there is a line every few steps.

    Raises UsageError for a machine that the recipe does not fit, ModelError for a checkpoint that cannot be resumed,
    OutputError, RegrainError if the loss stays not finite, and KeyboardInterrupt; the last good checkpoint is then
    intact. SIGTERM does, after a checkpoint, what it ever did.
    """
    accelerator = Accelerator(
        mixed_precision="bf16" if _bfloat16(recipe.precision) else "no",
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )
    _check_machine(recipe, accelerator.num_processes, accelerator.device)
    torch.manual_seed(recipe.seed)
    task = task_for(recipe, accelerator.device)
    if task.initialize and not (out / LAST).exists():
        task.initialize()
    state = State(task.network, recipe.ema, task.teacher)
    state.resume(out / LAST)
    bar = accelerator.is_main_process and not quiet and sys.stderr.isatty()
    Run(recipe, out, accelerator, state, task, bar=bar).run()
    return out


def _bfloat16(precision: str) -> bool:
    """Whether networks run forward in bfloat16."""
    if precision == "auto":
        return bfloat16_units(torch.device("cuda" if torch.cuda.is_available() else "cpu"), training=True)
    return precision == "bfloat16"


def _check_machine(recipe: Recipe, processes: int, device: torch.device) -> None:
    if recipe.graph and (device.type != "cuda" or processes > 1):
        raise UsageError(f"graph is true, which needs one CUDA device; here are {processes} of {device.type}")
    if recipe.patience and processes > 1:
        raise UsageError(f"patience is {recipe.patience}; a run that may end early has one process, not {processes}")
    for stage in recipe.stage:
        if stage.batch % processes:
            raise UsageError(
                f"stage {stage.name!r}: batch is {stage.batch}; {processes} processes need a multiple of {processes}"
            )


class Run:
    """One process's share of a training run."""

    def __init__(
        self, recipe: Recipe, out: Path, accelerator: Accelerator, state: State, task: Task, *, bar: bool
    ) -> None:
        """Open the data and the log; place the loss on its device."""
        self.recipe, self.out, self.accelerator, self.state, self.bar = recipe, out, accelerator, state, bar
        self.task, data, folder = task, recipe.data, recipe.path(recipe.data.shards)
        self.crops = Crops(members(folder, data, held_out=False), recipe.seed, data)
        self.holdout: Tensor | None = None
        if data.validates and accelerator.is_main_process:
            held_out = members(folder, data, held_out=True)
            self.holdout = holdout_batch(held_out, data.holdout_crops).to(accelerator.device)
        self.backward = self._graphed() if recipe.graph else self._eager()
        self.journal = Journal(out, state.step) if accelerator.is_main_process else None
        self.lines = None if bar else Lines(recipe.steps, recipe.report_every)
        self.bad_steps = self.failed_saves = 0
        self.saved_step, self.updating, self.stop_agreed = state.step, False, False
        self.patience = EarlyStop(recipe, task, out / WEIGHTS) if recipe.patience else None
        self.stop_requested: Callable[[], bool] = bool

    def _eager(self) -> Callable[[Tensor, StageWeights], dict[str, Tensor]]:
        """A function from a batch to its scalars, which leaves the gradients in the network."""
        loss = self.accelerator.prepare_model(self.task.loss)

        def backward(x: Tensor, weights: StageWeights) -> dict[str, Tensor]:
            scalars: dict[str, Tensor] = loss(x, weights)
            self.state.zero_grad()
            self.accelerator.backward(scalars["loss"])
            return scalars

        return backward

    def _graphed(self) -> Callable[[Tensor, StageWeights], dict[str, Tensor]]:
        """The same, by replaying a CUDA graph."""
        loss = self.task.loss.to(self.accelerator.device)
        assert isinstance(loss, SplitLoss)  # as GRAPHED says
        return GraphedLoss(loss, self.task.network, bfloat16=self.accelerator.mixed_precision == "bf16")

    def run(self) -> None:
        """Train from the state's step to the end; checkpoint, validate and log on the way."""
        with held_signals() as self.stop_requested:
            try:
                if complete := self._all_steps():
                    if not (self.patience and self.patience.over):  # which has just seen these weights
                        self._validate()  # first, since weights may carry its figures
                    self._save()
            except Exception:
                self._rescue()
                raise
            finally:
                if self.journal:
                    self.journal.close()
        if not complete:
            raise KeyboardInterrupt("a signal asked another process of this run to stop")

    def _all_steps(self) -> bool:
        """Take the steps that are left; False, with a checkpoint written, if a signal asked to stop before."""
        total, first = self.recipe.steps, self.state.step
        with logging_redirect_tqdm(), tqdm(total=total, initial=first, disable=not self.bar, unit="step") as bar:
            while (place := position(self.recipe, self.state.step)) is not None:
                for scalars in self._stage(place):
                    bar.set_postfix({k: f"{v:.3f}" for k, v in scalars.items()}, refresh=False)
                    bar.update()
                    if self.patience and self.patience.over:
                        self._say("step %d: the held-out loss does not fall any more", self.state.step)
                        return True
                    if self._stops():
                        if not self.bad_steps:
                            self._save()
                        self._say("interrupted at step %d; the same command goes on from there", self.state.step)
                        return False
        return True

    def _stops(self) -> bool:
        """Whether a signal asked to stop; several processes all learn of it in the same step, or some would hang."""
        return self.stop_requested() if self.accelerator.num_processes == 1 else self.stop_agreed

    def _rescue(self) -> None:
        """Save the steps since the last checkpoint, unless one is half taken or they are of no use."""
        if self.updating or self.bad_steps or self.state.step <= self.saved_step:
            return
        try:
            self._save()
        except Exception as error:
            log.warning("the steps since %d are lost: %s", self.saved_step, error)
        else:
            self._say("step %d is written down; the same command goes on from there", self.state.step)

    def _stage(self, place: Position) -> Iterator[dict[str, float]]:
        """The steps of one stage that are left."""
        ranks, rank, stage = self.accelerator.num_processes, self.accelerator.process_index, place.stage
        self._say("stage %s: step %d of %d", stage.name, place.step, stage.steps)
        if place.step == 0:
            before = position(self.recipe, self.state.step - 1) if self.state.step else None
            if stage.freeze_latents and not (before and before.stage.freeze_latents):
                self.state.load_average()
            if self.task.teacher is not None and stage.method in TEACHER_RESETS:
                self.state.reset_teacher()
        share = stage.batch // ranks
        loader = batches(
            self.crops, first=place.sample + rank * share, stride=stage.batch, steps=stage.steps - place.step,
            batch=share, crop=stage.crop, workers=self.recipe.data.workers,
        )  # fmt: skip
        for number, x in enumerate(loader, place.step):
            pictures = x.to(self.accelerator.device).contiguous(memory_format=torch.channels_last)
            yield self._step(pictures, replace(place, step=number))

    def _step(self, x: Tensor, place: Position) -> dict[str, float]:
        step, start = self.state.step, time.monotonic()
        torch.manual_seed((self.recipe.seed << 40) + (self.accelerator.process_index << 32) + step)
        scalars = self.backward(x, StageWeights.at(place.stage, place.step))
        gradient = self.accelerator.clip_grad_norm_(self.state.network.parameters(), self.recipe.clip)
        own = [*(value.detach() for value in scalars.values()), gradient.new_tensor(float(self.stop_requested()))]
        *means, stops = self.accelerator.reduce(torch.stack(own), "mean").tolist()
        self.stop_agreed = stops > 0
        values = dict(zip(scalars, means, strict=True)) | {"gradient": float(gradient)}
        values["learning_rate"] = learning_rate(self.recipe, step, place)
        self._update(values)
        self._report(values | {"seconds": time.monotonic() - start})
        return {name: values[name] for name in self.task.progress_metrics}

    def _update(self, values: dict[str, float]) -> None:
        """Take the step, or skip it if it is not finite; stop when that goes on."""
        if math.isfinite(values["loss"]) and math.isfinite(values["gradient"]):
            self.bad_steps, self.updating = 0, True
            self.state.update(values["learning_rate"])
            self.updating = False
            return
        self.bad_steps += 1
        log.warning("step %d: loss %s, gradient %s: skipped", self.state.step, values["loss"], values["gradient"])
        self.state.skip()
        if self.bad_steps >= BAD_STEPS_IN_A_ROW:
            message = f"the loss is not finite for {self.bad_steps} steps"
            raise RegrainError(f"{message}; {self.out / LAST} is the last good state")

    def _report(self, values: dict[str, float]) -> None:
        step = self.state.step
        if self.journal:
            self.journal.note(step, values)
        if self.lines and self.accelerator.is_main_process:
            self.lines.note(step, {name: values[name] for name in (*self.task.progress_metrics, "seconds")})
        if step % self.recipe.checkpoint_every == 0 and not self.bad_steps:
            self._checkpoint()
        if step % self.recipe.validate_every == 0 and step < self.recipe.steps and not self._stops():
            self._validate()

    def _checkpoint(self) -> None:
        """Save; a disk that is full for a while costs a checkpoint, not the run."""
        try:
            self._save()
            self.failed_saves = 0
        except OutputError as error:
            self.failed_saves += 1
            if self.failed_saves >= UNSAVED_IN_A_ROW:
                raise
            log.warning("step %d: %s; the next checkpoint is tried again", self.state.step, error)

    def _say(self, message: str, *values: object) -> None:
        if self.accelerator.is_main_process:
            log.info(message, *values)

    def _save(self) -> None:
        if self.journal is None:
            return
        self.state.save(self.out / LAST)
        self.saved_step = self.state.step
        if not self.patience:
            with self.state.average_weights():
                self._export()
        self.journal.flush()

    def _export(self, **about: float) -> None:
        tensors, metadata = self.task.export()
        about_run = {"recipe": self.recipe.name, "step": self.state.step, **about}
        torch_checkpoint.save(self.out / WEIGHTS, tensors, about_run | metadata)

    def _validate(self) -> None:
        if self.journal is None or self.holdout is None:
            return
        with self.state.average_weights():
            rows = self.task.validate(self.holdout)
            if self.patience and self.patience.gains(self.holdout):
                self._export(**{HELD_OUT_LOSS: self.patience.lowest})
        for row in rows:
            log.info("step %d: %s", self.state.step, row)
            self.journal.held_out(self.state.step, row.scalars())
