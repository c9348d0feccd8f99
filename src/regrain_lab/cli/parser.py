"""The laboratory's commands and their flags; nothing that is heavy is imported before one of them runs."""

from collections.abc import Sequence
from pathlib import Path

from regrain.cli.flags import add_max_pixels, add_rate, add_realism, add_seed
from regrain.cli.parser import Parser, Subparsers, add_model, add_overwrite, command, common
from regrain_lab.cli.compare import compare
from regrain_lab.cli.evaluate import evaluate
from regrain_lab.cli.explain import SIDE_LEAST, SIDE_MOST, explain
from regrain_lab.cli.pack import pack
from regrain_lab.cli.train import distill, fine_tune, train

__all__ = ["add"]

_DEVICES = "cpu, cuda or cuda:N (default: cuda where there is one)"
"""What trains: torch alone."""


def add(commands: "Subparsers[Parser]") -> None:
    """Add compare, explain, pack, train, distill, fine-tune and evaluate to the commands of `regrain`."""
    adders = _add_compare, _add_explain, _add_pack, _add_train, _add_distill, _add_fine_tune, _add_evaluate
    for add_command in adders:
        add_command(commands)


def _add_compare(commands: "Subparsers[Parser]") -> None:
    what = "Draw a picture beside regrain, JPEG, WebP and AVIF at equal bytes."
    parser = command(commands, "compare", what, compare)
    parser.add_argument("input", metavar="IMAGE", help="a picture in any format that Pillow reads; - is stdin")
    parser.add_argument("output", metavar="OUT", nargs="?", help="default: IMAGE with the suffix .compare.png")
    add_rate(parser, default="0.2 bits a pixel")
    add_realism(parser)
    add_max_pixels(parser)
    parser.add_argument(
        "--lpips",
        metavar="WEIGHTS",
        type=Path,
        help="LPIPS as safetensors, to measure it too (default: $REGRAIN_LPIPS)",
    )
    add_model(parser)
    add_overwrite(parser)


def _add_explain(commands: "Subparsers[Parser]") -> None:
    what = "Show what noise, a diffusion model and the codec do with a photo: pictures, and a page that holds them."
    parser = command(commands, "explain", what, explain, None)
    parser.add_argument("input", metavar="IMAGE", help="a picture in any format that Pillow reads; - is stdin")
    out = "folder of the pictures and of explanation.html (default: IMAGE with the suffix .explained)"
    parser.add_argument("output", metavar="FOLDER", nargs="?", help=out)
    add_rate(parser, default="50")
    what = f"longer side of the copy that noise is added to, {SIDE_LEAST} to {SIDE_MOST} pixels (default: 256)"
    parser.add_argument("--size", dest="side", type=int, default=256, metavar="N", help=what)
    parser.add_argument("--steps", type=int, default=40, metavar="N", help="of the bound, 1 to 1000 (default: 40)")
    add_seed(parser)
    add_max_pixels(parser)
    add_overwrite(parser)


def _add_pack(commands: "Subparsers[Parser]") -> None:
    parser = command(commands, "pack", "Write pictures as shards that recipes train on.", pack, None)
    what = "a folder of pictures or shards, a tar or zip file, a pattern, a URL, or a recipe: what that one takes"
    parser.add_argument("input", metavar="IN", help=what)
    parser.add_argument("output", metavar="OUT", help="folder of the shards and of index.csv")
    what = "side of the crops in pixels, 0 for whole pictures as they are (default: 256)"
    parser.add_argument("--crop", type=int, default=256, metavar="N", help=what)
    what = "crops of one picture, at most, where its name draws them (default: 16)"
    parser.add_argument("--crops", type=int, default=16, metavar="N", help=what)
    what = "leave out pictures with a shorter side (default: that of the crops)"
    parser.add_argument("--min-side", type=int, default=0, metavar="N", help=what)
    what = "leave out pictures whose perceptual hash has less than N other bits of 64; 0 keeps all (default: 6)"
    parser.add_argument("--duplicates", type=int, default=6, metavar="N", help=what)
    what = "leave out crops whose luma deviates less, in levels of 255; 0 keeps all (default: 3)"
    parser.add_argument("--flat", type=float, default=3.0, metavar="D", help=what)
    what = "leave out crops with a larger share of black and white pixels; 1 keeps all, as of screens (default: 0.25)"
    parser.add_argument("--clipped", type=float, default=0.25, metavar="SHARE", help=what)
    what = "licence class of the pictures, as a recipe's licence_classes name it (default: that of an index)"
    parser.add_argument("--licence", default="", metavar="CLASS", help=what)
    parser.add_argument("--megabytes", type=float, default=100.0, metavar="N", help="of a shard (default: 100)")
    add_max_pixels(parser)
    add_overwrite(parser)


