"""Means behind the symbols: two threads decode a tile, since no table depends on a mean.

this thread     z -> scale indices -> symbols of step 1 -> scale indices -> symbols of step 2 -> ...
the other one   z -> means         ->      y_hat of step 1 -> means -> y_hat of step 2 -> ...
"""

import contextvars
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Final

from regrain.conditional.context_model import ContextModel, Symbols
from regrain.conditional.networks import Image
from regrain.loading import thread_count, threads_at_most

__all__ = ["Follower", "following"]

ONNX: Final = "onnx"


class Follower:
    """y_hat of a tile, from the symbols of each step as they come."""

    def __init__(self, model: ContextModel, z_hat: Symbols, quality: int, size: tuple[int, int]) -> None:
        """Of a tile of latents of `size` (H, W); q times 256."""
        self._model, self._start = model, (z_hat, quality, size)
        self._steps = SimpleQueue[Symbols | None]()
        self._result: Future[Image] | None = None

    def run_in(self, pool: ThreadPoolExecutor) -> None:
        """Begin now, in another thread."""
        self._result = pool.submit(contextvars.copy_context().run, self._follow)

    def add(self, symbols: Symbols) -> None:
        """Hand over the symbols (last - first, n) of the next step."""
        self._steps.put(symbols)

    def end(self) -> None:
        """There are no more steps."""
        self._steps.put(None)

    def y_hat(self) -> Image:
        """(C, H, W), of all steps that were handed over; those of other steps are 0."""
        return self._result.result() if self._result else self._follow()

    def _follow(self) -> Image:
        means = self._model.start_means(*self._start)
        for number, step in enumerate(self._model.order):
            mask = step.mask(*means.y_hat.shape[1:])
            mean = means.predict(number, step, mask)
            symbols = self._steps.get()
            if symbols is None:
                break
            means.update(step, symbols, mean, mask)
        return means.y_hat


@contextmanager
def following(model: ContextModel, z_hat: Symbols, quality: int, size: tuple[int, int]) -> Iterator[Follower]:
    """A follower, which has half of the threads, as this thread has meanwhile; with one thread it comes afterwards."""
    follower, threads = Follower(model, z_hat, quality, size), thread_count()
    if threads == 1 or model.networks.device != ONNX:
        try:
            yield follower
        finally:
            follower.end()
        return
    with ThreadPoolExecutor(1, "regrain-means") as pool, threads_at_most(threads // 2):
        follower.run_in(pool)
        try:
            yield follower
        finally:
            follower.end()
