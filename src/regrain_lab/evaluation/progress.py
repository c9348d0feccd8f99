"""A progress bar with the time left, on a terminal alone: where stderr is a file or a pipe nothing is drawn."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["bar"]


@contextmanager
def bar(total: int, unit: str, *, wanted: bool = True) -> Iterator[Callable[[], object]]:
    """Yield what moves the bar by one of `total` units; it does nothing where none is drawn."""
    if not wanted or not total or not sys.stderr.isatty():
        yield lambda: None
        return
    from tqdm import tqdm

    with tqdm(total=total, unit=unit, dynamic_ncols=True, file=sys.stderr) as drawn:
        yield drawn.update
