"""The timing pass: every contestant at one rate, in turns, and nothing else of ours beside it.

    warm = mean over pictures of the median over ROUNDS of a call's seconds, after a round that does not count
    cold = seconds from the start of a fresh process to the file, or to the pixels, of one picture

In each round everybody has one turn, so that a machine that slows down slows all alike. A contestant that fails has no
seconds, and is no end of the pass.
"""

import math
import signal
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import cache, lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import NamedTuple, ParamSpec, TypeVar

from regrain.errors import LimitError, RegrainError
from regrain_lab.evaluation import machine, timings
from regrain_lab.evaluation.contestants import PLAIN, Cast, Contestant, Knobs, Pixels
from regrain_lab.evaluation.curves import learned, mean_of
from regrain_lab.evaluation.planes import fixed
from regrain_lab.evaluation.progress import bar
from regrain_lab.evaluation.rows import Row, Series
from regrain_lab.evaluation.stopwatch import Stopwatch
from regrain_lab.evaluation.sweep import pixels_of
from regrain_lab.evaluation.timings import REFERENCE, Timing

__all__ = ["ROUNDS", "take"]

P = ParamSpec("P")
T = TypeVar("T")
ROUNDS = 5
_DIED = "the process that takes the times died, perhaps for want of memory: a new run takes them again"


class _Part(NamedTuple):
    """A contestant at one setting: in a round it encodes once, and decodes in each of these ways."""

    name: str
    setting: float
    knobs: tuple[Knobs, ...] = PLAIN


class _Lap(NamedTuple):
    """What one way to decode took in one round: seconds by column of the table, none if it failed."""

    series: Series
    threads: int
    seconds: Mapping[str, float]


