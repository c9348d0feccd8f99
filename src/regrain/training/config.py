"""A recipe (TOML) as frozen dataclasses: what was run, runnable.

Every table of the recipe is one dataclass below; an unknown name or a value of the wrong kind is a UsageError that says
where it stands. Paths are relative to the recipe's own folder.
"""

import tomllib
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from regrain.conditional.model import ModelConfig
from regrain.errors import UsageError

__all__ = ["DataConfig", "LossConfig", "Recipe", "Stage", "read_recipe"]

T = TypeVar("T")


@dataclass(frozen=True)
class DataConfig:
    """Where the crops are and which of them train."""

    shards: str
    licence_classes: tuple[str, ...] = ()
    """Classes of index.csv to keep; empty keeps all."""
    exclude: tuple[str, ...] = ()
    """Repositories never used."""
    holdout: tuple[str, ...] = ()
    """Repositories kept for validation."""
    holdout_crops: int = 32
    workers: int = 0


@dataclass(frozen=True)
class LossConfig:
    """(1 - perceptual_weight) L_diff + perceptual_weight LPIPS + rate_weight R, and how its weights are drawn."""

    lpips: str = ""
    """Path of the LPIPS weights; empty trains without."""
    perceptual_weight: float = 0.5
    """rho at realism 1; it is proportional to realism."""
    perceptual_scale: float = 8.0
    """LPIPS is multiplied by this to stand beside L_diff, the squared error on [0, 255] over 100."""
    rate_weight: tuple[float, float] = (12.5, 0.1)
    """lambda at quality 0 and at quality 100, log-linear between."""
    balance: float = 0.5
    """Each picture's loss is divided by its rate weight to this power, so that no quality drowns the others."""
    min_snr_gamma: float = 5.0
    min_weight: float = 0.2
    """Floor of the min-SNR weight of L_diff (over gamma); at t = 1 the weight is 1."""


@dataclass(frozen=True)
class Stage:
    """A run of steps under one set of rules. Pairs are (at its first step, at its last), linear between."""

    name: str
    steps: int
    batch: int = 8
    crop: int = 128
    learning_rate: tuple[float, float] = (3e-4, 3e-4)
    rate: tuple[float, float] = (1.0, 1.0)
    """Multiplies rate_weight: near zero at first, or the rate crushes the latents before they carry anything."""
    perceptual: tuple[float, float] = (1.0, 1.0)
    """Multiplies perceptual_weight."""
    continuous: float = 0.0
    """Share of the pictures whose t is uniform in [0, 1]; the others are at t = 1."""
    freeze_latents: bool = False


@dataclass(frozen=True)
class Recipe:
    """One training run."""

    name: str
    data: DataConfig
    stage: tuple[Stage, ...]
    loss: LossConfig = field(default_factory=LossConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    seed: int = 0
    out: str = "../runs"
    ema: float = 0.999
    clip: float = 1.0
    warmup: int = 100
    """Steps over which the learning rate rises from zero."""
    checkpoint_every: int = 200
    validate_every: int = 400
    folder: Path = Path()
    """Where the recipe lies; set on reading."""

    def path(self, relative: str) -> Path:
        """A path of the recipe, resolved against its folder."""
        return (self.folder / relative).resolve()

    @property
    def steps(self) -> int:
        """Steps of all stages together."""
        return sum(stage.steps for stage in self.stage)


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe. Raises UsageError naming the file and the first thing wrong in it."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a TOML recipe: {error}") from None
    recipe = _build(Recipe, data | {"folder": path.resolve().parent}, str(path))
    if not recipe.stage:
        raise UsageError(f"{path}: a recipe needs at least one [[stage]]")
    return recipe


def _build(kind: type[T], data: Any, where: str) -> T:
    if not isinstance(data, dict):
        raise UsageError(f"{where}: expected a table, got {data!r}")
    hints = get_type_hints(kind)
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(set(data) - known):
        raise UsageError(f"{where}: unknown name {unknown[0]!r}; allowed are {', '.join(sorted(known - {'folder'}))}")
    try:
        return kind(**{name: _value(hints[name], value, f"{where}: {name}") for name, value in data.items()})
    except TypeError as error:
        raise UsageError(f"{where}: {str(error).split('__init__() ')[-1]}") from None


def _value(hint: Any, value: Any, where: str) -> Any:
    if is_dataclass(hint):
        return _build(hint, value, where)  # type: ignore[arg-type]
    if getattr(hint, "__origin__", None) is tuple:
        if not isinstance(value, list):
            raise UsageError(f"{where}: expected a list, got {value!r}")
        kinds = hint.__args__
        many = [kinds[0]] * len(value) if kinds[-1] is Ellipsis else kinds
        if len(many) != len(value):
            raise UsageError(f"{where}: expected {len(many)} values, got {len(value)}")
        return tuple(_value(k, v, where) for k, v in zip(many, value, strict=True))
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint and not isinstance(value, Path):
        raise UsageError(f"{where}: expected {hint.__name__}, got {value!r}")
    return value
