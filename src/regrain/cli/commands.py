"""`encode`, `decode`, `inspect`, `train` and `distill`: options in, one report out.

A report is a line for people on stderr, or with `--json` one object on stdout (stderr where stdout carries the output).
"""

import argparse
import dataclasses
import importlib
import io
import json
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import regrain
from regrain.cli.streams import STANDARD, beside, check_target, put, seekable, source
from regrain.errors import OutputError, UsageError

if TYPE_CHECKING:
    from regrain.codec import Info
    from regrain.diffusion.budget import Budget
    from regrain.models import Model

__all__ = ["decode", "distill", "encode", "inspect", "rate", "report", "say", "shown", "train", "weights"]


def encode(options: argparse.Namespace) -> None:
    """Picture to .rgn file; raises what `regrain.encode` raises, or OutputError."""
    target = options.output or beside(options.input, ".rgn")
    check_target(target, overwrite=not options.no_overwrite, source=options.input)
    picture = seekable(options.input)
    start = perf_counter()
    data = regrain.encode(
        picture,
        **rate(options),
        method=options.method,
        model=weights(options),
        device=options.device,
        max_pixels=options.max_pixels,
    )
    seconds = perf_counter() - start
    put(data, target, overwrite=not options.no_overwrite)
    info = regrain.inspect(data)
    before = Path(picture).stat().st_size if isinstance(picture, str) else picture.seek(0, io.SEEK_END)
    report(
        options,
        {
            "input": options.input,
            "output": target,
            **_facts(info),
            "input_bytes": before,
            "seconds": round(seconds, 3),
        },
        f"{shown(options.input)} -> {shown(target, 'stdout')}: {info.size:,} bytes, {info.bpp:.3f} bpp, "
        f"{before / info.size:.0f}:1, {seconds:.1f} s",
        more=_described(info),
        aside=target == STANDARD,
    )


def decode(options: argparse.Namespace) -> None:
    """.rgn file to picture, in the format of its suffix; raises what `regrain.decode` raises, or OutputError."""
    from regrain import codec, image

    target = options.output or beside(options.input, ".png")
    overwrite = options.output is not None and not options.no_overwrite  # photo.png may be what photo.rgn was made of
    check_target(target, overwrite=overwrite, source=options.input)
    kind = image.format_of(target) if target != STANDARD else "PNG"
    start = perf_counter()
    data = regrain._read(source(options.input))
    picture = codec.decode(
        data,
        steps=options.steps,
        realism=options.realism,
        eta=options.eta,
        seed=options.seed,
        partial=options.partial,
        model=_weights_for(data, options),
        device=options.device,
        max_pixels=options.max_pixels,
        max_memory=options.max_memory,
    )
    seconds = perf_counter() - start
    buffer = io.BytesIO()
    image.write(picture, buffer, format=kind)
    put(buffer.getvalue(), target, overwrite=overwrite)
    size = {"width": picture.width, "height": picture.height, "input_bytes": len(data)}
    steps, budget = _steps_taken(options.steps)
    knobs = {"steps": steps, "budget": budget and budget.seconds}
    knobs |= {name: getattr(options, name) for name in ("realism", "eta", "seed")}
    report(
        options,
        {"input": options.input, "output": target, **size, **knobs, "seconds": round(seconds, 3)},
        f"{shown(options.input)} -> {shown(target, 'stdout')}: {picture.width} x {picture.height}, "
        f"steps {steps}, realism {options.realism:g}, seed {options.seed}, {seconds:.1f} s",
        more="" if budget is None else f"  a pass takes {budget.pass_seconds:.2f} s, {budget.seconds:g} s are allowed",
        aside=target == STANDARD,
    )


def _steps_taken(steps: "int | Budget") -> "tuple[int, Budget | None]":
    """How many steps were taken, and the budget that they were chosen by."""
    from regrain.diffusion.budget import Budget

    return (steps.steps, steps) if isinstance(steps, Budget) else (steps, None)


def inspect(options: argparse.Namespace) -> None:
    """Print what a .rgn file says of itself, on stdout; raises BitstreamError."""
    info = regrain.inspect(source(options.input))
    if options.json:
        return say(json.dumps(dataclasses.asdict(info)))
    if options.quiet:
        return None
    say(f"{shown(options.input)}: {info.size:,} bytes, {info.bpp:.3f} bpp")
    say(_described(info))
    for section in info.sections:
        tile = "" if section["tile"] is None else f" {section['tile']}"
        expected = "" if section["psnr"] is None else f", about {section['psnr']:.1f} dB"
        cut = "" if section["whole"] else ", cut short"
        say(f"  {section['name'] + tile:<16} {section['length']:>10,} bytes from {section['offset']:,}{expected}{cut}")
    return None


