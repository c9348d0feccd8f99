"""`models`: which weights are on this machine, and the only command that fetches some."""

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import regrain
from regrain.cli.terminal import display_name, say
from regrain.cli.work import working
from regrain.errors import UsageError

if TYPE_CHECKING:
    from regrain.hub import Pretrained

__all__ = ["models"]

Facts = dict[str, str | int]


def models(options: argparse.Namespace) -> None:
    """Print a line for each model on stdout; raises ModelError for one that is damaged or cannot be fetched."""
    from regrain import hub, shipped

    if options.input is not None and not os.path.isdir(options.input):
        raise UsageError(f"{display_name(options.input)} is no folder; allowed is one with models")
    if options.fetch is not None:
        with working(options, f"fetching {display_name(options.fetch)}"):
            rows = [_facts(_fetched(options.fetch))]
    else:
        rows = [
            {"name": one.name, "method": one.method, "bytes": one.size, "licence": shipped.LICENCE,
             "fingerprint": one.fingerprint, "place": "package"}
            for one in shipped.shipped()
        ]  # fmt: skip
        rows += [_facts(one) for one in hub.cached()]
        rows += [] if options.input is None else [_facts(one) for one in hub.in_folder(Path(options.input))]
    if options.json:
        return say(json.dumps({"models": rows}))
    if not options.quiet:
        _say_table(rows)
    return None


def _fetched(name: str) -> "Pretrained":
    """The model of a name as the hub has it now, once it has been loaded."""
    from regrain import hub

    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # there is a clock
    model = hub.fetch(name)
    regrain.load(name)
    return model


def _facts(model: "Pretrained") -> Facts:
    """What is said of a model beyond the package; `bytes` are 0 where its weights are missing."""
    from regrain.hub import WEIGHTS

    config, path = model.config, model.folder / WEIGHTS
    size = path.stat().st_size if path.is_file() else 0
    facts: Facts = {"name": model.name, "method": config.method, "bytes": size}
    return facts | {"licence": config.license, "fingerprint": config.fingerprint, "place": str(model.folder)}


def _say_table(rows: list[Facts]) -> None:
    width = max(len(str(row["name"])) for row in rows)
    for row in rows:
        licence = row["licence"] or "not stated"
        say(
            f"{row['name']:<{width}}  {row['method']:<11}  {row['bytes']:>12,} bytes  latents {row['fingerprint']}  "
            f"licence {licence}"
        )
