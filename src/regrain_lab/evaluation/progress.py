"""A progress bar with the time left, on a terminal alone: where stderr is a file or a pipe nothing is drawn."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["bar"]


@contextmanager
def bar(total: int, unit: str, *, visible: bool = True) -> Iterator[Callable[[], object]]:
    """Yield a function that moves the bar by one of `total` units, and does nothing where no bar is drawn."""
    from tqdm import tqdm

    hidden = None if visible and total else True
    with tqdm(total=total, unit=unit, dynamic_ncols=True, file=sys.stderr, disable=hidden) as line:
        yield line.update
