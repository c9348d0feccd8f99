"""Pictures x codecs x settings -> rows, each written before the next is measured.

    for picture: for codec: for setting:  encode once;  for each way to decode:  decode, measure, write the row

A rate is the size of the file that `encode` gives. Invariants: what the table holds already is not measured again, so a
run that was stopped goes on where it was; a failure is a row with its error, and never the end of the run. A codec's
first call in a process, on a small picture, is not timed: figures are warm.
"""

import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import replace
from functools import cache, lru_cache, partial
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from regrain import image
from regrain.errors import ImageError, LimitError, RegrainError, UsageError
from regrain_lab.evaluation import machine
from regrain_lab.evaluation.codecs import BenchmarkCodec, Pixels
from regrain_lab.evaluation.progress import bar
from regrain_lab.evaluation.suite import Suite, SuiteSource
from regrain_lab.evaluation.table import Row, Table, read
from regrain_lab.metrics.registry import Metric

__all__ = ["build", "list_pictures", "load_pixels", "one_line", "start_processes", "sweep"]

T = TypeVar("T")
_LONGEST_ERROR = 200
_DIED = "a worker died, perhaps for want of memory: try fewer --jobs; a new run goes on here"


class _Task(NamedTuple):
    """One file to make with a codec of the suite, and its rows, one for each way to decode it."""

    path: Path
    codec: int
    setting: float
    rows: Sequence[Row]


def list_pictures(folder: Path) -> tuple[list[Path], list[str]]:
    """The pictures of a folder by name, and a line for each file that is none; hidden files and folders do not count.

    Every file is read whole once, so that one that breaks off is noticed before the work. Raises UsageError where there
    is no folder or no picture in it.
    """
    try:
        files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    except OSError as error:
        raise UsageError(f"{folder} is no folder that can be read: {error.strerror or error}") from error
    pictures, notes = [], []
    for path in files:
        try:
            image.read(path)
            pictures.append(path)
        except (ImageError, LimitError) as error:
            notes.append(f"{path.name} skipped: {str(error).removeprefix(f'{path}: ')}")
    if not pictures:
        raise UsageError(f"there is no picture in {folder}")
    return pictures, notes


@lru_cache(maxsize=1)
def load_pixels(path: Path) -> Pixels:
    """A picture as codecs get it: uint8 (h, w, 3), turned upright; grey three times, 16 bit as 8, alpha dropped."""
    pixels = image.upright(image.read(path)).pixels
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def sweep(
    files: Sequence[Path], source: SuiteSource, path: Path, *, jobs: int = 1, progress: bool = False
) -> list[Row]:
    """Bring the table at `path` to hold a row of every picture, codec, setting and way to decode; return those rows.

    With `jobs` over 1 as many worker processes share the work, and disturb each other's timings. `progress` draws a bar
    with the time left on stderr, if that is a terminal. Raises ModelError and UsageError of the suite, UsageError where
    the table has rows of other pictures, OutputError where it cannot be written.
    """
    for function in (build, load_pixels, _warm_up):
        function.cache_clear()
    suite = build(source)
    table = Table(Row, path, suite.metrics)
    strangers = {row.image for row in table.records.values()} - {file.name for file in files}
    if strangers:
        raise UsageError(f"the table holds rows of other pictures, as {min(strangers)}; name another output folder")
    tasks = list(_tasks(files, suite))
    complete = {key for key, row in table.records.items() if row.holds(suite.metrics)}
    open_tasks = [task._replace(rows=[row for row in task.rows if row.key not in complete]) for task in tasks]
    open_tasks = [task for task in open_tasks if task.rows]
    with bar(sum(len(task.rows) for task in open_tasks), "row", visible=progress) as advance:
        for row in chain.from_iterable(_run(open_tasks, source, jobs)):
            table.add(row)
            advance()
    stored = {row.key: row for row in read(Row, path)}
    return [stored[row.key] for task in tasks for row in task.rows]


@lru_cache(maxsize=1)
def build(source: SuiteSource) -> Suite:
    """The suite, built once in this process; `sweep` begins by building it anew."""
    return source()


def _tasks(files: Sequence[Path], suite: Suite) -> Iterator[_Task]:
    """All that the suite measures, with rows that have no figures yet."""
    for path in files:
        for index, codec in enumerate(suite.codecs):
            for setting in codec.settings:
                blank = partial(Row, path.name, setting=f"{setting:g}", threads=codec.thread_count)
                series = map(codec.series, codec.decode_settings)
                yield _Task(path, index, setting, [blank(**curve._asdict()) for curve in series])


def start_processes(count: int) -> ProcessPoolExecutor:
    """Fresh processes that leave Ctrl-C to this one."""
    ignore = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)
    return ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=ignore)


def _run(tasks: Sequence[_Task], source: SuiteSource, jobs: int) -> Iterator[list[Row]]:
    work = partial(_measure, source)
    if jobs == 1 or len(tasks) < 2:
        yield from map(work, tasks)
        return
    pool = start_processes(min(jobs, len(tasks)))
    try:
        yield from _results([pool.submit(work, task) for task in tasks])
    finally:
        pool.shutdown(cancel_futures=True)


def _results(futures: Iterable[Future[T]]) -> Iterator[T]:
    """The results in order; where a worker died, all that were finished by then, and LimitError."""
    death: BrokenProcessPool | None = None
    for future in futures:
        try:
            yield future.result()
        except BrokenProcessPool as error:
            death = error
    if death is not None:
        raise LimitError(_DIED) from death


def _measure(source: SuiteSource, task: _Task) -> list[Row]:
    """Encode once, decode in each way. Fails for nothing that a picture or a codec does."""
    suite = build(source)
    codec = suite.codecs[task.codec]
    _warm_up(source, task.codec)
    rows = [replace(row, machine=machine.describe()) for row in task.rows]
    try:
        pixels = load_pixels(task.path)
        height, width = pixels.shape[:2]
        rows = [replace(row, width=width, height=height) for row in rows]
        data, seconds, memory = machine.measure(lambda: codec.encode(pixels, task.setting))
    except Exception as error:
        return [replace(row, error=one_line(error)) for row in rows]
    size = {"bytes": len(data), "bpp": 8 * len(data) / (width * height), "encode_s": seconds, "peak_mb": memory}
    return [_decode(replace(row, **size), codec, data, pixels, suite.metrics) for row in rows]


def _decode(row: Row, codec: BenchmarkCodec, data: bytes, original: Pixels, metrics: Mapping[str, Metric]) -> Row:
    """Add to the row what decoding and measuring give, or the error that either ended in."""
    try:
        decoded, seconds, memory = machine.measure(lambda: codec.decode(data, row.decode_setting))
        memory = None if memory is None or row.peak_mb is None else max(memory, row.peak_mb)
        row = replace(row, decode_s=seconds, peak_mb=memory)
        return replace(row, metrics={name: metric(original, decoded) for name, metric in metrics.items()})
    except Exception as error:
        return replace(row, error=one_line(error))


@cache
def _warm_up(source: SuiteSource, index: int) -> None:
    """A first call that is not timed: libraries load, memory is claimed. Its failure shows where it is measured."""
    codec = build(source).codecs[index]
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    with suppress(Exception):
        codec.decode(codec.encode(pixels, codec.settings[0]), codec.decode_settings[0])


def one_line(error: Exception) -> str:
    """An error in one line that fits a cell; of one that is not ours, its kind as well."""
    message = " ".join(str(error).split())
    text = message if isinstance(error, RegrainError) else f"{type(error).__name__}: {message}"
    return text[:_LONGEST_ERROR] or type(error).__name__
