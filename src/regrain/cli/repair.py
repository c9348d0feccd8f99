"""`repair`: a picture in any format in, the same picture repaired out; and the flags of repair."""

import argparse
from typing import TYPE_CHECKING

from regrain.cli.commands import report, weights
from regrain.cli.streams import check_target, default_output, picture_format, put, seekable
from regrain.cli.terminal import STANDARD, about, display_name
from regrain.cli.work import seconds, working
from regrain.options import REPAIRED

if TYPE_CHECKING:
    from regrain.restoration.denoise import Repair

__all__ = ["add_decoded_repair", "add_repair", "repair"]

_SUFFIX = ".repaired.png"


def add_repair(parser: argparse.ArgumentParser) -> None:
    """What `repair` has alone: how much, in how many steps, and by which noise."""
    group = parser.add_argument_group("how the picture is repaired")
    what = "0 nothing to 4: how much of the error that the picture shows is taken to be noise (default: 1)"
    group.add_argument("--strength", type=float, default=1.0, metavar="S", help=what)
    what = "denoising steps, 1 to 1000 (default: 1, the least error); more draw what one leaves smooth"
    group.add_argument("--steps", type=int, default=1, metavar="N", help=what)
    what = "fresh noise in each step after the first: 0 DDIM to 1 DDPM (default: 0, which looks alike for all seeds)"
    group.add_argument("--eta", type=float, default=0.0, metavar="E", help=what)
    group.add_argument("--seed", type=int, default=0, metavar="S", help="of the noise of --eta")


def add_decoded_repair(group: argparse._ArgumentGroup) -> None:
    """What `decode` has of it: for files of the palette method."""
    what = "what is denoised of a palette file: latent (default), image or both; not of other methods"
    group.add_argument("--repair", choices=REPAIRED, help=what)
    what = "how much of the error of a palette file is taken to be noise, 0 none to 4 (default: 0.5)"
    group.add_argument("--repair-strength", type=float, metavar="S", help=what)


def repair(options: argparse.Namespace) -> None:
    """Picture to picture, in the format of OUT's suffix; raises what `regrain.repair` raises, or OutputError."""
    from regrain import image
    from regrain.restoration.picture import repair_picture

    target = options.output or default_output(options.input, _SUFFIX)
    kind = picture_format(target)
    check_target(target, overwrite=options.overwrite, source=options.input)
    name, limited = display_name(options.input), image.pillow_limited(options.max_pixels)
    with working(options, f"repairing {name}") as progress, limited:
        model = weights(options)
        source = seekable(options.input, options.max_pixels)
        with about(options.input):
            picture = image.read(source, max_pixels=options.max_pixels)
            image.check_format(
                kind,
                picture.width,
                picture.height,
                alpha=picture.alpha is not None,
                name=display_name(target, "stdout"),
            )
            repaired, error = repair_picture(
                picture,
                _how(options),
                model=model,
                device=options.device,
                max_memory=options.max_memory,
                progress=lambda done, all_of_them: progress(f"tile {done} of {all_of_them} of {name} is repaired"),
            )
        written = image.to_file(
            image.select_metadata(repaired, options.keep, name), kind, display_name(target, "stdout")
        )
    put(written, target, overwrite=options.overwrite, like=options.input if options.preserve_times else None)
    waited = seconds(options)
    knobs = {name: getattr(options, name) for name in ("strength", "steps", "eta", "seed")}
    facts = {"input": options.input, "output": target, "width": picture.width, "height": picture.height}
    facts |= {"jpeg": picture.luma_steps is not None, "error": round(error, 3), **knobs, "seconds": round(waited, 3)}
    line = (
        f"{name} -> {display_name(target, 'stdout')}: {picture.width} x {picture.height}, error of about {error:.1f} "
    )
    report(
        options,
        facts,
        line + f"levels, strength {options.strength:g}, steps {options.steps}, {waited:.1f} s",
        aside=target == STANDARD,
    )


def _how(options: argparse.Namespace) -> "Repair":
    from regrain.restoration.denoise import Repair

    return Repair(options.strength, options.steps, options.eta, options.seed)
