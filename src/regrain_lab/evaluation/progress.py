"""A progress bar with the time left, on a terminal alone: where stderr is a file or a pipe nothing is drawn."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["bar"]


@contextmanager
def bar(total: int, unit: str, *, visible: bool = True) -> Iterator[Callable[[], object]]:
    """Yield a function that moves the bar by one of `total` units, and does nothing where no bar is drawn."""
    if not visible or not total or not sys.stderr.isatty():
        yield lambda: None
        return
    from tqdm import tqdm

    with tqdm(total=total, unit=unit, dynamic_ncols=True, file=sys.stderr) as line:
        yield line.update
