"""`evaluate`: a folder of pictures through regrain and other encoders, as a table, charts and a page.

The table is added to picture by picture, so that a run that was stopped goes on when it is started again, and runs with
other codecs or knobs add to the same table. When it is whole, times are taken with nothing else running, and then the
page is drawn, from the tables alone but for a sheet of crops.
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from regrain.cli.commands import report
from regrain.cli.terminal import clean, say
from regrain.cli.work import silent_libraries
from regrain.errors import OutputError, UsageError
from regrain.options import checked

if TYPE_CHECKING:
    from regrain_lab.evaluation.contestants import Plan
    from regrain_lab.evaluation.report import Beside
    from regrain_lab.evaluation.rows import Row
    from regrain_lab.metrics.realism import Realism

__all__ = ["evaluate"]

_EXTRA = ("matplotlib", "scipy", "tqdm")


def evaluate(options: argparse.Namespace) -> None:
    """Measure, then report; raises UsageError, ModelError and OutputError, but a codec that fails is a row."""
    _check(options)
    plan = _plan(options)
    from regrain_lab.evaluation.contestants import choose
    from regrain_lab.evaluation.report import CSV
    from regrain_lab.evaluation.report import report as draw
    from regrain_lab.evaluation.rows import read
    from regrain_lab.evaluation.sweep import pictures, sweep
    from regrain_lab.metrics.pretrained import known
    from regrain_lab.metrics.registry import missing

    _, _, notes = choose(plan.codecs)
    files, skipped = pictures(Path(options.input))
    kinds = known(plan.weights)
    network = _network(kinds)  # used last of all, and refused first
    notes += skipped + missing(kinds)
    folder = _folder(options)
    loud = not (options.quiet or options.json)
    for note in notes if loud else ():
        say(note, aside=True)
    with silent_libraries(wanted=not options.verbose):
        rows = sweep(files, plan, folder / CSV, jobs=options.jobs, progress=loud)
        every = read(folder / CSV)
        beside = _beside(plan, options, files, every, folder, network)
    written = draw(every, folder, reference=options.reference, beside=beside)
    failed = sum(bool(row.error) for row in rows)
    facts = {"input": options.input, "output": str(folder), "pictures": len(files), "rows": len(rows), "failed": failed}
    report(
        options,
        {**facts, "files": [str(path) for path in written], "notes": notes},
        f"{clean(options.input)} -> {clean(str(folder))}: pictures {len(files)}, rows {len(rows)}, failed {failed}",
        more="\n".join(f"  {path}" for path in written),
    )


def _beside(
    plan: "Plan",
    options: argparse.Namespace,
    files: Sequence[Path],
    rows: "Sequence[Row]",
    folder: Path,
    network: "Realism | None",
) -> "Beside":
    """The times of everybody, with nothing else running; the sheet of crops; KID and the like, where `network` is."""
    from regrain_lab.evaluation import clock, crops, distributions, patches
    from regrain_lab.evaluation.report import DISTRIBUTIONS, TIMINGS, Beside
    from regrain_lab.evaluation.sweep import built

    loud = not (options.quiet or options.json)
    bench, alone = built(plan), replace(plan, threads=options.threads)
    times = clock.take(bench.contestants, rows, files, alone, folder / TIMINGS, progress=loud)
    sheet = crops.draw(rows, files, alone, bench.metrics, progress=loud)
    table = folder / DISTRIBUTIONS
    if network is not None:
        patches.measure(files, bench.contestants, network, table, progress=loud)
    return Beside(times, sheet, distributions.read(table))


def _network(kinds: Mapping[str, Path]) -> "Realism | None":
    """What KID and the Gram distance need, where the files suffice. Raises ModelError."""
    from regrain_lab.metrics.realism import Realism

    names = ("lpips_vgg", "vgg16", "lpips_alex")
    return Realism.load(*(kinds[name] for name in names)) if set(names) <= kinds.keys() else None


def _check(options: argparse.Namespace) -> None:
    """All that can be refused before anything is loaded."""
    for name, values in (("quality", options.qualities), ("realism", options.realisms), ("steps", options.step_counts)):
        for value in values:
            checked(**{name: value})
    if not 1 <= options.jobs <= 1024:
        raise UsageError(f"jobs is {options.jobs}; allowed is a whole number from 1 to 1024")
    if options.reference is not None and not options.reference.is_dir():
        raise UsageError(f"reference is {options.reference}, which is no folder")
    if not Path(options.input).is_dir():
        raise UsageError(f"{options.input} is no folder; name one that holds pictures")
    for name in _EXTRA:
        if find_spec(name) is None:
            raise UsageError(f"evaluating needs {name}; install it with: pip install 'regrain[lab]'")


def _plan(options: argparse.Namespace) -> "Plan":
    from regrain_lab.evaluation.contestants import Plan

    return Plan(
        codecs=tuple(options.codecs),
        qualities=tuple(options.qualities),
        realisms=tuple(dict.fromkeys(options.realisms)),
        steps=tuple(dict.fromkeys(options.step_counts)),
        weights=tuple(str(path) for path in options.weights),
        model=None if options.model is None else str(options.model),
        device=options.device,
        threads=options.threads or (max(1, (os.cpu_count() or 1) // options.jobs) if options.jobs > 1 else None),
    )


def _folder(options: argparse.Namespace) -> Path:
    """Where the results go; nothing is made yet. Raises OutputError where nothing can be."""
    from regrain_lab.evaluation.report import CSV, HTML, MARKDOWN

    given = Path(options.input)
    given = given if given.name not in ("", "..") else Path(os.path.abspath(given))
    folder = Path(options.output) if options.output else given.with_name(f"{given.name}.results")
    standing = [folder / name for name in (CSV, HTML, MARKDOWN) if (folder / name).exists()]
    if standing and not options.overwrite:
        raise OutputError(f"{standing[0]} exists, and --no-overwrite forbids to go on there")
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise OutputError(f"cannot write into {folder}: {there} is no folder")
    if not os.access(there, os.W_OK):
        raise OutputError(f"cannot write into {folder}: permission denied")
    return folder
