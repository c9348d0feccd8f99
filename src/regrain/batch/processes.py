"""Tasks x work -> outcomes as they come, in this process or in several of this machine.

Invariants: every task has one outcome; at most a few tasks a worker are on their way, so that a million need no more
memory here than ten; when this process ends, in whatever way, its workers end.

A worker that dies takes its pool along. What was on its way then is done again, one at a time in a fresh worker: the
picture that kills its worker is known by that, and is a failure; the others are done.
"""

import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context, parent_process

from regrain.batch.plan import Task
from regrain.batch.work import WRITING, Outcome

__all__ = ["run"]

_AHEAD = 3
"""Tasks on their way for each worker, the one that it works on among them."""
_PATIENCE = 10.0
"""Seconds that a worker without a parent may take to write what it has in hand."""
_DIED = "its worker died, perhaps for want of memory: try fewer --jobs, or a lower --max-pixels"


def run(tasks: Iterable[Task], work: Callable[[Task], Outcome], jobs: int = 1) -> Iterator[Outcome]:
    """The outcome of every task, in the order in which they end; with one job, in this process and in their own order.

    Where the caller stops, or a signal ends it, the pictures that are in hand are finished first.
    """
    rest = iter(tasks)
    if jobs == 1:
        yield from map(work, rest)
        return
    while lost := (yield from _run_pool(rest, work, jobs, _AHEAD)):
        suspects = iter(lost)
        while guilty := (yield from _run_pool(suspects, work, 1, 1)):
            yield from (Outcome(task.source, task.target, error=_DIED, exit_code=6) for task in guilty)


def _run_pool(
    tasks: Iterator[Task], work: Callable[[Task], Outcome], jobs: int, ahead: int
) -> Generator[Outcome, None, list[Task]]:
    """Outcomes until no task is left, or a worker dies; returns the tasks that were on their way then."""
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_start_worker)
    on_the_way: dict[Future[Outcome], Task] = {}
    try:
        while True:
            for task in islice(tasks, jobs * ahead - len(on_the_way)):
                on_the_way[_submit(pool, work, task)] = task
            if not on_the_way:
                return []
            done = wait(on_the_way, return_when=FIRST_COMPLETED).done
            if any(isinstance(future.exception(), BrokenProcessPool) for future in done):
                wait(on_the_way)
                return (yield from _leftovers(on_the_way))
            for future in done:
                del on_the_way[future]
                yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _submit(pool: ProcessPoolExecutor, work: Callable[[Task], Outcome], task: Task) -> "Future[Outcome]":
    """A task on its way; where the pool is broken already, one that is lost."""
    try:
        return pool.submit(work, task)
    except BrokenProcessPool as error:
        lost: Future[Outcome] = Future()
        lost.set_exception(error)
        return lost


def _leftovers(futures: "dict[Future[Outcome], Task]") -> Generator[Outcome, None, list[Task]]:
    """The outcomes that came before a pool broke; returns the tasks that have none."""
    lost = []
    for future, task in futures.items():
        if future.exception() is None:
            yield future.result()
        else:
            lost.append(task)
    return lost


def _start_worker() -> None:
    """Leave Ctrl-C to the process that started this one, and end when that ends, were it by SIGKILL."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, name="parent", daemon=True).start()


def _follow_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        WRITING.acquire(timeout=_PATIENCE)
        os._exit(1)
