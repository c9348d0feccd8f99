"""`encode` and `decode` as the command line has them: of one picture, or of many where the names say so.

Many are: a folder, a pattern, several inputs, or an output whose name ends in `/`.
"""

import argparse
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from regrain import memory
from regrain.batch.plan import has_pattern, is_folder, make_plan
from regrain.bitstream import EXTENSION
from regrain.cli import commands
from regrain.cli.many import job_count, run_many, say_plan
from regrain.cli.terminal import STANDARD, escape
from regrain.cli.work import silent_libraries
from regrain.errors import BitstreamError, ImageError, UsageError
from regrain.options import DECODING, ENCODING

if TYPE_CHECKING:
    from regrain import Decoder, Encoder

__all__ = ["MANY", "decode", "encode"]

MANY = {
    "jobs": None,
    "skip_existing": False,
    "dry_run": False,
    "manifest": None,
    "engine": "processes",
    "ray_address": None,
    "format": None,
}
"""The options that are for many pictures alone, with the values that they have where nobody gives them."""
Coder = Callable[[argparse.Namespace, int | None], "Encoder | Decoder"]


def encode(options: argparse.Namespace) -> None:
    """Picture to .rgn file, or many; raises what `commands.encode` raises, and RegrainError where some of many fail."""
    if not _is_many(options):
        return commands.encode(options)
    from regrain import image

    return _run(options, EXTENSION, image.is_readable_suffix, _encoder)


def decode(options: argparse.Namespace) -> None:
    """.rgn file to picture, or many; raises as `encode`."""
    if not _is_many(options):
        return commands.decode(options)
    for name in ("map", "realism_map"):
        if getattr(options, name) is not None:
            raise UsageError(f"--{name.replace('_', '-')} is for one picture: name one input and one output")
    options.format = (options.format or "png").lower().lstrip(".")
    commands.picture_format(f"picture.{options.format}")
    return _run(options, f".{options.format}", lambda suffix: suffix == EXTENSION, _decoder)


def _is_many(options: argparse.Namespace) -> bool:
    """Whether the names say so; raises UsageError where they, or flags, do not fit together.

    A folder without one to write to is no picture, and no .rgn file: ImageError, BitstreamError.
    """
    names, output = options.inputs, options.output
    several = len(names) > 1
    many = several or any(name != STANDARD and (has_pattern(name) or is_folder(name)) for name in names)
    if several and STANDARD in names:
        raise UsageError("stdin is no input among several")
    if several and not is_folder(output):
        raise UsageError(
            f"{escape(output)} is one name too many: {options.command} takes one input and one output at a time, or "
            "several inputs and a folder, whose name ends in /"
        )
    if many and output in (None, STANDARD):
        kind = ImageError if options.command == "encode" else BitstreamError
        raise kind(f"{escape(names[0])} is a folder or a pattern: name a folder to write its pictures to, as OUT/")
    if many or (output is not None and output.endswith("/")):
        return True
    for name, default in MANY.items():
        if getattr(options, name, default) != default:
            flag = name.replace("_", "-")
            raise UsageError(f"--{flag} is for many pictures: name a folder to write to, whose name ends in /")
    return False


def _run(options: argparse.Namespace, suffix: str, accepts: Callable[[str], bool], coder: Coder) -> None:
    """Plan, then say the plan or do it."""
    if options.skip_existing and options.overwrite:
        raise UsageError("--skip-existing and --overwrite are given together; at most one of them is allowed")
    if options.ray_address is not None and options.engine != "ray":
        raise UsageError("--ray-address is for --engine ray alone")
    with _threads(options.threads or 1):
        from regrain.batch.work import Work

        coder(options, None)  # what is out of range is refused before a tree is read
        with silent_libraries(wanted=not options.verbose):
            plan = make_plan(
                options.inputs,
                options.output,
                suffix=suffix,
                accepts=accepts,
                existing="skip" if options.skip_existing else "replace" if options.overwrite else "refuse",
            )
        if options.dry_run:
            return say_plan(options, plan)
        jobs = job_count(options, plan)
        share = options.max_memory
        if share is None and jobs is not None and options.engine == "processes":  # a cluster has memory of its own
            share = memory.allowance() // jobs
        return run_many(options, plan, Work(coder(options, share), options.overwrite, options.preserve_times), jobs)


def _encoder(options: argparse.Namespace, max_memory: int | None) -> "Encoder":
    from regrain import Encoder

    return Encoder(**_options_of(options, ENCODING, max_memory))


def _decoder(options: argparse.Namespace, max_memory: int | None) -> "Decoder":
    from regrain import Decoder
    from regrain.diffusion.budget import Budget

    arguments = _options_of(options, DECODING, max_memory)
    del arguments["realism_map"]
    timed = isinstance(options.steps, Budget)
    arguments |= {"steps": "auto", "budget": options.steps.seconds} if timed else {"budget": None}
    return Decoder(**arguments, output=options.format)


def _options_of(options: argparse.Namespace, names: Collection[str], max_memory: int | None) -> dict[str, Any]:
    """What `Encoder` and `Decoder` take: the options of these names, and what both have in common."""
    own = {name: value for name, value in vars(options).items() if name in names}
    return own | {"max_memory": max_memory, "keep": options.keep, "threads": options.threads or 1}


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let every library of this process, and of those that it starts, compute with so many threads."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(count)
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
