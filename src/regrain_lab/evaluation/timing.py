"""The timing pass: every codec at one rate, in turns, with nothing else of ours beside it.

    warm = mean over pictures of the median over ROUNDS of a call's seconds, after a round that does not count
    cold = seconds from the start of a fresh process to the file, or to the pixels, of one picture

In each round every codec has one turn, so that a machine that slows down slows all alike. A codec that fails has no
seconds, and does not end the pass. Timings of one run were measured together, so that a ratio between two of them means
something; a ratio is never of two runs. Of timings of the same series the last counts.
"""

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache, partial
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple, ParamSpec, TypeVar

from regrain.errors import LimitError, RegrainError
from regrain_lab.evaluation import machine
from regrain_lab.evaluation.codecs import AS_STORED, BenchmarkCodec, DecodeSetting
from regrain_lab.evaluation.curves import comparison_rate, learned, mean_of
from regrain_lab.evaluation.progress import bar
from regrain_lab.evaluation.suite import CodecSource
from regrain_lab.evaluation.sweep import load_pixels, start_processes
from regrain_lab.evaluation.table import Row, Series, Table, Timing, read

__all__ = ["REFERENCE", "ROUNDS", "latest", "measure", "reference_of", "timing_of"]

P = ParamSpec("P")
T = TypeVar("T")
ROUNDS = 5
REFERENCE = "WebP"
"""The codec that times are shown as multiples of, where a run has it."""
_WARM = ("encode_s", "decode_s", "analyse_s", "code_s", "symbols_s", "regrow_s")
_DIED = "the process that takes the times died, perhaps for want of memory: a new run takes them again"


class _Turn(NamedTuple):
    """A codec at one setting: in a round it encodes once, and decodes in each of these ways."""

    codec: str
    setting: float
    decode_settings: tuple[DecodeSetting, ...] = (AS_STORED,)


def latest(timings: Sequence[Timing]) -> list[Timing]:
    """The last timing of each series."""
    return list({timing.series: timing for timing in timings}.values())


def timing_of(series: Series, timings: Sequence[Timing]) -> Timing | None:
    """The last timing of the same codec and steps, at whatever realism and seed."""
    return next((timing for timing in reversed(timings) if _timed(timing.series) == _timed(series)), None)


def _timed(series: Series) -> Series:
    """The series without what its times hardly depend on: realism is but a factor, and the seed another number."""
    return series._replace(seed=None, realism=None)


def reference_of(timing: Timing, timings: Sequence[Timing]) -> Timing | None:
    """The timing of the same run to divide by: the reference codec's, else the run's first without weights."""
    others = [other for other in timings if other.run == timing.run and not other.fingerprint]
    return next((other for other in others if other.codec == REFERENCE), others[0] if others else None)


