"""One command as a process: signals, warnings and errors in, one line and an exit code out."""

import contextlib
import logging
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from types import FrameType

from regrain.cli.parser import parse
from regrain.cli.terminal import one_line, say
from regrain.errors import LimitError, OutputError, RegrainError

__all__ = ["Stop", "run"]

_CLOSED_PIPE = 141
_STOPS = {signal.SIGTERM: "terminated"} | ({signal.SIGHUP: "hung up"} if hasattr(signal, "SIGHUP") else {})


class Stop(KeyboardInterrupt):
    """A signal that ends the process as Ctrl-C does: half-written files are removed, training keeps a checkpoint."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        """After the signal of this number."""
        super().__init__(number)
        self.number = number


def run(arguments: Sequence[str], start: float) -> int:
    """Run one command, whose user has waited since `start` by `perf_counter`, and return its exit code.

    Raises SystemExit(0) after `--help` and `--version`.
    """
    _open_standard_descriptors()
    verbose = bool({"-v", "--verbose"} & set(arguments))
    try:
        with _signals_that_stop(), _one_line_warnings(), _one_line_logs(verbose):
            options = parse(arguments)
            options.start = start
            _use_threads(options.threads)
            options.run(options)
            if sys.stdout is not None:
                sys.stdout.flush()
    except KeyboardInterrupt as stop:
        number = getattr(stop, "number", signal.SIGINT)
        return _fail(_STOPS.get(number, "interrupted"), 128 + number)
    except BrokenPipeError:
        _detach_stdout()
        return _CLOSED_PIPE
    except Exception as error:
        if verbose:
            with contextlib.suppress(OSError):
                say(traceback.format_exc().rstrip(), aside=True)
        known = _as_regrain(error)
        return _fail(str(known), known.exit_code)
    return 0


def _as_regrain(error: Exception) -> RegrainError:
    """`error` in the drawn tree: no memory is a limit, a failing stream an output, the rest is our fault."""
    if isinstance(error, RegrainError):
        return error
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__ or "can't allocate memory" in text:
        return LimitError("out of memory; a lower --max-memory or --max-pixels refuses such files before they are read")
    if isinstance(error, OSError):
        return OutputError(text)
    return RegrainError(f"internal error, please report it: {type(error).__name__}: {text} (-v shows where)")


def _fail(text: str, code: int) -> int:
    with contextlib.suppress(OSError):
        say(f"regrain: error: {one_line(text)}", aside=True)
    return code


def _open_standard_descriptors() -> None:
    """Let 0, 1 and 2 be open, if only to nowhere: else the next file gets the number, and what is printed to it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _detach_stdout() -> None:
    """Point stdout nowhere, so that the interpreter's last flush does not complain about the closed pipe."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _use_threads(count: int | None) -> None:
    """Let ONNX Runtime and torch use `count` threads; neither is imported, and both read the environment later."""
    if count is None:
        return
    os.environ["OMP_NUM_THREADS"] = str(count)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)


@contextlib.contextmanager
def _signals_that_stop() -> Iterator[None]:
    """Raise `Stop` where the system would end the process at once; a signal that is ignored, or handled, stays so."""

    def _stop(number: int, frame: FrameType | None) -> None:
        raise Stop(number)

    here = threading.current_thread() is threading.main_thread()
    ours = [number for number in _STOPS if here and signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, _stop)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def _one_line_warnings() -> Iterator[None]:
    """Show each warning of a library as one line of ours."""

    def _show(message: Warning | str, *_: object, **__: object) -> None:
        with contextlib.suppress(OSError):
            say(f"regrain: warning: {one_line(' '.join(str(message).split()))}", aside=True)

    with warnings.catch_warnings():
        warnings.showwarning = _show
        yield


class _OneLine(logging.Handler):
    """Each record as one line of ours; of a library only where all is to be said, for its words add to an error's."""

    def __init__(self, verbose: bool) -> None:
        super().__init__(logging.WARNING)
        self.verbose = verbose

    def emit(self, record: logging.LogRecord) -> None:
        if self.verbose or record.name.partition(".")[0] in ("regrain", "regrain_lab"):
            with contextlib.suppress(OSError):
                say(f"regrain: warning: {one_line(record.getMessage())}", aside=True)


@contextlib.contextmanager
def _one_line_logs(verbose: bool) -> Iterator[None]:
    """Show in our way what is logged while nobody has set up logging; a run of training does."""
    before, logging.lastResort = logging.lastResort, _OneLine(verbose)
    try:
        yield
    finally:
        logging.lastResort = before
