"""Pictures a second of a folder: a plain loop, processes of this machine, and a Ray cluster of it; both ways.

    rate = pictures / seconds of the run, without the start of interpreters and of Ray

`python benchmarks/throughput.py FOLDER [--count N] [--jobs N]`. Every engine has a thread a worker. The clock runs from
the first picture that is done to the last, and each engine does `--warm` pictures more at first: starts are another
figure, which is printed beside. Ray takes part where it is installed.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from regrain import Decoder, Encoder
from regrain.batch import processes, ray_data
from regrain.batch.plan import Task
from regrain.batch.work import Outcome, Work

Engine = Callable[[list[Task], Work], Iterator[Outcome]]


def measure(engine: Engine, tasks: list[Task], work: Work, warm: int) -> tuple[float, float]:
    """Pictures a second after the first `warm`, and seconds until these were done."""
    begin = time.perf_counter()
    ends = []
    for outcome in engine(tasks, work):
        if outcome.error:
            raise SystemExit(f"{outcome.source}: {outcome.error}")
        ends.append(time.perf_counter())
    return (len(ends) - warm) / (ends[-1] - ends[warm - 1]), ends[warm - 1] - begin


def tasks_of(sources: list[Path], folder: Path, suffix: str) -> list[Task]:
    """A task for each source, with targets in a folder."""
    return [Task(str(path), str(folder / f"{number:05}{suffix}")) for number, path in enumerate(sources)]


def main() -> None:
    """Print a table of engines and rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--warm", type=int, default=8)
    parser.add_argument("-q", "--quality", type=float, default=30)
    options = parser.parse_args()
    pictures = sorted(path for path in options.folder.rglob("*") if path.suffix.lower() in (".png", ".jpg"))
    pictures = (pictures * -(-options.count // len(pictures)))[: options.count] if pictures else []
    if len(pictures) <= options.warm:
        raise SystemExit(f"{options.folder} has too few pictures")
    jobs = options.jobs
    engines: dict[str, Engine] = {
        "plain loop": lambda tasks, work: processes.run(tasks, work),
        f"--jobs {jobs}": lambda tasks, work: processes.run(tasks, work, jobs),
    }
    if find_spec("ray"):
        for count in dict.fromkeys((1, jobs)):
            engines[f"ray, {count} workers"] = lambda tasks, work, count=count: ray_data.run(tasks, work, count)
    print("| | engine | pictures a second | times the loop | start, s |\n|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        encoded = Path(scratch) / "plain loop"
        for deed, coder in (("encode", Encoder(quality=options.quality)), ("decode", Decoder(output="png"))):
            loop = 0.0
            for name, engine in engines.items():
                folder = Path(scratch) / (name if deed == "encode" else f"{name} back")
                sources = pictures if deed == "encode" else sorted(encoded.glob("*.rgn"))
                tasks = tasks_of(sources, folder, ".rgn" if deed == "encode" else ".png")
                rate, start = measure(engine, tasks, Work(coder), options.warm)
                loop = loop or rate
                print(f"| {deed} | {name} | {rate:.2f} | {rate / loop:.2f} | {start:.1f} |", flush=True)


if __name__ == "__main__":
    main()
