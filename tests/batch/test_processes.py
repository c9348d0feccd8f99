"""The engine: an outcome a task whatever happens to its workers, and no worker without its parent."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from regrain.batch.plan import Task
from regrain.batch.processes import run
from regrain.batch.work import Outcome

ROOT = Path(__file__).resolve().parents[2]


def echo(task):
    return Outcome(task.source, task.target, worker=str(os.getpid()))


def die_of_poison(task):
    if task.source == "poison":
        os.kill(os.getpid(), signal.SIGKILL)
    return echo(task)


def die_once(task):
    """The first worker that comes here dies."""
    try:
        os.close(os.open(task.target, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return echo(task)
    os.kill(os.getpid(), signal.SIGKILL)
    return echo(task)


def tasks(count):
    return [Task(str(number), f"{number}.out") for number in range(count)]


def test_one_job_is_this_process_in_order():
    outcomes = list(run(tasks(5), echo))
    assert [outcome.source for outcome in outcomes] == list("01234")
    assert {outcome.worker for outcome in outcomes} == {str(os.getpid())}


def test_tasks_are_taken_as_they_are_needed():
    taken = []
    outcomes = run((taken.append(task) or task for task in tasks(100)), echo)
    next(outcomes)
    assert len(taken) == 1
    outcomes.close()


@pytest.mark.parametrize("count", [0, 1, 30])
def test_several_workers_do_every_task_once(count):
    outcomes = list(run(tasks(count), echo, 2))
    assert sorted(int(outcome.source) for outcome in outcomes) == list(range(count))
    assert str(os.getpid()) not in {outcome.worker for outcome in outcomes}


def test_a_picture_that_kills_its_worker_fails_and_the_others_are_done():
    work = [*tasks(7), Task("poison", "p"), *tasks(20)[7:]]
    outcomes = list(run(work, die_of_poison, 2))
    assert Counter(bool(outcome.error) for outcome in outcomes) == {False: 20, True: 1}
    (failed,) = (outcome for outcome in outcomes if outcome.error)
    assert failed.source == "poison"
    assert failed.error.startswith("its worker died")
    assert failed.exit_code == 6


def test_a_worker_that_dies_once_loses_nothing(tmp_path):
    work = [Task(str(number), str(tmp_path / "mark")) for number in range(12)]
    outcomes = list(run(work, die_once, 2))
    assert sorted(int(outcome.source) for outcome in outcomes) == list(range(12))
    assert not [outcome for outcome in outcomes if outcome.error]


_PARENT = """
from batch import test_processes as t
from regrain.batch.processes import run
if __name__ == "__main__":
    for outcome in run(t.tasks(10000), t.echo, 2):
        print(outcome.worker, flush=True)
        import time; time.sleep(0.05)
"""


def test_workers_end_with_their_parent_however_that_ends(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(_PARENT)
    path = os.pathsep.join([str(ROOT / "tests"), str(ROOT / "src"), str(ROOT)])
    parent = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path},
    )
    workers = {int(parent.stdout.readline()) for _ in range(20)}
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{worker}/exe").exists() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [worker for worker in workers if Path(f"/proc/{worker}/exe").exists()]