def measure(
    codecs: Sequence[BenchmarkCodec],
    rows: Sequence[Row],
    files: Sequence[Path],
    source: CodecSource,
    path: Path,
    *,
    progress: bool = False,
) -> list[Timing]:
    """Bring the table at `path` to hold the times of every codec on this machine; return all that it holds.

    The rate is the `comparison_rate` of `rows`, and each codec's setting the nearest to it. Nothing is measured where
    every codec has a timing already. `source` builds them anew in processes of their own, and at most three of `files`
    are encoded. Raises UsageError and OutputError of the table, LimitError where a process dies.
    """
    timings = read(Timing, path)
    turns = [turn for codec in codecs if (turn := _turn(codec, rows)) is not None]
    here = [timing for timing in timings if timing.machine == machine.describe()]
    by_name = {codec.name: codec for codec in codecs}
    series = [by_name[turn.codec].series(setting) for turn in turns for setting in turn.decode_settings]
    if all(timing_of(curve, here) for curve in series):
        return timings
    if REFERENCE not in {turn.codec for turn in turns}:
        turns += _reference_turn(rows, source)
    run = max((timing.run for timing in timings), default=0) + 1
    pictures = [files[index] for index in sorted({0, len(files) // 2, len(files) - 1})]
    with bar(len(pictures) * (1 + ROUNDS) + len(turns), "round", visible=progress) as advance:
        warm = _measure_warm(source, turns, pictures, advance)
        cold = _measure_cold(source, turns, pictures[0], advance)
    table, pixels = Table(Timing, path), round(statistics.fmean(load_pixels(file).size / 3 for file in pictures))
    for timing in _means(turns, warm, cold):
        table.add(replace(timing, run=run, pictures=len(pictures), pixels=pixels, machine=machine.describe()))
    return read(Timing, path)


def _turn(codec: BenchmarkCodec, rows: Sequence[Row]) -> _Turn | None:
    """The turn at the setting nearest to the rate of comparison, at the highest realism for each number of steps.

    None where the codec has no file in the table.
    """
    series = {codec.series(setting) for setting in codec.decode_settings}
    own = [row for row in rows if row.series in series]
    setting = _nearest(own, {f"{setting:g}" for setting in codec.settings}, comparison_rate(rows).bpp)
    ordered = sorted(codec.decode_settings, key=lambda setting: (setting.steps or 0, setting.realism or 0.0))
    by_steps = {decode_setting.steps: decode_setting for decode_setting in ordered}
    return None if setting is None else _Turn(codec.name, setting, tuple(by_steps.values()))


def _nearest(rows: Sequence[Row], settings: set[str], bpp: float) -> float | None:
    means = {name: mean_of((row for row in rows if row.setting == name), lambda row: row.bpp) for name in settings}
    rates = {name: rate for name, rate in means.items() if rate}
    return float(min(rates, key=lambda name: abs(math.log(rates[name] / bpp)))) if rates else None


def _reference_turn(rows: Sequence[Row], source: CodecSource) -> list[_Turn]:
    """The turn of the reference codec, if the table has it and it can run here."""
    own = [row for row in rows if row.codec == REFERENCE and not learned(row.series)]
    setting = _nearest(own, {row.setting for row in own}, comparison_rate(rows).bpp)
    with suppress(RegrainError):
        return [] if setting is None else [_Turn(source.single(REFERENCE, setting).name, setting)]
    return []


@contextmanager
def _fresh_process() -> Iterator[ProcessPoolExecutor]:
    """A process of its own. Raises LimitError where it dies."""
    pool = start_processes(1)
    try:
        yield pool
    except BrokenProcessPool as error:
        raise LimitError(_DIED) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _measure_warm(
    source: CodecSource, turns: Sequence[_Turn], files: Sequence[Path], advance: Callable[[], object]
) -> list[list[list[Timing]]]:
    """By picture and round the seconds of all turns in all their ways to decode."""
    pictures = []
    with _fresh_process() as pool:
        for path in files:
            rounds = []
            for _ in range(1 + ROUNDS):
                rounds.append(pool.submit(_round, source, tuple(turns), path).result())
                advance()
            pictures.append(rounds[1:])
    return pictures


def _round(source: CodecSource, turns: Sequence[_Turn], path: Path) -> list[Timing]:
    return [lap for turn in turns for lap in _take_turn(_single(source, turn), turn, path)]


@cache
def _single(source: CodecSource, turn: _Turn) -> BenchmarkCodec:
    return source.single(turn.codec, turn.setting, turn.decode_settings)


def _take_turn(codec: BenchmarkCodec, turn: _Turn, path: Path) -> list[Timing]:
    blank = partial(Timing, 0, setting=f"{turn.setting:g}", threads=codec.thread_count)
    laps = [blank(**codec.series(setting)._asdict()) for setting in turn.decode_settings]
    pixels = load_pixels(path)
    with suppress(Exception):
        data, encoding = _time(codec, "encode_s", ("analyse", "code"), partial(codec.encode, pixels, turn.setting))
        for index, setting in enumerate(turn.decode_settings):
            _, decoding = _time(codec, "decode_s", ("symbols", "regrow"), partial(codec.decode, data, setting))
            laps[index] = replace(laps[index], **encoding, **decoding)
    return laps


def _time(
    codec: BenchmarkCodec, column: str, stages: tuple[str, str], work: Callable[[], T]
) -> tuple[T, dict[str, Any]]:
    """The result of `work`, and seconds by column: the whole, and both stages where the codec times the first."""
    codec.stages.clear()
    start = perf_counter()
    result = work()
    seconds = {column: perf_counter() - start}
    if stages[0] in codec.stages:
        first = codec.stages[stages[0]]
        seconds |= {f"{stages[0]}_s": first, f"{stages[1]}_s": seconds[column] - first}
    return result, seconds


def _measure_cold(
    source: CodecSource, turns: Sequence[_Turn], path: Path, advance: Callable[[], object]
) -> list[tuple[float | None, float | None]]:
    """By turn the seconds to a file, and to pixels in the first way to decode."""
    cold = []
    for turn in turns:
        data, encoding = _time_fresh(_encode, source, turn, path)
        decoding = None if data is None else _time_fresh(_decode, source, turn, data)[1]
        cold.append((encoding, decoding))
        advance()
    return cold


def _time_fresh(work: Callable[P, T], *args: P.args, **named: P.kwargs) -> tuple[T | None, float | None]:
    """The result of `work` in a fresh process, and the seconds from its start; Nones where it fails."""
    start = perf_counter()
    with _fresh_process() as pool:
        try:
            return pool.submit(work, *args, **named).result(), perf_counter() - start
        except BrokenProcessPool:
            raise
        except Exception:
            return None, None


def _encode(source: CodecSource, turn: _Turn, path: Path) -> bytes:
    return _single(source, turn).encode(load_pixels(path), turn.setting)


def _decode(source: CodecSource, turn: _Turn, data: bytes) -> bool:
    _single(source, turn).decode(data, turn.decode_settings[0])
    return True


def _means(
    turns: Sequence[_Turn],
    warm: Sequence[Sequence[Sequence[Timing]]],
    cold: Sequence[tuple[float | None, float | None]],
) -> Iterator[Timing]:
    """The timing of each way to decode: means over pictures of medians over rounds, and of a turn's first cold ones."""
    seconds: list[tuple[float | None, float | None]] = []
    for turn, own in zip(turns, cold, strict=True):
        seconds += [own, *[(None, None)] * (len(turn.decode_settings) - 1)]
    for index, (encoding, decoding) in enumerate(seconds):
        laps = [[timings[index] for timings in rounds] for rounds in warm]
        means: dict[str, Any] = {column: _mean_of_medians(laps, column) for column in _WARM}
        yield replace(laps[0][0], **means, cold_encode_s=encoding, cold_decode_s=decoding)


def _mean_of_medians(laps: Sequence[Sequence[Timing]], column: str) -> float | None:
    """The mean over pictures of the median over rounds; None where a lap has no such figure."""
    seconds = [[getattr(lap, column) for lap in rounds] for rounds in laps]
    return None if None in chain(*seconds) else statistics.fmean(map(statistics.median, seconds))
