"""`encode`, `decode` and `inspect`: options in, one report out.

A report is a line for people on stderr, or with `--json` one object on stdout (stderr where stdout carries the output).
"""

import argparse
import dataclasses
import io
import json
import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import regrain
from regrain import places
from regrain.cli.streams import check_rgn_target, check_target, default_output, picture_format, put, seekable, source
from regrain.cli.terminal import STANDARD, about, display_name, say
from regrain.cli.work import seconds, working
from regrain.errors import UsageError
from regrain.files import read_file
from regrain.options import ENCODING, RATES, check_arguments, check_options

if TYPE_CHECKING:
    from regrain.codec import Info
    from regrain.diffusion.budget import Budget
    from regrain.registry import Codec

_KNOBS = ("realism", "eta", "seed", "init_noise", "sampler", "realism_map", "repair", "repair_strength", "fast")
_DECODING = ("steps", "partial", "fill", "region", "max_size", "device", "max_pixels", "max_memory")

__all__ = ["decode", "encode", "inspect", "picture_format", "rate", "report", "weights"]

MAP_STEPS: Final = 3
"""Of a map where nobody says how many: one step has one picture, and two differ little by seed."""


def encode(options: argparse.Namespace) -> None:
    """Picture to .rgn file; raises what `regrain.encode` raises, or OutputError."""
    from regrain import codec, image

    target = options.output or default_output(options.input, ".rgn")
    check_rgn_target(target, overwrite=options.overwrite, source=options.input)
    limited, reached = image.pillow_limited(options.max_pixels), dict[str, float | None]()
    with working(options, f"encoding {display_name(options.input)}") as say_now, limited:

        def probed(quality: float, value: float) -> None:
            """Say what a quality has."""
            say_now(f"encoding {display_name(options.input)}: quality {quality:g} has {value:.2f}")

        def watched(done: int, iterations: int, gain: float) -> None:
            """Say how far the optimisation of the latents is."""
            name = display_name(options.input)
            say_now(f"encoding {name}: iteration {done} of {iterations} gains {100 * gain:.1f} %, Ctrl-C keeps it")

        model = weights(options)
        picture = seekable(options.input, options.max_pixels)
        with about(options.input):
            knobs = check_options(ENCODING, {**vars(options), "model": model})
            del knobs["max_pixels"]
            pixels = image.read(picture, max_pixels=options.max_pixels)
            kept = image.select_metadata(pixels, options.keep, display_name(options.input))
            data = codec.encode(kept, progress=probed, watch=watched, facts=reached, **knobs)
    put(data, target, overwrite=options.overwrite, like=options.input if options.preserve_times else None)
    waited = seconds(options)
    info = regrain.inspect(data)
    before = places.size(picture) if isinstance(picture, str) else picture.seek(0, io.SEEK_END)
    report(
        options,
        {
            "input": options.input,
            "output": target,
            **_facts(info),
            **reached,
            "input_bytes": before,
            "seconds": round(waited, 3),
        },
        f"{display_name(options.input)} -> {display_name(target, 'stdout')}: {info.size:,} bytes, {info.bpp:.3f} bpp, "
        f"{before / info.size:.0f}:1, {_words(reached)}{waited:.1f} s",
        more=_describe(info),
        aside=target == STANDARD,
    )


def _words(reached: Mapping[str, float | None]) -> str:
    """What the file has of the metric that was aimed at, None where it is infinite, and what effort gained."""
    from regrain.metrics import METRICS

    metrics = {name: METRICS[aim] for aim in METRICS if (name := aim.removeprefix("target_")) in reached}
    effort = (
        f"effort {reached['effort']} gained {reached['gain']:.1f} % by its own measure, " if "effort" in reached else ""
    )
    values = {name: math.inf if (value := reached[name]) is None else value for name in metrics}
    return effort + "".join(f"{metric.title} {metric.text(values[name])}, " for name, metric in metrics.items())