def _add_train(commands: "Subparsers[Parser]") -> None:
    what = "Train a model; a run that was stopped goes on where it was."
    _add_recipe(command(commands, "train", what, train, _DEVICES))


def _add_distill(commands: "Subparsers[Parser]") -> None:
    what = "Train a model's decoder for few steps, its files unchanged; a run that was stopped goes on where it was."
    _add_recipe(command(commands, "distill", what, distill, _DEVICES))


def _add_fine_tune(commands: "Subparsers[Parser]") -> None:
    what = "Train weights for your own kind of picture, from those that there are."
    parser = command(commands, "fine-tune", what, fine_tune, _DEVICES)
    parser.add_argument("pictures", metavar="FOLDER", type=Path, help="25 pictures or more, or shards of them")
    out = "where checkpoints, logs and weights.safetensors go (default: FOLDER with the suffix .weights)"
    parser.add_argument("--out", metavar="DIR", type=Path, help=out)
    what = (
        "adapter: a little of everything, in a small file of its own; decoder: files stay as they are; all: everything"
    )
    parser.add_argument("--parts", choices=("adapter", "decoder", "all"), default="adapter", help=what)
    steps = "at most; it ends before where the held-out loss no longer falls (default: 600)"
    parser.add_argument("--steps", type=int, default=600, metavar="N", help=steps)
    parser.add_argument("--lpips", metavar="WEIGHTS", type=Path, help="LPIPS as safetensors, to learn by it as well")
    add_seed(parser)
    add_model(parser)
    _add_resume(parser)


def _add_recipe(parser: Parser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", type=Path, help="a TOML file, as those in recipes/")
    parser.add_argument("--out", metavar="DIR", type=Path, help="where checkpoints and logs go (default: the recipe's)")
    _add_resume(parser)


def _add_evaluate(commands: "Subparsers[Parser]") -> None:
    what = "Measure regrain and other encoders on a folder of pictures: a table, charts, BD-rates."
    parser = command(commands, "evaluate", what, evaluate)
    parser.add_argument("input", metavar="DIR", help="a folder of pictures")
    out = "folder of the results; what its table has is not measured again (default: DIR.results)"
    parser.add_argument("output", metavar="OUT", nargs="?", help=out)
    codecs = "regrain and the encoders to measure, with settings if you like: JPEG=10,50,90 (default: all)"
    parser.add_argument("--codecs", metavar="NAME", nargs="+", default=[], help=codecs)
    _add_list(
        parser, "--qualities", "qualities", "Q", float, [0.0, 15.0, 30.0, 45.0, 60.0, 80.0, 100.0], "-q of regrain"
    )
    _add_list(parser, "--realism", "realisms", "R", float, [0.0, 1.0], "ways to decode regrain's files, each")
    _add_list(parser, "--steps", "step_counts", "N", int, [1], "with each of these")
    weights = "weights of LPIPS, VGG16, DISTS or PieAPP, known by what is in them, to measure these too"
    parser.add_argument("--weights", metavar="FILE", type=Path, nargs="+", default=[], help=weights)
    jobs = "processes that share the work, and spoil each other's timings (default: 1)"
    parser.add_argument("--jobs", metavar="N", type=int, default=1, help=jobs)
    reference = "a folder with tables of published points, to be drawn as such"
    parser.add_argument("--reference", metavar="FOLDER", type=Path, help=reference)
    add_model(parser)
    _add_resume(parser)


def _add_resume(parser: Parser) -> None:
    """For a command that fills a folder, and goes on there when it is started again."""
    what = "refuse to go on where there are results"
    common(parser).add_argument("--no-overwrite", dest="overwrite", action="store_false", help=what)


def _add_list(
    parser: Parser, flag: str, dest: str, metavar: str, kind: type[int | float], default: Sequence[float], what: str
) -> None:
    values = " ".join(f"{value:g}" for value in default)
    text = f"{what} (default: {values})"
    parser.add_argument(flag, dest=dest, metavar=metavar, type=kind, nargs="+", default=default, help=text)
