"""`evaluate`: a folder of pictures through regrain and other encoders, as a table, charts and a page.

The table grows picture by picture, so that a run that was stopped goes on when it is started again, and runs with other
codecs or settings add to the same table. When it is whole, times are taken with nothing else running, and then the page
is drawn, from the tables alone but for the contact sheet.
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from regrain.cli.commands import report
from regrain.cli.terminal import escape, say
from regrain.cli.work import silent_libraries
from regrain.errors import OutputError, UsageError
from regrain.options import check_arguments
from regrain_lab.cli.extra import check_folder, check_installed

if TYPE_CHECKING:
    from regrain_lab.evaluation.report import Attachments
    from regrain_lab.evaluation.suite import SuiteSpec
    from regrain_lab.evaluation.table import Row
    from regrain_lab.metrics.realism import Realism

__all__ = ["evaluate"]

_EXTRA = ("torch", "pytorch_msssim", "matplotlib", "scipy", "tqdm")


def evaluate(options: argparse.Namespace) -> None:
    """Measure, then report; raises UsageError, ModelError and OutputError, but a codec that fails is a row."""
    _check(options)
    spec = _spec(options)
    from regrain_lab.evaluation.report import CSV
    from regrain_lab.evaluation.report import report as draw_report
    from regrain_lab.evaluation.suite import select
    from regrain_lab.evaluation.sweep import list_pictures, sweep
    from regrain_lab.evaluation.table import Row, read
    from regrain_lab.metrics.pretrained import classify
    from regrain_lab.metrics.registry import missing_weights

    notes = select(spec.codecs).notes
    files, skipped = list_pictures(Path(options.input))
    weights = classify(spec.weights)
    network = _load_realism(weights)  # used last of all, and refused first
    notes += skipped + missing_weights(weights)
    folder = _folder(options)
    loud = not (options.quiet or options.json)
    for note in notes if loud else ():
        say(note, aside=True)
    with silent_libraries(wanted=not options.verbose):
        rows = sweep(files, spec, folder / CSV, jobs=options.jobs, progress=loud)
        every_row = read(Row, folder / CSV)
        attachments = _attachments(spec, options, files, every_row, folder, network)
    written = draw_report(every_row, folder, reference=options.reference, attachments=attachments)
    failed = sum(bool(row.error) for row in rows)
    facts = {"input": options.input, "output": str(folder), "pictures": len(files), "rows": len(rows), "failed": failed}
    report(
        options,
        {**facts, "files": [str(path) for path in written], "notes": notes},
        f"{escape(options.input)} -> {escape(str(folder))}: pictures {len(files)}, rows {len(rows)}, failed {failed}",
        more="\n".join(f"  {path}" for path in written),
    )


def _attachments(
    spec: "SuiteSpec",
    options: argparse.Namespace,
    files: Sequence[Path],
    rows: "Sequence[Row]",
    folder: Path,
    network: "Realism | None",
) -> "Attachments":
    """Times of all codecs, with nothing else running; the contact sheet; KID and the like, where `network` is."""
    from regrain_lab.evaluation import contact_sheet, distributions, timing
    from regrain_lab.evaluation.report import DISTRIBUTIONS, TIMINGS, Attachments
    from regrain_lab.evaluation.sweep import build
    from regrain_lab.evaluation.table import Distribution, read

    loud = not (options.quiet or options.json)
    suite, alone = build(spec), replace(spec, threads=options.threads)
    timings = timing.measure(suite.codecs, rows, files, alone, folder / TIMINGS, progress=loud)
    sheet = contact_sheet.make(rows, files, alone, suite.metrics, progress=loud)
    path = folder / DISTRIBUTIONS
    if network is not None:
        distributions.measure(files, suite.codecs, network, path, progress=loud)
    return Attachments(timings, sheet, read(Distribution, path))


def _load_realism(weights: Mapping[str, Path]) -> "Realism | None":
    """The networks of KID and the Gram distance, where the files suffice. Raises ModelError."""
    from regrain_lab.metrics.realism import Realism
    from regrain_lab.metrics.registry import NEEDS, REALISM

    kinds, _ = NEEDS[REALISM]
    return Realism.load(*(weights[kind] for kind in kinds)) if set(kinds) <= weights.keys() else None


def _check(options: argparse.Namespace) -> None:
    """Refuse what can be refused before anything is loaded."""
    for name, values in (("quality", options.qualities), ("realism", options.realisms), ("steps", options.step_counts)):
        for value in values:
            check_arguments(**{name: value})
    if not 1 <= options.jobs <= 1024:
        raise UsageError(f"jobs is {options.jobs}; allowed is a whole number from 1 to 1024")
    if options.reference is not None and not options.reference.is_dir():
        raise UsageError(f"reference is {options.reference}, which is no folder")
    if not Path(options.input).is_dir():
        raise UsageError(f"{options.input} is no folder; name one that holds pictures")
    check_installed("evaluating", _EXTRA)


def _spec(options: argparse.Namespace) -> "SuiteSpec":
    from regrain_lab.evaluation.suite import SuiteSpec

    return SuiteSpec(
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
    """The folder of the results; nothing is made yet. Raises OutputError where nothing can be."""
    from regrain_lab.evaluation.report import CSV, HTML, MARKDOWN

    pictures = Path(options.input)
    pictures = pictures if pictures.name not in ("", "..") else Path(os.path.abspath(pictures))
    folder = Path(options.output) if options.output else pictures.with_name(f"{pictures.name}.results")
    results = [folder / name for name in (CSV, HTML, MARKDOWN) if (folder / name).exists()]
    if results and not options.overwrite:
        raise OutputError(f"{results[0]} exists, and --no-overwrite forbids to go on there")
    return check_folder(folder)
