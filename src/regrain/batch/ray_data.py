"""Tasks x work -> outcomes on a Ray cluster, by Ray Data.

    from_items(tasks).map_batches(Worker, an actor pool).iter_rows()

Invariants: weights are loaded once an actor; pictures go from their places to the actors and from there to their
targets, and only tasks and outcomes through Ray's object store. Ray does again what an actor had in hand that died:
one small batch, of which the pictures that are written already are only read.
"""

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from importlib import import_module
from typing import TYPE_CHECKING

from regrain.batch.plan import Task
from regrain.batch.work import Outcome, Work
from regrain.errors import LimitError, UsageError
from regrain.places import check_installed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["run"]

_BATCH = 4
"""Pictures that an actor is given at once: so many are done again where it dies."""
_FIELDS = [field.name for field in fields(Outcome)]


class Worker:
    """One actor: it holds the work, and with it, from the first batch on, the weights."""

    def __init__(self, work: Work) -> None:
        """Nothing is loaded yet."""
        self._work = work

    def __call__(self, batch: "Mapping[str, NDArray[np.object_]]") -> dict[str, list[object]]:
        """The outcomes of a batch of tasks, a column a field."""
        places = zip(batch["source"], batch["target"], strict=True)
        rows = [asdict(self._work(Task(str(source), str(target)))) for source, target in places]
        for row in rows:  # what a column of Arrow holds
            row["notes"], row["facts"] = "\n".join(row["notes"]), json.dumps(row["facts"])
        return {name: [row[name] for row in rows] for name in _FIELDS}


def run(tasks: Sequence[Task], work: Work, jobs: int | None = None, address: str | None = None) -> Iterator[Outcome]:
    """The outcome of every task as it comes, from an actor pool of at most `jobs` (None: one a CPU of the cluster).

    `address` is that of a cluster (None: $RAY_ADDRESS, or else one that is started here and ends with the run). regrain
    and all paths must be there on every node, as a shared file system or URLs are. Raises UsageError without Ray or a
    cluster at the address, LimitError where workers keep on dying.
    """
    check_installed("--engine ray", ("ray", "ray.data"), "ray")
    if not tasks:
        return
    ray, data = import_module("ray"), import_module("ray.data")
    _connect(jobs, address)
    try:
        data.DataContext.get_current().enable_progress_bars = False
        for name in ("ray", "ray.data"):
            logging.getLogger(name).setLevel(logging.ERROR)
        count = jobs or max(1, int(ray.cluster_resources().get("CPU", 1)))
        blocks = max(1, -(-len(tasks) // _BATCH))
        items = [{"source": task.source, "target": task.target} for task in tasks]
        dataset = data.from_items(items, override_num_blocks=min(blocks, 10_000))
        pool = data.ActorPoolStrategy(size=min(count, blocks))
        outcomes = dataset.map_batches(Worker, fn_constructor_args=(work,), batch_size=_BATCH, compute=pool, num_cpus=1)
        yield from map(_outcome, outcomes.iter_rows())
    except ray.exceptions.RayError as error:
        raise LimitError(f"Ray gave up: {_last_line(error)}; the same command with --skip-existing goes on") from error
    finally:
        ray.shutdown()


def _connect(jobs: int | None, address: str | None) -> None:
    """Join a cluster, or start one of this machine alone."""
    ray = import_module("ray")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    address = address or os.environ.get("RAY_ADDRESS")
    own = {} if address else {"num_cpus": jobs, "include_dashboard": False}
    try:
        ray.init(address=address or "local", logging_level=logging.ERROR, log_to_driver=False, **own)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UsageError(f"there is no Ray cluster at {address or 'this machine'}: {_last_line(error)}") from error


def _outcome(row: Mapping[str, object]) -> Outcome:
    facts = {name: row[name] for name in _FIELDS}
    notes = tuple(str(facts.pop("notes")).splitlines())
    more = json.loads(str(facts.pop("facts")))
    return Outcome(**facts, notes=notes, facts=more)  # type: ignore[arg-type]


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__
