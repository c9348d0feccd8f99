"""The command line: `regrain encode | decode | inspect | sample | serve`, and `compare | explain | pack | train |
distill | fine-tune | evaluate`, which the laboratory adds.

Every failure is one line on stderr, `regrain: error: ...`, and the exit code of its class in `regrain.errors`; 130
after Ctrl-C, 143 after SIGTERM and 141 after a closed pipe, as a shell has them. Whatever the end, no half-written
output stays behind.
"""

import sys
from collections.abc import Sequence
from time import perf_counter

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; `argv` (None: the process's) comes without the program's name.

    Raises SystemExit(0) after `--help` and `--version`, and nothing else.
    """
    start = perf_counter()
    try:
        # What takes time to import is imported here, where Ctrl-C is one line already.
        from regrain.cli.process import run

        return run(list(sys.argv[1:] if argv is None else argv), start)
    except KeyboardInterrupt:
        if sys.stderr is not None:
            print("regrain: error: interrupted", file=sys.stderr)
        return 130