def train(options: argparse.Namespace) -> None:
    """Run a recipe, from where a stopped run of it was; raises UsageError, ModelError and OutputError."""
    folder = _training("loop", options).main(options.recipe, out=options.out, quiet=options.quiet)
    report(options, {"recipe": str(options.recipe), "output": str(folder)}, f"{options.recipe} -> {folder}")


def distill(options: argparse.Namespace) -> None:
    """As `train`, of a recipe that trains a student; then the table of step count against quality."""
    found = _training("distill", options).main(options.recipe, out=options.out, quiet=options.quiet)
    facts = {"recipe": str(options.recipe), "output": str(found.folder)}
    rows = {name: [dataclasses.asdict(row) for row in getattr(found, name)] for name in ("teacher", "student")}
    if found.teacher and not options.json and not options.quiet:
        from regrain.training.steps import table

        say(table(found.teacher, found.student))
    report(options, {**facts, **rows}, f"{options.recipe} -> {found.folder}")


def _training(name: str, options: argparse.Namespace) -> Any:  # noqa: ANN401 - a module: its main
    """The module of the training room that runs a recipe, once device and log are set for it."""
    if options.out is not None and options.no_overwrite and options.out.exists():
        raise OutputError(f"{options.out} exists, and --no-overwrite forbids to go on there")
    _choose_device(options.device)
    try:
        module = importlib.import_module(f"regrain.training.{name}")
    except ModuleNotFoundError as error:
        raise UsageError(f"training needs {error.name}; install it with: pip install 'regrain[train]'") from error
    logging.basicConfig(level=logging.WARNING if options.quiet else logging.INFO, format="%(message)s")
    return module


def rate(options: argparse.Namespace, **default: float) -> dict[str, Any]:
    """The one of `quality`, `target_size` and `target_bpp` that was given, else `default`."""
    given = {name: getattr(options, name) for name in ("quality", "target_size", "target_bpp")}
    return {name: value for name, value in given.items() if value is not None} or dict(default)


def weights(options: argparse.Namespace) -> "Model | None":
    """The model that `--model` names, or None; raises ModelError."""
    return None if options.model is None else regrain.load(options.model, options.device)


def report(
    options: argparse.Namespace, facts: Mapping[str, object], line: str, *, more: str = "", aside: bool = False
) -> None:
    """Say `line` (`more` too with `--verbose`), or with `--json` the `facts`: on stdout, or `aside` on stderr."""
    if options.json:
        say(json.dumps(facts, allow_nan=False), aside=aside)
    elif not options.quiet:
        say(line, aside=True)
        if options.verbose and more:
            say(more, aside=True)


def shown(name: str, stream: str = "stdin") -> str:
    """A path as it was given, and the `stream` by its name."""
    return stream if name == STANDARD else name


def say(text: str, *, aside: bool = False) -> None:
    """Print on stdout, or `aside` on stderr, what it cannot show escaped; raises OutputError on a full disk."""
    stream = sys.stderr if aside else sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write the report: {error.strerror or error}") from error


def _weights_for(data: bytes, options: argparse.Namespace) -> "Model | None":
    """As `weights`, but a file that cannot be decoded is refused before torch is imported."""
    from regrain import bitstream

    if options.model is not None:
        bitstream.read(data, partial=options.partial, max_pixels=options.max_pixels)
    return weights(options)


def _choose_device(name: str | None) -> None:
    """Show torch, before it is imported, only the device to train on."""
    kind, _, number = (name or "cuda").partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdecimal()):
        raise UsageError(f"device is {name!r}; training runs on cpu, cuda or cuda:N, or under torchrun on several")
    if kind == "cpu" or number:
        os.environ["CUDA_VISIBLE_DEVICES"] = number


def _facts(info: "Info") -> dict[str, object]:
    facts = dataclasses.asdict(info)
    del facts["sections"]
    return {"bytes": facts.pop("size"), **facts}


def _described(info: "Info") -> str:
    colour = ("grey" if info.grey else "colour") + (" with alpha" if info.alpha else "")
    return (
        f"  {info.width} x {info.height} {colour}, quality {info.quality:g}, {info.method}, "
        f"format {info.format_version}, latents {info.fingerprint}, "
        + (f"steps {info.tiles}" if info.method == "progressive" else f"tiles {info.tiles} of {info.tile}")
    )