def take(
    contestants: Sequence[Contestant],
    rows: Sequence[Row],
    files: Sequence[Path],
    cast: Cast,
    path: Path,
    *,
    progress: bool = False,
) -> list[Timing]:
    """Bring the table at `path` to hold everybody's times on this machine; return all that it holds.

    The rate is that of comparison (`planes.fixed` of `rows`), and each contestant's setting the nearest to it. Nothing
    is measured where there is a row of everybody already. `cast` builds them anew in processes of their own, at most
    three of `files` are encoded. Raises UsageError and OutputError of the table, LimitError where a process dies.
    """
    known = timings.read(path)
    parts = [part for one in contestants if (part := _part(one, rows)) is not None]
    here = [timing for timing in known if timing.machine == machine.describe()]
    wanted = [
        one.series(knobs) for one in contestants for part in parts if part.name == one.name for knobs in part.knobs
    ]
    if all(timings.of(series, here) for series in wanted):
        return known
    if REFERENCE not in {part.name for part in parts}:
        parts += _reference(rows, cast)
    run = max((timing.run for timing in known), default=0) + 1
    chosen = [files[index] for index in sorted({0, len(files) // 2, len(files) - 1})]
    with bar(len(chosen) * (1 + ROUNDS) + len(parts), "round", wanted=progress) as advance:
        warm = _warm(cast, parts, chosen, advance)
        cold = _cold(cast, parts, chosen[0], advance)
    found = [*known, *_timings(run, parts, chosen, warm, cold)]
    timings.write(found, path)
    return found


def _part(contestant: Contestant, rows: Sequence[Row]) -> _Part | None:
    """At its setting nearest to the rate of comparison; None where it has no file in the table."""
    series = {contestant.series(knobs) for knobs in contestant.knobs}
    own = [row for row in rows if row.series in series]
    setting = _nearest(own, {f"{setting:g}" for setting in contestant.settings}, fixed(rows).bpp)
    by_steps = {knobs.steps: knobs for knobs in sorted(contestant.knobs, key=lambda knobs: knobs.realism or 0.0)}
    ways = sorted(by_steps.values(), key=lambda knobs: knobs.steps or 0)
    return None if setting is None else _Part(contestant.name, setting, tuple(ways))


def _nearest(rows: Sequence[Row], settings: set[str], bpp: float) -> float | None:
    rates = {name: mean_of((row for row in rows if row.setting == name), lambda row: row.bpp) for name in settings}
    known = {name: rate for name, rate in rates.items() if rate}
    return float(min(known, key=lambda name: abs(math.log(known[name] / bpp)))) if known else None


def _reference(rows: Sequence[Row], cast: Cast) -> list[_Part]:
    """The reference codec, if the table has it and it can run here."""
    own = [row for row in rows if row.codec == REFERENCE and not learned(row.series)]
    setting = _nearest(own, {row.setting for row in own}, fixed(rows).bpp)
    with suppress(RegrainError):
        return [] if setting is None else [_Part(cast.only(REFERENCE, setting).name, setting)]
    return []


@contextmanager
def _fresh() -> Iterator[ProcessPoolExecutor]:
    """A process of its own. Raises LimitError where it dies."""
    quiet = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)
    pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=quiet)
    try:
        yield pool
    except BrokenProcessPool as error:
        raise LimitError(_DIED) from error
    finally:
        pool.shutdown(cancel_futures=True)


Laps = list[list[list[_Lap]]]
"""By picture, by round, and the ways to decode of all parts."""


def _warm(cast: Cast, parts: Sequence[_Part], files: Sequence[Path], advance: Callable[[], object]) -> Laps:
    found: Laps = []
    with _fresh() as pool:
        for path in files:
            laps = []
            for _ in range(1 + ROUNDS):
                laps.append(pool.submit(_round, cast, tuple(parts), path).result())
                advance()
            found.append(laps[1:])
    return found


def _round(cast: Cast, parts: Sequence[_Part], path: Path) -> list[_Lap]:
    return [lap for part in parts for lap in _turn(_built(cast, part), part, _pixels(path))]


@cache
def _built(cast: Cast, part: _Part) -> Contestant:
    return cast.only(part.name, part.setting, part.knobs)


@lru_cache(maxsize=1)
def _pixels(path: Path) -> Pixels:
    return pixels_of(path)


def _turn(contestant: Contestant, part: _Part, pixels: Pixels) -> list[_Lap]:
    laps = [_Lap(contestant.series(knobs), contestant.threads, {}) for knobs in part.knobs]
    watch = Stopwatch(contestant.stages())
    with suppress(Exception), watch.watching():
        data, seconds = watch.time(partial(contestant.encode, pixels, part.setting))
        encoding = _split(seconds, "encode_s", "analyse", "code")
        for index, knobs in enumerate(part.knobs):
            _, seconds = watch.time(partial(contestant.decode, data, knobs))
            laps[index] = laps[index]._replace(seconds=encoding | _split(seconds, "decode_s", "symbols", "regrow"))
    return laps


def _split(seconds: Mapping[str, float], whole: str, first: str, rest: str) -> dict[str, float]:
    """The whole, and where its first part is watched that and all the rest."""
    total = {whole: seconds["total"]}
    if first not in seconds:
        return total
    return total | {f"{first}_s": seconds[first], f"{rest}_s": seconds["total"] - seconds[first]}


Cold = tuple[float | None, float | None]


def _cold(cast: Cast, parts: Sequence[_Part], path: Path, advance: Callable[[], object]) -> list[Cold]:
    """Of each part the seconds to a file, and to pixels in the first of its ways to decode."""
    found = []
    for part in parts:
        data, encode = _alone(_encode, cast, part, path)
        decode = None if data is None else _alone(_decode, cast, part, data)[1]
        found.append((encode, decode))
        advance()
    return found


def _alone(work: Callable[P, T], *args: P.args, **named: P.kwargs) -> tuple[T | None, float | None]:
    """What `work` gives in a fresh process, and the seconds from the process's start; Nones where it fails."""
    start = perf_counter()
    with _fresh() as pool:
        try:
            return pool.submit(work, *args, **named).result(), perf_counter() - start
        except BrokenProcessPool:
            raise
        except Exception:
            return None, None


def _encode(cast: Cast, part: _Part, path: Path) -> bytes:
    return cast.only(part.name, part.setting, part.knobs).encode(pixels_of(path), part.setting)


def _decode(cast: Cast, part: _Part, data: bytes) -> bool:
    cast.only(part.name, part.setting, part.knobs).decode(data, part.knobs[0])
    return True


def _timings(
    run: int, parts: Sequence[_Part], files: Sequence[Path], warm: Laps, cold: Sequence[Cold]
) -> Iterator[Timing]:
    size = round(statistics.fmean(pixels_of(path).size / 3 for path in files))
    ways = [(part, number, pair) for part, pair in zip(parts, cold, strict=True) for number, _ in enumerate(part.knobs)]
    for index, (part, number, pair) in enumerate(ways):
        own = [[laps[index] for laps in picture] for picture in warm]
        figure = partial(_figure, own)
        yield Timing(
            run=run,
            **own[0][0].series._asdict(),
            setting=f"{part.setting:g}",
            pictures=len(files),
            pixels=size,
            threads=own[0][0].threads,
            encode_s=figure("encode_s"),
            decode_s=figure("decode_s"),
            analyse_s=figure("analyse_s"),
            code_s=figure("code_s"),
            symbols_s=figure("symbols_s"),
            regrow_s=figure("regrow_s"),
            cold_encode_s=pair[0] if number == 0 else None,
            cold_decode_s=pair[1] if number == 0 else None,
            machine=machine.describe(),
        )


def _figure(laps: Sequence[Sequence[_Lap]], name: str) -> float | None:
    """The mean over pictures of the median over rounds; None where a lap has no such figure."""
    if not all(name in lap.seconds for picture in laps for lap in picture):
        return None
    return statistics.fmean(statistics.median(lap.seconds[name] for lap in picture) for picture in laps)
