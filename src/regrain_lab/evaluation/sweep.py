"""Pictures x codecs x settings -> rows, each written before the next is measured.

    for picture: for codec: for setting:  encode once;  for each way to decode:  decode, measure, write the row

A rate is the size of the file that `encode` gives. Invariants: what the table holds already is not measured again, so a
run that was stopped goes on where it was; a failure is a row with its error, and never the end of the run. A codec's
first call in a process, on a small picture, is not timed: figures are warm.
"""

import signal
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import replace
from functools import cache, lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import NamedTuple, Protocol, TypeVar

import numpy as np

from regrain import image
from regrain.errors import ImageError, LimitError, RegrainError, UsageError
from regrain_lab.evaluation import machine
from regrain_lab.evaluation.contestants import Bench, Contestant, Knobs, Pixels
from regrain_lab.evaluation.progress import bar
from regrain_lab.evaluation.rows import Key, Row, Writer, read

__all__ = ["Prepare", "built", "pictures", "pixels_of", "sweep"]

T = TypeVar("T")
_LONGEST_ERROR = 200
_DIED = "a worker died, perhaps for want of memory: try fewer --jobs; a new run goes on here"


class Prepare(Hashable, Protocol):
    """What builds the bench: called once in each process, and so a value that can be sent there."""

    def __call__(self) -> Bench:
        """Build it."""


class _Task(NamedTuple):
    """One file to make, and the ways to decode it that the table lacks."""

    picture: Path
    contestant: int
    setting: float
    knobs: tuple[Knobs, ...]


def pictures(folder: Path) -> tuple[list[Path], list[str]]:
    """The pictures of a folder by name, and a line for each file that is none; hidden files and folders do not count.

    Every file is read whole once, so that one that breaks off is found before the work. Raises UsageError where there
    is no folder or no picture in it.
    """
    try:
        files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    except OSError as error:
        raise UsageError(f"{folder} is no folder that can be read: {error.strerror or error}") from error
    good, skipped = [], []
    for path in files:
        try:
            image.read(path)
            good.append(path)
        except (ImageError, LimitError) as error:
            skipped.append(f"{path.name} skipped: {str(error).removeprefix(f'{path}: ')}")
    if not good:
        raise UsageError(f"there is no picture in {folder}")
    return good, skipped


def pixels_of(path: Path) -> Pixels:
    """A picture as codecs get it: uint8 (h, w, 3), turned upright; grey three times, 16 bit as 8, alpha dropped."""
    pixels = image.upright(image.read(path)).pixels
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def sweep(files: Sequence[Path], prepare: Prepare, path: Path, *, jobs: int = 1, progress: bool = False) -> list[Row]:
    """Bring the table at `path` to hold a row of every picture, codec, setting and way to decode; return those rows.

    With `jobs` over 1 as many worker processes share the work, and disturb each other's timings. `progress` draws a bar
    with the time left on stderr, if that is a terminal. Raises ModelError and UsageError of the bench, UsageError where
    the table has rows of other pictures, OutputError where it cannot be written.
    """
    for cached in (built, _original, _warm):
        cached.cache_clear()
    bench = built(prepare)
    with Writer(path, bench.metrics) as table:
        _check_pictures(table, files)
        tasks = list(_tasks(files, bench, table))
        with bar(sum(len(task.knobs) for task in tasks), "row", wanted=progress) as advance:
            for rows in _done(tasks, prepare, jobs):
                for row in rows:
                    table.add(row)
                    advance()
    stored = {row.key: row for row in read(path)}
    return [stored[key] for key in _keys(files, bench)]


@lru_cache(maxsize=1)
def built(prepare: Prepare) -> Bench:
    """The bench, built once in this process; `sweep` begins by building it anew."""
    return prepare()


def _check_pictures(table: Writer, files: Sequence[Path]) -> None:
    strange = {row.image for row in table.rows.values()} - {path.name for path in files}
    if strange:
        raise UsageError(f"the table holds rows of other pictures, as {min(strange)}; name another output folder")


def _tasks(files: Sequence[Path], bench: Bench, table: Writer) -> Iterator[_Task]:
    done = {key for key, row in table.rows.items() if row.holds(bench.metrics)}
    for path in files:
        for index, contestant in enumerate(bench.contestants):
            for setting in contestant.settings:
                missing = [knobs for knobs in contestant.knobs if _key(path, contestant, setting, knobs) not in done]
                if missing:
                    yield _Task(path, index, setting, tuple(missing))


