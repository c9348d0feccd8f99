"""Many pictures, several at once, in the order that they come in: what `decode_many` and `encode_many` do.

    items -> read here, one after the other -> a thread each, at most `ahead` on their way -> results in order

ONNX Runtime and NumPy let other threads run while they compute, and networks here have one thread each: threads that
share a small network wait for each other, those with a picture each do not. Invariants: of `items` none is taken before
there is room for it; what is on its way takes no more memory together than one picture may; when the consumer stops,
all threads end.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple, TypeAlias, TypeVar, overload

from regrain import codec, memory, registry
from regrain.bitstream import Header, read_header
from regrain.diffusion.budget import STEPS
from regrain.errors import RegrainError, UsageError
from regrain.files import read_file
from regrain.image import Picturelike, read
from regrain.loading import thread_count, threads_at_most
from regrain.options import DECODING, ENCODING, METHODS, RATES, check_arguments, check_names
from regrain.search import Rate

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["decode_many", "encode_many"]

Filelike: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO
Item = TypeVar("Item")
Result = TypeVar("Result")
Job: TypeAlias = tuple[Callable[[], Result], int]
"""What makes a result, and the bytes that it may take, libraries included."""

_ON_ERROR = ("raise", "return")


@overload
def decode_many(
    files: Iterable[Filelike],
    *,
    jobs: int | None = None,
    ahead: int | None = None,
    on_error: Literal["raise"] = "raise",
    **options: object,
) -> "Iterator[Image]": ...
@overload
def decode_many(
    files: Iterable[Filelike],
    *,
    jobs: int | None = None,
    ahead: int | None = None,
    on_error: Literal["return"],
    **options: object,
) -> "Iterator[Image | RegrainError]": ...
def decode_many(
    files: Iterable[Filelike],
    *,
    jobs: int | None = None,
    ahead: int | None = None,
    on_error: Literal["raise", "return"] = "raise",
    **options: object,
) -> "Iterator[Image | RegrainError]":
    """The pictures of .rgn files, in their order, as `regrain.decode` gives them, several decoded at once.

    `files` may be a generator: each is read here, when there is room, and at most `ahead` (1 to 10,000; None: two a
    job) of them are taken before their pictures are. `jobs` (1 to 1024) are the threads that decode, each with networks
    of one thread; None are as many as the cores, or as OMP_NUM_THREADS says, and one where torch runs. `options` are
    those of `decode`. `max_memory` holds for one picture and for all that are on their way together: where it is
    short, fewer are decoded at once. Weights of a path are read once. To close the iterator ends the threads, after
    the pictures that they have in hand.

    Raises at the call UsageError for an option out of range, and ModelError for weights of a path. What `decode`
    raises for a file is raised in its place and ends it, or with `on_error` "return" stands there in place of a
    picture. What `files` itself raises, comes after the pictures before it.

    >>> import numpy, regrain
    >>> files = (regrain.encode(numpy.zeros((24, side, 3), numpy.uint8)) for side in (32, 40))
    >>> [picture.size for picture in regrain.decode_many(files, realism=0)]
    [(32, 24), (40, 24)]
    """
    check_names(options, DECODING, "decode_many")
    pace = _Pace.checked(jobs, ahead, on_error)
    defaults = {"max_pixels": 250_000_000, "max_memory": None, "region": None, "sampler": "ddim"}
    clock = {name: options.pop(name, None) for name in ("steps", "budget")}
    asked = check_arguments(**clock, fast=options.get("fast", False))["steps"] or 1
    knobs, torch = _opened(check_arguments(**defaults | options))
    most = asked if isinstance(asked, int) else STEPS[-1]

    def job(data: Filelike) -> "Job[Image]":
        file = read_file(data, knobs["max_pixels"])
        part = memory.decoded_part(read_header(file), knobs["region"])
        need = memory.need(part, most, torch=torch, second_order=knobs["sampler"] == "second-order")
        return lambda: codec.decode(file, **check_arguments(**clock), **knobs).to_pillow(), need

    return _in_order(files, job, pace, _Room.of(knobs["max_memory"], torch=torch), alone=torch)


@overload
def encode_many(
    pictures: Iterable[Picturelike],
    *,
    jobs: int | None = None,
    ahead: int | None = None,
    on_error: Literal["raise"] = "raise",
    **options: object,
) -> Iterator[bytes]: ...
@overload
def encode_many(
    pictures: Iterable[Picturelike],
    *,
    jobs: int | None = None,
    ahead: int | None = None,
    on_error: Literal["return"],
    **options: object,
) -> Iterator[bytes | RegrainError]: ...
def encode_many(
    pictures: Iterable[Picturelike],
    *,
    jobs: int | None = None,
    ahead: int | None = None,
    on_error: Literal["raise", "return"] = "raise",
    **options: object,
) -> Iterator[bytes | RegrainError]:
    """The .rgn files of pictures, in their order, as `regrain.encode` writes them, several encoded at once.

    `options` are those of `encode`, and what is raised is what it raises; all else is as in `decode_many`. An array
    must stay as it is until its file is there.

    >>> import numpy, regrain
    >>> pictures = (numpy.full((24, 32, 3), level, numpy.uint8) for level in (10, 200))
    >>> [data[:4] for data in regrain.encode_many(pictures, quality=30)]
    [b'\\x9fRGN', b'\\x9fRGN']
    """
    check_names(options, ENCODING, "encode_many")
    pace = _Pace.checked(jobs, ahead, on_error)
    defaults = {"max_pixels": 250_000_000, "max_memory": None, "method": None, "tile": 1024, "content": "auto"}
    knobs, torch = _opened(check_arguments(**defaults | options))
    limit, effort = knobs.pop("max_pixels"), knobs.get("effort", 0)
    method = registry.method_of(knobs["method"], registry.resolve_model(knobs["model"], knobs["device"]))
    aim = Rate(**{name: knobs[name] for name in RATES if name in knobs}).aim()
    screen = knobs["model"] is None and knobs["content"] != "photo" and registry.has_content(method, "screen")

    def job(image: Picturelike) -> Job[bytes]:
        picture = read(image, max_pixels=limit)
        has_alpha = picture.alpha is not None
        header = Header(picture.width, picture.height, 0, bytes(4), method, alpha=has_alpha, tile=knobs["tile"])
        searching = None if aim is None else aim[1].pixel_bytes
        beside = memory.beside_encoding(header, searching, effort, torch=torch, screen=screen)
        return lambda: codec.encode(picture, **knobs), memory.need(header, torch=torch) + beside

    room = _Room.of(knobs["max_memory"], torch=torch, effort=effort > 0)
    return _in_order(pictures, job, pace, room, alone=torch or effort > 0)


@dataclass(frozen=True)
class _Pace:
    """Threads (None: see `decode_many`), items on their way (None: two a thread), and what becomes of errors."""

    jobs: int | None
    ahead: int | None
    returning: bool

    @classmethod
    def checked(cls, jobs: int | None, ahead: int | None, on_error: str) -> "_Pace":
        """Of values in their ranges; raises UsageError."""
        if on_error not in _ON_ERROR:
            raise UsageError(f"on_error is {on_error!r}; allowed are {', '.join(_ON_ERROR)}")
        return cls(**check_arguments(jobs=jobs, ahead=ahead), returning=on_error == "return")

    def outcome(self, future: Future[Result]) -> Result | RegrainError:
        """The result once it is there, or the error, which is raised unless this pace returns it."""
        try:
            return future.result()
        except RegrainError as error:
            if not self.returning:
                raise
            return error
        except _SourceError as error:
            raise error.args[0] from None


class _Room(NamedTuple):
    """Bytes for all that is on its way, beside those of libraries, which count once."""

    whole: int
    libraries: int

    @classmethod
    def of(cls, limit: int | None, *, torch: bool, effort: bool = False) -> "_Room":
        """Of the bytes that somebody allows, or else the machine."""
        libraries = memory.libraries(torch=torch, effort=effort)
        return cls((memory.allowance() if limit is None else limit) - libraries, libraries)


class _SourceError(Exception):
    """What the caller's own iterator raised: no result, whatever it is."""


