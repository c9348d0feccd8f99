"""`encode` and `decode` of many pictures: a plan, an engine, a line for each that fails, and a summary.

Invariant: nothing is written before the whole plan is known to be allowed; a picture that fails costs no other.
"""

import argparse
import json
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from regrain import memory, places
from regrain.batch.plan import Plan, Task
from regrain.cli.terminal import escape, one_line, say
from regrain.cli.work import seconds, silent_libraries
from regrain.errors import ModelError, OutputError, RegrainError, UsageError
from regrain.loading import core_count
from regrain.output import remove_leftovers

if TYPE_CHECKING:
    from regrain.batch.work import Outcome, Work
    from regrain.cli.progress import Totals

__all__ = ["job_count", "run_many", "say_plan"]

_WORKER_BYTES = 1_000_000_000
"""What a worker may want: by default there are no more of them than have as much."""
_HOPELESS: dict[int, type[RegrainError]] = {5: ModelError, 7: OutputError}


def job_count(options: argparse.Namespace, plan: Plan) -> int | None:
    """How many pictures are done at once: what was asked for, or one a core where memory allows it.

    None leaves it to Ray. Raises UsageError for several processes on `memory://`, which each have their own.
    """
    names = [*options.inputs, options.output]
    alone = any(places.is_url(name) and name.startswith("memory:") for name in names)
    if alone and ((options.jobs or 1) > 1 or options.engine == "ray"):
        raise UsageError("memory:// is of one process alone; allowed is --jobs 1")
    if options.engine == "ray":
        return None if options.jobs is None else int(options.jobs)
    most = 1 if alone else min(core_count(), memory.allowance() // _WORKER_BYTES)
    return max(1, min(options.jobs or most, len(plan.tasks)))


def say_plan(options: argparse.Namespace, plan: Plan) -> None:
    """What would be done: a line a picture on stdout, or one JSON object; nothing is written."""
    if options.json:
        tasks = [asdict(task) for task in plan.tasks]
        return say(json.dumps({"tasks": tasks, "skipped": len(plan.skipped), "failures": plan.failures}))
    for task in plan.tasks:
        say(f"{escape(task.source)} -> {escape(task.target)}")
    for name, reason in plan.failures:
        say(f"regrain: error: {escape(name)}: {reason}", aside=True)
    size = sum(task.size for task in plan.tasks)
    skipped = f", {len(plan.skipped):,} skipped" if plan.skipped else ""
    if not options.quiet:
        say(f"{len(plan.tasks):,} pictures, {size:,} bytes{skipped}; nothing is written", aside=True)
    return None


def run_many(options: argparse.Namespace, plan: Plan, work: "Work", jobs: int | None) -> None:
    """Do the tasks of a plan, say which fail, and sum up.

    Raises RegrainError, whose exit code is 1, where some fail; OutputError or ModelError at the first one that fails in
    a way in which all others would, such as on a full disk; what the engines raise.
    """
    from regrain.cli.progress import Progress, Totals

    totals, progress = Totals(), Progress(plan.pictures, visible=not (options.quiet or options.json))
    for note in plan.notes:
        say(f"regrain: warning: {note}", aside=True)
    try:
        with silent_libraries(wanted=not options.verbose), ExitStack() as stack:
            outcomes = _outcomes(options, plan, work, jobs)
            stack.callback(outcomes.close)
            for outcome in outcomes:
                totals.add(outcome)
                if outcome.error or outcome.notes:
                    progress.erase()
                    _say_outcome(outcome, plan.pictures - totals.ended)
                progress.draw(totals)
    finally:
        progress.erase()
    _report(options, totals, jobs)
    if totals.failed:
        raise RegrainError(f"{totals.failed:,} of {plan.pictures:,} failed")


def _outcomes(
    options: argparse.Namespace, plan: Plan, work: "Work", jobs: int | None
) -> "Generator[Outcome, None, None]":
    """The outcome of every picture of a plan; each of this run is a line of the manifest before it is seen here."""
    from regrain.batch.manifest import Manifest
    from regrain.batch.work import Outcome

    with ExitStack() as stack:
        manifest = stack.enter_context(Manifest(options.manifest)) if options.manifest else None
        for source, reason in plan.failures:
            yield Outcome(source, "", error=reason, exit_code=3)
        unlisted = []
        for task in plan.skipped:
            if manifest and task.target not in manifest.targets:
                unlisted.append(task)
            else:
                yield Outcome(task.source, task.target, again=True)
        remove_leftovers(task.target for task in plan.tasks)
        engine = _engine(options, [*unlisted, *plan.tasks], work, jobs)
        stack.callback(engine.close)
        listed = {task.target for task in unlisted}
        for outcome in engine:
            if outcome.again and outcome.target not in listed:  # a worker of this run wrote it, and died
                outcome = replace(outcome, again=False)
            if manifest:
                manifest.add(outcome)
            yield outcome
        remove_leftovers(task.target for task in plan.tasks)


def _engine(
    options: argparse.Namespace, tasks: list[Task], work: "Work", jobs: int | None
) -> "Generator[Outcome, None, None]":
    if options.engine == "ray":
        from regrain.batch import ray_data

        yield from ray_data.run(tasks, work, jobs, options.ray_address)
    else:
        from regrain.batch import processes

        yield from processes.run(tasks, work, jobs or 1)


def _say_outcome(outcome: "Outcome", left: int) -> None:
    """A line for each thing to know; raises the error of one that says how all others will end."""
    for note in outcome.notes:
        named = note if note.startswith(outcome.source) else f"{outcome.source}: {note.removeprefix('picture: ')}"
        say(f"regrain: warning: {one_line(named)}", aside=True)
    if outcome.hopeless:
        more = f"; {left:,} more are not done, --skip-existing goes on" if left else ""
        raise _HOPELESS.get(outcome.exit_code, RegrainError)(f"{outcome.error}{more}")
    if outcome.error:
        say(f"regrain: error: {one_line(f'{outcome.source}: {outcome.error}')}", aside=True)


def _report(options: argparse.Namespace, totals: "Totals", jobs: int | None) -> None:
    """The summary, a line or an object."""
    waited = seconds(options)
    if options.json:
        counts = {"pictures": totals.ended, **asdict(totals), "ratio": round(totals.ratio, 3)}
        facts = {"input": options.inputs, "output": options.output, **counts}
        return say(json.dumps({**facts, "engine": options.engine, "jobs": jobs, "seconds": round(waited, 3)}))
    if not options.quiet:
        say(f"{escape(', '.join(options.inputs))} -> {escape(options.output)}: {totals}, {waited:.1f} s", aside=True)
    return None
