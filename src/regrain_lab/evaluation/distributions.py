"""KID and the Gram distance of a folder (see `metrics.realism`): each codec, setting and way to decode, over all
patches of all pictures, which no single picture has.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from regrain_lab.evaluation.codecs import BenchmarkCodec
from regrain_lab.evaluation.progress import bar
from regrain_lab.evaluation.sweep import load_pixels, one_line
from regrain_lab.evaluation.table import Distribution, Table, read
from regrain_lab.metrics.realism import SIDE, Features, Realism, cells, distances

__all__ = ["measure"]


def measure(
    files: Sequence[Path], codecs: Sequence[BenchmarkCodec], network: Realism, path: Path, *, progress: bool = False
) -> list[Distribution]:
    """Bring the table at `path` to hold a record for every codec, setting and way to decode; return those records.

    Every picture is encoded and decoded anew; what fails is a record with its error. Raises UsageError where the file
    is another table, OutputError where it cannot be read or written.
    """
    patches = sum(math.prod(cells(*load_pixels(file).shape[:2])) for file in files)
    table, keys = Table(Distribution, path), []
    open_tasks: list[tuple[BenchmarkCodec, float, list[Distribution]]] = []
    for codec in codecs:
        for setting in codec.settings:
            blank = partial(Distribution, setting=f"{setting:g}", patches=patches, side=SIDE)
            records = [blank(**codec.series(way)._asdict()) for way in codec.decode_settings]
            keys += [record.key for record in records]
            open_tasks.append((codec, setting, [record for record in records if record.key not in table.records]))
    total = sum(len(records) for _, _, records in open_tasks)
    originals = [network.features(load_pixels(file)) for file in files] if total else []
    with bar(total, "distribution", visible=progress) as advance:
        for codec, setting, records in open_tasks:
            for record in _measure(codec, setting, records, files, network, originals):
                table.add(record)
                advance()
    stored = {record.key: record for record in read(Distribution, path)}
    return [stored[key] for key in keys]


def _measure(
    codec: BenchmarkCodec,
    setting: float,
    records: Sequence[Distribution],
    files: Sequence[Path],
    network: Realism,
    originals: Sequence[Features],
) -> Iterator[Distribution]:
    """The records with their figures; every picture is encoded once, and nothing that a codec does ends it."""
    if not records:
        return
    try:
        coded = [codec.encode(load_pixels(file), setting) for file in files]
    except Exception as error:
        yield from (replace(record, error=one_line(error)) for record in records)
        return
    rates = [8 * len(data) / load_pixels(file)[..., 0].size for data, file in zip(coded, files, strict=True)]
    for blank in records:
        record = replace(blank, bpp=sum(rates) / len(rates))
        try:
            decoded = [network.features(codec.decode(data, record.decode_setting)) for data in coded]
            kid, gram = distances(originals, decoded).values()
            yield replace(record, kid=kid.value, kid_error=kid.error, gram=gram.value, gram_error=gram.error)
        except Exception as error:
            yield replace(record, error=one_line(error))
