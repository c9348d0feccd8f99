"""`train`, `distill` and `fine-tune`: a recipe, or a folder of pictures, becomes weights."""

import argparse
import importlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from regrain import hub, registry
from regrain.bitstream import Method
from regrain.cli.commands import report
from regrain.cli.terminal import escape, say
from regrain.errors import OutputError, UsageError
from regrain.registry import DEFAULT_METHOD
from regrain.shipped import shipped_fingerprint

__all__ = ["distill", "fine_tune", "train"]

_COMPARED: Final = ("bpp", "psnr_faithful", "psnr_textured")


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


def fine_tune(options: argparse.Namespace) -> None:
    """Weights for the pictures of a folder; then what they cost and how near they are, before and after."""
    if options.pictures.suffix == ".toml" and options.pictures.is_file():
        raise UsageError(f"{escape(str(options.pictures))}: a recipe; `regrain train` runs it")
    if not options.pictures.is_dir():
        raise UsageError(f"{escape(str(options.pictures))}: no such folder")
    out = options.out or options.pictures.with_name(f"{options.pictures.resolve().name}.weights")
    base = _base(options.model)
    _check_base(options.parts, base)
    module = _prepared("fine_tune", options, out)
    outcome = module.main(
        options.pictures, out, parts=options.parts, base=base, steps=options.steps,
        lpips=options.lpips, seed=options.seed, quiet=options.quiet,
    )  # fmt: skip
    facts: dict[str, Any] = {"output": str(outcome.weights)}
    for name in ("before", "after"):
        facts[name] = [{"quality": row.at, **row.figures} for row in getattr(outcome, name)]
    if not options.json and not options.quiet:
        say(_comparison(outcome.before, outcome.after))
    report(options, facts, f"{escape(str(options.pictures))} -> {escape(str(outcome.weights))}")


def _base(name: str | None) -> Path | None:
    """The file of the weights that --model names; None for the package's."""
    if name is None or name == DEFAULT_METHOD:
        return None
    named = hub.find(name)
    return named.weights() if named else Path(name)


def _check_base(parts: str, base: Path | None) -> None:
    """Raise UsageError for an adapter of weights that no decoder could find by their fingerprint."""
    ours = shipped_fingerprint(Method.CONDITIONAL, "photo")
    if parts == "adapter" and base is not None and registry.load(base).fingerprint != ours:
        raise UsageError(
            f"{escape(str(base))}: an adapter of these weights could not be decoded with, since only the package's are "
            "found by their fingerprint; --parts all and --parts decoder make weights of their own"
        )


def _comparison(before: Sequence[Any], after: Sequence[Any]) -> str:
    """Held-out rows by quality, those before and after side by side."""
    lines = ["quality   bits a pixel      PSNR at realism 0   PSNR at realism 1"]
    for old, new in zip(before, after, strict=True):
        pairs = (f"{old.figures[name]:7.3f} {new.figures[name]:7.3f}" for name in _COMPARED)
        lines.append("     ".join([f"{old.at:7.0f}", *pairs]))
    return "\n".join(lines)


def _training(name: str, options: argparse.Namespace) -> Any:  # noqa: ANN401 - a module: its main
    """`_prepared`, for a recipe, which must be there."""
    if not options.recipe.exists():
        raise UsageError(f"{options.recipe}: no such recipe")
    return _prepared(name, options, options.out)


def _prepared(name: str, options: argparse.Namespace, out: Path | None) -> Any:  # noqa: ANN401 - a module
    """Set the device and the log, and import the module of the training room that runs a recipe."""
    if out is not None and not options.overwrite and out.exists():
        raise OutputError(f"{escape(str(out))} exists, and --no-overwrite forbids to go on there")
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
