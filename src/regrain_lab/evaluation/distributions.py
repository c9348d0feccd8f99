"""KID and the Gram distance of a folder (see `metrics.realism`): each codec, setting and way to decode, over all
patches of all pictures, which no single picture has.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from regrain_lab.evaluation.codecs import BenchmarkCodec, DecodeSetting
from regrain_lab.evaluation.progress import bar
from regrain_lab.evaluation.sweep import load_pixels, one_line
from regrain_lab.evaluation.table import Distribution, Table, read
from regrain_lab.metrics.realism import SIDE, Features, Realism, cells, distances

__all__ = ["measure"]


class _Task(NamedTuple):
    """One codec at one setting, and its records, still without figures, with the way to decode that each is of."""

    codec: BenchmarkCodec
    setting: float
    records: Sequence[tuple[Distribution, DecodeSetting]]


def measure(
    files: Sequence[Path], codecs: Sequence[BenchmarkCodec], network: Realism, path: Path, *, progress: bool = False
) -> list[Distribution]:
    """Bring the table at `path` to hold a record for every codec, setting and way to decode; return those records.

    Every picture is encoded and decoded anew; what fails is a record with its error. Raises UsageError where the file
    is another table, OutputError where it cannot be read or written.
    """
    tasks = list(_tasks(codecs, sum(math.prod(cells(*load_pixels(file).shape[:2])) for file in files)))
    with Table(Distribution, path) as table:
        open_tasks = [
            task._replace(records=[pair for pair in task.records if pair[0].key not in table.records]) for task in tasks
        ]
        total = sum(len(task.records) for task in open_tasks)
        originals = [network.features(load_pixels(file)) for file in files] if total else []
        with bar(total, "distribution", visible=progress) as advance:
            for record in (record for task in open_tasks for record in _measure(task, files, network, originals)):
                table.add(record)
                advance()
    stored = {record.key: record for record in read(Distribution, path)}
    return [stored[record.key] for task in tasks for record, _ in task.records]


def _tasks(codecs: Sequence[BenchmarkCodec], patches: int) -> Iterator[_Task]:
    for codec in codecs:
        for setting in codec.settings:
            blank = partial(Distribution, setting=f"{setting:g}", patches=patches, side=SIDE)
            pairs = [(blank(**codec.series(way)._asdict()), way) for way in codec.decode_settings]
            yield _Task(codec, setting, pairs)


def _measure(
    task: _Task, files: Sequence[Path], network: Realism, originals: Sequence[Features]
) -> Iterator[Distribution]:
    """The records of a task, encoded once; nothing that a codec does ends it."""
    if not task.records:
        return
    try:
        bpp, coded = _encode(task, files)
    except Exception as error:
        yield from (replace(record, error=one_line(error)) for record, _ in task.records)
        return
    for record, decode_setting in task.records:
        try:
            decoded = [network.features(task.codec.decode(data, decode_setting)) for data in coded]
            kid, gram = distances(originals, decoded).values()
            record = replace(record, kid=kid.value, kid_error=kid.error, gram=gram.value, gram_error=gram.error)
            yield replace(record, bpp=bpp)
        except Exception as error:
            yield replace(record, bpp=bpp, error=one_line(error))


def _encode(task: _Task, files: Sequence[Path]) -> tuple[float, list[bytes]]:
    """The mean of bits a pixel over the pictures, and the file of each."""
    rates, coded = [], []
    for file in files:
        pixels = load_pixels(file)
        coded.append(task.codec.encode(pixels, task.setting))
        rates.append(8 * len(coded[-1]) / pixels[..., 0].size)
    return sum(rates) / len(rates), coded
