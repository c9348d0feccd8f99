"""The page while it is made: pictures, and the figures that its words are filled with."""

from collections.abc import Callable
from dataclasses import dataclass, field

from regrain_lab.evaluation.page import picture
from regrain_lab.explanation.subject import Subject

__all__ = ["PICTURES", "Page"]

PICTURES = {
    "forward": "The forward process",
    "histograms": "Histograms of x_n",
    "variance": "Variance with and without scaling",
    "unscaled": "The forward process without scaling",
    "jump": "The chain and the jump",
    "schedules": "Log-SNR of the schedules",
    "estimates": "Estimates of x_0",
    "reverse": "The reverse process",
    "bound": "The bound, step by step",
    "stream": "What the progressive method writes",
    "groups": "Bytes by coding step",
    "places": "Bits by place",
}
"""The pictures of the page and their captions."""


@dataclass
class Page:
    """The photo, how it is to be explained, and what is made of it so far."""

    subject: Subject
    steps: int
    seed: int
    progress: Callable[[str], None]
    values: dict[str, str | None] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)

    def add(self, name: str, png: bytes) -> None:
        """Put a picture on the page."""
        self.files[f"{name}.png"] = png
        self.values[name] = picture(f"{name}.png", PICTURES[name])

    def counter(self, what: str, total: int) -> Callable[[], None]:
        """A function that says how many passes of `total` are made."""
        numbers = iter(range(1, total + 1))
        return lambda: self.progress(f"{what}: pass {next(numbers)} of {total}")
