"""The table [distill] of a recipe: how a student is taught, and in what order methods may follow each other.

    none | direct | progressive | consistency | guided              (`lessons` has their formulas)

Progressive stages halve the steps, N, N / 2, N / 4 ...; a guided stage follows training with condition dropout, and
after it only progressive ones can be. Invariant: what breaks a rule is a UsageError before anything is trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Protocol

from regrain.errors import UsageError

__all__ = ["METHODS", "PROMOTING", "DistillConfig", "Taught", "check"]

METHODS: Final = ("none", "direct", "progressive", "consistency", "guided")
PROMOTING: Final = ("progressive", "guided")
"""Methods whose stages begin with the student so far as the teacher."""
JUDGES: Final = ("target", "picture")


@dataclass(frozen=True)
class DistillConfig:
    """Of a recipe that trains a student: from what, and how."""

    teacher: str = ""
    """Path of a weights file, whose latents stay as they are; empty is the package's."""
    method: str = "direct"
    """Of stages that name none."""
    perceptual_target: str = "target"
    """What LPIPS and MS-SSIM compare the student's x_hat with: the method's "target", or always the "picture"."""
    dropout: float = 0.0
    """Share of the pictures whose latents are hidden, all zero, under the method "none": what guidance needs."""
    guidance_max: float = 0.0
    """The student is told a guidance weight w, even in 0 to this. 0 tells it none."""
    guidance: float = 0.0
    """The w that ships."""

    def __post_init__(self) -> None:
        """Refuse, with UsageError, names that are none and a weight that was not trained."""
        known(self.method)
        if self.perceptual_target not in JUDGES:
            raise UsageError(f"perceptual_target is {self.perceptual_target!r}; allowed are {', '.join(JUDGES)}")
        if self.guidance > self.guidance_max:
            raise UsageError(f"guidance is {self.guidance:g}; 0 to guidance_max, {self.guidance_max:g}, is allowed")


class Taught(Protocol):
    """What the order of the stages depends on."""

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def method(self) -> str:
        """One of METHODS."""

    @property
    def sampling_steps(self) -> int:
        """N."""


def known(method: str) -> None:
    """Raise UsageError unless there is such a method."""
    if method not in METHODS:
        raise UsageError(f"method is {method!r}; allowed are {', '.join(METHODS)}")


def check(config: DistillConfig, stages: Sequence[Taught]) -> None:
    """Raise UsageError for what no stage can do, or not after the one before it."""
    for stage in stages:
        known(stage.method)
        if stage.sampling_steps & (stage.sampling_steps - 1):
            raise UsageError(f"stage {stage.name!r}: sampling_steps is {stage.sampling_steps}; a power of 2 is allowed")
        if stage.method == "guided" and not config.guidance_max:
            raise UsageError(f"stage {stage.name!r}: a guided stage needs guidance_max above 0")
    if config.guidance_max and "guided" not in [stage.method for stage in stages]:
        raise UsageError('guidance_max needs a stage whose method is "guided"')
    for before, stage in pairwise(stages):
        _check_order(config, before, stage)


def _check_order(config: DistillConfig, before: Taught, stage: Taught) -> None:
    where = f"stage {stage.name!r}"
    halved = before.sampling_steps // 2
    if stage.method == before.method == "progressive" and stage.sampling_steps != halved:
        raise UsageError(f"{where}: sampling_steps is {stage.sampling_steps} after {halved * 2}; {halved} is allowed")
    if stage.method == "guided" and (before.method != "none" or not config.dropout):
        raise UsageError(f'{where}: guidance needs a teacher with dropout: before it, "none" with dropout is allowed')
    if before.method == "guided" and stage.method != "progressive":
        raise UsageError(f"{where}: method is {stage.method!r} after guidance; progressive is allowed")
    if config.guidance_max and before.method == "progressive" and stage.method != "progressive":
        raise UsageError(f"{where}: method is {stage.method!r} after guidance; progressive is allowed")