def _opened(knobs: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """The options with the weights of a path read, once for all items; and whether they run on torch."""
    model, device = knobs.get("model"), knobs.get("device")
    if isinstance(model, str | os.PathLike) and model not in METHODS:
        model = registry.load(model, device)
    return {**knobs, "model": model, "device": device}, registry.needs_torch(model, device)


def _in_order(
    items: Iterable[Item], job: Callable[[Item], Job[Result]], pace: _Pace, room: "_Room", *, alone: bool
) -> Iterator[Result | RegrainError]:
    """The results in order; what needs more memory than is left waits until enough of those before it are taken.

    One is computed at a time where each is `alone` and nobody asks for more.
    """
    jobs = pace.jobs or (1 if alone else thread_count())
    most = pace.ahead or 2 * jobs
    on_the_way: deque[tuple[Future[Result], int]] = deque()
    pool = ThreadPoolExecutor(min(jobs, most), "regrain")

    def first() -> Result | RegrainError:
        future, _ = on_the_way.popleft()
        result = pace.outcome(future)
        return result  # noqa: RET504 - mypy would infer another type from what is returned

    try:
        for work, need in _jobs(items, job):
            while on_the_way and sum(bytes_ for _, bytes_ in on_the_way) + need > room.whole + room.libraries:
                yield first()
            on_the_way.append((pool.submit(_run_in_one_thread, work), need - room.libraries))
            if len(on_the_way) == most:
                yield first()
        while on_the_way:
            yield first()
    finally:
        pool.shutdown(cancel_futures=True)


def _jobs(items: Iterable[Item], job: Callable[[Item], Job[Result]]) -> Iterator[Job[Result]]:
    """A job for each item; what cannot be read, and what ends the items early, is one that raises in its own place."""
    rest = iter(items)
    while True:
        try:
            item = next(rest)
        except StopIteration:
            return
        except Exception as error:
            yield _raising(_SourceError(error)), 0
            return
        try:
            made = job(item)
        except Exception as error:
            made = _raising(error), 0
        yield made


def _raising(error: Exception) -> Callable[[], Any]:
    """What raises an error when it is called."""
    failed: Future[Any] = Future()
    failed.set_exception(error)
    return failed.result


def _run_in_one_thread(work: Callable[[], Result]) -> Result:
    """What the work gives, with networks of one thread."""
    with threads_at_most(1):
        return work()
