"""The command line: `regrain encode | decode | inspect | compare | train | distill | evaluate`.

Every failure is one line on stderr, `regrain: error: ...`, and the exit code of its class in `regrain.errors`; 130
after Ctrl-C and 141 after a closed pipe, as a shell has them. Whatever the end, no half-written output stays behind.
"""

import contextlib
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from typing import TextIO

from regrain.cli.parser import parse
from regrain.errors import LimitError, OutputError, RegrainError

__all__ = ["main"]

_INTERRUPTED = 130
_CLOSED_PIPE = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; `argv` (None: the process's) comes without the program's name.

    Raises SystemExit(0) after `--help` and `--version`, and nothing else.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        with _one_line_warnings():
            options = parse(arguments)
            _use_threads(options.threads)
            options.run(options)
            if sys.stdout is not None:
                sys.stdout.flush()
    except KeyboardInterrupt:
        return _fail("interrupted", _INTERRUPTED)
    except BrokenPipeError:
        _detach_stdout()
        return _CLOSED_PIPE
    except Exception as error:
        if {"-v", "--verbose"} & set(arguments):
            traceback.print_exc()
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


def _fail(message: str, code: int) -> int:
    with contextlib.suppress(OSError):
        print("regrain: error:", " ".join(message.split()), file=sys.stderr, flush=True)
    return code


def _detach_stdout() -> None:
    """Point stdout nowhere, so that the interpreter's last flush does not complain about the closed pipe."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _use_threads(count: int | None) -> None:
    """Let torch use `count` threads, without importing it: its OpenMP reads the environment when it is loaded."""
    if count is None:
        return
    os.environ["OMP_NUM_THREADS"] = str(count)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)


@contextlib.contextmanager
def _one_line_warnings() -> Iterator[None]:
    """Show each warning of a library as one line of ours."""

    def _show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        print("regrain: warning:", " ".join(str(message).split()), file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = _show
        yield