def _keys(files: Sequence[Path], bench: Bench) -> Iterator[Key]:
    for path in files:
        for contestant in bench.contestants:
            for setting in contestant.settings:
                yield from (_key(path, contestant, setting, knobs) for knobs in contestant.knobs)


def _key(path: Path, contestant: Contestant, setting: float, knobs: Knobs) -> Key:
    return Key(path.name, contestant.series(knobs), f"{setting:g}")


def _done(tasks: Sequence[_Task], prepare: Prepare, jobs: int) -> Iterator[list[Row]]:
    """The rows of each task, in order."""
    work = partial(_measure, prepare)
    if jobs == 1 or len(tasks) < 2:
        yield from map(work, tasks)
        return
    quiet = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)
    pool = ProcessPoolExecutor(min(jobs, len(tasks)), mp_context=get_context("spawn"), initializer=quiet)
    try:
        yield from _results([pool.submit(work, task) for task in tasks])
    finally:
        pool.shutdown(cancel_futures=True)


def _results(futures: Iterable[Future[T]]) -> Iterator[T]:
    """What they give, in order; where a worker died, all that was finished by then, and LimitError."""
    broken: BrokenProcessPool | None = None
    for future in futures:
        try:
            yield future.result()
        except BrokenProcessPool as error:
            broken = error
    if broken is not None:
        raise LimitError(_DIED) from broken


@lru_cache(maxsize=1)
def _original(path: Path) -> Pixels:
    return pixels_of(path)


def _measure(prepare: Prepare, task: _Task) -> list[Row]:
    """Encode once, decode in each way. Fails for nothing that a picture or a codec does."""
    bench = built(prepare)
    contestant = bench.contestants[task.contestant]
    _warm(prepare, task.contestant)
    rows = [_blank(task, contestant, knobs) for knobs in task.knobs]
    try:
        pixels = _original(task.picture)
        height, width = pixels.shape[:2]
        rows = [replace(row, width=width, height=height) for row in rows]
        data, seconds, memory = _timed(lambda: contestant.encode(pixels, task.setting))
    except Exception as error:
        return [replace(row, error=_said(error)) for row in rows]
    size = {"bytes": len(data), "bpp": 8 * len(data) / (width * height), "encode_s": seconds, "peak_mb": memory}
    encoded = [replace(row, **size) for row in rows]
    return [
        _decoded(row, partial(contestant.decode, data, knobs), pixels, bench)
        for row, knobs in zip(encoded, task.knobs, strict=True)
    ]


def _blank(task: _Task, contestant: Contestant, knobs: Knobs) -> Row:
    return Row(
        image=task.picture.name,
        setting=f"{task.setting:g}",
        machine=machine.describe(),
        threads=contestant.threads,
        **contestant.series(knobs)._asdict(),
    )


def _decoded(row: Row, decode: Callable[[], Pixels], original: Pixels, bench: Bench) -> Row:
    """The row with what decoding and measuring add, or with the error that either ended in."""
    try:
        decoded, seconds, memory = _timed(decode)
        memory = None if memory is None or row.peak_mb is None else max(memory, row.peak_mb)
        row = replace(row, decode_s=seconds, peak_mb=memory)
        return replace(row, metrics={name: metric(original, decoded) for name, metric in bench.metrics.items()})
    except Exception as error:
        return replace(row, error=_said(error))


def _timed(work: Callable[[], T]) -> tuple[T, float, float | None]:
    """What `work` gives, its seconds, and the peak of memory in MB."""
    with machine.peak() as memory:
        start = perf_counter()
        result = work()
        seconds = perf_counter() - start
    return result, seconds, memory.megabytes


@cache
def _warm(prepare: Prepare, index: int) -> None:
    """A first call that nobody times: libraries load, memory is claimed. Its failure shows where it is measured."""
    contestant = built(prepare).contestants[index]
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    with suppress(Exception):
        contestant.decode(contestant.encode(pixels, contestant.settings[0]), contestant.knobs[0])


def _said(error: Exception) -> str:
    """An error in one line that fits a cell; of one that is not ours, its kind as well."""
    said = " ".join(str(error).split())
    text = said if isinstance(error, RegrainError) else f"{type(error).__name__}: {said}"
    return text[:_LONGEST_ERROR] or type(error).__name__
