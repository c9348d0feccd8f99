"""Means behind the symbols: two threads decode a tile, since no table depends on a mean.

this thread     z -> scale indices -> symbols of step 1 -> scale indices -> symbols of step 2 -> ...
the other one   z -> means         ->      y_hat of step 1 -> means -> y_hat of step 2 -> ...
"""

import contextvars
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from threading import Thread
from typing import Final

from regrain.conditional.coding_order import CodingStep
from regrain.conditional.context_model import ContextModel, Symbols
from regrain.conditional.networks import Image
from regrain.loading import thread_count, threads_at_most

__all__ = ["Follower", "following"]

ONNX: Final = "onnx"


class Follower:
    """y_hat of a tile in some steps, from the symbols of each as they come."""

    def __init__(
        self,
        model: ContextModel,
        steps: Sequence[CodingStep],
        z_hat: Symbols,
        quality: int,
        size: tuple[int, int],
    ) -> None:
        """The first steps of the model's order, of a tile of latents of `size` (H, W); q times 256."""
        self._model, self._steps, self._start = model, steps, (z_hat, quality, size)
        self._symbols = SimpleQueue[Symbols | None]()
        self._result: Future[Image] | None = None

    def run_beside(self) -> None:
        """Begin now, in another thread; where none can be had, `y_hat` does all."""
        result, context = Future[Image](), contextvars.copy_context()

        def run() -> None:
            try:
                result.set_result(context.run(self._follow))
            except BaseException as error:
                result.set_exception(error)

        with suppress(RuntimeError):
            Thread(target=run, name="regrain-means", daemon=True).start()
            self._result = result

    def add(self, symbols: Symbols) -> None:
        """Hand over the symbols (last - first, n) of the next step."""
        self._symbols.put(symbols)

    def end(self) -> None:
        """No more steps come, whether all have or not."""
        self._symbols.put(None)

    def y_hat(self) -> Image:
        """(C, H, W), of all steps that were handed over; those of other steps are 0."""
        return self._result.result() if self._result else self._follow()

    def _follow(self) -> Image:
        means = self._model.start_means(*self._start)
        for number, step in enumerate(self._steps):
            mask = step.mask(*means.y_hat.shape[1:])
            mean = means.predict(number, step, mask)
            symbols = self._symbols.get()
            if symbols is None:
                break
            means.update(step, symbols, mean, mask)
        return means.y_hat


@contextmanager
def following(
    model: ContextModel, steps: Sequence[CodingStep], z_hat: Symbols, quality: int, size: tuple[int, int]
) -> Iterator[Follower]:
    """A follower, with half of the threads, as this thread has meanwhile; with one thread it comes afterwards."""
    follower, threads = Follower(model, steps, z_hat, quality, size), thread_count()
    beside = threads > 1 and model.networks.device == ONNX
    with threads_at_most(threads // 2 if beside else threads):
        try:
            if beside:
                follower.run_beside()
            yield follower
        finally:
            follower.end()