def decode(options: argparse.Namespace) -> None:
    """.rgn file to picture, in the format of its suffix; raises what `regrain.decode` raises, or OutputError."""
    from regrain import bitstream, codec, image

    check_options(("partial", "fill", "fast"), vars(options))
    target = options.output or default_output(options.input, ".png")
    kind = picture_format(target)
    check_target(target, overwrite=options.overwrite, source=options.input)
    map_kind = _map_format(options, target)
    if map_kind is not None and options.fast:
        raise UsageError("--fast and --map are given together; the fast decoder takes one step, which has one picture")
    if map_kind is not None and options.steps is None:
        options.steps = MAP_STEPS
    with working(options, f"decoding {display_name(options.input)}") as progress:
        data = _file(options.input, options.max_pixels)
        with about(options.input):
            header = bitstream.read_header(data)
            image.check_format(
                kind, header.width, header.height, alpha=header.alpha, name=display_name(target, "stdout")
            )
        model = _weights_for(data, options)
        arguments: dict[str, Any] = {name: getattr(options, name) for name in (*_KNOBS, *_DECODING)}
        arguments |= {} if map_kind is None else {"for_map": True}
        with about(options.input):
            picture = codec.decode(data, model=model, **arguments)
        steps, budget = _steps_taken(options)
        picture = image.select_metadata(picture, options.keep, display_name(options.input))
        written = image.to_file(picture, kind, display_name(target, "stdout"))
        if map_kind is not None:
            progress(f"drawing {options.map_seeds} seeds of {display_name(options.input)}")
            deviation = codec.deviation_map(
                lambda seed: codec.decode(data, model=model, **arguments | {"seed": seed, "steps": steps}).pixels,
                options.map_seeds,
                options.seed,
                lambda done: progress(f"seed {done} of {options.map_seeds} of {display_name(options.input)} is drawn"),
            )
            map_written = image.to_file(image.draw_map(deviation, "levels"), map_kind, display_name(options.map))
    put(written, target, overwrite=options.overwrite, like=options.input if options.preserve_times else None)
    if map_kind is not None:
        put(map_written, options.map, overwrite=options.overwrite)
    waited = seconds(options)
    size = {"width": picture.width, "height": picture.height, "input_bytes": len(data)}
    knobs: dict[str, object] = {"steps": steps, "budget": budget and budget.seconds}
    knobs |= {name: getattr(options, name) for name in _KNOBS}
    if map_kind is not None:
        knobs |= {"map": options.map, "map_seeds": options.map_seeds, "map_mean": round(float(deviation.mean()), 3)}
    if options.fill:
        knobs |= {"invented": picture.invented}
    report(
        options,
        {"input": options.input, "output": target, **size, **knobs, "seconds": round(waited, 3)},
        f"{display_name(options.input)} -> {display_name(target, 'stdout')}: {picture.width} x {picture.height}, "
        f"steps {steps}, realism {options.realism:g}, seed {options.seed}, {waited:.1f} s",
        more="" if budget is None else f"  a pass takes {budget.pass_seconds:.2f} s, {budget.seconds:g} s are allowed",
        aside=target == STANDARD,
    )


def _map_format(options: argparse.Namespace, target: str) -> str | None:
    """The format of the map of `--map`, or None without one. Raises UsageError and OutputError as for the picture."""
    if options.map is None:
        return None
    if options.map == STANDARD or os.path.realpath(options.map) == os.path.realpath(target):
        raise UsageError(f"--map {options.map} is not allowed; name a file of its own for the map")
    check_arguments(seeds=options.map_seeds)
    check_target(options.map, overwrite=options.overwrite, source=options.input)
    return picture_format(options.map)


def _file(name: str, max_pixels: int = 250_000_000) -> bytes:
    """The bytes of a .rgn file that `name` stands for; raises BitstreamError with its name."""
    with about(name):
        return read_file(source(name), max_pixels)


def _steps_taken(options: argparse.Namespace) -> "tuple[int, Budget | None]":
    """How many steps were taken, and the budget that they were chosen by."""
    from regrain.diffusion.budget import Budget

    if isinstance(options.steps, Budget):
        return options.steps.steps, options.steps
    return options.steps or 1, None


def inspect(options: argparse.Namespace) -> None:
    """Print what a .rgn file says of itself, on stdout; raises BitstreamError."""
    data = _file(options.input)
    with about(options.input):
        info = regrain.inspect(data)
    if options.json:
        return say(json.dumps(dataclasses.asdict(info)))
    if options.quiet:
        return None
    say(f"{display_name(options.input)}: {info.size:,} bytes, {info.bpp:.3f} bpp")
    say(_describe(info))
    for section in info.sections:
        tile = "" if section["tile"] is None else f" {section['tile']}"
        expected = "" if section["psnr"] is None else f", about {section['psnr']:.1f} dB"
        cut = "" if section["whole"] else ", cut short"
        say(f"  {section['name'] + tile:<16} {section['length']:>10,} bytes from {section['offset']:,}{expected}{cut}")
    return None


def rate(options: argparse.Namespace, **default: float) -> dict[str, Any]:
    """The one of `RATES` that was given, else `default`."""
    given = {name: getattr(options, name, None) for name in RATES}
    return {name: value for name, value in given.items() if value is not None} or dict(default)


def weights(options: argparse.Namespace) -> "Codec | None":
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


def _weights_for(data: bytes, options: argparse.Namespace) -> "Codec | None":
    """As `weights`, but a file that cannot be decoded is refused before weights are loaded."""
    from regrain import bitstream

    if options.model is not None:
        with about(options.input):
            bitstream.read(data, partial=options.partial, max_pixels=options.max_pixels)
    return weights(options)


def _facts(info: "Info") -> dict[str, object]:
    facts = dataclasses.asdict(info)
    del facts["sections"]
    return {"bytes": facts.pop("size"), **facts}


def _describe(info: "Info") -> str:
    colour = ("grey" if info.grey else "colour") + (" with alpha" if info.alpha else "")
    return (
        f"  {info.width} x {info.height} {colour}, quality {info.quality:g}, {info.method}, "
        f"format {info.format_version}, latents {info.fingerprint}{f' for {info.content}s' if info.content else ''}, "
        + (f"steps {info.tiles}" if info.method == "progressive" else f"tiles {info.tiles} of {info.tile}")
    )
