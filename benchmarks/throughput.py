"""Pictures a second of a folder: a plain loop, threads, processes of this machine, and a Ray cluster of it; both ways.

    rate = pictures / seconds of the run, without the start of interpreters and of Ray

`python benchmarks/throughput.py FOLDER [--count N] [--jobs N]`. Every engine has a thread a worker. The clock runs from
the first picture that is done to the last, and each engine does `--warm` pictures more at first: starts are another
figure, which is printed beside. Ray takes part where it is installed. `--many` measures `decode_many` alone, against
a loop of `decode` with networks of one thread, and of as many threads: the median of three ratios within one run.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from regrain import Decoder, Encoder, decode, decode_many, encode_many
from regrain.batch import processes, ray_data
from regrain.batch.plan import Task
from regrain.batch.work import Outcome, Work
from regrain.loading import threads_at_most

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


def seconds(work: Callable[[], object]) -> float:
    """What a call takes, by the clock."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def measure_many(pictures: list[Path], quality: float, jobs: int) -> None:
    """Print a table of decode_many against both loops, which alternate with it."""
    files = list(encode_many(pictures, jobs=jobs, quality=quality))

    def loop(threads: int) -> None:
        with threads_at_most(threads):
            for data in files:
                decode(data)

    engines = {
        "loop, 1 thread": lambda: loop(1),
        f"loop, {jobs} threads": lambda: loop(jobs),
        f"decode_many, {jobs} jobs": lambda: list(decode_many(files, jobs=jobs)),
    }
    for engine in engines.values():
        engine()
    rounds = [[seconds(engine) for engine in engines.values()] for _ in range(3)]
    print("| engine | pictures a second | decode_many to it |\n|---|---|---|")
    for number, name in enumerate(engines):
        rate = len(files) / statistics.median(taken[number] for taken in rounds)
        ratio = statistics.median(taken[number] / taken[-1] for taken in rounds)
        print(f"| {name} | {rate:.2f} | {ratio:.2f} |", flush=True)


def main() -> None:
    """Print a table of engines and rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--warm", type=int, default=8)
    parser.add_argument("-q", "--quality", type=float, default=30)
    parser.add_argument("--many", action="store_true", help="measure decode_many alone")
    options = parser.parse_args()
    pictures = sorted(path for path in options.folder.rglob("*") if path.suffix.lower() in (".png", ".jpg"))
    pictures = (pictures * -(-options.count // len(pictures)))[: options.count] if pictures else []
    if options.many and pictures:
        measure_many(pictures, options.quality, options.jobs)
        return
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
