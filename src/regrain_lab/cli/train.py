"""`train` and `distill`: a recipe becomes weights."""

import argparse
import importlib
import logging
import os
from typing import Any

from regrain.cli.commands import report
from regrain.cli.terminal import escape, say
from regrain.errors import OutputError, UsageError

__all__ = ["distill", "train"]


def train(options: argparse.Namespace) -> None:
    """Run a recipe, from where a stopped run of it was; raises UsageError, ModelError and OutputError."""
    folder = _training("loop", options).main(options.recipe, out=options.out, quiet=options.quiet)
    report(
        options,
        {"recipe": str(options.recipe), "output": str(folder)},
        f"{escape(str(options.recipe))} -> {escape(str(folder))}",
    )


def distill(options: argparse.Namespace) -> None:
    """As `train`, of a recipe that trains a student; then the table of step count against quality."""
    outcome = _training("distill", options).main(options.recipe, out=options.out, quiet=options.quiet)
    facts: dict[str, Any] = {"recipe": str(options.recipe), "output": str(outcome.folder)}
    for name in ("teacher", "student"):
        facts[name] = [{"steps": row.at, "psnr": row.figures["psnr"], "lpips": row.figures.get("lpips")}
                       for row in getattr(outcome, name)]  # fmt: skip
    if outcome.teacher and not options.json and not options.quiet:
        from regrain_lab.training.validation import steps_table

        say(steps_table(outcome.teacher, outcome.student))
    report(options, facts, f"{escape(str(options.recipe))} -> {escape(str(outcome.folder))}")


def _training(name: str, options: argparse.Namespace) -> Any:  # noqa: ANN401 - a module: its main
    """Set the device and the log, and import the module of the training room that runs a recipe."""
    if options.out is not None and not options.overwrite and options.out.exists():
        raise OutputError(f"{options.out} exists, and --no-overwrite forbids to go on there")
    if not options.recipe.exists():
        raise UsageError(f"{options.recipe}: no such recipe")
    _choose_device(options.device)
    try:
        module = importlib.import_module(f"regrain_lab.training.{name}")
    except ModuleNotFoundError as error:
        raise UsageError(f"training needs {error.name}; install it with: pip install 'regrain[lab]'") from error
    handler = logging.StreamHandler()
    handler.setFormatter(_CleanLines())
    logging.basicConfig(level=logging.WARNING if options.quiet else logging.INFO, handlers=[handler])
    return module


class _CleanLines(logging.Formatter):
    """Write messages, which may have names of members of shards in them, without signs that a terminal obeys."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(escape(line) for line in super().format(record).split("\n"))


def _choose_device(name: str | None) -> None:
    """Show torch, before it is imported, only the device to train on."""
    kind, _, number = (name or "cuda").partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdecimal()):
        raise UsageError(f"device is {name!r}; training runs on cpu, cuda or cuda:N, or under torchrun on several")
    if kind == "cpu" or number:
        os.environ["CUDA_VISIBLE_DEVICES"] = number
